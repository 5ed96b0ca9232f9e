"""hang.py PORT: an Ollama whose runner hangs: it says its version, takes loads and unloads, and never answers a chat.

The model stays on its list whatever it is asked. /pid tells which process this is; a restarted one is another.
"""
import http.server
import json
import os
import socket
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        held = {"models": [{"name": "stuck:latest", "model": "stuck:latest"}]}
        answers = {"/api/version": {"version": "0.34.3"}, "/api/ps": held, "/pid": {"pid": os.getpid()}}
        self.say(answers.get(self.path, {"models": []}))

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if request.get("messages") or request.get("prompt"):
            threading.Event().wait()
        self.say({"model": request["model"], "created_at": "2026-01-01T00:00:00Z", "response": "", "done": True, "done_reason": "load"})

    def say(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    server.serve_forever()


main()

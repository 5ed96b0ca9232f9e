"""holds.py PORT MIB: an Ollama with one model, "held", whose load starts a process that takes so much memory, as Ollama's runner does.

Its file is said to be 64 MiB. `holds.py hold MIB` is that process.
"""
import http.server
import json
import os
import socket
import subprocess
import sys

MIB = 1 << 20
MODEL = {"name": "held:latest", "model": "held:latest", "size": 64 * MIB}
runners = []


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answers = {"/api/version": {"version": "0.34.3"}, "/api/tags": {"models": [MODEL]}, "/api/ps": {"models": [MODEL] if runners else []}}
        self.say(answers.get(self.path, {"models": []}))

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/show":
            return self.say({"modelfile": "", "model_info": {}})
        end = {"model": request["model"], "created_at": "2026-01-01T00:00:00Z", "done": True}
        if not request.get("messages"):
            load()
            return self.say({**end, "response": "", "done_reason": "load"})
        words = {"message": {"role": "assistant", "content": "here"}}
        self.say({**end, **words, "done": False}, {**end, "message": {"role": "assistant", "content": ""}, "done_reason": "stop"})

    def say(self, *values):
        body = "".join(json.dumps(value) + "\n" for value in values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if len(values) > 1 else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def load():
    if not runners:
        runners.append(subprocess.Popen([sys.executable, __file__, "hold", sys.argv[2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert runners[0].stdout.readline() == b"held\n"


def main():
    if sys.argv[1] == "hold":
        room = b"x" * (int(sys.argv[2]) * MIB)
        print("held", flush=True)
        sys.stdin.read(1)
        return len(room) == 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    server.serve_forever()


sys.exit(main())

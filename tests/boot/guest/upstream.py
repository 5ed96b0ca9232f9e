"""upstream.py PORT [CERTIFICATE KEY]: a model server in OpenAI's dialect, with TLS where it is given a certificate.

Answers in two halves; for the model "gated" the second comes when somebody has asked for /open. /seen tells the Authorization
headers of all chat requests so far.
"""
import http.server
import json
import os
import socket
import ssl
import sys
import threading

seen = []
gate = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/open":
            gate.set()
        self.say("application/json", json.dumps(seen).encode())

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen.append(self.headers.get("Authorization"))
        if not request.get("stream"):
            message = {"role": "assistant", "content": "first half, second half"}
            answer = {"id": "1", "object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
            return self.say("application/json", json.dumps(answer).encode())
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.piece({"content": "first half, "})
        if request["model"] == "gated":
            gate.wait(60)
        self.piece({"content": "second half"})
        self.piece({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def piece(self, delta, finish=None):
        chunk = {"id": "1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()

    def say(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[2:])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    server.serve_forever()


main()

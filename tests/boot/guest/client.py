"""One request to each of sluiced's sockets, byte by byte; runs inside the booted machine, where there is only Python."""
import json
import socket
import struct
import time

ADDRESSES = {"rpc": "/run/sluice/rpc.sock", "http-unix": "/run/sluice/http.sock", "http": ("127.0.0.1", 4000), "http6": ("::1", 4000)}
FAMILIES = {"rpc": socket.AF_UNIX, "http-unix": socket.AF_UNIX, "http": socket.AF_INET, "http6": socket.AF_INET6}
# Longer than any restart; a test that waits so long has failed.
PATIENCE_SEC = 60
RESPONSE = 2


def connect(name):
    """A connection to the socket of that name; OSError when it is refused."""
    s = socket.socket(FAMILIES[name], socket.SOCK_STREAM)
    s.settimeout(PATIENCE_SEC)
    s.connect(ADDRESSES[name])
    return s


def get_info():
    """The ttrpc frame of a call of Engine.GetInfo: header (length, stream id, type request, flags), service, method."""
    service, method = b"sluice.v1.Engine", b"GetInfo"
    payload = b"\x0a" + bytes([len(service)]) + service + b"\x12" + bytes([len(method)]) + method
    return struct.pack(">IIBB", len(payload), 1, 1, 0) + payload


def post_chat(model):
    """An HTTP request for one short answer, on a connection that closes after it."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}]}).encode()
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)) + body


def ask(s, name, model):
    """Sends one request and reads the whole answer: (when its first byte came, the answer). ConnectionError where it is cut."""
    s.sendall(get_info() if name == "rpc" else post_chat(model))
    answer = s.recv(65536)
    first = time.monotonic()
    while not _is_whole(name, answer):
        more = s.recv(65536)
        if not more:
            raise ConnectionError(f"cut after {len(answer)} bytes")
        answer += more
    return first, answer


def is_good(name, answer):
    """Is it an answer and not an error? An empty status is not written: a Response starts with its payload (field 2)."""
    return answer[8] == RESPONSE and answer[10] == 0x12 if name == "rpc" else answer.startswith(b"HTTP/1.1 200 ")


def _is_whole(name, answer):
    if not answer:
        raise ConnectionError("closed without an answer")
    if name == "rpc":
        return len(answer) >= 10 and len(answer) - 10 >= struct.unpack(">I", answer[:4])[0]
    head, end, body = answer.partition(b"\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end and length) and len(body) >= int(length[0].split(b":")[1])

"""A daemon that says exactly what a test tells it to: what sluiced never sends, or only now and then.

    daemon = FakeDaemon([text(b"a\\xc3"), text(b"\\xa4"), done()])

Each list is the answer to one call: events of sluice.v1 in wire form, and then the end of the stream. HANG_UP cuts the connection
instead.
"""

from __future__ import annotations

import socket
import struct
import tempfile
import threading
from pathlib import Path
from typing import Any, List

from testenv.ttrpc import DATA, NO_DATA, REMOTE_CLOSED, blob, number

HANG_UP = object()  # closes the connection


def started(model: str = "m") -> bytes:
    return blob(3, blob(1, b"id") + blob(2, model.encode()) + blob(3, b"dep"))


def text(content: bytes, choice: int = 0, channel: int = 0, logprobs: bytes = b"") -> bytes:
    body = blob(1, content) + number(2, channel) + number(3, choice)
    return blob(4, body + (blob(4, logprobs) if logprobs else b""))


def tool_call(index: int, ident: bytes, name: bytes, arguments: bytes) -> bytes:
    return blob(5, number(2, index) + blob(3, ident) + blob(4, name) + blob(5, arguments))


def done(*reasons: int, reasoning: int = 0) -> bytes:
    usage = number(1, 7) + number(3, 2) + number(4, reasoning)
    return blob(7, b"".join(number(1, r) for r in reasons or (1,)) + blob(2, usage))


class FakeDaemon:
    def __init__(self, *answers: List[Any]):
        self.directory = tempfile.mkdtemp(prefix="sluice-fake-")
        self.path = str(Path(self.directory) / "rpc.sock")
        self.answers = list(answers)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        Path(self.path).unlink()
        Path(self.directory).rmdir()

    def __enter__(self) -> "FakeDaemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while self.answers:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                try:
                    self._serve(sock)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client left without reading to the end

    def _serve(self, sock: socket.socket) -> None:
        while self.answers:
            header = _read(sock, 10)
            if not header:
                return
            length, stream_id = struct.unpack(">II", header[:8])
            _read(sock, length)
            seq = 0
            for event in self.answers.pop(0):
                if event is HANG_UP:
                    return
                seq += 1
                self._send(sock, stream_id, 0, number(1, seq) + event)
            self._send(sock, stream_id, REMOTE_CLOSED | NO_DATA, b"")
        _read(sock, 1)  # the client leaves

    @staticmethod
    def _send(sock: socket.socket, stream_id: int, flags: int, payload: bytes) -> None:
        sock.sendall(struct.pack(">IIBB", len(payload), stream_id, DATA, flags) + payload)


def _read(sock: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        piece = sock.recv(n - len(data))
        if not piece:
            return b""
        data += piece
    return data

"""HTTP/1.1 over a raw socket: says exactly what a test tells it to, reads answers strictly, keeps SSE as it came."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any, Iterator, Optional, Tuple, Union

from .waiting import PATIENCE_SEC

Address = Union[Tuple[str, int], str]  # TCP, or the path of a Unix socket


class Closed(Exception):
    """The server closed the connection where more was due."""


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]  # names in lower case
    body: bytes = b""

    def header(self, name: str) -> Optional[str]:
        values = [v for n, v in self.headers if n == name.lower()]
        assert len(values) <= 1, f"header {name} {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The OpenAI error object, whose shape every error must have."""
        assert (self.header("content-type") or "").startswith("application/json"), self
        error = self.json["error"]
        assert isinstance(error["message"], str) and error["message"], error
        assert isinstance(error["type"], str), error
        assert set(error) >= {"message", "type", "param", "code"}, error
        return error


@dataclass
class SseEvent:
    """One block of lines up to the blank line."""

    lines: list[str] = field(default_factory=list)

    @property
    def is_comment(self) -> bool:
        return all(line.startswith(":") for line in self.lines)

    @property
    def is_error(self) -> bool:
        return self.lines[:1] != [] and self.lines[0].startswith('data: {"error":')

    @property
    def data(self) -> str:
        assert len(self.lines) == 1 and self.lines[0].startswith("data: "), self.lines
        return self.lines[0][len("data: ") :]

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Http:
    """One connection."""

    def __init__(self, address: Address, timeout: float = PATIENCE_SEC, rcvbuf: int = 0):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.address = address
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.timeout = timeout
        self.sock.connect(address)
        self.buffer = b""

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> "Http":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- sending

    def send(self, data: Union[bytes, str]) -> None:
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def send_request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Optional[dict[str, Optional[str]]] = None,
    ) -> None:
        """headers: None as a value leaves a default header out."""
        host = "localhost" if isinstance(self.address, str) else "%s:%d" % self.address
        all_headers: dict[str, Optional[str]] = {"Host": host}
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            all_headers["Content-Type"] = "application/json"
            all_headers["Content-Length"] = str(len(data))
        all_headers.update(headers or {})
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in all_headers.items() if value is not None]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    def request(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Answer:
        self.send_request(method, path, body, **kwargs)
        return self.read_answer(method)

    # ---- reading

    def _fill(self) -> None:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError as e:
            raise Closed("reset") from e
        if not data:
            raise Closed(f"end of file after {self.buffer[-200:]!r}")
        self.buffer += data

    def read_until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self._fill()
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def read_exactly(self, n: int) -> bytes:
        while len(self.buffer) < n:
            self._fill()
        found, self.buffer = self.buffer[:n], self.buffer[n:]
        return found

    def read_head(self) -> Answer:
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, _ = (lines[0] + " ").split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0"), lines[0]
        headers = []
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers.append((name.lower(), value.strip()))
        return Answer(int(status), headers)

    def read_answer(self, method: str = "POST") -> Answer:
        answer = self.read_head()
        if answer.status == 100:
            answer = self.read_head()
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        answer.body = b"".join(self.body_parts(answer))
        return answer

    def body_parts(self, answer: Answer) -> Iterator[bytes]:
        """The body in the pieces in which it came; Closed when it is cut."""
        length = answer.header("content-length")
        if answer.header("transfer-encoding") == "chunked":
            assert length is None, "both Content-Length and Transfer-Encoding"
            while True:
                size = int(self.read_until(b"\r\n"), 16)
                data = self.read_exactly(size + 2)
                assert data.endswith(b"\r\n")
                if size == 0:
                    return
                yield data[:-2]
        elif length is not None:
            yield self.read_exactly(int(length))
        else:  # up to the end of the connection
            yield from self.read_to_end()

    def read_to_end(self) -> Iterator[bytes]:
        while True:
            if self.buffer:
                yield self.buffer
                self.buffer = b""
            try:
                self._fill()
            except Closed:
                return

    def sse(self, answer: Answer) -> Iterator[SseEvent]:
        """The events of a stream answer, comments included. Closed when the body is cut, unless an error event said so."""
        assert (answer.header("content-type") or "").startswith("text/event-stream"), answer
        rest = b""
        last = SseEvent()
        try:
            for part in self.body_parts(answer):
                rest += part
                while b"\n\n" in rest:
                    block, rest = rest.split(b"\n\n", 1)
                    assert b"\r" not in block
                    last = SseEvent(block.decode().split("\n"))
                    yield last
        except Closed:
            if not last.is_error:
                raise
        assert rest == b"", f"a last event without its blank line: {rest!r}"

    def wait_closed(self, timeout: Optional[float] = None) -> None:
        """Until the server has closed; whatever it still sends is dropped."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                if not self.sock.recv(65536):
                    return
            except (ConnectionResetError, BrokenPipeError):
                return


def chat_body(model: str = "m", content: str = "hello", **members: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], **members}


def contents(events: list[SseEvent]) -> str:
    """The text of the chat chunks."""
    out = ""
    for event in events:
        if event.is_comment or event.data == "[DONE]" or "error" in event.json:
            continue
        for choice in event.json["choices"]:
            out += choice["delta"].get("content") or ""
    return out

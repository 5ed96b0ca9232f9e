"""Scripted model servers: real sockets, one thread per connection, no HTTP library, so that they can misbehave exactly.

A script is a list of steps; a step is a function of the Exchange. Steps that say something ("text", "end", "error_line")
are rendered in the server's dialect (Ollama's NDJSON or OpenAI's SSE), so that one script serves both.

    server.next(text("Hel", "lo"), end())      for the next inference request
    server.always(stall())                     for all that have no script of their own
    exchange = server.wait_request()           what it received, when its connection closed

A step never sleeps: it waits at a Gate that the test opens, or until the peer leaves. When the peer leaves, the step raises
PeerLeft, which ends the script, and the exchange notes the time.
"""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable, Optional

from .waiting import PATIENCE_SEC, eventually

OLLAMA_PATHS = ("/api/generate", "/api/chat", "/api/embed")
INFERENCE = ("chat", "complete", "embed", "rerank", "classify")

# 127.0.0.1 in a spelling that libcurl understands and sluice does not take for an address of this machine (daemon/base/own_host.h).
ELSEWHERE = "2130706433"


class PeerLeft(Exception):
    """The other side closed or reset the connection, or the server is being shut down."""


class HangUp(Exception):
    """The script is over and so is the connection."""


class Gate:
    """Shut until open(); then it stays open."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC)

    def open(self) -> None:
        os.eventfd_write(self.fd, 1)

    def __del__(self) -> None:
        os.close(self.fd)


class Exchange:
    """One request and what became of it. Written by the server's thread, read by the test."""

    def __init__(self, connection: "Connection", method: str, path: str, headers: dict[str, str]):
        self.connection = connection
        self.server = connection.server
        self.method = method
        self.path = path
        self.headers = headers
        self.body = b""
        self.received_at = time.monotonic()
        self.peer_left_at: Optional[float] = None
        self.peer_left = threading.Event()
        self.finished = threading.Event()  # the script ran to its end
        self.blocked = threading.Event()  # a send found no room for BLOCKED_SEC
        self.sent_bytes = 0
        self.has_begun = False
        self.n_pieces = 0

    BLOCKED_SEC = 0.3

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """chat, complete, embed, rerank, classify, load, unload, list, tags, version, models, or other."""
        return self.server.dialect.kind(self)

    @property
    def is_last(self) -> bool:
        """The connection ends with this exchange, and the answer says so: a close that is not told races with the next request."""
        return not self.server.keeps_load_connections and self.kind not in INFERENCE

    # ---- the peer

    def _left(self) -> PeerLeft:
        if not self.peer_left.is_set():
            self.peer_left_at = time.monotonic()
            self.peer_left.set()
        return PeerLeft()

    def wait(self, gate: Optional[Gate] = None, timeout: Optional[float] = None) -> bool:
        """Until the gate opens (True) or the time is over (False); PeerLeft when the peer goes first."""
        poller = select.poll()
        poller.register(self.connection.sock, select.POLLRDHUP)
        poller.register(self.server.stop_fd, select.POLLIN)
        if gate is not None:
            poller.register(gate.fd, select.POLLIN)
        ready = [fd for fd, _ in poller.poll(None if timeout is None else timeout * 1000)]
        if gate is not None and gate.fd in ready:
            return True
        if ready:
            raise self._left()
        return False

    def send(self, data: bytes) -> None:
        """All of it, noticing a peer that leaves and one that does not read."""
        poller = select.poll()
        poller.register(self.connection.sock, select.POLLOUT | select.POLLRDHUP)
        poller.register(self.server.stop_fd, select.POLLIN)
        view = memoryview(data)
        while view:
            ready = dict(poller.poll(self.BLOCKED_SEC * 1000))
            if not ready:
                self.blocked.set()
                continue
            if ready.get(self.connection.sock.fileno()) != select.POLLOUT:
                raise self._left()
            try:
                n = self.connection.sock.send(view, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                continue
            except OSError as e:
                raise self._left() from e
            self.sent_bytes += n
            view = view[n:]

    # ---- HTTP

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.has_begun = True
        lines = [f"HTTP/1.1 {status} Scripted"] + [f"{k}: {v}" for k, v in headers.items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    def whole(self, status: int, body: Any, headers: Optional[dict[str, str]] = None) -> None:
        """A complete answer with Content-Length."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        all_headers["Content-Length"] = str(len(data))
        if self.is_last:
            all_headers["Connection"] = "close"
        self.head(status, all_headers)
        self.send(data)

    def begin(self) -> None:
        """The head of a streamed answer, unless it has been sent."""
        if not self.has_begun:
            self.head(
                200,
                {
                    "Content-Type": self.server.dialect.stream_type,
                    "Transfer-Encoding": "chunked",
                },
            )

    def chunk(self, data: bytes) -> None:
        self.begin()
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def last_chunk(self) -> None:
        self.begin()
        self.send(b"0\r\n\r\n")

    def reset(self) -> None:
        """RST instead of FIN."""
        self.connection.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        raise HangUp()


Step = Callable[[Exchange], None]


# ---------------------------------------------------------------------------------------------- steps


def text(*pieces: str) -> Step:
    """Each piece as one event of the dialect, in a chunk of its own."""

    def step(ex: Exchange) -> None:
        for piece in pieces:
            ex.chunk(ex.server.dialect.piece(ex, piece))
            ex.n_pieces += 1

    return step


def end(reason: str = "stop", tokens_in: int = 7, tokens_out: int = 2) -> Step:
    """The true end of the answer."""

    def step(ex: Exchange) -> None:
        ex.chunk(ex.server.dialect.end(ex, reason, tokens_in, tokens_out))
        ex.last_chunk()

    return step


def say(*pieces: str) -> list[Step]:
    return [text(*pieces), end(tokens_out=len(pieces))]


def wait_for(gate: Gate) -> Step:
    return lambda ex: void(ex.wait(gate))


def stall() -> Step:
    """Silence until the peer leaves."""
    return lambda ex: void(ex.wait())


def begin() -> Step:
    """Only the head."""
    return lambda ex: ex.begin()


def error_line(message: str) -> Step:
    """An error inside a stream that began with status 200."""
    return lambda ex: ex.chunk(ex.server.dialect.error_line(message))


def clean_end() -> Step:
    """The end of the chunked body, whatever was said before."""
    return lambda ex: ex.last_chunk()


def chunk(data: bytes) -> Step:
    return lambda ex: ex.chunk(data)


def raw(data: bytes) -> Step:
    """Bytes as they are."""
    return lambda ex: ex.send(data)


def whole(status: int, body: Any, headers: Optional[dict[str, str]] = None) -> Step:
    return lambda ex: ex.whole(status, body, headers)


def fin() -> Step:
    """Closes the connection, in the middle of whatever was said."""

    def step(ex: Exchange) -> None:
        raise HangUp()

    return step


def rst() -> Step:
    return lambda ex: ex.reset()


def cut_inside_chunk() -> Step:
    """A chunk that announces more than it brings, then FIN."""

    def step(ex: Exchange) -> None:
        ex.begin()
        ex.send(b"ff\r\n" + ex.server.dialect.piece(ex, "cut")[:10])
        raise HangUp()

    return step


def endless(piece: str, limit_bytes: int = 1 << 30) -> Step:
    """The same piece until the peer leaves or limit_bytes are sent."""

    def step(ex: Exchange) -> None:
        one = text(piece)
        while ex.sent_bytes < limit_bytes:
            one(ex)

    return step


def drip(data: bytes, gap_sec: float) -> Step:
    """Byte by byte, as slowly as asked."""

    def step(ex: Exchange) -> None:
        ex.begin()
        for i in range(len(data)):
            ex.send(b"1\r\n" + data[i : i + 1] + b"\r\n")
            ex.wait(timeout=gap_sec)

    return step


def void(_: object) -> None:
    return None


# ---------------------------------------------------------------------------------------------- dialects


def vector(value: Any) -> list[float]:
    """A small embedding that depends on the input and survives float32."""
    data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
    return [float(len(data)), float(sum(data) % 1024), 0.5, -0.25]


def ranks(query: str, documents: list[str]) -> list[tuple[int, float]]:
    """Documents by the share of the query's words that they hold, best first."""
    wanted = query.split()
    scores = [sum(word in d.split() for word in wanted) / len(wanted) for d in documents]
    return sorted(enumerate(scores), key=lambda pair: -pair[1])


class Ollama:
    """/api/*: one JSON object per line; loads and unloads are requests without a prompt."""

    name = "ollama"
    stream_type = "application/x-ndjson"

    def kind(self, ex: Exchange) -> str:
        path = ex.path.split("?")[0]
        if ex.method != "POST" or path not in OLLAMA_PATHS:
            kinds = {"/api/ps": "list", "/api/tags": "tags", "/api/version": "version"}
            return kinds.get(path, "other")
        body = ex.json
        if not (body.get("prompt") or body.get("messages") or body.get("input")):
            return "unload" if body.get("keep_alive") == 0 else "load"
        if path == "/api/embed":
            return "embed"
        return "chat" if path == "/api/chat" else "complete"

    @staticmethod
    def _line(ex: Exchange, **members: Any) -> bytes:
        line = {"model": ex.json.get("model"), "created_at": "2026-01-01T00:00:00Z", **members}
        return json.dumps(line).encode() + b"\n"

    def _content(self, ex: Exchange, piece: str) -> dict[str, Any]:
        if ex.kind == "chat":
            return {"message": {"role": "assistant", "content": piece}}
        return {"response": piece}

    def piece(self, ex: Exchange, piece: str) -> bytes:
        return self._line(ex, **self._content(ex, piece), done=False)

    def end(self, ex: Exchange, reason: str, tokens_in: int, tokens_out: int) -> bytes:
        return self._line(
            ex,
            **self._content(ex, ""),
            done=True,
            done_reason=reason,
            total_duration=5000000,
            load_duration=1000000,
            prompt_eval_count=tokens_in,
            prompt_eval_duration=1000000,
            eval_count=tokens_out,
            eval_duration=3000000,
        )

    def error_line(self, message: str) -> bytes:
        return json.dumps({"error": message}).encode() + b"\n"

    def error_body(self, message: str) -> dict[str, Any]:
        return {"error": message}

    def embed(self, ex: Exchange) -> None:
        inputs = ex.json["input"]
        inputs = inputs if isinstance(inputs, list) else [inputs]
        ex.whole(
            200,
            {
                "model": ex.json["model"],
                "embeddings": [vector(i) for i in inputs],
                "prompt_eval_count": 3 * len(inputs),
            },
        )

    @staticmethod
    def _entry(server: Any, name: str) -> dict[str, Any]:
        size = server.sizes.get(name[: -len(":latest")] if name.endswith(":latest") else name)
        return {"name": name, "model": name, **({"size": size} if size else {})}

    def other(self, ex: Exchange) -> None:
        server = ex.server
        path = ex.path.split("?")[0]
        if ex.kind == "load":
            for step in server.load_script:
                step(ex)
            if not ex.has_begun:
                server.loaded.add(ex.json["model"])
                if path == "/api/embed":
                    ex.whole(200, {"model": ex.json["model"], "embeddings": []})
                    return
                line = self._line(ex, **self._content(ex, ""), done=True, done_reason="load")
                ex.whole(200, line)
        elif ex.kind == "unload":
            for step in server.unload_script:
                step(ex)
            if not ex.has_begun:
                server.loaded.discard(ex.json["model"])
                line = self._line(ex, **self._content(ex, ""), done=True, done_reason="unload")
                ex.whole(200, line)
        elif ex.kind == "list":
            for step in server.list_script:
                step(ex)
            if not ex.has_begun:
                names = [m if ":" in m else f"{m}:latest" for m in sorted(server.loaded)]
                ex.whole(200, {"models": [self._entry(server, n) for n in names]})
        elif path == "/api/version":
            for step in server.version_script:
                step(ex)
            if not ex.has_begun:
                ex.whole(200, {"version": server.version})
        elif path == "/api/tags":
            for step in server.tags_script:
                step(ex)
            if not ex.has_begun:
                ex.whole(200, {"models": [self._entry(server, n) for n in server.has]})
        elif path == "/api/show" and ex.json.get("model") in server.digests:
            blob = f"/blobs/sha256-{server.digests[ex.json['model']]}"
            ex.whole(200, {"modelfile": f"FROM {blob}\n", "model_info": {}})
        elif path == "/":
            ex.whole(200, b"Ollama is running", {"Content-Type": "text/plain; charset=utf-8"})
        else:
            ex.whole(404, b"404 page not found", {"Content-Type": "text/plain"})


class OpenAI:
    """/v1/*: server-sent events."""

    name = "openai"
    stream_type = "text/event-stream"

    def kind(self, ex: Exchange) -> str:
        path = ex.path.split("?")[0]
        for suffix, kind in (
            ("/chat/completions", "chat"),
            ("/completions", "complete"),
            ("/embeddings", "embed"),
            ("/rerank", "rerank"),
            ("/classify", "classify"),
        ):
            if ex.method == "POST" and path.endswith(suffix):
                return kind
        return "models" if path.endswith("/models") else "other"

    @staticmethod
    def _event(ex: Exchange, choices: list[Any], **members: Any) -> bytes:
        event = {
            "id": "cmpl-upstream",
            "object": "chat.completion.chunk" if ex.kind == "chat" else "text_completion",
            "created": 1700000000,
            "model": ex.json.get("model"),
            "choices": choices,
            **members,
        }
        return b"data: " + json.dumps(event).encode() + b"\n\n"

    def piece(self, ex: Exchange, piece: str) -> bytes:
        if ex.kind != "chat":
            return self._event(ex, [{"index": 0, "text": piece, "finish_reason": None}])
        delta = {"content": piece}
        if ex.n_pieces == 0:
            delta["role"] = "assistant"
        return self._event(ex, [{"index": 0, "delta": delta, "finish_reason": None}])

    def end(self, ex: Exchange, reason: str, tokens_in: int, tokens_out: int) -> bytes:
        usage = {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        }
        last: dict[str, Any] = {"index": 0, "finish_reason": reason}
        last.update({"delta": {}} if ex.kind == "chat" else {"text": ""})
        out = self._event(ex, [last])
        if (ex.json.get("stream_options") or {}).get("include_usage"):
            out += self._event(ex, [], usage=usage)
        return out + b"data: [DONE]\n\n"

    def error_line(self, message: str) -> bytes:
        return b"data: " + json.dumps(self.error_body(message)).encode() + b"\n\n"

    def error_body(self, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}

    def embed(self, ex: Exchange) -> None:
        inputs = ex.json["input"]
        inputs = inputs if isinstance(inputs, list) and not isinstance(inputs[0], int) else [inputs]
        if ex.json.get("encoding_format") == "base64":
            import base64

            def form(v: list[float]) -> Any:
                return base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode()

        else:

            def form(v: list[float]) -> Any:
                return v

        data = [
            {"object": "embedding", "index": i, "embedding": form(vector(value))}
            for i, value in enumerate(inputs)
        ]
        usage = {"prompt_tokens": 3 * len(inputs), "total_tokens": 3 * len(inputs)}
        model = ex.json["model"]
        ex.whole(200, {"object": "list", "data": data, "model": model, "usage": usage})

    def rerank(self, ex: Exchange) -> None:
        """As vLLM: best first, always with the document, which must be a string."""
        documents, top_n = ex.json["documents"], ex.json.get("top_n", 0)
        ranked = ranks(ex.json["query"], documents)
        results = [
            {"index": i, "document": {"text": documents[i], "multi_modal": None}, "relevance_score": s}
            for i, s in ranked[: top_n or None]
        ]
        answer = {"id": "rerank-up", "model": ex.json["model"], "results": results}
        ex.whole(200, {**answer, "usage": {"total_tokens": 7 * len(documents)}})

    def classify(self, ex: Exchange) -> None:
        """As vLLM: long texts are Spam."""
        inputs = ex.json["input"] if isinstance(ex.json["input"], list) else [ex.json["input"]]
        data = []
        for i, text in enumerate(inputs):
            p = 0.9 if len(text) > 10 else 0.1
            label = "Spam" if p > 0.5 else "Ham"
            data.append({"index": i, "label": label, "probs": [1 - p, p], "num_classes": 2})
        n = 5 * len(inputs)
        usage = {"prompt_tokens": n, "total_tokens": n, "completion_tokens": 0}
        head = {"id": "classify-up", "object": "list", "created": 1, "model": ex.json["model"]}
        ex.whole(200, {**head, "data": data, "usage": {**usage, "prompt_tokens_details": None}})

    def other(self, ex: Exchange) -> None:
        if ex.kind == "models":
            for step in ex.server.models_script:
                step(ex)
            if not ex.has_begun:
                ex.whole(200, {"object": "list", "data": []})
        else:
            ex.whole(404, {"error": {"message": "File Not Found", "type": "not_found_error"}})


# ---------------------------------------------------------------------------------------------- servers


def _has_input(sock: socket.socket) -> bool:
    poller = select.poll()
    try:
        poller.register(sock, select.POLLIN)
    except ValueError:  # closed meanwhile
        return False
    return bool(poller.poll(0))


class Connection:
    """One accepted connection and its thread."""

    def __init__(self, server: "Upstream", sock: socket.socket):
        self.server = server
        self.sock = sock
        self.opened_at = time.monotonic()
        self.closed = threading.Event()
        self.closed_at: Optional[float] = None
        self.buffer = bytearray()
        self.is_resting = False  # between requests, and not yet told of bytes that came
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def is_settled(self) -> bool:
        """Everything that came has been dealt with. In this order: what is read is no longer resting by then."""
        return self.closed.is_set() or (not _has_input(self.sock) and self.is_resting)

    def _run(self) -> None:
        try:
            while True:
                exchange = self._read_request()
                if exchange is None:
                    break
                self.server._play(exchange)
        except (PeerLeft, HangUp, ConnectionError):
            pass
        finally:
            self.closed_at = time.monotonic()
            self.closed.set()
            self.sock.close()

    def _more(self) -> bool:
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        poller.register(self.server.stop_fd, select.POLLIN)
        self.is_resting = not self.buffer
        ready = [fd for fd, _ in poller.poll()]
        self.is_resting = False
        if self.server.stop_fd in ready:
            return False
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def _read_request(self) -> Optional[Exchange]:
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return None
        end_of_head = self.buffer.index(b"\r\n\r\n")
        lines = self.buffer[:end_of_head].decode("latin-1").split("\r\n")
        del self.buffer[: end_of_head + 4]
        method, path, _ = lines[0].split(" ")
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        exchange = Exchange(self, method, path, headers)
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert "transfer-encoding" not in headers, "chunked requests are not expected here"
        length = int(headers.get("content-length", "0"))
        while len(self.buffer) < length:
            if not self._more():
                return None
        exchange.body = bytes(self.buffer[:length])
        del self.buffer[:length]
        exchange.received_at = time.monotonic()
        return exchange


class Upstream:
    """A model server on a loopback port of its own (or a Unix socket). Close it after the daemon."""

    def __init__(self, dialect: Any, port: int = 0, sndbuf: Optional[int] = None):
        self.dialect = dialect
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sndbuf:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(256)
        self.port = self.listener.getsockname()[1]
        self.stop_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self.changed = threading.Condition()
        self.exchanges: list[Exchange] = []
        self.connections: list[Connection] = []
        self.is_accepting = False
        self.scripts: list[list[Step]] = []
        self.default: list[Step] = say("Hello", " world")
        self.load_script: list[Step] = []
        self.unload_script: list[Step] = []
        self.list_script: list[Step] = []
        self.tags_script: list[Step] = []
        self.version_script: list[Step] = []
        self.models_script: list[Step] = []
        self.version = "0.34.3"
        self.has: list[str] = []  # what /api/tags lists, without a script
        self.sizes: dict[str, int] = {}  # in bytes, by name: of the file, and in memory
        self.digests: dict[str, str] = {}  # of the models' files, 64 hexadecimal digits, for /api/show
        self.keeps_load_connections = True  # False: the next request needs a new connection
        self.loaded: set[str] = set()
        self.errors: list[BaseException] = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    # ---- for tests

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_base(self) -> str:
        return self.url + ("/v1" if self.dialect.name == "openai" else "")

    def deployment(self, model: str = "m1", **params: Any) -> dict[str, Any]:
        """litellm_params of a deployment at this server."""
        prefix = "openai" if self.dialect.name == "openai" else "ollama_chat"
        out: dict[str, Any] = {"model": f"{prefix}/{model}", "api_base": self.api_base}
        if self.dialect.name == "openai":
            out["api_key"] = "sk-upstream"
        out.update(params)
        return out

    def next(self, *steps: Any) -> None:
        """The script of one coming inference request, in order of arrival."""
        with self.changed:
            self.scripts.append(_flat(steps))

    def always(self, *steps: Any) -> None:
        """The script of every inference request that has none of its own."""
        self.default = _flat(steps)

    def on_load(self, *steps: Any) -> None:
        self.load_script = _flat(steps)

    def on_unload(self, *steps: Any) -> None:
        self.unload_script = _flat(steps)

    def on_list(self, *steps: Any) -> None:
        """What /api/ps answers; without a script: the models that were loaded and not unloaded."""
        self.list_script = _flat(steps)

    def on_tags(self, *steps: Any) -> None:
        self.tags_script = _flat(steps)

    def on_version(self, *steps: Any) -> None:
        self.version_script = _flat(steps)

    def on_models(self, *steps: Any) -> None:
        """What GET /models answers: other servers than Ollama have it."""
        self.models_script = _flat(steps)

    def requests(self, *kinds: str) -> list[Exchange]:
        wanted = kinds or INFERENCE
        with self.changed:
            return [e for e in self.exchanges if e.kind in wanted]

    def wait_request(self, n: int = 1, *kinds: str, timeout: float = PATIENCE_SEC) -> Exchange:
        """The n-th request of these kinds (default: inference)."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while len(self.requests(*kinds)) < n:
                if not self.changed.wait(deadline - time.monotonic()):
                    seen = [f"{e.method} {e.path}" for e in self.exchanges]
                    raise AssertionError(f"request {n} of {kinds or 'any'} never came: {seen}")
            return self.requests(*kinds)[n - 1]

    def settle(self) -> None:
        """Waits until every request that was sent has been played: one that was given up early may come late, and take the script
        of the next. To be called while nobody asks."""
        eventually(lambda: self._is_settled, "the upstream has heard everything")

    @property
    def _is_settled(self) -> bool:
        if _has_input(self.listener) or self.is_accepting:
            return False
        return all(c.is_settled for c in list(self.connections))

    def close(self) -> None:
        os.eventfd_write(self.stop_fd, 1)
        self.thread.join(PATIENCE_SEC)
        self.listener.close()
        for connection in self.connections:
            connection.thread.join(PATIENCE_SEC)
        os.close(self.stop_fd)
        if self.errors:
            raise self.errors[0]

    # ---- threads

    def _accept(self) -> None:
        poller = select.poll()
        poller.register(self.listener, select.POLLIN)
        poller.register(self.stop_fd, select.POLLIN)
        while self.stop_fd not in [fd for fd, _ in poller.poll()]:
            self.is_accepting = True
            sock, _ = self.listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(Connection(self, sock))
            self.is_accepting = False

    def _play(self, exchange: Exchange) -> None:
        with self.changed:
            is_inference = exchange.kind in INFERENCE
            script = self.scripts.pop(0) if is_inference and self.scripts else None
            self.exchanges.append(exchange)
            self.changed.notify_all()
        try:
            if not is_inference:
                self.dialect.other(exchange)
                if exchange.is_last:
                    raise HangUp()
            elif script is None and exchange.kind in ("embed", "rerank", "classify"):
                getattr(self.dialect, exchange.kind)(exchange)
            else:
                for step in script if script is not None else self.default:
                    step(exchange)
            exchange.finished.set()
        except (PeerLeft, HangUp):
            raise
        except ConnectionError:
            exchange._left()
            raise
        except BaseException as e:  # a bug in a test's script: told at close()
            self.errors.append(e)
            raise HangUp() from e


def _flat(steps: Any) -> list[Step]:
    out: list[Step] = []
    for step in steps:
        out.extend(step if isinstance(step, list) else [step])
    return out


class RefusingPort:
    """A port of our own where nobody listens: connections are refused, and nobody else can take it."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.sock.getsockname()[1]}"

    def close(self) -> None:
        self.sock.close()


class DeafPort:
    """A port whose backlog is full and stays full: connection attempts are neither taken nor refused."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(0)
        self.url = f"http://127.0.0.1:{self.sock.getsockname()[1]}"
        self.fillers: list[socket.socket] = []
        for _ in range(4):  # Linux takes backlog + 1; the rest stays in SYN_SENT
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            filler.connect_ex(self.sock.getsockname())
            self.fillers.append(filler)

    def close(self) -> None:
        for filler in self.fillers:
            filler.close()
        self.sock.close()


class UnverifiedServer:
    """HTTPS with a certificate of its own making: whoever checks it goes away before saying anything."""

    def __init__(self, directory: Path) -> None:
        key, certificate = directory / "key.pem", directory / "certificate.pem"
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        argv += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        argv += ["-addext", "subjectAltName=IP:127.0.0.1"]
        argv += ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(argv, check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.received = b""
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return  # closed
            try:
                sock.settimeout(PATIENCE_SEC)
                with self.context.wrap_socket(sock, server_side=True) as tls:
                    self.received += tls.recv(65536)
            except (ssl.SSLError, OSError):
                pass  # what is expected of a client

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE_SEC)

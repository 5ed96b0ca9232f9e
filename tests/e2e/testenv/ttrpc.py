"""A ttrpc client of our own, down to single frames, so that tests can also say what no library would say.

Framing and the two envelopes are written by hand (containerd/ttrpc: PROTOCOL.md, request.proto); the messages inside
are dynamic protobuf classes made from the FileDescriptorSet that GetInfo carries, so the tests need no protoc.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Iterator, Optional

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from .waiting import PATIENCE_SEC

REQUEST, RESPONSE, DATA = 1, 2, 3
REMOTE_CLOSED, REMOTE_OPEN, NO_DATA = 0x01, 0x02, 0x04
FRAME_MAX = 4 << 20

ENGINE, CONTROL = "sluice.v1.Engine", "sluice.v1.Control"
OK, CANCELLED, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = 0, 1, 3, 4, 5
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 8, 9, 12, 13, 14


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def blob(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(field_number: int, value: int) -> bytes:
    """A varint field."""
    return varint(field_number << 3) + varint(value)


def fields(data: bytes) -> list[tuple[int, Any]]:
    """(number, value) of a message in wire form: int for varints, bytes for the rest."""
    out: list[tuple[int, Any]] = []
    at = 0

    def read_varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        key = read_varint()
        if key & 7 == 0:
            out.append((key >> 3, read_varint()))
            continue
        size = {1: 8, 5: 4}.get(key & 7)
        if size is None:
            assert key & 7 == 2, f"wire type {key & 7}"
            size = read_varint()
        assert at + size <= len(data), "field over the end of its message"
        out.append((key >> 3, data[at : at + size]))
        at += size
    return out


def request_envelope(
    service: str, method: str, payload: bytes = b"", timeout_nano: int = 0
) -> bytes:
    out = blob(1, service.encode()) + blob(2, method.encode())
    if payload:
        out += blob(3, payload)
    if timeout_nano:
        out += number(4, timeout_nano)
    return out


@dataclass
class Frame:
    stream_id: int
    type: int
    flags: int
    payload: bytes

    @property
    def is_end(self) -> bool:
        return self.type == RESPONSE or bool(self.type == DATA and self.flags & REMOTE_CLOSED)


@dataclass
class Response:
    """A decoded Response envelope."""

    code: int = 0
    message: str = ""
    details: list[tuple[str, bytes]] = field(default_factory=list)
    payload: bytes = b""

    @classmethod
    def decode(cls, data: bytes) -> "Response":
        response = cls()
        for num, value in fields(data):
            if num == 2:
                response.payload = value
            elif num == 1:
                response._decode_status(value)
        return response

    def _decode_status(self, data: bytes) -> None:
        for num, value in fields(data):
            if num == 1:
                self.code = value
            elif num == 2:
                self.message = value.decode()
            elif num == 3:
                any_ = dict(fields(value))
                self.details.append((any_.get(1, b"").decode(), any_.get(2, b"")))


class RpcError(Exception):
    def __init__(self, response: Response, detail: Any):
        super().__init__(f"status {response.code}: {response.message} ({detail})")
        self.code = response.code
        self.message = response.message
        self.detail = detail  # ErrorDetail, or None
        self.payload = response.payload


class ConnectionEnded(Exception):
    """The daemon closed the connection."""


class Schema:
    """sluice.v1's messages: schema.ChatRequest(...), schema.value("Role", "ROLE_USER")."""

    def __init__(self, file_descriptor_set: bytes):
        self.pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(file_descriptor_set).file:
            self.pool.Add(file)

    def __getattr__(self, name: str) -> Any:
        descriptor = self.pool.FindMessageTypeByName(f"sluice.v1.{name}")
        cls = message_factory.GetMessageClass(descriptor)
        setattr(self, name, cls)
        return cls

    def value(self, enum: str, name: str) -> int:
        return self.pool.FindEnumTypeByName(f"sluice.v1.{enum}").values_by_name[name].number


class Client:
    """One connection. Frames of several streams may be interleaved: those of others wait in `pending`."""

    def __init__(self, path: str, timeout: float = PATIENCE_SEC):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.timeout = timeout
        self.next_id = 1
        self.buffer = bytearray()
        self.pending: list[Frame] = []
        self._schema: Optional[Schema] = None

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- frames

    def new_id(self) -> int:
        self.next_id += 2
        return self.next_id - 2

    def send_raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_frame(self, stream_id: int, type_: int, flags: int, payload: bytes = b"") -> None:
        self.sock.sendall(struct.pack(">IIBB", len(payload), stream_id, type_, flags) + payload)

    def _fill(self, n: int, deadline: float) -> None:
        while len(self.buffer) < n:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no whole frame in time")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError as e:
                raise ConnectionEnded("reset") from e
            if not data:
                raise ConnectionEnded(f"end of file, {len(self.buffer)} bytes of a frame left over")
            self.buffer += data

    def recv_frame(self, timeout: Optional[float] = None) -> Frame:
        """The next frame of any stream, as it came."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        self._fill(10, deadline)
        length, stream_id, type_, flags = struct.unpack(">IIBB", self.buffer[:10])
        assert length <= FRAME_MAX, f"the daemon sent a frame of {length} bytes"
        self._fill(10 + length, deadline)
        payload = bytes(self.buffer[10 : 10 + length])
        del self.buffer[: 10 + length]
        return Frame(stream_id, type_, flags, payload)

    def recv_on(self, stream_id: int, timeout: Optional[float] = None) -> Frame:
        """The next frame of this stream."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        for i, frame in enumerate(self.pending):
            if frame.stream_id == stream_id:
                return self.pending.pop(i)
        while True:
            frame = self.recv_frame(max(0.0, deadline - time.monotonic()))
            if frame.stream_id == stream_id:
                return frame
            self.pending.append(frame)

    # ---- calls

    @property
    def schema(self) -> Schema:
        if self._schema is None:
            info = dict(fields(self.unary_bytes(ENGINE, "GetInfo", b"")))
            self._schema = Schema(info[5])
        return self._schema

    def start(
        self, service: str, method: str, payload: bytes, flags: int = 0, timeout_nano: int = 0
    ) -> int:
        stream_id = self.new_id()
        self.send_frame(
            stream_id, REQUEST, flags, request_envelope(service, method, payload, timeout_nano)
        )
        return stream_id

    def raise_status(self, response: Response) -> None:
        detail = None
        if response.details:
            type_url, value = response.details[0]
            assert type_url == "type.googleapis.com/sluice.v1.ErrorDetail", type_url
            detail = self.schema.ErrorDetail.FromString(value)
        raise RpcError(response, detail)

    def unary_bytes(self, service: str, method: str, payload: bytes) -> bytes:
        stream_id = self.start(service, method, payload)
        frame = self.recv_on(stream_id)
        assert frame.type == RESPONSE, f"type {frame.type} on a unary call"
        response = Response.decode(frame.payload)
        if response.code != OK:
            self.raise_status(response)
        return response.payload

    def unary(self, service: str, method: str, request: Any, response_name: str) -> Any:
        data = self.unary_bytes(service, method, request.SerializeToString())
        return getattr(self.schema, response_name).FromString(data)

    def events(self, stream_id: int, timeout: Optional[float] = None) -> Iterator[Any]:
        """The Event messages of a stream until its end; RpcError where it ends with a status."""
        while True:
            frame = self.recv_on(stream_id, timeout)
            if frame.type == RESPONSE:
                response = Response.decode(frame.payload)
                assert response.code != OK, "a stream was ended by Response(OK)"
                assert response.payload == b"", "an error Response with a payload"
                self.raise_status(response)
            assert frame.type == DATA, f"type {frame.type} on a stream"
            if frame.flags & REMOTE_CLOSED:
                assert frame.flags == REMOTE_CLOSED | NO_DATA, f"end with flags {frame.flags:#x}"
                assert frame.payload == b"", "a message in the closing frame"
                return
            assert frame.flags == 0, f"flags {frame.flags:#x} on a message"
            yield self.schema.Event.FromString(frame.payload)

    def stream(self, method: str, request: Any, timeout_nano: int = 0) -> int:
        """Starts a server stream of Engine; its id."""
        return self.start(ENGINE, method, request.SerializeToString(), REMOTE_CLOSED, timeout_nano)

    # ---- what most tests want

    def chat_request(self, model: str, text: str = "hello", **options: Any) -> Any:
        s = self.schema
        request = s.ChatRequest(model=model)
        request.messages.add(role=s.value("Role", "ROLE_USER"), text=text)
        for name, value in options.items():
            setattr(request.options, name, value)
        return request

    def chat(self, model: str, text: str = "hello", **options: Any) -> Iterator[Any]:
        return self.events(self.stream("Chat", self.chat_request(model, text, **options)))

    def status(self) -> Any:
        return self.unary(CONTROL, "Status", self.schema.StatusRequest(), "StatusResponse")

    def cancel(self, request_id: str) -> bool:
        request = self.schema.CancelRequest(request_id=request_id)
        return self.unary(ENGINE, "Cancel", request, "CancelResponse").found


def kinds(events: list[Any]) -> list[str]:
    return [e.WhichOneof("kind") for e in events]


def text_of(events: list[Any]) -> str:
    return b"".join(e.text.text for e in events if e.WhichOneof("kind") == "text").decode()

"""docs/protocol.md says what is: its dumps and its limits are compared with a real daemon, and its client is run.

SLUICE_WRITE_DOCS=1 writes the dumps anew instead of comparing them. (The table of errors: tests/lint/lint_errors.py.)
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from google.protobuf import text_format
from testenv import ttrpc
from testenv.daemon import mock
from testenv.paths import SOURCE
from testenv.ttrpc import DATA, ENGINE, REMOTE_CLOSED, REQUEST, Client, Response
from testenv.upstream import end, fin, text

DOC = SOURCE / "docs/protocol.md"
TYPES = {1: "Request", 2: "Response", 3: "Data"}


def part(name: str) -> str:
    """What stands between the marks of a generated part."""
    found = re.search(rf"<!-- generated: {name} -->\n(.*?)<!-- end -->", DOC.read_text(), re.S)
    assert found, f"no part {name}"
    return found.group(1)


def check_or_write(name: str, made: str, same: Callable[[str, str], bool]) -> None:
    if os.environ.get("SLUICE_WRITE_DOCS"):
        whole = DOC.read_text()
        at = whole.index(f"<!-- generated: {name} -->\n") + len(f"<!-- generated: {name} -->\n")
        DOC.write_text(whole[:at] + made + whole[whole.index("<!-- end -->", at) :])
    assert same(part(name), made), f"docs/protocol.md: {name} is not what is sent (SLUICE_WRITE_DOCS=1 writes it):\n{made}"


# ---------------------------------------------------------------------------------------------- dumps


class Recorder(Client):
    """Notes each frame that goes either way."""

    def __init__(self, path: str):
        super().__init__(path)
        self.seen: list[tuple[str, bytes]] = []
        self.schema  # its call is none of ours
        self.next_id = 1
        self.seen.clear()

    def send_raw(self, data: bytes) -> None:
        self.seen.append(("client", data))
        super().send_raw(data)

    def send_frame(self, stream_id: int, type_: int, flags: int, payload: bytes = b"") -> None:
        self.send_raw(struct.pack(">IIBB", len(payload), stream_id, type_, flags) + payload)

    def recv_frame(self, timeout: Any = None) -> ttrpc.Frame:
        f = super().recv_frame(timeout)
        header = struct.pack(">IIBB", len(f.payload), f.stream_id, f.type, f.flags)
        self.seen.append(("daemon", header + f.payload))
        return f

    def dump(self, request: str, answer: str) -> str:
        frames = [self._frame(who, data, request, answer) for who, data in self.seen]
        return "```\n" + "\n".join(frames) + "```\n"

    def _frame(self, who: str, data: bytes, request: str, answer: str) -> str:
        length, stream_id, type_, flags = struct.unpack(">IIBB", data[:10])
        lines = [f"{who}: {TYPES[type_]}, stream {stream_id}, flags 0x{flags:02x}, {length} bytes"]
        for at in range(0, len(data), 16):
            row = data[at : at + 16]
            shown = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
            lines.append(f"  {at:04x}  {row.hex(' '):47}  {shown}")
        lines += [f"  = {line}" for line in self._meaning(type_, data[10:], request, answer)]
        return "\n".join(lines) + "\n"

    def _meaning(self, type_: int, payload: bytes, request: str, answer: str) -> list[str]:
        if type_ == DATA:
            return [self._text(answer, payload)] if payload else ["the end"]
        if type_ == REQUEST:
            envelope = dict(ttrpc.fields(payload))
            method = f"{envelope[1].decode()} {envelope[2].decode()}"
            return [method, f"{request} {{ {self._text(request, envelope.get(3, b''))} }}"]
        response = Response.decode(payload)
        if response.code == ttrpc.OK:
            return [f"{answer} {{ {self._text(answer, response.payload)} }}"]
        detail = self._text("ErrorDetail", response.details[0][1])
        return [f'status {response.code}: "{response.message}"', f"ErrorDetail {{ {detail} }}"]

    def _text(self, name: str, data: bytes) -> str:
        message = getattr(self._schema, name).FromString(data)
        return text_format.MessageToString(message, as_one_line=True, as_utf8=True)


def same_frames(schema: Any) -> Callable[[str, str], bool]:
    """Two dumps say the same but for times, which no two runs share, and the lengths that follow from them."""

    def frames(dump: str) -> list[tuple[str, bytes]]:
        out = []
        for block in re.split(r"\n\n|```\n", dump):
            if head := re.match(r"(client|daemon): ", block):
                rows = re.findall(r"^  [0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)", block, re.M)
                out.append((head.group(1), bytes.fromhex(" ".join(rows))))
        return out

    def plain(who: str, data: bytes) -> tuple[str, bytes, bytes]:
        header, payload = data[4:10], data[10:]
        assert int.from_bytes(data[:4], "big") == len(payload)
        if header[4] == DATA and payload:
            event = schema.Event.FromString(payload)
            if event.HasField("done"):
                event.done.ClearField("timings")
                payload = event.SerializeToString(deterministic=True)
        return who, header, payload

    return lambda a, b: [plain(*f) for f in frames(a)] == [plain(*f) for f in frames(b)] != []


@pytest.fixture
def recorder(env: Any) -> Any:
    sluice = env.start({"tiny": mock("Hello, world")})
    client = Recorder(sluice.rpc_path)
    sluice.clients.append(client)
    return client


def test_unary_call(recorder: Recorder) -> None:
    recorder.unary_bytes(ENGINE, "ListModels", b"")
    made = recorder.dump("ListModelsRequest", "ListModelsResponse")
    check_or_write("unary", made, same_frames(recorder.schema))


def test_chat(recorder: Recorder) -> None:
    request = recorder.chat_request("tiny", "Hi", request_id="my-1")
    list(recorder.events(recorder.stream("Chat", request)))
    check_or_write("chat", recorder.dump("ChatRequest", "Event"), same_frames(recorder.schema))


def test_error(recorder: Recorder) -> None:
    request = recorder.chat_request("tinny", "Hi", request_id="my-2")
    with pytest.raises(ttrpc.RpcError):
        list(recorder.events(recorder.stream("Chat", request)))
    check_or_write("error", recorder.dump("ChatRequest", "Event"), same_frames(recorder.schema))


# ---------------------------------------------------------------------------------------------- tables


def test_limits(env: Any) -> None:
    rpc = env.start().rpc()
    info = rpc.unary(ENGINE, "GetInfo", rpc.schema.GetInfoRequest(), "GetInfoResponse")
    doc = DOC.read_text()
    for said in (
        f"| payload of a frame | {info.limits.frame_bytes:,} bytes,",
        f"and watches | {info.limits.calls_per_connection} |",
        f"| {info.limits.messages:,}, {info.limits.inputs:,} |",
        f"once {info.limits.output_high_water_bytes // 1024} KiB of answers",
        f"after {info.limits.stalled_reader_usec // 1_000_000} s without progress",
    ):
        assert said in doc, said


def test_every_method_is_in_the_table(env: Any) -> None:
    rpc = env.start().rpc()
    table = DOC.read_text().split("## The kinds of calls")[1].split("\n## ")[0]
    for service in (ttrpc.ENGINE, ttrpc.CONTROL):
        for method in rpc.schema.pool.FindServiceByName(service).methods:
            kinds = [line for line in table.splitlines() if f"`{method.name}`" in line]
            kind = "client stream" if method.client_streaming else "server stream"
            kind = kind if method.server_streaming or method.client_streaming else "unary"
            assert len(kinds) == 1 and kinds[0].startswith(f"| {kind} |"), method.name


# ---------------------------------------------------------------------------------------------- the program


@pytest.fixture
def program(tmp_path: Path) -> Path:
    found = re.search(r"<!-- program: ask.py -->\n```python\n(.*?)```", DOC.read_text(), re.S)
    assert found
    path = tmp_path / "ask.py"
    path.write_text(found.group(1))
    return path


def run(program: Path, sluice: Any, *args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(program), *args],
        env={**os.environ, "SLUICE_SOCKET": sluice.rpc_path},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_program(env: Any, program: Path) -> None:
    assert len(program.read_text().splitlines()) <= 65
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    long = [f"日本 {i} " for i in range(2000)]
    upstream.next(text(*long), end())
    done = run(program, sluice, "m", "hello " * 100)
    assert done.returncode == 0 and done.stdout == "".join(long), done.stderr
    assert upstream.wait_request().json["messages"][0]["content"] == "hello " * 100


def test_program_says_what_is_wrong(env: Any, program: Path) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    wrong = run(program, sluice, "nope", "x")
    assert wrong.returncode == 1 and "(status 5)" in wrong.stderr
    upstream.next(text("half"), fin())
    cut = run(program, sluice, "m", "x")
    assert cut.returncode == 1 and cut.stdout == "half" and "(status 14)" in cut.stderr

"""The examples of libsluice, clients/examples/c, as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
from testenv import paths
from testenv.daemon import Daemon, mock
from testenv.upstream import Gate, Upstream, end, fin, say, stall, text, wait_for
from testenv.waiting import eventually

EXAMPLES = paths.SLUICED.parent.parent / "examples"
NAMES = ["chat", "chat_poll", "chat_sdevent"]
PATIENCE_SEC = 20


@pytest.fixture(params=NAMES)
def example(request: pytest.FixtureRequest) -> Iterator[Path]:
    if not EXAMPLES.exists():
        pytest.skip(f"no {EXAMPLES}: the examples are built with SLUICE_TESTS only")
    yield EXAMPLES / request.param


def start(program: Path, sluice_path: str, *args: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [str(program), *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "SLUICE_SOCKET": sluice_path},
    )


def run(program: Path, sluice: Daemon, *args: str) -> tuple[int, str, str]:
    with start(program, sluice.rpc_path, *args) as process:
        out, err = process.communicate(timeout=PATIENCE_SEC)
    return process.returncode, out.decode(), err.decode()


def test_answer(env: Any, upstream: Upstream, example: Path) -> None:
    sluice = env.start({"m": upstream.deployment()})
    pieces = [f"日本{i} " for i in range(500)]
    upstream.next(text(*pieces), end())
    status, out, err = run(example, sluice, "m", "hello")
    assert status == 0 and "".join(pieces) in out, err
    assert upstream.wait_request().json["messages"][-1]["content"] == "hello"


def test_unknown_model(env: Any, example: Path) -> None:
    status, out, err = run(example, env.start({"m": mock()}), "nope", "hello")
    assert status == 1 and "(model_not_found)" in err


def test_answer_that_is_cut(env: Any, upstream: Upstream, example: Path) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("half"), fin())
    status, out, err = run(example, sluice, "m", "hello")
    assert status == 1 and "(upstream_cut)" in err


def test_daemon_that_goes_away(env: Any, example: Path) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("half"), stall())
    with start(example, sluice.rpc_path, "m", "hello") as process:
        upstream.wait_request()
        eventually(lambda: sluice.status().calls_running == 1, "it runs")
        sluice.kill()
        env.daemons.remove(sluice)
        _, err = process.communicate(timeout=PATIENCE_SEC)
    assert process.returncode == 1 and b"(connection_lost)" in err


def test_no_daemon(example: Path) -> None:
    with start(example, "/nowhere/rpc.sock", "m", "hello") as process:
        _, err = process.communicate(timeout=PATIENCE_SEC)
    assert process.returncode == 1 and b"/nowhere/rpc.sock" in err


@pytest.mark.parametrize("args", [(), ("m",)])
def test_usage(example: Path, args: tuple[str, ...]) -> None:
    with start(example, "", *args) as process:
        _, err = process.communicate(timeout=PATIENCE_SEC)
    assert process.returncode == 2 and b"usage: " in err


def heeds_interrupts(pid: int) -> bool:
    """SIGINT is caught, or blocked for a signalfd: a request may be out before that."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigCgt", "SigBlk"))]
    return any(mask >> (signal.SIGINT - 1) & 1 for mask in masks)


@pytest.mark.parametrize("example", ["chat_poll", "chat_sdevent"], indirect=True)
def test_interrupt_cancels(env: Any, upstream: Upstream, example: Path) -> None:
    upstream.always(text("some"), stall())
    sluice = env.start({"m": upstream.deployment()})
    with start(example, sluice.rpc_path, "m", "hello") as process:
        exchange = upstream.wait_request()
        eventually(lambda: heeds_interrupts(process.pid), "SIGINT is heeded")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_SEC)
    assert process.returncode == 1 and b"(cancelled)" in err
    assert exchange.peer_left.wait(10)
    assert sluice.wait_call_records(1)[0]["SLUICE_OUTCOME"] == "cancelled"


@pytest.mark.parametrize("example", ["chat", "chat_sdevent"], indirect=True)
def test_text_is_shown_as_it_comes(env: Any, example: Path) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("first"), wait_for(gate), text("second"), end())
    with start(example, sluice.rpc_path, "m", "hello") as process:
        assert process.stdout
        assert os.read(process.stdout.fileno(), 100) == b"first"
        gate.open()
        out, _ = process.communicate(timeout=PATIENCE_SEC)
    assert out == b"second\n" and process.returncode == 0


@pytest.mark.parametrize("example", ["chat_poll"], indirect=True)
def test_answers_side_by_side(env: Any, example: Path) -> None:
    """All are asked at once, and each is printed when it is whole: the last one first here. One of them fails."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 4})
    gates = [Gate() for _ in range(3)]
    for i, gate in enumerate(gates):
        upstream.next(wait_for(gate), *(say(f"answer {i}") if i else [text("half"), fin()]))
    with start(example, sluice.rpc_path, "m", "zero", "one", "two") as process:
        asked = [upstream.wait_request(i + 1).json["messages"][0]["content"] for i in range(3)]
        assert process.stdout
        for i in (2, 1):
            gates[i].open()
            line = process.stdout.readline() + process.stdout.readline()
            assert line == f"== {asked[i]}\nanswer {i}\n".encode()
        gates[0].open()
        _, err = process.communicate(timeout=PATIENCE_SEC)
    assert process.returncode == 1 and f"== {asked[0]}\n".encode() in err

"""Memory pressure: a /proc/pressure/memory of our own, whose totals grow as the test says.

The daemon takes deltas of total= over two seconds; L3 (full 30 %) refuses new calls, those that run go on.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from testenv import ttrpc
from testenv.http import chat_body, contents
from testenv.rules import check_complete
from testenv.ttrpc import RpcError, text_of
from testenv.upstream import ELSEWHERE, Gate, end, say, text, wait_for
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"


class Kernel:
    """Writes the file 20 times per second, as a kernel would that loses `permille` of its time."""

    def __init__(self, root: Path):
        self.path = root / "proc" / "pressure" / "memory"
        self.path.parent.mkdir(parents=True)
        self.some_permille = self.full_permille = 0
        self.some_usec = self.full_usec = 1000.0
        self.stopped = threading.Event()
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT)
        self._write()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _write(self) -> None:
        """In place and of constant length: the daemon keeps the file open, as it does the kernel's."""
        lines = [
            f"{name} avg10=0.00 avg60=0.00 avg300=0.00 total={int(usec):016d}\n"
            for name, usec in (("some", self.some_usec), ("full", self.full_usec))
        ]
        os.pwrite(self.fd, "".join(lines).encode(), 0)

    def _run(self) -> None:
        last = time.monotonic()
        while not self.stopped.wait(0.05):
            now = time.monotonic()
            self.some_usec += (now - last) * 1000 * self.some_permille
            self.full_usec += (now - last) * 1000 * self.full_permille
            last = now
            self._write()

    def close(self) -> None:
        if not self.stopped.is_set():
            self.stopped.set()
            self.thread.join(10)
            os.close(self.fd)


@pytest.fixture
def kernel(env) -> Iterator[Kernel]:
    k = Kernel(env.directory / "root")
    yield k
    k.close()


def settings(env: Any) -> dict[str, Any]:
    root = str(env.directory / "root")
    return {"slots": 2, "pressure": {"enabled": True, "kernel_root": root}}


def status_of(sluice: Any) -> int:
    return sluice.post(CHAT, chat_body()).status


@pytest.mark.timeout(90)
def test_critical_pressure_refuses_and_recovers(env, kernel: Kernel) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice=settings(env))
    assert status_of(sluice) == 200
    gate = Gate()
    upstream.next(text("before"), wait_for(gate), text(" after"), end())
    with sluice.http() as running:
        running.send_request("POST", CHAT, chat_body(stream=True))
        upstream.wait_request(2)

        kernel.some_permille, kernel.full_permille = 600, 400
        eventually(lambda: status_of(sluice) == 503, "new calls are refused", 20)
        answer = sluice.post(CHAT, chat_body())
        assert answer.error["code"] == "memory_pressure"
        assert 1 <= float(answer.header("retry-after") or "0") <= 60
        assert answer.header("x-sluice-level") in ("3", "4")
        with sluice.rpc() as rpc, pytest.raises(RpcError) as e:
            list(rpc.chat("m"))
        assert e.value.code == ttrpc.UNAVAILABLE and e.value.detail.code == "memory_pressure"
        s = sluice.status()
        assert s.pressure_level >= 3 and s.pressure_source == "psi"
        assert s.pressure_full_permille >= 300
        assert sluice.get("/v1/models").status == 200

        gate.open()  # what runs already, runs on
        events = list(running.sse(running.read_head()))
        check_complete(events)
        assert contents(events) == "before after"

    kernel.some_permille = kernel.full_permille = 0
    eventually(lambda: status_of(sluice) == 200, "calls are taken again, before the level's hold is over", 40)
    eventually(lambda: sluice.status().pressure_level <= 2, "the level falls", 40)


def test_calls_for_another_machine_are_served_at_every_level(env, kernel: Kernel) -> None:
    """Asked for by their own name, without sluice.spill: they take none of this device's memory."""
    here, there = env.openai(), env.openai()
    there.always(*say("From", " afar"))
    far = there.deployment("big", api_base=f"http://{ELSEWHERE}:{there.port}/v1")
    sluice = env.start({"m": here.deployment(), "far": far}, sluice=settings(env))
    kernel.some_permille, kernel.full_permille = 900, 900
    here.always(*say("here"))
    eventually(lambda: status_of(sluice) == 503 and sluice.status().pressure_level == 4, "an emergency", 30)
    n_here = len(here.requests("chat"))
    for klass in ("interactive", "batch", "background"):
        answer = sluice.post(CHAT, chat_body("far"), headers={"x-sluice-class": klass})
        assert answer.status == 200 and answer.header("x-sluice-spilled") is None, klass
    assert len(there.requests("chat")) == 3 and len(here.requests("chat")) == n_here
    with sluice.rpc() as rpc:
        assert text_of(list(rpc.chat("far"))) == "From afar"


def test_mild_pressure_refuses_nobody(env, kernel: Kernel) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice=settings(env))
    kernel.some_permille, kernel.full_permille = 150, 0

    def guarded() -> bool:
        assert status_of(sluice) == 200
        return sluice.status().pressure_level == 1

    eventually(guarded, "level 1", 20)


def test_file_that_becomes_unreadable(env, kernel: Kernel) -> None:
    """Nothing is known any more: guarded, not refused."""
    sluice = env.start(sluice=settings(env))
    assert status_of(sluice) == 200
    kernel.close()
    kernel.path.write_text("")

    def guarded() -> bool:
        assert status_of(sluice) == 200
        return sluice.status().pressure_level == 1

    eventually(guarded, "level 1", 20)


def test_no_pressure_file(env) -> None:
    """A kernel without PSI: the daemon says so and serves."""
    sluice = env.start(sluice={"pressure": {"enabled": True, "kernel_root": str(env.directory)}})
    assert sluice.post(CHAT, chat_body()).status == 200
    s = sluice.status()
    assert s.pressure_level == 0 and s.pressure_source == "none"


@pytest.mark.parametrize(
    "content", ["", "nonsense\n", "some avg10=0.00 total=\n", "some total=-5\nfull total=x\n"]
)
def test_unreadable_pressure_file(env, content: str) -> None:
    path = env.directory / "root" / "proc" / "pressure" / "memory"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    sluice = env.start(sluice=settings(env))
    assert sluice.post(CHAT, chat_body()).status == 200

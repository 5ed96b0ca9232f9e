"""What levels are made of beside PSI, through the real daemon: headroom, the model server's group, kernels that tell little or wrong."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Callable

import pytest
from testenv.cli import run
from testenv.http import chat_body
from testenv.kernel import Tree, meminfo, psi
from testenv.upstream import Gate, end, text, wait_for
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
OLD_SEC = 0.6  # twice and more of the pace of samples while calls run
UNIT = "system.slice/ollama.service"


def status_of(sluice: Any) -> int:
    """Of a call; it makes the daemon look at memory."""
    return sluice.post(CHAT, chat_body()).status


@pytest.fixture
def tree(env) -> Tree:
    return Tree(env.directory)


def reaches(sluice: Any, level: int) -> Any:
    def at_level() -> Any:
        status_of(sluice)
        s = sluice.status()
        return s if s.pressure_level == level else None

    return eventually(at_level, f"level {level}")


@pytest.mark.parametrize(
    ("left_mib", "level", "status", "reason"),
    [
        (1500, 0, 200, "calm"),
        (200, 1, 200, "headroom 200 MiB < 245 MiB"),
        (120, 2, 200, "headroom 120 MiB < 163 MiB"),
        (80, 3, 503, "headroom 80 MiB < 98 MiB"),
        (20, 4, 503, "headroom 20 MiB < 49 MiB"),
    ],
)
def test_headroom(env, tree: Tree, left_mib: int, level: int, status: int, reason: str) -> None:
    tree.put("proc/meminfo", meminfo(left_mib))
    sluice = env.start(sluice={"pressure": tree.settings})
    assert status_of(sluice) == status
    s = sluice.status()
    assert (s.pressure_level, s.pressure_reason) == (level, reason)
    assert (s.headroom_bytes >> 20, s.memory_bytes >> 20) == (left_mib, 2048)
    records = [r for r in sluice.records if r.get("SLUICE_EVENT") == "pressure_level"]
    assert len(records) == (level > 0)
    assert all(reason in r.get("message", "") and r["SLUICE_REASON"] == "headroom" for r in records)
    metrics = sluice.get("/metrics").body.decode()
    assert f"sluice_pressure_level {level}\n" in metrics
    assert f"sluice_memory_headroom_bytes {left_mib << 20}\n" in metrics
    assert f'sluice_pressure_reason{{reason="{"headroom" if level else "calm"}"}} 1\n' in metrics
    assert "sluice_pressure_rung 3\n" in metrics


def test_a_level_that_only_holds(env, tree: Tree) -> None:
    """What is shown says what it is for calls: they are taken again before the level falls."""
    tree.put("proc/meminfo", meminfo(80))
    sluice = env.start(sluice={"pressure": tree.settings})
    assert status_of(sluice) == 503
    assert "held" not in sluice.status().pressure_reason
    tree.put("proc/meminfo", meminfo(1500))
    eventually(lambda: status_of(sluice) == 200, "calls are taken again")
    s = sluice.status()
    assert s.pressure_level == 3 and s.pressure_reason.endswith("; held, calls are taken as at L2")
    explained = run(sluice, "explain", "m")
    assert b"memory: L3, " in explained.stdout and b"; held, calls are taken as at L2" in explained.stdout


def test_a_limit_of_the_model_servers_group(env, tree: Tree) -> None:
    for is_v1 in (False, True):
        tree.put_group(UNIT, 1000, 500, is_v1)
        sluice = env.start(sluice={"pressure": {**tree.settings, "group": "ollama.service"}})
        assert status_of(sluice) == 200 and sluice.status().memory_bytes >> 20 == 1000
        tree.put_group(UNIT, 1000, 970, is_v1)
        s = reaches(sluice, 4)
        assert "(model server's group)" in s.pressure_reason
        assert sluice.post(CHAT, chat_body()).error["code"] == "memory_pressure"
        tree.remove("sys")


def test_an_oom_kill_in_the_group(env, tree: Tree) -> None:
    tree.put_group(UNIT, 1000, 100)
    sluice = env.start(sluice={"pressure": {**tree.settings, "group": f"/{UNIT}"}})
    assert status_of(sluice) == 200
    tree.put(f"sys/fs/cgroup/{UNIT}/memory.events", "high 0\nmax 0\noom 1\noom_kill 1\n")
    assert "killed" in reaches(sluice, 4).pressure_reason


def test_a_group_that_goes_and_comes_back(env, tree: Tree) -> None:
    """A unit that is restarted: its files vanish, its counters begin anew. Nobody is refused."""
    tree.put_group(UNIT, 1000, 100)
    tree.put(f"sys/fs/cgroup/{UNIT}/memory.pressure", psi(10**12))
    sluice = env.start(sluice={"pressure": {**tree.settings, "group": "ollama.service"}})
    assert status_of(sluice) == 200 and sluice.status().memory_bytes >> 20 == 1000
    for name in ("memory.pressure", "memory.max", "memory.stat", "memory.events"):
        tree.put(f"sys/fs/cgroup/{UNIT}/{name}", "")

    def is_gone() -> bool:
        assert status_of(sluice) == 200
        return sluice.status().memory_bytes >> 20 == 2048

    eventually(is_gone, "only the machine is watched")
    assert sluice.status().pressure_level == 0


@pytest.mark.parametrize("group", ["vllm.service", "/not/there"])
def test_a_group_that_is_not_there(env, tree: Tree, group: str) -> None:
    sluice = env.start(sluice={"pressure": {**tree.settings, "group": group}})
    assert status_of(sluice) == 200
    assert [r for r in sluice.records if "control group is not found" in r.get("message", "")]
    assert sluice.status().pressure_level == 0


POOR: dict[str, tuple[Callable[[Tree], None], str]] = {
    "no PSI": (lambda t: t.remove("proc/pressure"), "vmstat"),
    "PSI that is switched off": (lambda t: t.fold("proc/pressure/memory"), "vmstat"),
    "PSI cut in the middle": (lambda t: t.put("proc/pressure/memory", "some avg10=0.00 avg60=0.0"), "vmstat"),
    "only some": (lambda t: t.put("proc/pressure/memory", psi(5).split("\n")[0] + "\n"), "psi"),
    "huge totals": (lambda t: t.put("proc/pressure/memory", psi(2**64 - 1, 2**64 - 1)), "psi"),
    "totals beyond 64 bits": (lambda t: t.put("proc/pressure/memory", psi(10**30)), "psi"),
    "no MemAvailable": (
        lambda t: t.put("proc/meminfo", meminfo(0).replace("MemAvailable", "Other").replace("MemFree: 1024", "MemFree: 900000")),
        "psi",
    ),
    "no vmstat": (lambda t: t.remove("proc/vmstat"), "psi"),
    "no PSI, no vmstat": (lambda t: (t.remove("proc/pressure"), t.remove("proc/vmstat"))[0], "meminfo"),
    "nothing": (lambda t: t.remove("proc"), "none"),
}


@pytest.mark.parametrize("name", POOR)
def test_kernels_that_tell_little(env, tree: Tree, name: str) -> None:
    """From the start: the rung of the ladder is told, the level is 0."""
    spoil, source = POOR[name]
    spoil(tree)
    sluice = env.start(sluice={"pressure": tree.settings})
    assert status_of(sluice) == 200
    s = sluice.status()
    assert (s.pressure_source, s.pressure_level) == (source, 0)


@pytest.mark.parametrize("path", ["proc/pressure/memory", "proc/meminfo", "proc/vmstat"])
@pytest.mark.parametrize("text", ["", "some avg10=0.00 avg60=0.0", "MemTotal: 99", "\0" * 4096])
def test_files_that_break(env, tree: Tree, path: str, text: str) -> None:
    """What could be read and cannot any more: level 1 and a reason; nobody is refused."""
    sluice = env.start(sluice={"pressure": tree.settings})
    assert status_of(sluice) == 200
    tree.put(path, text)
    s = reaches(sluice, 1)
    assert s.pressure_reason == "memory can no longer be read"
    assert status_of(sluice) == 200


def test_counters_that_go_backwards(env, tree: Tree) -> None:
    tree.put("proc/pressure/memory", psi(10**15, 10**15))
    sluice = env.start(sluice={"pressure": tree.settings})
    assert status_of(sluice) == 200
    for total in (10**6, 10**3, 0):
        tree.put("proc/pressure/memory", psi(total, total))
        tree.put("proc/vmstat", "workingset_refault_file 0\noom_kill 0\n")

        def is_seen(total: int = total) -> bool:
            assert status_of(sluice) == 200
            return sluice.status().pressure_level == 0

        eventually(is_seen, "a sample")


def test_a_daemon_that_stood_still_decides_by_now(env, tree: Tree) -> None:
    """Stopped, and continued when memory is gone, as after a suspend: the first call is refused, not the next."""
    sluice = env.start(sluice={"pressure": tree.settings})
    assert status_of(sluice) == 200
    with sluice.http() as waiting:
        os.kill(sluice.pid, signal.SIGSTOP)
        stopped_at = time.monotonic()
        tree.put("proc/meminfo", meminfo(20))
        waiting.send_request("POST", CHAT, chat_body())
        eventually(lambda: time.monotonic() > stopped_at + OLD_SEC, "the last sample is old")
        os.kill(sluice.pid, signal.SIGCONT)
        assert waiting.read_answer().status == 503
    assert sluice.status().pressure_level == 4


@pytest.mark.parametrize("what", ["load", "load beyond its plan", "answer"])
def test_a_load_takes_memory_fast_and_is_no_emergency(env, tree: Tree, what: str) -> None:
    """Headroom falls by hundreds of MiB a second: while a model loads that was expected, beside an answer it is not.

    When more has gone than the load was to take (525 MiB, of a file of 200), it is one again: somebody else takes it.
    """
    gate, upstream = Gate(), env.ollama()
    if what == "answer":
        upstream.next(wait_for(gate), text("late"), end())
    else:
        upstream.on_load(wait_for(gate))
    if what == "load beyond its plan":
        upstream.has, upstream.sizes = ["m1"], {"m1": 200 << 20}
    settings = {"pressure": tree.settings, "memory": {"prompt_cache": "0B"}}
    sluice = env.start({"m": upstream.deployment()}, sluice=settings)
    levels = set()
    with sluice.http() as client:
        client.send_request("POST", CHAT, chat_body())
        upstream.wait_request(1, "chat" if what == "answer" else "load")
        for left_mib in range(1400, 400, -100):
            tree.put("proc/meminfo", meminfo(left_mib))
            eventually(lambda: sluice.status().headroom_bytes >> 20 == left_mib, "a sample")
            levels.add(sluice.status().pressure_level)
            if max(levels) > 0: # seen; further down calls would be ended for it
                break
        gate.open()
        assert client.read_answer().status == 200
    assert (max(levels) > 0) == (what != "load")

"""What models take where processes of others are hidden, as from the installed service: by what the model server's control group grows.

A kernel of our own (testenv/kernel.py) whose /proc shows no process at all, with a group of v1 or v2 for ollama.service: its server alone
has 30 MiB. As in test_residency.py the device has 2000 MiB; the file of a model of 640 is 400.
"""

from __future__ import annotations

from typing import Any

import pytest
from test_messages import events, wait_event
from test_residency import MIB, Device, chat, settings
from test_runner_memory import Processes, digest, state_of
from testenv.cli import run
from testenv.daemon import Daemon
from testenv.kernel import Tree
from testenv.upstream import Upstream
from testenv.waiting import eventually

UNIT = "system.slice/ollama.service"
SERVER, RUNNER = 70, 71


class Hidden:
    """The device, its Ollama and the group of it: what is in it is set by put()."""

    def __init__(self, env: Any, takes: dict[str, int], is_v1: bool = False, device: type[Device] = Device):
        self.tree = Tree(env.directory)
        self.is_v1 = is_v1
        self.upstream: Upstream = env.ollama()
        self.upstream.digests = {name: digest(name) for name in takes}
        self.device = device(self.tree.root, self.upstream, **takes)
        self.tree.put_group(UNIT, 4000, 100, is_v1)
        self.put(30, 20)
        pressure = {**self.tree.settings, "group": "ollama.service"}
        self.sluice: Daemon = env.start({n: self.upstream.deployment(n) for n in takes}, sluice={**settings(env), "pressure": pressure})

    def put(self, anon_mib: int, mapped_mib: int, *pids: int) -> None:
        """Processes beside the server, and what all of them hold."""
        anon, mapped = ("total_rss", "total_mapped_file") if self.is_v1 else ("anon", "file_mapped")
        old = "inactive_file 0\nactive_file 0\nworkingset_refault_file 0\npgscan 0\n"
        stat = f"{old}{anon} {anon_mib * MIB}\n{mapped} {mapped_mib * MIB}\n"
        at = "memory/" if self.is_v1 else ""
        self.tree.put(f"sys/fs/cgroup/{at}{UNIT}/memory.stat", stat)
        at = "unified/" if self.is_v1 else ""
        self.tree.put(f"sys/fs/cgroup/{at}{UNIT}/cgroup.procs", "".join(f"{pid}\n" for pid in (SERVER, *pids)))

    def need(self, name: str) -> tuple[str, int]:
        state = state_of(self.sluice, name)
        return state.need_source, state.need_bytes >> 20

    def learns(self, name: str, mib: int) -> None:
        eventually(lambda: self.need(name) == ("learned-group", mib), f"{name} is learned: {mib} MiB", timeout=20)


@pytest.mark.parametrize("is_v1", [False, True], ids=["v2", "v1"])
def test_a_load_teaches_and_the_answers_after_it(env, is_v1: bool) -> None:
    hidden = Hidden(env, {"a": 640}, is_v1)
    hidden.upstream.on_load(lambda ex: hidden.put(530, 40, RUNNER))
    assert chat(hidden.sluice, "a").status == 200
    hidden.learns("a", 520)
    hidden.put(580, 40, RUNNER)
    assert chat(hidden.sluice, "a").status == 200
    hidden.learns("a", 570)
    shown = run(hidden.sluice, "models").stdout.decode()
    assert " 570 MiB" in shown and "resident" in shown, shown
    assert b'"need_source":"learned-group"' in run(hidden.sluice, "models", "--json").stdout.replace(b": ", b":")


def test_a_load_over_its_plan_is_stopped(env) -> None:
    """As where processes are seen: its file says 300 MiB, and it takes 600."""
    hidden = Hidden(env, {"a": 300})

    def grow(ex: Any) -> None:
        hidden.put(630, 20, RUNNER)
        ex.wait(timeout=20)

    hidden.upstream.on_load(grow)
    answer = chat(hidden.sluice, "a")
    assert (answer.status, answer.error["code"]) == (503, "model_load_killed"), answer
    assert wait_event(hidden.sluice, "model_load_stopped")["SLUICE_HELD_BYTES"] == str(600 * MIB)


@pytest.mark.parametrize(
    ("anon_mib", "mapped_mib", "pids"),
    [
        (200, 20, (RUNNER,)),  # less than its file: the rest counts for another group
        (530, 20, (RUNNER, 72)),  # somebody else has come
        (10, 10, (RUNNER,)),  # less than before
        (530, 20, (0,)),  # processes that cannot be told from each other
        (530, 20, tuple(range(100, 120))),
    ],
    ids=["little", "two", "fell", "hidden", "crowd"],
)
def test_what_is_not_learned(env, anon_mib: int, mapped_mib: int, pids: tuple[int, ...]) -> None:
    hidden = Hidden(env, {"a": 640})
    hidden.upstream.on_load(lambda ex: hidden.put(anon_mib, mapped_mib, *pids))
    for _ in range(3):
        assert chat(hidden.sluice, "a").status == 200
    assert hidden.need("a")[0] in ("computed", "reported")
    assert not events(hidden.sluice, "model_load_stopped")


@pytest.mark.parametrize(
    "path, text",
    [("memory.stat", "anon 1\n"), ("memory.stat", ""), ("cgroup.procs", "70\n71"), ("cgroup.procs", "x\n"), ("cgroup.procs", "")],
)
def test_files_of_the_group_that_are_damaged(env, path: str, text: str) -> None:
    """Before the load: nothing is learned by it. And all is well for the next one."""
    hidden = Hidden(env, {"a": 640})
    hidden.tree.put(f"sys/fs/cgroup/{UNIT}/{path}", text)
    hidden.upstream.on_load(lambda ex: hidden.put(530, 40, RUNNER))
    assert chat(hidden.sluice, "a").status == 200
    assert hidden.need("a")[0] in ("computed", "reported")
    assert run(hidden.sluice, "unload", "a").returncode == 0
    hidden.put(30, 20)
    assert chat(hidden.sluice, "a").status == 200
    hidden.learns("a", 520)


def test_two_models(env) -> None:
    """The second is learned beside the first, which rests; once both work nothing more is."""
    hidden = Hidden(env, {"a": 640, "b": 640})
    hidden.upstream.on_load(lambda ex: hidden.put(530, 20, RUNNER))
    assert chat(hidden.sluice, "a").status == 200
    hidden.learns("a", 500)
    hidden.upstream.on_load(lambda ex: hidden.put(1130, 20, RUNNER, 72))
    assert chat(hidden.sluice, "b").status == 200
    hidden.learns("b", 600)
    assert chat(hidden.sluice, "a").status == 200
    hidden.put(1530, 20, RUNNER, 72)
    assert chat(hidden.sluice, "b").status == 200
    assert chat(hidden.sluice, "a").status == 200
    assert (hidden.need("a"), hidden.need("b")) == (("learned-group", 500), ("learned-group", 600))


def test_a_process_that_is_seen_counts_more(env) -> None:
    hidden = Hidden(env, {"a": 640}, device=Processes)
    assert isinstance(hidden.device, Processes)
    hidden.device.put("a", 500, 20, RUNNER)
    hidden.upstream.on_load(lambda ex: hidden.put(730, 40, RUNNER))
    assert chat(hidden.sluice, "a").status == 200
    eventually(lambda: hidden.need("a") == ("learned", 520), "it is learned of the process")

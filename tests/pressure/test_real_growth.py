"""What a model takes, learned from a real control group by a daemon that sees no other process, as the installed service.

The group has a "model server" and, from the load on, a process that holds the "model"; sluiced runs as nobody, with a /proc mounted as
ProtectProc=invisible mounts it. What it learns is compared with what the kernel says of that process.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from conftest_e2e import Env
from generator import MIB, Generator
from group import Group, NotPossible
from testenv import models, nobody, paths
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.waiting import eventually

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
FILE_MIB, HELD_MIB, SERVER_MIB = 64, 120, 32
BESIDE_MIB = 2  # the kernel counts by batches of pages, for each processor
GIVEN_BACK_MIB = 8  # what Ollama's own server had before the load, and gave back: it grew by so much less


def hide_processes() -> None:
    """In the daemon's process, before it is sluiced: a /proc without those of others, then nobody."""
    libc = ctypes.CDLL(None, use_errno=True)
    for done in (
        libc.unshare(CLONE_NEWNS),
        libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None),
        libc.mount(b"proc", b"/proc", b"proc", 0, b"hidepid=2"),
    ):
        if done < 0:
            raise OSError(ctypes.get_errno(), "a /proc of its own")
    nobody.become()


@pytest.fixture
def hidden() -> None:
    """A /proc without processes of others can be had."""
    try:
        subprocess.run(["true"], check=True, preexec_fn=hide_processes)
    except subprocess.SubprocessError:
        if os.environ.get("SLUICE_PRESSURE_REQUIRED"):
            raise
        pytest.skip("no /proc of its own can be mounted here")


@pytest.fixture
def wide() -> Iterator[Group]:
    """A group with room for the model: nothing runs out here."""
    try:
        g = Group(1024 * MIB)
    except NotPossible as e:
        if os.environ.get("SLUICE_PRESSURE_REQUIRED"):
            raise
        pytest.skip(str(e))
    yield g
    g.close()


@pytest.fixture
def processes(wide: Group) -> Iterator[Callable[[int], Generator]]:
    made: list[Generator] = []

    def hold(mib: int) -> Generator:
        made.append(Generator(wide, "hold", str(mib)))
        made[-1].start()
        made[-1].wait_held()
        return made[-1]

    yield hold
    for g in made:
        g.close()


def start(env: Env, group: Group, deployment: dict[str, Any]) -> Daemon:
    """As nobody it must reach its program and its folder."""
    env.directory.chmod(0o711)
    pressure = {"enabled": True, "group": group.path}
    memory = {"prompt_cache": "0B", "pin_threads": False}
    directory = env.directory / "hidden"
    directory.mkdir()
    os.chown(directory, nobody.UID, nobody.UID)
    daemon = Daemon(directory, env.config({"m": deployment}, {"pressure": pressure, "memory": memory}))
    daemon.program = paths.copied(paths.SLUICED, env.directory)
    daemon.preexec = hide_processes
    env.daemons.append(daemon)
    return daemon.start()


def ask_and_learn(sluice: Daemon) -> int:
    """Two calls, and what is learned by then, in bytes. Short ones: a runner grows with each token, and some answers have no end."""
    for _ in range(2):
        answer = sluice.post("/v1/chat/completions", chat_body(max_tokens=8))
        assert answer.status == 200, answer

    def learned() -> Any:
        d = sluice.status().deployments[0]
        return d if d.need_source == "learned-group" else None

    return eventually(learned, "it is learned").need_bytes


def taken(pid: int) -> tuple[int, int]:
    """RssAnon and RssFile, in bytes."""
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(rows["RssAnon"].split()[0]) * 1024, int(rows["RssFile"].split()[0]) * 1024


def test_a_size_is_learned_of_a_server_that_is_hidden(env: Env, hidden: None, wide: Group, processes: Any) -> None:
    processes(SERVER_MIB)
    held: list[Generator] = []
    upstream = env.ollama()
    upstream.has, upstream.sizes = ["a"], {"a": FILE_MIB * MIB}
    upstream.on_load(lambda ex: held.append(processes(HELD_MIB)))
    need = ask_and_learn(start(env, wide, upstream.deployment("a")))
    anon, file = taken(held[0].process.pid)
    assert anon >= HELD_MIB * MIB
    # pages of its program that others have read before count for them
    assert anon - BESIDE_MIB * MIB <= need <= anon + file + BESIDE_MIB * MIB, (need / MIB, anon / MIB, file / MIB)


def test_a_real_model(env: Env, hidden: None, wide: Group) -> None:
    """Ollama's own runner, which is a process of its own, and what the server itself takes for the answers."""
    directory = env.directory / "ollama"
    directory.mkdir()
    server = models.OllamaServer(models.components_or_end_test(), directory)
    server.start()
    try:
        assert server.process
        wide.take(server.process.pid)
        need = ask_and_learn(start(env, wide, {"model": "ollama_chat/smollm2", "api_base": server.url, "num_thread": 1}))
        runners = models.children_of(server.process.pid)
        assert len(runners) == 1, runners
        anon, file = taken(runners[0])
        assert anon - GIVEN_BACK_MIB * MIB <= need <= anon + file + SERVER_MIB * MIB, (need / MIB, anon / MIB, file / MIB)
    finally:
        server.stop()

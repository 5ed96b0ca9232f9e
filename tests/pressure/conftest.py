"""Real pressure: a daemon that watches a small control group, and a call that keeps it busy.

Needs root and a kernel with pressure stall information. Where that is not so every test is skipped, with the reason, and
counted; SLUICE_PRESSURE_REQUIRED=1 makes that a failure.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))

from conftest_e2e import Env  # noqa: E402
from generator import MIB, Generator, make_file  # noqa: E402
from group import Group, NotPossible  # noqa: E402
from testenv.http import chat_body  # noqa: E402
from testenv.upstream import Gate, end, text, wait_for  # noqa: E402

LIMIT = 96 * MIB


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        g = Group(LIMIT)
    except NotPossible as e:
        if os.environ.get("SLUICE_PRESSURE_REQUIRED"):
            raise
        pytest.skip(str(e))
    yield g
    g.close()


@pytest.fixture
def env() -> Iterator[Env]:
    e = Env()
    yield e
    e.stop()


class Watched:
    """A daemon that watches the group; course() notes when each level was first seen."""

    def __init__(self, env: Env, group: Group):
        self.group = group
        upstream = env.openai()
        self.gate = Gate()
        upstream.next(text("working"), wait_for(self.gate), end())
        settings = {"pressure": {"enabled": True, "group": group.path}}
        self.sluice = env.start({"m": upstream.deployment()}, sluice=settings)
        self.upstream = upstream

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """A call that runs until the end of the block: samples are taken."""
        with self.sluice.http() as connection:
            connection.send_request("POST", "/v1/chat/completions", chat_body(stream=True))
            self.upstream.wait_request(1)
            try:
                yield
            finally:
                self.gate.open()
                list(connection.sse(connection.read_head()))

    def course(self, generator: Generator, until_sec: float, enough: int = 5) -> "Course":
        """Until the level is enough and the group has stalled, at the longest until_sec."""
        course = Course()
        generator.start()
        stalled, seen = self.group.stalled_usec(), 0
        while time.monotonic() < generator.began + until_sec and (seen < enough or course.onset is None):
            s, now = self.sluice.status(), time.monotonic()
            course.note(s, now)
            seen = s.pressure_level
            if course.onset is None and self.group.stalled_usec() - stalled > STALL_ONSET_USEC:
                course.onset = now
            if generator.is_dead():
                course.wall = generator.died
                break
        course.began, course.ended = generator.began, time.monotonic()
        return course


STALL_ONSET_USEC = 50_000


class Course:
    def __init__(self) -> None:
        self.at: dict[int, float] = {}  # level -> when it was first at least that
        self.onset: Any = None  # the group began to stall
        self.wall: Any = None  # the kernel killed
        self.began = self.ended = 0.0
        self.statuses: list[Any] = []

    def note(self, status: Any, now: float) -> None:
        for level in range(1, status.pressure_level + 1):
            self.at.setdefault(level, now)
        self.statuses.append(status)

    def left(self, level: int) -> float:
        """Which share of the way to the wall was left when the level came: 1 at the start, 0 at the wall."""
        assert self.wall is not None, "the generator was not killed: no wall"
        if level not in self.at:
            return -1.0
        return (self.wall - self.at[level]) / (self.wall - self.began)


@pytest.fixture
def watched(env: Env, group: Group) -> Iterator[Watched]:
    w = Watched(env, group)
    yield w
    w.gate.open()


@pytest.fixture
def generate(group: Group) -> Iterator[Any]:
    made: list[Generator] = []

    def start(*arguments: str) -> Generator:
        made.append(Generator(group, *arguments))
        return made[-1]

    yield start
    for g in made:
        g.close()


@pytest.fixture
def big_file(env: Env) -> Path:
    path = env.directory / "file"
    make_file(path, 2 * LIMIT // MIB)
    return path


@pytest.fixture
def hot_file(env: Env) -> Path:
    path = env.directory / "hot"
    make_file(path, LIMIT * 5 // 8 // MIB)
    return path

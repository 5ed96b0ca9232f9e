"""Four ways to run out of memory, and what is seen of each before it is over.

Times are compared with those of the same run (the way to the wall, the onset of the stall), never with a clock: the
machine that runs this may be slow.
"""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from generator import MIB
from testenv.waiting import eventually

STEADY_SEC = 12.0
RAMP_SEC = 60.0


def test_thrash_is_seen_by_psi(watched: Any, generate: Any, big_file: Path) -> None:
    """(a) A file of twice the group, read again and again: memory is "available" all the time, and none is to be had."""
    with watched.busy():
        course = watched.course(generate("read", str(big_file)), STEADY_SEC, enough=2)
    assert course.onset is not None, f"nothing stalled: this is no thrash ({course.at}, {course.statuses[-1].pressure_reason})"
    assert 2 in course.at, course.statuses[-1]
    assert "(headroom" not in course.statuses[-1].pressure_reason
    assert course.at[1] - course.onset <= (STEADY_SEC - (course.onset - course.began)) / 3
    assert course.statuses[-1].pressure_some_permille >= 100


def test_silent_ramp_is_seen_by_headroom(watched: Any, generate: Any) -> None:
    """(b) Anonymous memory at a steady pace: no stall until the kill. PSI alone would see nothing."""
    with watched.busy():
        course = watched.course(generate("ramp", "16"), RAMP_SEC)
    assert course.left(1) >= 0.5
    assert course.left(3) >= 0.3, course.at
    before_the_end = [s for s in course.statuses if s.pressure_level < 3]
    assert before_the_end and max(s.pressure_some_permille for s in before_the_end) < 100


def test_ramp_beside_a_hot_file_is_seen_early(watched: Any, generate: Any, hot_file: Path) -> None:
    """(c) The same, beside a file that is in use: its pages go first, and are missed."""
    with watched.busy():
        course = watched.course(generate("ramp-hot", "8", str(hot_file)), RAMP_SEC)
    assert course.left(2) >= 0.15, course.at


@pytest.fixture
def zram() -> Iterator[None]:
    """Swap on compressed memory, a small one, for the time of the test."""
    device, size = Path("/dev/zram0"), Path("/sys/block/zram0/disksize")
    try:
        if not device.exists() or int(size.read_text()) != 0:
            pytest.skip("no free zram device")
        size.write_text(str(64 * MIB))
        subprocess.run(["mkswap", str(device)], check=True, capture_output=True)
        subprocess.run(["swapon", str(device)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as e:
        Path("/sys/block/zram0/reset").write_text("1")
        pytest.skip(f"no swap on zram: {e}")
    yield
    subprocess.run(["swapoff", str(device)], check=True)
    Path("/sys/block/zram0/reset").write_text("1")


def test_ramp_into_compressed_swap(watched: Any, generate: Any, zram: None) -> None:
    """(d) Half of what is taken can be compressed away: the slope is longer, the end is the same."""
    with watched.busy():
        course = watched.course(generate("ramp-compressible", "8"), RAMP_SEC)
    assert course.left(3) >= 0.1, course.at


def test_a_reader_that_starves_triggers_hides_nothing(watched: Any, generate: Any, big_file: Path) -> None:
    """Who reads a pressure file resets the windows of triggers on it: levels must not depend on them."""
    over = threading.Event()

    def read_often() -> None:
        while not over.wait(0.02):
            watched.group.stalled_usec()
            Path("/proc/pressure/memory").read_text()

    reader = threading.Thread(target=read_often)
    reader.start()
    try:
        with watched.busy():
            course = watched.course(generate("read", str(big_file)), STEADY_SEC, enough=2)
    finally:
        over.set()
        reader.join()
    assert 2 in course.at, course.statuses[-1]


def test_an_idle_daemon_is_woken(watched: Any, generate: Any, big_file: Path) -> None:
    """No calls, no models: it does not look by itself. The kernel's trigger wakes it."""
    assert watched.sluice.status().pressure_source == "psi+trigger"
    generate("read", str(big_file)).start()
    eventually(lambda: watched.sluice.status().pressure_level >= 1, "the trigger", 40)


@pytest.mark.slow
def test_calm_comes_back_level_by_level(watched: Any, generate: Any, big_file: Path) -> None:
    generator = generate("read", str(big_file))
    with watched.busy():
        watched.course(generator, STEADY_SEC, enough=2)
        generator.close()
        levels = [watched.sluice.status().pressure_level]
        deadline = time.monotonic() + 80
        while levels[-1] > 0 and time.monotonic() < deadline:
            level = watched.sluice.status().pressure_level
            if level != levels[-1]:
                levels.append(level)
    assert levels[-1] == 0
    assert all(b == a - 1 for a, b in zip(levels, levels[1:]) if b < a)

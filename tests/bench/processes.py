"""Processes under measurement: what the kernel says about them, and starting and ending them.

CPU time is the process clock (clock_gettime() on the clock id of a pid): user and system time of all threads, those that have ended too, in
nanoseconds. Memory is /proc/PID/smaps_rollup, wake-ups are the context switches of all threads in /proc/PID/task.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Iterable, Optional

START_SEC = 60.0  # the slowest rival needs 11 s
STOP_SEC = 10.0


class BenchError(Exception):
    """Something did not run, or an answer was wrong."""


def cpu_nsec(pid: int) -> int:
    return time.clock_gettime_ns(
        (~pid << 3) | 2
    )  # CPUCLOCK_SCHED of the process, linux/posix-timers.h


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def pin(pid: int, cpus: Iterable[int]) -> None:
    """All threads of a process and its descendants."""
    for member in tree(pid):
        for task in Path(f"/proc/{member}/task").iterdir():
            os.sched_setaffinity(int(task.name), cpus)


def memory_bytes(pid: int) -> dict[str, int]:
    """rss, pss, private_dirty of a process and its descendants together."""
    names = {"Rss": "rss", "Pss": "pss", "Private_Dirty": "private_dirty"}
    total = dict.fromkeys(names.values(), 0)
    for member in tree(pid):
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            key, _, rest = line.partition(":")
            if key in names:
                total[names[key]] += int(rest.split()[0]) * 1024
    return total


def context_switches(pid: int) -> int:
    """How often the threads went to sleep or were put to sleep."""
    total = 0
    for member in tree(pid):
        for status in Path(f"/proc/{member}/task").glob("*/status"):
            for line in status.read_text().splitlines():
                if "ctxt_switches" in line:
                    total += int(line.split()[1])
    return total


class Process:
    """A child in the background; its output goes to files in the directory of the run."""

    def __init__(self, argv: list[str], directory: Path, name: str, **popen: object):
        self.name = name
        self.log_path = directory / f"{name}.log"
        self.log = open(self.log_path, "ab")
        options: dict = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        options.update(popen)
        self.process = subprocess.Popen(argv, **options)

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_nsec(self) -> int:
        return sum(cpu_nsec(pid) for pid in tree(self.pid))

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            tail = self.log_path.read_bytes()[-2000:].decode(errors="replace")
            raise BenchError(f"{self.name} ended with {self.process.returncode}:\n{tail}")

    def stop(self) -> Optional[int]:
        """SIGTERM, then SIGKILL. The exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SEC)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        return self.process.returncode

"""What takes memory, as a process of its own in the group. Run as `python generator.py KIND ARGUMENT...` by Generator."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

MIB = 1 << 20
PAGE = 4096
TICK_SEC = 0.02
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def read_loop(path: str) -> None:
    """Reads a file through a mapping, again and again: with twice the memory of the group, a steady thrash."""
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as view:
        pages = range(0, len(view), PAGE)
        while True:
            sum(view[at] for at in pages)


def ramp(mib_per_sec: float, hot_path: Optional[str] = None, compressible: bool = False) -> None:
    """Takes anonymous memory at a steady rate until it is killed; between two steps it reads the hot file."""
    hot = None
    if hot_path:
        f = open(hot_path, "rb")
        hot = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    room = mmap.mmap(-1, 1024 * MIB, flags=ANONYMOUS)
    noise = random.Random(1).randbytes(PAGE // 2 if compressible else PAGE)
    at, began = 0, time.monotonic()
    while True:
        wanted = int((time.monotonic() - began) * mib_per_sec * MIB)
        while at < min(wanted, len(room) - PAGE):
            room[at : at + len(noise)] = noise
            at += PAGE
        if hot:
            sum(hot[i] for i in range(0, len(hot), PAGE))
        else:
            time.sleep(TICK_SEC)  # the pace of the ramp, not a wait for anything


def hold(mib: int) -> None:
    """Takes so much anonymous memory, says so, and keeps it."""
    room = mmap.mmap(-1, mib * MIB, flags=ANONYMOUS)
    for at in range(0, len(room), PAGE):
        room[at] = 1
    print("held", flush=True)
    sys.stdin.readline()


class Generator:
    """A process that enters the group, says so, and starts when told: `began` is that moment."""

    def __init__(self, group, *arguments: str):
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=group.enter,
        )
        assert self.process.stdout and self.process.stdout.readline() == b"ready\n"
        self.began = 0.0
        self.died: Optional[float] = None

    def start(self) -> None:
        assert self.process.stdin
        self.began = time.monotonic()
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def wait_held(self) -> None:
        assert self.process.stdout and self.process.stdout.readline() == b"held\n"

    def is_dead(self) -> bool:
        if self.died is None and self.process.poll() is not None:
            self.died = time.monotonic()
        return self.died is not None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


def make_file(path: Path, mib: int) -> None:
    """On disk, and not in memory: its pages must be charged to who reads them."""
    with open(path, "wb") as f:
        for i in range(mib):
            f.write(random.Random(i).randbytes(MIB))
        f.flush()
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    kind, *arguments = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    if kind == "read":
        read_loop(arguments[0])
    elif kind == "hold":
        hold(int(arguments[0]))
    elif kind == "ramp":
        ramp(float(arguments[0]))
    elif kind == "ramp-hot":
        ramp(float(arguments[0]), arguments[1])
    elif kind == "ramp-compressible":
        ramp(float(arguments[0]), compressible=True)


if __name__ == "__main__":
    main()

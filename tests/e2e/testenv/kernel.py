"""Files that look like the kernel's: /proc and /sys/fs/cgroup below a folder, for sluice.pressure.kernel_root."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MIB = 1024 * 1024


def psi(some_usec: int, full_usec: int = 0) -> str:
    rows = [f"{name} avg10=0.00 avg60=0.00 avg300=0.00 total={usec}\n" for name, usec in (("some", some_usec), ("full", full_usec))]
    return "".join(rows)


def meminfo(available_mib: int, total_mib: int = 2048) -> str:
    return (
        f"MemTotal: {total_mib * 1024} kB\nMemFree: 1024 kB\nMemAvailable: {available_mib * 1024} kB\n"
        "Active(file): 102400 kB\nInactive(file): 102400 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
    )


VMSTAT = "workingset_refault_file 0\npgscan_direct 0\npgscan_kswapd 0\nallocstall_normal 0\noom_kill 0\npswpin 0\npswpout 0\n"


class Tree:
    """A calm device of 2 GiB with a kernel that tells everything; put() and remove() change it."""

    def __init__(self, directory: Path):
        self.root = directory / "kernel"
        self.put("proc/pressure/memory", psi(1000))
        self.put("proc/meminfo", meminfo(1500))
        self.put("proc/vmstat", VMSTAT)

    @property
    def settings(self) -> dict[str, object]:
        return {"enabled": True, "kernel_root": str(self.root)}

    def put(self, path: str, text: str) -> None:
        """In one write, in place: the daemon keeps its files open, and must never see an empty one in between."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(fd, text.encode(), 0)
        os.ftruncate(fd, len(text))
        os.close(fd)

    def remove(self, path: str) -> None:
        at = self.root / path
        if at.is_dir():
            shutil.rmtree(at)
        else:
            at.unlink()

    def fold(self, path: str) -> None:
        """A folder where the file should be: it opens, and cannot be read."""
        self.remove(path)
        (self.root / path).mkdir()

    def put_group(self, path: str, limit_mib: int, used_mib: int, is_v1: bool = False) -> None:
        """A group with a limit: of v2, or of v1 with the pressure of v2 beside it (hybrid)."""
        if is_v1:
            self.put("sys/fs/cgroup/unified/cgroup.controllers", "")
            self.put(f"sys/fs/cgroup/unified/{path}/memory.pressure", psi(1000))
            folder, limit, used = f"sys/fs/cgroup/memory/{path}", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            self.put("sys/fs/cgroup/cgroup.controllers", "memory\n")
            folder, limit, used = f"sys/fs/cgroup/{path}", "memory.max", "memory.current"
            self.put(f"{folder}/memory.high", "max\n")
            self.put(f"{folder}/memory.pressure", psi(1000))
            self.put(f"{folder}/memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n")
        self.put(f"{folder}/{limit}", f"{limit_mib * MIB}\n")
        self.put(f"{folder}/memory.stat", "inactive_file 0\nactive_file 0\nworkingset_refault_file 0\npgscan 0\n")
        self.put(f"{folder}/{used}", f"{used_mib * MIB}\n")

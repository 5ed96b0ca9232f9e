"""A small control group to run out of memory in: v2, or v1 with the pressure of v2 beside it.

Never the whole machine: what presses is moved into the group before it takes anything.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Optional

ROOT = Path("/sys/fs/cgroup")
V1 = ROOT / "memory"


class NotPossible(Exception):
    """Why this machine cannot make such a group."""


def v2_mount() -> Optional[Path]:
    return next((p for p in (ROOT, ROOT / "unified") if (p / "cgroup.controllers").exists()), None)


class Group:
    """limit_bytes of memory, and the pressure in it. `path` is what sluice.pressure.group is given."""

    def __init__(self, limit_bytes: int):
        self.path = f"/sluice-test-{os.getpid()}"
        self.folders: list[Path] = []
        mount = v2_mount()
        if not mount:
            raise NotPossible("no cgroup v2, whose pressure files are needed")
        try:
            self.is_v1 = not self._try_v2(mount, limit_bytes)
            if self.is_v1:
                self._make(V1 / self.path[1:], "memory.limit_in_bytes", limit_bytes)
                self._make(mount / self.path[1:])
        except OSError as e:
            self.close()
            raise NotPossible(f"cannot make a group with a memory limit: {e}") from e
        self.pressure = mount / self.path[1:] / "memory.pressure"
        try:
            self.stalled_usec()
        except OSError as e:
            self.close()
            raise NotPossible(f"the kernel tells no pressure: {e}") from e

    def _try_v2(self, mount: Path, limit_bytes: int) -> bool:
        if "memory" not in (mount / "cgroup.controllers").read_text().split():
            return False
        (mount / "cgroup.subtree_control").write_text("+memory")
        self._make(mount / self.path[1:], "memory.max", limit_bytes)
        return True

    def _make(self, folder: Path, limit: str = "", limit_bytes: int = 0) -> None:
        folder.mkdir()
        self.folders.append(folder)
        if limit:
            (folder / limit).write_text(str(limit_bytes))

    def enter(self) -> None:
        """Moves the calling process."""
        self.take(os.getpid())

    def take(self, pid: int) -> None:
        """Moves a process; what it holds already stays with the group it came from."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def stalled_usec(self) -> int:
        return int(self.pressure.read_text().split("total=")[1].split()[0])

    def close(self) -> None:
        """After what ran in it has ended; the kernel may need a moment for its last pages."""
        for folder in self.folders:
            for _ in range(1000):
                try:
                    folder.rmdir()
                    break
                except OSError as e:
                    if e.errno != errno.EBUSY:
                        raise
                    os.sched_yield()
        self.folders = []


def main() -> None:
    """Says in a line why there can be no such group here; nothing where there can."""
    try:
        Group(64 << 20).close()
    except NotPossible as e:
        print(e)


if __name__ == "__main__":
    main()

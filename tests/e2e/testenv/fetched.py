"""What tests fetch and build beside the tree, once for all workers; they are skipped, and say why, where the tools for it are missing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import Iterator

import pytest


def tool(name: str, what_for: str) -> str:
    """Its path; skips the test where it is not there."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{what_for}: there is no {name} on this machine")
    return path


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[str]:
    """Workers (xdist) share the folder; what each runs out of it has a name of its own, this one."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield os.environ.get("PYTEST_XDIST_WORKER", "main")

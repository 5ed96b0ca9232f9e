"""Waiting for conditions, never for time."""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import Callable, Optional, TypeVar

T = TypeVar("T")

# Sanitizer builds on two busy cores are slow; a deadline only has to end a test that has already failed.
PATIENCE_SEC = 20.0
POLL_SEC = 0.005

_never = threading.Event()


def eventually(condition: Callable[[], Optional[T]], what: str, timeout: float = PATIENCE_SEC) -> T:
    """The first true value of condition(); AssertionError with `what` when the deadline passes."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what} (last: {value!r})")
        _never.wait(POLL_SEC)


def is_readable(fd: object, timeout: float) -> bool:
    """Does the descriptor become readable (data, or its end) within timeout?"""
    poller = select.poll()
    poller.register(fd, select.POLLIN)  # type: ignore[arg-type]
    return bool(poller.poll(max(0, int(timeout * 1000))))


def is_listened_on(path: str) -> bool:
    """Does a connection to the Unix socket succeed? The file is there before anybody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True

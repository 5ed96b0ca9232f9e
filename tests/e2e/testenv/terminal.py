"""A program on a pseudo terminal: what a person types and sees."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from typing import Optional

from .waiting import PATIENCE_SEC


class Terminal:
    """stdin, stdout and stderr are one terminal; what was shown is in `screen`."""

    def __init__(self, argv: list[str], env: dict[str, str], stdin: Optional[int] = None):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            argv,
            stdin=slave if stdin is None else stdin,
            stdout=slave,
            stderr=slave,
            env={"TERM": "xterm", "COLUMNS": "80", **env},
            start_new_session=True,
            preexec_fn=_take_terminal if stdin is None else None,
        )
        os.close(slave)
        self.screen = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def press_interrupt(self) -> None:
        """Ctrl-C, as the terminal's line discipline makes a signal of it."""
        os.write(self.master, b"\x03")

    def _read(self, timeout: float) -> bool:
        poller = select.poll()
        poller.register(self.master, select.POLLIN)
        if not poller.poll(max(0, timeout * 1000)):
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            return False
        self.screen += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, text: str, timeout: float = PATIENCE_SEC) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.screen:
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{text!r} was never shown: {self.screen!r}")

    def wait_exit(self, timeout: float = PATIENCE_SEC) -> int:
        deadline = time.monotonic() + timeout
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)


def _take_terminal() -> None:
    """Makes fd 0 the controlling terminal of the new session, so that ^C reaches it."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

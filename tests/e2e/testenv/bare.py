"""sluiced as a service manager starts it: exact arguments, environment and descriptors, and the manager's end of NOTIFY_SOCKET."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Optional

from . import paths
from .daemon import SANITIZER_ENV, SANITIZER_REPORT
from .waiting import PATIENCE_SEC, eventually, is_readable

BUSY = re.compile(r" (queued|granted|calls|reserved)=[1-9]")

TRAMPOLINE = """
import os, sys
fds = [os.dup2(int(fd), 100 + i) for i, fd in enumerate(sys.argv[1].split(","))]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
os.closerange(3 + len(fds), 200)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Bare:
    """A daemon with exactly these arguments, environment and descriptors."""

    def __init__(
        self,
        directory: Path,
        *args: str,
        fds: tuple[int, ...] = (),
        names: str = "",
        **variables: str,
    ):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
        environment.update(SANITIZER_ENV, **variables)
        argv = [str(paths.SLUICED), *args]
        if fds:
            # LISTEN_PID must be the pid of what runs in the end, and the descriptors begin with 3.
            environment.update(LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names)
            numbers = ",".join(str(fd) for fd in fds)
            argv = [sys.executable, "-c", TRAMPOLINE, numbers, *argv]
        self.log_path = directory / "log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                argv, stderr=log, env=environment, pass_fds=fds, stdin=subprocess.DEVNULL
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_for(self, condition: Any, what: str) -> Any:
        def check() -> Any:
            assert self.process.poll() is None, self.log
            try:
                return condition()
            except (FileNotFoundError, ConnectionRefusedError):
                return None

        return eventually(check, f"{what}\n{self.log}")

    def _hears(self, number: int) -> bool:
        """Is the signal taken from a descriptor yet? Before that it would end the process."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return False
        blocked = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:")]
        return bool(blocked) and bool(int(blocked[0], 16) >> (number - 1) & 1)

    def is_idle(self) -> bool:
        """By its own word (SIGUSR1), as it need not have a socket: no call queued, granted or known, no memory reserved. True when gone."""
        seen = len(self.log)

        def told() -> Any:
            lines = [line for line in self.log[seen:].split("\n")[:-1] if "state: " in line]
            return lines if any(" queued=" in line for line in lines) else self.process.poll() is not None

        self.process.send_signal(signal.SIGUSR1)
        lines = eventually(told, "it tells its state")
        return lines is True or not any(BUSY.search(line) for line in lines)

    def stop(self) -> None:
        if self.process.poll() is None and self._hears(signal.SIGUSR1):
            eventually(self.is_idle, f"nothing is held\n{self.log}")
        if self.process.poll() is None:
            self.process.terminate()
        try:
            assert self.process.wait(10) == 0, self.log
        finally:
            self.process.kill()
        assert not SANITIZER_REPORT.search(self.log), self.log

    close = stop


class Activated:
    """A Unix socket that the test holds, and a daemon that is started whenever somebody connects while none runs."""

    def __init__(self, directory: Path, *args: str, **variables: str):
        self.directory, self.args, self.variables = directory, args, variables
        self.path = str(directory / "http.sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(128)
        self.statuses: list[int] = []
        self.is_over = threading.Event()
        self.current: Optional[Bare] = None
        self.keeper = threading.Thread(target=self._keep, daemon=True)
        self.keeper.start()

    def _keep(self) -> None:
        while not self.is_over.is_set():
            if is_readable(self.listener, 0.02):
                self.current = self._start()
                self.statuses.append(self.current.process.wait())

    def _start(self) -> Bare:
        fds = (self.listener.fileno(),)
        return Bare(self.directory, *self.args, fds=fds, names="http-unix", **self.variables)

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def close(self) -> None:
        self.is_over.set()
        if self.current and self.current.process.poll() is None:
            self.current.stop()
        self.keeper.join(10)
        self.listener.close()
        assert not self.keeper.is_alive(), "it did not end"
        assert not SANITIZER_REPORT.search(self.log), self.log


class Supervisor:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, directory: Path):
        self.path = str(directory / "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)

    def hear(self, word: str, timeout: float) -> Optional[str]:
        """The next message with word in it, or None."""
        deadline = time.monotonic() + timeout
        while is_readable(self.sock, max(0.0, deadline - time.monotonic())):
            message = self.sock.recv(4096).decode()
            if word in message:
                return message
        return None

    def wait_for(self, word: str) -> str:
        message = self.hear(word, PATIENCE_SEC)
        assert message, f"{word} was never told"
        return message

    def drain(self) -> None:
        """Throws away what was told until now."""
        while is_readable(self.sock, 0):
            self.sock.recv(4096)

    def close(self) -> None:
        self.sock.close()

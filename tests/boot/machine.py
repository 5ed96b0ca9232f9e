"""A Debian that systemd boots inside a container, with an installed sluice in it.

The root is made and sluice built in it by dev.d/boot.sh; here it is booted by systemd-nspawn with an overlay in memory above it, so
that every boot starts from the same files, and with a network of its own that has only `lo`. Commands enter by nsenter as root.
"""
from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, Optional

SOURCE = Path(__file__).resolve().parents[2]
sys.path.append(str(SOURCE / "tests/e2e"))
from testenv.waiting import eventually  # noqa: E402

SERVICE = "sluice.service"
SOCKETS = ("sluice.socket", "sluice-http.socket", "sluice-http-unix.socket")
GUEST = "/src/tests/boot/guest"
DROP_IN = f"/run/systemd/system/{SERVICE}.d/test.conf"
CONFIG = "/etc/sluice/sluice.yaml"
# What a booted machine on two busy cores may take for anything. Only ends what has failed already.
PATIENCE_SEC = 60.0
_ENVIRONMENT = ["env", "-i", "--chdir=/", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", "TERM=dumb"]


class Failed(Exception):
    """A command in the machine that must succeed did not."""


class Machine:
    """A booted container of the Debian in `root`, with the build of it, see dev.d/boot.sh."""

    def __init__(self, root: Path, scratch: Path):
        self.suite = root.name
        self.installed_configuration = ""  # what installing put there, before any test changed it
        self.console = scratch / f"console.{self.suite}"
        self._nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--machine=sluice-{self.suite}-{os.getpid()}",
             f"--directory={root}", "--read-only", "--volatile=overlay", "--private-network", f"--bind-ro={SOURCE}:/src",
             f"--bind={SOURCE / 'build/boot' / self.suite}:/build",
             "--capability=CAP_IPC_LOCK",  # for test_limits.py
             "--console=read-only", "--boot"],
            # systemd 257 boots with the unified hierarchy only, whatever the host has
            env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"),
            stdin=subprocess.DEVNULL, stdout=self.console.open("wb"), stderr=subprocess.STDOUT)
        try:
            self._leader = eventually(self._find_leader, "the container's first process", PATIENCE_SEC)
            self.root = Path(f"/proc/{self._leader}/root")
            state = eventually(self._booted, "the container has booted", PATIENCE_SEC)
            assert state == "running", self.run("systemctl --failed; journalctl -p warning", check=False)
        except BaseException:
            self.stop()
            raise

    def _find_leader(self) -> Optional[int]:
        assert self._nspawn.poll() is None, self.console.read_text(errors="replace")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        for child in map(int, children):
            # between clone and exec it is nspawn still, and its namespaces are not complete
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
        return None

    def _booted(self) -> Optional[str]:
        state = self.run("systemctl is-system-running", check=False).strip()
        return state if state in ("running", "degraded") else None

    def stop(self) -> None:
        """Ends the container; nothing of it stays."""
        self._nspawn.send_signal(signal.SIGTERM)
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()

    def command(self, command: str, user: str = "") -> list[str]:
        """The command line that runs a shell command in there, as root or as a user."""
        inner = [*_ENVIRONMENT, "sh", "-c", command]
        if user:
            inner = ["runuser", "-u", user, "--", *inner]
        return ["nsenter", "--target", str(self._leader), "--mount", "--uts", "--ipc", "--net", "--pid", *inner]

    def run(self, command: str, user: str = "", check: bool = True) -> str:
        """Standard output and error of a shell command."""
        done = subprocess.run(self.command(command, user), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=PATIENCE_SEC)
        if check and done.returncode != 0:
            raise Failed(f"{self.suite}: {command}: exit status {done.returncode}\n{done.stdout}")
        return done.stdout

    def status(self, command: str, user: str = "") -> int:
        """Only the exit status."""
        return subprocess.run(self.command(command, user), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=PATIENCE_SEC).returncode

    def start(self, command: str, user: str = "") -> subprocess.Popen[str]:
        """A command that runs beside the test, with pipes."""
        return subprocess.Popen(self.command(command, user), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def write(self, path: str, text: str) -> None:
        """A file in the machine, with the folders above it."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    # ---------------------------------------------------------------- units

    def show(self, what: str, unit: str = SERVICE) -> str:
        return self.run(f"systemctl show -P {what} {unit}").strip()

    def stop_service(self) -> None:
        """The service stops, and is as if it had never run; the sockets stay."""
        self.run(f"systemctl stop {SERVICE}; systemctl reset-failed {SERVICE} || :")
        for unit in SOCKETS:
            assert self.show("ActiveState", unit) == "active", self.run(f"journalctl -n 30 -u {unit} -u {SERVICE}")

    @contextlib.contextmanager
    def drop_in(self, text: str) -> Iterator[None]:
        """The service with a drop-in, stopped before and after."""
        self.stop_service()
        self.write(DROP_IN, text)
        self.run("systemctl daemon-reload")
        try:
            yield
        finally:
            self.run(f"rm {DROP_IN}; systemctl daemon-reload")
            self.stop_service()

    # ---------------------------------------------------------------- clients

    def knock(self, name: str, model: str = "canned", user: str = "") -> dict[str, Any]:
        """One request to a socket, see guest/knock.py."""
        return json.loads(self.run(f"python3 {GUEST}/knock.py {name} {model}", user))

    @contextlib.contextmanager
    def load(self, report: dict[str, Any]) -> Iterator[None]:
        """Load on all sockets while the body runs; afterwards `report` has what guest/load.py prints."""
        clients = self.start(f"python3 {GUEST}/load.py canned")
        assert clients.stdin and clients.stdout
        try:
            assert clients.stdout.readline() == "started\n"
            yield
        finally:
            out, _ = clients.communicate("", timeout=PATIENCE_SEC)
            report.update(json.loads(out))

    # ---------------------------------------------------------------- journal

    def cursor(self) -> str:
        """Where the journal ends now."""
        return re.findall(r"^-- cursor: (.*)$", self.run("journalctl -q -n 0 --show-cursor"), re.M)[-1]

    def records(self, cursor: str, **fields: str) -> list[dict[str, Any]]:
        """What our unit wrote after the cursor, with these fields. Chosen here: journalctl 252 finds nothing by cursor and match."""
        options = f"{shlex.quote('--after-cursor=' + cursor)} -u {SERVICE}"
        records = [json.loads(line) for line in self.run(f"journalctl -q -o json {options}").splitlines()]
        return [r for r in records if r.get("_SYSTEMD_UNIT") == SERVICE and all(r.get(k) == v for k, v in fields.items())]

    def record(self, cursor: str, **fields: str) -> dict[str, Any]:
        """The first such record, waited for."""
        return eventually(lambda: self.records(cursor, **fields), f"a record of {fields} in the journal", PATIENCE_SEC)[0]


def eventually_in(what: str, condition: Any) -> Any:
    """eventually() with the patience for a booted machine."""
    return eventually(condition, what, PATIENCE_SEC)

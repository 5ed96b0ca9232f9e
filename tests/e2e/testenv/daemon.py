"""sluiced under test: a configuration, sockets of its own, its log records, and what must be true when it goes.

stop() asks Control.Status first: once the clients of the test are gone, no call may be queued or running and no slot may be
held. Then SIGTERM must end it with status 0 and without a sanitizer's report.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable, Optional, Union

import yaml

from . import paths
from .http import Answer, Http
from .port import Port
from .ttrpc import Client
from .waiting import PATIENCE_SEC, eventually

SANITIZER_REPORT = re.compile(
    r"ERROR: (Address|Leak|Thread)Sanitizer|runtime error: |SUMMARY: \w+Sanitizer|Assertion .* failed"
)
SANITIZER_ENV = {
    # A small quarantine, so that resident memory says something about the daemon.
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=4:malloc_context_size=8",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": "exitcode=98",
}
# Red zones, quarantine and shadow of AddressSanitizer: how often the memory of a plain build, at most (gcc 14; older ones less).
SANITIZER_MEMORY = 4


class _Plain(yaml.SafeDumper):
    """Without anchors for what stands in a structure twice: sluiced refuses them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(config: Any) -> str:
    return yaml.dump(config, Dumper=_Plain, sort_keys=False)


def model(name: str, params: dict[str, Any], **model_info: Any) -> dict[str, Any]:
    """An entry of model_list."""
    entry: dict[str, Any] = {"model_name": name, "litellm_params": params}
    if model_info:
        entry["model_info"] = model_info
    return entry


def mock(text: str = "mocked") -> dict[str, Any]:
    return {"model": "openai/mock", "mock_response": text}


class Daemon:
    def __init__(
        self,
        directory: Path,
        config: Union[str, dict[str, Any]],
        args: tuple[str, ...] = (),
        env: Optional[dict[str, str]] = None,
    ):
        self.directory = directory
        self.config_path = directory / "config.yaml"
        self.rpc_path = str(directory / "rpc.sock")
        self.http_path = str(directory / "http.sock")
        self.reserved = Port()
        self.port = self.reserved.number
        self.args = args
        self.env = {**os.environ, **SANITIZER_ENV, **(env or {})}
        self.program = paths.SLUICED
        self.preexec: Optional[Callable[[], None]] = None
        self.clients: list[Any] = []  # closed before the daemon has to be idle
        self.lines: list[str] = []
        self.changed = threading.Condition()
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.write_config(config)

    # ---- life

    def write_config(self, config: Union[str, dict[str, Any]]) -> None:
        text = config if isinstance(config, str) else to_yaml(config)
        self.config_path.write_text(text)

    def start(self) -> "Daemon":
        argv = [str(self.program), "--config", str(self.config_path)]
        argv += ["--listen", f"rpc=unix:{self.rpc_path}"]
        argv += ["--listen", f"http=tcp:127.0.0.1:{self.port}"]
        argv += ["--listen", f"http=unix:{self.http_path}"]
        argv += ["--log-format", "json", *self.args]
        self.process = subprocess.Popen(
            argv,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=self.env,
            preexec_fn=self.preexec,
        )
        self.reader = threading.Thread(target=self._collect, daemon=True)
        self.reader.start()
        eventually(self._answers, f"sluiced answers; its log: {self.lines[-20:]}")
        return self

    def _collect(self) -> None:
        assert self.process and self.process.stderr
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def _answers(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            self.reader.join(PATIENCE_SEC)
            raise AssertionError(f"sluiced ended with {self.process.returncode}:\n{self.log_text}")
        try:
            with Http(self.http_path) as http:
                return http.request("GET", "/health/liveliness").status == 200
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def wait_exit(self, timeout: float = PATIENCE_SEC) -> int:
        """The exit status, after the log has been read to its end."""
        assert self.process
        status = self.process.wait(timeout)
        self.reader.join(PATIENCE_SEC)
        return status

    def stop(self) -> None:
        """The end of every test: idle, no leak, exit 0."""
        if self.process is None:
            return
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            try:
                self.expect_idle()
            finally:
                self.signal(signal.SIGTERM)
                try:
                    self.wait_exit()
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.wait_exit()
                    raise AssertionError(f"SIGTERM did not end sluiced:\n{self.log_text}") from None
        report = SANITIZER_REPORT.search(self.log_text)
        assert not report, self.log_text
        assert self.process.returncode == 0, (self.process.returncode, self.log_text)

    def kill(self) -> None:
        """The end without questions; harmless after stop()."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reserved.close()

    def expect_idle(self, n_loads: int = 0) -> None:
        """Nothing queued, nothing running, every slot home, no memory spoken for but by loads that a server is still at."""
        last: list[Any] = []

        def is_idle() -> bool:
            with Client(self.rpc_path) as client:
                s = client.status()
            last[:] = [s]
            held = [d.slots_in_use for d in s.deployments]
            is_quiet = not (s.calls_queued or s.calls_running or s.tickets or any(held))
            return is_quiet and s.reservations == n_loads and (s.reserved_bytes == 0 or n_loads > 0)

        eventually(is_idle, f"no calls and no tickets once the clients are gone: {last}")

    # ---- clients

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def http(self, **kwargs: Any) -> Http:
        """A TCP connection that is closed at the end of the test at the latest."""
        client = Http(("127.0.0.1", self.port), **kwargs)
        self.clients.append(client)
        return client

    def http_unix(self, **kwargs: Any) -> Http:
        client = Http(self.http_path, **kwargs)
        self.clients.append(client)
        return client

    def rpc(self, **kwargs: Any) -> Client:
        client = Client(self.rpc_path, **kwargs)
        self.clients.append(client)
        return client

    def get(self, path: str, **kwargs: Any) -> Answer:
        with Http(("127.0.0.1", self.port)) as http:
            return http.request("GET", path, **kwargs)

    def post(self, path: str, body: Any, **kwargs: Any) -> Answer:
        with Http(("127.0.0.1", self.port)) as http:
            return http.request("POST", path, body, **kwargs)

    def status(self) -> Any:
        with Client(self.rpc_path) as client:
            return client.status()

    # ---- log

    @property
    def log_text(self) -> str:
        with self.changed:
            return "\n".join(self.lines)

    @property
    def records(self) -> list[dict[str, str]]:
        with self.changed:
            lines = list(self.lines)
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def call_records(self) -> list[dict[str, str]]:
        return [r for r in self.records if "SLUICE_OUTCOME" in r]

    def wait_record(
        self,
        wanted: Callable[[dict[str, str]], bool],
        what: str,
        timeout: float = PATIENCE_SEC,
        since: int = 0,
    ) -> dict[str, str]:
        """The first record, of those after the first `since` records, that is wanted."""
        deadline = time.monotonic() + timeout
        while True:
            with self.changed:
                n_lines = len(self.lines)
            for record in self.records[since:]:
                if wanted(record):
                    return record
            with self.changed:
                while len(self.lines) == n_lines:
                    left = deadline - time.monotonic()
                    if left <= 0 or not self.changed.wait(left):
                        raise AssertionError(f"no log record: {what}\n{self.log_text}")

    def wait_call_records(self, n: int) -> list[dict[str, str]]:
        return eventually(
            lambda: self.call_records if len(self.call_records) >= n else None,
            f"{n} call records",
        )

    # ---- /proc

    def _memory(self, field: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(rf"^{field}:\s+(\d+) kB", text, re.M)
        assert match, text
        return int(match.group(1)) * 1024

    def rss_bytes(self) -> int:
        return self._memory("VmRSS")

    def rss_at_work_bytes(self) -> int:
        """From where growth counts: with what a first request brings back of the libraries (daemon/program_memory.h)."""
        self.get("/v1/models")
        with self.rpc() as rpc:
            rpc.status()
        return self.rss_bytes()

    def peak_rss_bytes(self) -> int:
        return self._memory("VmHWM")

    def allowed_bytes(self, n: int) -> int:
        """n, which is right for the daemon as it is shipped, or what stands for it in the build under test."""
        is_sanitized = b"__asan_init" in paths.SLUICED.read_bytes()
        return n * SANITIZER_MEMORY if is_sanitized else n

    def reset_peak(self) -> None:
        """From here on peak_rss_bytes() counts anew (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def state(self) -> str:
        """"S" while it sleeps, "R" while it runs (proc(5))."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def n_fds(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

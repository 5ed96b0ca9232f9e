"""The two gateways under comparison: started with one file and one environment, asked, measured, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Optional

from testenv.daemon import Daemon
from testenv.http import Answer, Closed, Http
from testenv.models import children_of
from testenv.port import Port
from testenv.waiting import eventually

LITELLM_PATIENCE_SEC = 120.0  # its import alone takes seconds, on a busy machine many
ASK_PATIENCE_SEC = 15.0


class Gateway:
    """What both have: a port, a process, a start that took some time."""

    name = ""

    def __init__(self) -> None:
        self.start_sec = 0.0

    port: int

    @property
    def pid(self) -> int:
        raise NotImplementedError

    def ask(
        self,
        method: str,
        path: str,
        body: Any,
        headers: dict[str, Optional[str]],
        on_piece: Callable[[], None] = lambda: None,
    ) -> Answer:
        """One request on a connection of its own; a broken answer is one too, of status 0. on_piece: at each piece of the body."""
        with Http(("127.0.0.1", self.port), timeout=ASK_PATIENCE_SEC) as http:
            http.send_request(method, path, body, headers)
            try:
                answer = http.read_head()
                if answer.status == 100:
                    answer = http.read_head()
                if method == "HEAD" or answer.status == 204:
                    return answer
            except (Closed, TimeoutError) as e:
                words = "closed without one" if isinstance(e, Closed) else "none in time"
                return Answer(0, [("x-compat-answer", words)])
            try:
                for part in http.body_parts(answer):
                    answer.body += part
                    on_piece()
            except (Closed, TimeoutError) as e:
                words = "cut" if isinstance(e, Closed) else "never ends"
                answer.headers.append(("x-compat-answer", words))
            return answer

    def _pids(self) -> list[int]:
        found = [self.pid]
        for pid in found:
            found += children_of(pid)
        return found

    def rss_bytes(self) -> int:
        """Resident memory of the process and its children."""
        total = 0
        for pid in self._pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) * 1024
        return total

    def cpu_sec(self) -> float:
        """Time on a processor so far (proc(5), schedstat: nanoseconds first)."""
        total = 0
        for pid in self._pids():
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9


class LiteLLM(Gateway):
    """The proxy of the pinned release: no database, no telemetry, its price list from its own package."""

    name = "LiteLLM"

    def __init__(self, program: Path, directory: Path, config: Path, env: dict[str, str]):
        super().__init__()
        self.reserved = Port()
        self.port = self.reserved.number
        self.log = directory / "litellm.log"
        home = directory / "home"
        home.mkdir(exist_ok=True)
        argv = [str(program), "--config", str(config), "--host", "127.0.0.1"]
        argv += ["--port", str(self.port), "--num_workers", "1", "--telemetry", "False"]
        own = {"HOME": str(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_COLOR": "1"}
        self.reserved.close()  # its server does not say SO_REUSEPORT
        began = time.monotonic()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                argv, env={**os.environ, **own, **env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        eventually(self._answers, f"LiteLLM answers; its log: {self.log}", LITELLM_PATIENCE_SEC)
        self.start_sec = time.monotonic() - began

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
        try:
            return self.ask("GET", "/health/liveliness", None, {}).status == 200
        except ConnectionRefusedError:
            return False

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Sluice(Gateway):
    name = "sluice"

    def __init__(self, directory: Path, config: Path, env: dict[str, str]):
        super().__init__()
        self.daemon = Daemon(directory, config.read_text(), env=env)
        began = time.monotonic()
        self.daemon.start()
        self.start_sec = time.monotonic() - began
        self.port = self.daemon.port

    @property
    def pid(self) -> int:
        return self.daemon.pid

    def stop(self) -> None:
        try:
            self.daemon.stop()
        finally:
            self.daemon.kill()

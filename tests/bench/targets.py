"""What is measured: the fake model server itself, nginx as a plain reverse proxy, sluice, and LiteLLM where it is installed.

Each target has an address that speaks OpenAI's HTTP, the process to watch, and a directory for its files below that of the run. Model names are
the same everywhere; what they mean says bench.h. Names that begin with "ollama-" are served through Ollama's dialect.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Optional

from processes import START_SEC, BenchError, Process

OPENAI_MODELS = (
    "bench-16",
    "bench-256",
    "bench-256-20ms",
    "bench-64-20ms",
    "bench-600-1000ms",
    "bench-64-100ms",
    "bench-16-wait3000ms",
    "bench-embed-384",
)
OLLAMA_MODELS = ("bench-16", "bench-256")
ONE_SLOT_MODEL = "one-slot-bench-16-wait3000ms"

KEY = "sk-bench-0c1d2e3f405162738495a6b7c8d9eafb"  # LiteLLM refuses to start with a short one
CHAT = {"messages": [{"role": "user", "content": "hello"}]}


LISTEN_FDS = (3, 4)  # where an activated daemon finds its sockets, sd_listen_fds(3)


def reserve_listen_fds() -> None:
    """Keeps these numbers from being given to anything else of this program."""
    with open(os.devnull, "rb") as null:
        for fd in LISTEN_FDS:
            if null.fileno() != fd:
                os.dup2(null.fileno(), fd, inheritable=False)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get_text(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {KEY}"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def ask_once(port: int, model: str = "bench-16") -> bool:
    """One short chat request; False while nobody listens or the answer is not 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        body = json.dumps({"model": model, **CHAT})
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        answer = response.read()
        return response.status == 200 and b" w15" in answer
    except (ConnectionError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Target:
    """A server in the background. Subclasses say how it is started."""

    name = ""

    def __init__(self, directory: Path, upstream_port: int):
        self.directory = directory / self.name
        self.directory.mkdir()
        self.upstream_port = upstream_port
        self.port = free_port()
        self.process: Optional[Process] = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def spawn(self) -> Process:
        raise NotImplementedError

    def start(self) -> float:
        """Seconds from just before fork and exec to the end of the first right answer."""
        started_at = time.monotonic()
        self.process = self.spawn()
        while not ask_once(self.port):
            self.process.check_alive()
            if time.monotonic() - started_at > START_SEC:
                raise BenchError(f"{self.name} does not answer: see {self.process.log_path}")
            time.sleep(0.0005)
        return time.monotonic() - started_at

    def stop(self) -> None:
        if self.process:
            self.process.stop()
            self.process = None


class Upstream(Target):
    """The fake model server, asked directly: what the machine can do without a gateway."""

    name = "direct"

    def __init__(self, directory: Path, program: Path):
        super().__init__(directory, 0)
        self.upstream_port = self.port
        self.program = program
        self.journal_path = self.directory / "socket"  # in place of /run/systemd/journal/socket

    def spawn(self) -> Process:
        argv = [
            str(self.program),
            "--listen",
            self.address,
            "--journal-sink",
            str(self.journal_path),
        ]
        return Process(argv, self.directory, self.name)

    def stats(self) -> dict[str, int]:
        return json.loads(get_text(self.port, "/bench/stats"))


class Nginx(Target):
    """A plain reverse proxy: one worker, connections to the model server kept, nothing buffered, no access log."""

    name = "nginx"

    CONFIG = """
worker_processes 1;
worker_rlimit_nofile 16384;
pid {dir}/pid;
error_log {dir}/error.log;
daemon off;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    keepalive_requests 1000000000;
    upstream model {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000000; }}
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""

    @staticmethod
    def find() -> Optional[str]:
        return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def spawn(self) -> Process:
        program = self.find()
        if not program:
            raise BenchError("nginx is not installed (Debian: nginx-light)")
        config = self.directory / "nginx.conf"
        config.write_text(
            self.CONFIG.format(
                dir=self.directory, upstream=self.upstream_port, address=self.address
            )
        )
        error_log = str(self.directory / "error.log")
        argv = [program, "-e", error_log, "-c", str(config), "-p", str(self.directory)]
        return Process(argv, self.directory, self.name)


class Sluice(Target):
    """sluiced with a LiteLLM configuration. What it logs goes to a file unless is_journal."""

    name = "sluice"

    def __init__(
        self,
        directory: Path,
        upstream: Upstream,
        build: Path,
        name: str = "sluice",
        is_journal: bool = False,
    ):
        self.name = name
        super().__init__(directory, upstream.port)
        self.program = build / "bin" / "sluiced"
        self.rpc_path = self.directory / "rpc.sock"
        self.journal_path = upstream.journal_path if is_journal else None
        self.config_path = self.directory / "config.yaml"
        self.config_path.write_text(json.dumps(self.config(), indent=1))  # JSON is YAML

    def entry(self, name: str, model: str, slots: int) -> dict[str, Any]:
        base = f"http://127.0.0.1:{self.upstream_port}"
        params: dict[str, Any] = {
            "model": model,
            "api_base": base if model.startswith("ollama_chat/") else base + "/v1",
            "max_parallel_requests": slots,
        }
        if model.startswith("openai/"):
            params["api_key"] = "sk-bench"
        return {"model_name": name, "litellm_params": params}

    def config(self) -> dict[str, Any]:
        models = [self.entry(m, f"openai/{m}", 1024) for m in OPENAI_MODELS]
        models += [self.entry(f"ollama-{m}", f"ollama_chat/{m}", 1024) for m in OLLAMA_MODELS]
        models.append(self.entry(ONE_SLOT_MODEL, "openai/bench-16-wait3000ms", 1))
        limits = {
            "connections": 4096,
            "connections_per_uid": 4096,
            "calls_per_connection": 1024,
        }
        return {"model_list": models, "sluice": {"limits": limits, "pressure": {"enabled": False}}}

    def argv(self) -> list[str]:
        return [str(self.program), "--config", str(self.config_path)]

    def spawn(self) -> Process:
        argv = self.argv() + [
            "--listen",
            f"rpc=unix:{self.rpc_path}",
            "--listen",
            f"http=tcp:{self.address}",
        ]
        if self.journal_path:
            return self.spawn_with_journal(argv)
        return Process(argv, self.directory, self.name)

    def spawn_with_journal(self, argv: list[str]) -> Process:
        """
        In a mount namespace where /run/systemd/journal/socket is our sink, with a stderr that sluiced takes for journald's
        ($JOURNAL_STREAM names its inode, systemd.exec(5)).
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.stderr = ours
        status = os.fstat(theirs.fileno())
        script = (
            "mount -t tmpfs none /run && mkdir -p /run/systemd/journal &&"
            ' mount --bind "$1" /run/systemd/journal && shift && exec "$@"'
        )
        private = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        environment = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert self.journal_path
        process = Process(
            [*private, "sh", "-c", script, "sh", str(self.journal_path.parent), *argv],
            self.directory,
            self.name,
            stderr=theirs,
            env=environment,
        )
        theirs.close()
        return process

    def stop(self) -> None:
        """A daemon that does not end with 0 has failed, whatever it answered before."""
        process, self.process = self.process, None
        if process and process.stop() != 0:
            code = process.process.returncode
            raise BenchError(f"sluiced ended with {code}: see {process.log_path}")

    def calls_queued(self) -> int:
        """From /metrics."""
        for line in get_text(self.port, "/metrics").splitlines():
            name, _, value = line.partition(" ")
            if name == "sluice_calls_queued":
                return int(float(value))
        raise BenchError("/metrics has no sluice_calls_queued")

    # ---- as under systemd: the sockets are opened by somebody else

    def open_sockets(self) -> list[socket.socket]:
        sockets = [socket.create_server(("127.0.0.1", self.port), backlog=1024)]
        sockets.append(socket.socket(socket.AF_UNIX))
        sockets[1].bind(str(self.rpc_path))
        sockets[1].listen()
        return sockets

    def close_sockets(self, sockets: list[socket.socket]) -> None:
        for s in sockets:
            s.close()
        reserve_listen_fds()
        self.rpc_path.unlink(missing_ok=True)

    def spawn_activated(self, sockets: list[socket.socket]) -> None:
        for i, s in enumerate(sockets):
            os.dup2(s.fileno(), LISTEN_FDS[i])
        # $LISTEN_PID must be the pid of sluiced: sh writes its own and becomes it
        script = 'LISTEN_PID=$$ exec "$@"'
        environment = {**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:rpc"}
        self.process = Process(
            ["sh", "-c", script, "sh", *self.argv()],
            self.directory,
            self.name,
            env=environment,
            pass_fds=LISTEN_FDS,
        )

    def start_activated(self) -> float:
        """Seconds from just before exec to the first right answer."""
        sockets = self.open_sockets()
        started_at = time.monotonic()
        self.spawn_activated(sockets)
        is_answered = ask_once(self.port)  # waits in the backlog while sluiced starts
        seconds = time.monotonic() - started_at
        self.stop()
        self.close_sockets(sockets)
        if not is_answered:
            raise BenchError(f"no answer from activated sluiced: see {self.directory}")
        return seconds


class LiteLLM(Target):
    """The LiteLLM proxy of a Python that has litellm[proxy], one worker, no database, nothing fetched at start."""

    name = "litellm"

    def __init__(self, directory: Path, upstream_port: int, python: Path):
        super().__init__(directory, upstream_port)
        self.python = python

    def spawn(self) -> Process:
        base = f"http://127.0.0.1:{self.upstream_port}"
        entries = [
            {
                "model_name": m,
                "litellm_params": {
                    "model": f"openai/{m}",
                    "api_base": base + "/v1",
                    "api_key": "x",
                },
            }
            for m in OPENAI_MODELS
        ]
        entries += [
            {
                "model_name": f"ollama-{m}",
                "litellm_params": {"model": f"ollama_chat/{m}", "api_base": base},
            }
            for m in OLLAMA_MODELS
        ]
        config = self.directory / "config.yaml"
        config.write_text(json.dumps({"model_list": entries}))
        argv = [str(self.python.parent / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        argv += ["--port", str(self.port), "--num_workers", "1", "--telemetry", "False"]
        environment = {
            **os.environ,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": KEY,
            "PATH": f"{self.python.parent}:{os.environ.get('PATH', '')}",
        }
        return Process(argv, self.directory, self.name, env=environment)


def version_of(argv: list[str]) -> str:
    """The first line that a program says about itself, on either output."""
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    text = (result.stdout + result.stderr).strip()
    return text.splitlines()[0] if text else "unknown"

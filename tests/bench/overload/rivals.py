"""What stands between the clients and the model: nothing, three rivals tuned by hand, and sluice with its defaults.

Each is started anew for each run, on the processor that the model does not use. What was tuned, and why so, is said in
docs/BENCHMARKS.md beside the figures; the configurations below are all there is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, Optional

from ollama import MODEL, Ollama
from processes import START_SEC, BenchError, Process
from targets import free_port, version_of

KEY = "sk-bench-0123456789abcdef"


class Rival:
    """A way to the model. Subclasses say how it is started."""

    name = ""
    health = "/v1/models"
    is_one_key = False  # knows no callers

    def __init__(self, directory: Path, ollama: Ollama):
        self.directory = directory / self.name
        self.directory.mkdir()
        self.ollama = ollama
        self.port = free_port()
        self.process: Optional[Process] = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def spawn(self) -> Process:
        raise NotImplementedError

    def version(self) -> str:
        raise NotImplementedError

    def start(self) -> None:
        self.process = self.spawn()
        until = time.monotonic() + 2 * START_SEC
        while not self._answers():
            self.process.check_alive()
            if time.monotonic() > until:
                raise BenchError(f"{self.name} does not answer: see {self.process.log_path}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process:
            self.process.stop()
            self.process = None

    def _answers(self) -> bool:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{self.health}")
        request.add_header("Authorization", f"Bearer {KEY}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


class Direct(Rival):
    """Ollama itself, with its queue of 512."""

    name = "ollama"

    def __init__(self, directory: Path, ollama: Ollama):
        self.ollama = ollama
        self.port = ollama.port
        self.process = None

    def start(self) -> None:
        pass

    def version(self) -> str:
        return self.ollama.version


class LiteLLM(Rival):
    """The LiteLLM proxy: one worker, one call at a time, and it notices clients that leave."""

    name = "litellm"
    health = "/health/liveliness"
    is_one_key = True  # keys of its own need a database

    def program(self) -> str:
        found = os.environ.get("SLUICE_BENCH_LITELLM")
        if not found:
            raise BenchError("LiteLLM is not installed: run this by ./dev bench overload")
        return found

    def config(self) -> dict[str, Any]:
        params = {
            "model": f"ollama_chat/{MODEL}",
            "api_base": self.ollama.url,
            "max_parallel_requests": 1,
        }
        return {
            "model_list": [{"model_name": MODEL, "litellm_params": params}],
            "litellm_settings": {"drop_params": True},  # service_tier
            "general_settings": {"cancel_on_disconnect": True},
        }

    def spawn(self) -> Process:
        path = self.directory / "config.yaml"
        path.write_text(json.dumps(self.config()))  # JSON is YAML
        argv = [self.program(), "--config", str(path), "--host", "127.0.0.1"]
        argv += ["--port", str(self.port), "--num_workers", "1", "--telemetry", "False"]
        environment = {
            **os.environ,
            "HOME": str(self.directory),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": KEY,
            "PATH": f"{Path(self.program()).parent}:{os.environ.get('PATH', '')}",
        }
        return Process(argv, self.directory, self.name, env=environment)

    def version(self) -> str:
        return version_of([self.program(), "--version"])


class Nginx(Rival):
    """One request at a time, the others refused at once."""

    name = "nginx"

    CONFIG = """
worker_processes 1;
pid {dir}/pid;
error_log {dir}/error.log crit;
daemon off;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    limit_conn_zone $server_name zone=model:1m;
    upstream model {{ server 127.0.0.1:{upstream}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        server_name model; # the zone counts nothing under an empty name
        proxy_set_header Host 127.0.0.1:{upstream}; # Ollama refuses names that it does not know
        location = /v1/models {{ proxy_pass http://model; }}
        location / {{
            limit_conn model 1;
            limit_conn_status 503;
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Host 127.0.0.1:{upstream}; # those of the server are not inherited beside others
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 10m;
        }}
    }}
}}
"""

    def spawn(self) -> Process:
        path = self.directory / "nginx.conf"
        values = {"dir": self.directory, "upstream": self.ollama.port, "port": self.port}
        path.write_text(self.CONFIG.format(**values))
        log = str(self.directory / "error.log")
        argv = [needed("nginx"), "-e", log, "-c", str(path), "-p", str(self.directory)]
        return Process(argv, self.directory, self.name)

    def version(self) -> str:
        return version_of([needed("nginx"), "-v"])


class HAProxy(Rival):
    """One request at a time, the others wait for as long as the service time suggests."""

    name = "haproxy"
    queue = "3s"
    rule = ""

    CONFIG = """
global
    maxconn 8000
    nbthread 1
defaults
    mode http
    option http-no-delay
    option abortonclose
    retries 0
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    timeout queue {queue}
frontend clients
    bind 127.0.0.1:{port}
    {rule}
    use_backend lists if {{ path /v1/models }}
    default_backend model
backend lists
    server ollama 127.0.0.1:{upstream}
backend model
    server ollama 127.0.0.1:{upstream} maxconn 1
"""

    def spawn(self) -> Process:
        path = self.directory / "haproxy.cfg"
        values = {"queue": self.queue, "rule": self.rule}
        path.write_text(self.CONFIG.format(port=self.port, upstream=self.ollama.port, **values))
        return Process([needed("haproxy"), "-db", "-f", str(path)], self.directory, self.name)

    def version(self) -> str:
        return version_of([needed("haproxy"), "-v"])


class HAProxyClasses(HAProxy):
    """The same with priorities: whoever says that he can wait goes behind the others."""

    name = "haproxy-classes"
    queue = "4s"  # less than the time-out of the clients, or it serves those that have left
    rule = "http-request set-priority-class int(100) if { hdr(x-class) batch }"


class Sluice(Rival):
    """sluiced with nothing configured but where the model is; callers have keys where they shall be told apart."""

    name = "sluice"
    program = Path()  # set by the command line

    def __init__(self, directory: Path, ollama: Ollama, callers: tuple[str, ...] = ()):
        super().__init__(directory, ollama)
        self.callers = callers

    def config(self) -> dict[str, Any]:
        params = {"model": f"ollama_chat/{MODEL}", "api_base": self.ollama.url}
        config: dict[str, Any] = {"model_list": [{"model_name": MODEL, "litellm_params": params}]}
        keys = [{"id": name, "sha256": hashlib.sha256(key_of(name).encode()).hexdigest()} for name in self.callers]
        if keys:
            keys.append({"id": "bench", "sha256": hashlib.sha256(KEY.encode()).hexdigest()})
            config["sluice"] = {"keys": keys}
        return config

    def spawn(self) -> Process:
        path = self.directory / "sluice.yaml"
        path.write_text(json.dumps(self.config()))
        argv = [str(self.program), "--config", str(path)]
        argv += ["--listen", f"rpc=unix:{self.rpc_path}"]
        argv += ["--listen", f"http=tcp:127.0.0.1:{self.port}"]
        return Process(argv, self.directory, self.name)

    @property
    def rpc_path(self) -> Path:
        return self.directory / "rpc.sock"

    def stop(self) -> None:
        """A daemon that does not end with 0 has failed, whatever it answered before."""
        process, self.process = self.process, None
        if process and process.stop() != 0:
            code = process.process.returncode
            raise BenchError(f"sluiced ended with {code}: see {process.log_path}")

    def version(self) -> str:
        return version_of([str(self.program), "--version"])


def key_of(caller: str) -> str:
    return f"sk-bench-{caller}-0123456789abcdef"


def needed(program: str) -> str:
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise BenchError(f"{program} is not installed: run this by ./dev bench overload")
    return found


RIVALS: dict[str, Callable[..., Rival]] = {
    kind.name: kind for kind in (Direct, LiteLLM, Nginx, HAProxy, HAProxyClasses, Sluice)
}

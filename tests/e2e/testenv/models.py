"""Real model servers: Ollama and llama-server with small models, as the development cache holds them.

Where they are is said by env.sh in ${SLUICE_DEV_CACHE:-~/.cache/sluice-dev}; SLUICE_TEST_OLLAMA_ENV names another such file.
Without them the tests that need them fail, unless SLUICE_TEST_WITHOUT_MODELS=1 says that this is known.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest

from .http import Closed, Http
from .port import Port
from .waiting import eventually

NEEDED_MODELS = (
    *("smollm2", "all-minilm", "script", "script-call", "script-think"),
    *("loop", "tiny", "tiny2", "tiny-embed", "tiny-rank"),
)


@dataclass
class Components:
    ollama: Path
    llama_server: Path
    store: Path
    gguf: Path


def _env_file() -> Path:
    if os.environ.get("SLUICE_TEST_OLLAMA_ENV"):
        return Path(os.environ["SLUICE_TEST_OLLAMA_ENV"])
    cache = os.environ.get("SLUICE_DEV_CACHE") or os.path.expanduser("~/.cache/sluice-dev")
    return Path(cache) / "env.sh"


def find() -> Components:
    """LookupError where they are not set up."""
    path = _env_file()
    if not path.exists():
        raise LookupError(f"{path} is missing")
    script = f". {shlex.quote(str(path))}; env -0"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "LLAMA_"))}
    out = subprocess.run(["sh", "-c", script], env=clean, capture_output=True, check=True).stdout
    values = dict(item.split("=", 1) for item in out.decode().split("\0") if "=" in item)
    found = Components(
        *(Path(values[n]) for n in ("OLLAMA_BIN", "LLAMA_SERVER", "OLLAMA_MODELS", "OLLAMA_GGUF"))
    )
    missing = [str(p) for p in (found.ollama, found.llama_server) if not os.access(p, os.X_OK)]
    missing += [n for n in NEEDED_MODELS if not (found.gguf / f"{n}.gguf").exists()]
    if missing:
        raise LookupError(f"{path} is there, but not {', '.join(missing)}")
    return found


def components_or_end_test() -> Components:
    try:
        return find()
    except LookupError as e:
        text = f"the real model servers are not set up: {e}"
        if os.environ.get("SLUICE_TEST_WITHOUT_MODELS") == "1":
            pytest.skip(text)
        pytest.fail(text + " (SLUICE_TEST_WITHOUT_MODELS=1 skips these tests)")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _answers_unix(path: str) -> bool:
    try:
        with Http(path) as http:
            return http.request("GET", "/health").status == 200
    except (OSError, Closed):
        return False


def children_of(pid: int) -> list[int]:
    """Of all threads of the process."""
    out: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            out += [int(child) for child in path.read_text().split()]
        except FileNotFoundError:
            pass  # the thread ended meanwhile
    return out


class OllamaServer:
    """`ollama serve` of our own: free port, private store whose blobs are those of the cache."""

    def __init__(self, found: Components, directory: Path):
        self.found = found
        self.directory = directory
        self.reserved = Port()
        self.port = self.reserved.number
        self.process: Optional[subprocess.Popen[bytes]] = None
        store = directory / "models"
        store.mkdir()
        shutil.copytree(found.store / "manifests", store / "manifests")
        (store / "blobs").mkdir()
        for blob in (found.store / "blobs").iterdir():
            (store / "blobs" / blob.name).symlink_to(blob)
        self.store = store

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        env = {
            **os.environ,
            "HOME": str(self.directory),
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_MODELS": str(self.store),
            "OLLAMA_NOPRUNE": "1",
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_KEEP_ALIVE": "10m",
            "GIN_MODE": "release",
            "LLAMA_ARG_CACHE_RAM": "0",
        }
        with open(self.directory / "ollama.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(self.found.ollama), "serve"], env=env, stdout=log, stderr=log
            )
        eventually(lambda: _answers(self.url + "/api/version"), "ollama answers", 20)

    def stop(self) -> None:
        if self.process is None:
            return
        runners = children_of(self.process.pid)
        self.process.terminate()
        self.process.wait(20)
        self.process = None
        for pid in runners:  # a runner that outlived its server
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)

    def running(self) -> list[dict[str, Any]]:
        """What /api/ps says of the models in memory."""
        with urllib.request.urlopen(self.url + "/api/ps", timeout=20) as answer:
            models: list[dict[str, Any]] = json.loads(answer.read())["models"]
        return models

    def loaded(self) -> set[str]:
        """Names of the models in memory, with their tags."""
        return {m["name"] for m in self.running()}

    def post(self, path: str, body: Any) -> bytes:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()

    def derive(self, source: str, name: str, **parameters: Any) -> None:
        """Another name for a model, in our store only, with defaults of its own."""
        body = {"model": name, "from": source, "parameters": parameters, "stream": False}
        self.post("/api/create", body)

    def unload(self, model: str) -> None:
        self.post("/api/generate", {"model": model, "keep_alive": 0})

    def runners(self) -> list[int]:
        """The model processes of this server, and of nobody else's."""
        assert self.process
        return children_of(self.process.pid)

    def kill_runners(self) -> int:
        pids = self.runners()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    def log(self) -> str:
        return (self.directory / "ollama.log").read_text(errors="replace")


class LlamaServer:
    """llama-server alone, with one model."""

    def __init__(
        self,
        found: Components,
        model: str,
        *args: str,
        unix_path: Optional[str] = None,
        wait: bool = True,
    ):
        self.reserved = Port()
        self.port = self.reserved.number
        argv = [str(found.llama_server), "-m", str(found.gguf / f"{model}.gguf")]
        argv += ["--host", unix_path or "127.0.0.1", "--port", str(self.port), "--alias", model]
        argv += ["--offline", "--no-webui", "-t", "1", "-np", "1", *args]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if unix_path:
            eventually(lambda: _answers_unix(unix_path), "llama-server answers", 25)
        elif wait:
            eventually(lambda: _answers(self.url + "/health"), "llama-server answers", 25)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_base(self) -> str:
        return self.url + "/v1"

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.reserved.close()


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())

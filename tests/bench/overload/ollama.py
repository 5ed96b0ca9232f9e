"""A real Ollama for the benchmark: one slot, one thread, a processor of its own, and the runner's own count of what it generated."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from processes import START_SEC, BenchError, Process, pin, tree
from targets import free_port

MODEL = "bench"
N_CTX = 2048
COUNTERS = re.compile(r"^llamacpp:(\w+) ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Count:
    """What a runner has done since it was started.

    llama-server counts the tokens of an answer when it is whole, so those for clients that left are missing in `whole_tokens`. Its count of
    evaluations has them: with one slot there is one for each token (the first token comes out of the prompt's).
    """

    generated: int = 0
    whole_tokens: float = 0.0
    whole_sec: float = 0.0  # in which those were generated

    def since(self, before: Count) -> Count:
        pairs = zip(self.__dict__.values(), before.__dict__.values())
        return Count(*(now - then for now, then in pairs))

    @property
    def tokens_per_sec(self) -> float:
        """While it generates."""
        return self.whole_tokens / self.whole_sec if self.whole_sec else 0.0


def settings() -> dict[str, str]:
    """Of env.sh, which ./dev leaves in its cache."""
    cache = os.environ.get("SLUICE_DEV_CACHE") or os.path.expanduser("~/.cache/sluice-dev")
    path = Path(cache) / "env.sh"
    if not path.exists():
        raise BenchError(f"{path} is missing: ./dev setup makes it")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "LLAMA_"))}
    script = f". {shlex.quote(str(path))}; env -0"
    out = subprocess.run(["sh", "-c", script], env=clean, capture_output=True, check=True).stdout
    return dict(item.split("=", 1) for item in out.decode().split("\0") if "=" in item)


class Ollama:
    """`ollama serve` with a store of its own, whose blobs are those of the cache."""

    def __init__(self, directory: Path, extra_env: Optional[dict[str, str]] = None):
        self.directory = directory / "ollama"
        self.directory.mkdir()
        self.found = settings()
        self.extra_env = extra_env or {}
        self.port = free_port()
        self.process: Optional[Process] = None
        store, ours = Path(self.found["OLLAMA_MODELS"]), self.directory / "models"
        shutil.copytree(store / "manifests", ours / "manifests")
        (ours / "blobs").mkdir()
        for blob in (store / "blobs").iterdir():
            (ours / "blobs" / blob.name).symlink_to(blob)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def version(self) -> str:
        return self.get("/api/version")["version"]

    def start(self, prefix: tuple[str, ...] = ()) -> None:
        """prefix: of the command line, such as one that enters a cgroup."""
        env = {
            **os.environ,
            "HOME": str(self.directory),
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_MODELS": str(self.directory / "models"),
            "OLLAMA_NOPRUNE": "1",
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_NUM_PARALLEL": "1",
            "OLLAMA_KEEP_ALIVE": "1h",
            "GIN_MODE": "release",
            "LLAMA_ARG_ENDPOINT_METRICS": "1",  # the runner's environment is Ollama's
            **self.extra_env,
        }
        argv = [*prefix, self.found["OLLAMA_BIN"], "serve"]
        self.process = Process(argv, self.directory, "ollama", env=env)
        until = time.monotonic() + START_SEC
        while not self._answers():
            self.process.check_alive()
            if time.monotonic() > until:
                raise BenchError(f"ollama does not answer: see {self.process.log_path}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process:
            members = tree(self.process.pid)
            self.process.stop()
            self.process = None
            for pid in members[1:]:  # a runner that outlived its server
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGKILL)

    def restart(self) -> None:
        """Forgets whoever waits."""
        self.stop()
        self.start()

    def derive(self, name: str, source: str) -> None:
        """A model with the options of the benchmark in it, so that no client needs to send any."""
        options = {"num_thread": 1, "num_ctx": N_CTX}
        body = {"model": name, "from": source, "parameters": options, "stream": False}
        self.post("/api/create", body)

    def load(self, name: str, cpu: Optional[int]) -> None:
        """Into memory; its runner gets a processor of its own."""
        self.post("/api/generate", {"model": name})
        assert self.process
        for pid in tree(self.process.pid)[1:]:
            if cpu is not None:
                pin(pid, {cpu})

    def count(self) -> Count:
        """Of the loaded runner."""
        assert self.process
        for pid in tree(self.process.pid)[1:]:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if "--port" in words:
                at = f"http://127.0.0.1:{words[words.index('--port') + 1]}/metrics"
                with urllib.request.urlopen(at, timeout=20) as answer:
                    found = dict(COUNTERS.findall(answer.read().decode()))
                names = ("tokens_predicted_total", "tokens_predicted_seconds_total")
                if "n_decode_total" in found:
                    return Count(int(found["n_decode_total"]), *(float(found[n]) for n in names))
        raise BenchError("the runner does not tell what it generated")

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return json.loads(answer.read())

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def _answers(self) -> bool:
        try:
            return bool(self.version)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

"""Memory for models with a real Ollama: two that do not fit together, on a device that is smaller than the one we run on."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Iterator

import pytest
from testenv.daemon import model, to_yaml
from testenv.http import chat_body
from testenv.models import OllamaServer
from testenv.waiting import eventually

pytestmark = pytest.mark.real
CHAT = "/v1/chat/completions"
TOTAL, OTHERS, EACH = 1024, 150, 500


class SmallDevice:
    """A /proc/meminfo in which each model that Ollama lists takes EACH MiB."""

    def __init__(self, root: Path, server: OllamaServer):
        self.path = root / "proc" / "meminfo"
        self.path.parent.mkdir(parents=True)
        self.server = server
        self.most = 0
        self.stopped = threading.Event()
        self.write()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def write(self) -> None:
        n = len(self.server.loaded())
        self.most = max(self.most, n)
        new = self.path.with_suffix(".new")
        available = (TOTAL - OTHERS - n * EACH) * 1024
        new.write_text(f"MemTotal: {TOTAL * 1024} kB\nMemAvailable: {available} kB\n")
        os.rename(new, self.path)

    def watch(self) -> None:
        while not self.stopped.wait(0.05):
            self.write()

    def close(self) -> None:
        self.stopped.set()
        self.thread.join(10)


@pytest.fixture
def device(env, ollama_server: OllamaServer) -> Iterator[SmallDevice]:
    for name in ollama_server.loaded():
        ollama_server.unload(name)
    small = SmallDevice(env.directory / "root", ollama_server)
    yield small
    small.close()


def test_two_models_take_turns(env, ollama_server: OllamaServer, device: SmallDevice) -> None:
    """Two clients at a time, each with a model of its own: all are answered, and never both are loaded."""
    entries = [
        model(
            name,
            {"model": f"ollama_chat/{name}", "api_base": ollama_server.url, "num_thread": 1},
            ram_mb=EACH,
        )
        for name in ("script", "tiny")
    ]
    config = env.config({}, sluice={"queue": {"patience": {"interactive": "60s"}, "wait": {"interactive": "60s"}}})
    config["model_list"] = entries
    config["sluice"]["memory"] = {"enabled": True}
    config["sluice"]["pressure"]["kernel_root"] = str(env.directory / "root")
    sluice = env.start(to_yaml(config))
    statuses: dict[str, list[int]] = {"script": [], "tiny": []}

    def client(name: str) -> None:
        for _ in range(3):
            statuses[name].append(sluice.post(CHAT, chat_body(name, max_tokens=4)).status)

    threads = [threading.Thread(target=client, args=(name,)) for name in statuses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert statuses == {"script": [200] * 3, "tiny": [200] * 3}, sluice.log_text
    assert device.most == 1


def test_what_a_model_takes_is_learned(env, ollama_server: OllamaServer) -> None:
    """One load, on the device as it is: no load is stopped, and what is learned is what Ollama says of it, within a factor of 2."""
    for name in ollama_server.loaded():
        ollama_server.unload(name)
    config = env.config({"m": {"model": "ollama_chat/smollm2", "api_base": ollama_server.url}})
    config["sluice"]["memory"] = {"enabled": True, "prompt_cache": "0B"}
    sluice = env.start(to_yaml(config))
    answer = sluice.post(CHAT, chat_body("m", max_tokens=8))
    assert answer.status == 200, answer
    state = eventually(lambda: [d for d in sluice.status().deployments if d.need_source == "learned"], "it is learned", 20)[0]
    said = next(m["size"] for m in ollama_server.running() if m["name"].startswith("smollm2"))
    assert said / 2 < state.need_bytes < said * 2, (said, state.need_bytes)
    assert "model_load_stopped" not in sluice.log_text and sluice.status().quarantines == 0

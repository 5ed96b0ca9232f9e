#!/usr/bin/env python3
"""The benchmark behind ./dev bench memory: who is killed for want of memory, and how many answers come meanwhile.

    memory.py --build build/release [--quick] [--runs two,neighbour,cache] [--targets ...] [--seconds N] [--json FILE]

Everything that takes memory runs in a small control group, never the whole machine: a real Ollama, sluiced, and in one run a
neighbour. Three ways to run out:

    two         two models that do not fit together, each with a client that asks again and again
    neighbour   two models fit; then a process beside them takes 20 MB/s, keeps what it has for a while, and goes
    cache       one model whose runner keeps the state of each long prompt that it has seen

each with Ollama as it is, with Ollama limited by hand to one model, and with sluice before Ollama as it is. Reported: kills by the
kernel in the group, good answers per minute. Exit status 1: something did not run; where there can be no such group that is said,
counted, and no failure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for folder in ("tests/pressure", "tests/bench", "tests/bench/overload"):
    sys.path.insert(0, str(Path(__file__).parents[3] / folder))

import httpx2  # noqa: E402
import openai  # noqa: E402
from group import Group, NotPossible  # noqa: E402
from ollama import Ollama, settings  # noqa: E402
from processes import BenchError, Process  # noqa: E402
from rivals import KEY, Sluice  # noqa: E402

MIB = 1024 * 1024
MODELS = ("first", "second")  # SmolLM2 under two names; a runner takes 150 MiB that cannot be given back
ANSWER_SEC = 30.0  # a client's patience
N_TOKENS = 32
LONG_WORDS = 500  # of a prompt that fills a cache
THINGS = "river forest engine market garden violin harbour winter castle school desert island".split()
NEIGHBOUR_BYTES_PER_SEC = 20_000_000
NEIGHBOUR_SEC = 12.0  # of growth: 240 MB
ENTER = 'for f in $1; do echo $$ > "$f"; done; shift; exec "$@"'  # a process enters its group before it is what it shall be

NEIGHBOUR = f"""
import time
have = []
while True:
    began = time.monotonic()
    while len(have) * 1_000_000 < {NEIGHBOUR_BYTES_PER_SEC * NEIGHBOUR_SEC}:
        have.append(b"x" * 1_000_000)
        time.sleep(max(0, began + len(have) * 1_000_000 / {NEIGHBOUR_BYTES_PER_SEC} - time.monotonic()))
    time.sleep(3)
    have.clear()
    time.sleep(8)
"""


@dataclass(frozen=True)
class Scenario:
    name: str
    limit_bytes: int
    clients: tuple[str, ...]  # the model of each
    is_long: bool = False  # the prompts
    loads: tuple[str, ...] = ()  # loaded before
    has_neighbour: bool = False


SCENARIOS = {
    s.name: s
    for s in (
        Scenario("two", 330 * MIB, MODELS),
        Scenario("neighbour", 500 * MIB, MODELS[:1], loads=MODELS, has_neighbour=True),
        Scenario("cache", 220 * MIB, MODELS[:1], is_long=True),
    )
}
ONE = {"OLLAMA_MAX_LOADED_MODELS": "1"}
TARGETS: dict[str, dict[str, str]] = {"ollama": {}, "ollama-one": ONE, "sluice": {}}  # Ollama's environment


def entering(group: Group) -> tuple[str, ...]:
    procs = " ".join(str(folder / "cgroup.procs") for folder in group.folders)
    return ("sh", "-c", ENTER, "sh", procs)


def kills(group: Group) -> int:
    """Processes that the kernel has killed in it."""
    name = "memory.oom_control" if group.is_v1 else "memory.events"
    return int(re.findall(r"^oom_kill (\d+)", (group.folders[0] / name).read_text(), re.MULTILINE)[0])


def peak_bytes(group: Group) -> int:
    """The most that was in it, caches of files included."""
    path = group.folders[0] / ("memory.max_usage_in_bytes" if group.is_v1 else "memory.peak")
    return int(path.read_text()) if path.exists() else 0


def twin(source: Path, target: Path) -> None:
    """The same weights under another digest, so that Ollama gives them a runner of their own."""
    data = bytearray(source.read_bytes())
    at = data.index(b"general.name") + len(b"general.name") + 4 + 8  # its type, its length
    data[at] = ord("Z")
    target.write_bytes(data)


def create(ollama: Ollama, name: str, gguf: Path) -> None:
    data = gguf.read_bytes()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    request = urllib.request.Request(f"{ollama.url}/api/blobs/{digest}", data, method="POST")
    with urllib.request.urlopen(request, timeout=60):
        pass
    options = {"num_thread": 1, "num_ctx": 2048}
    body = {"model": name, "files": {gguf.name: digest}, "parameters": options, "stream": False}
    ollama.post("/api/create", body)


class Sluiced(Sluice):
    """With the two models, in the group that it shall watch."""

    def __init__(self, directory: Path, ollama: Ollama, group: Group):
        super().__init__(directory, ollama)
        self.group = group

    def config(self) -> dict[str, Any]:
        entries = [
            {"model_name": m, "litellm_params": {"model": f"ollama_chat/{m}", "api_base": self.ollama.url}} for m in MODELS
        ]
        return {"model_list": entries, "sluice": {"pressure": {"group": self.group.path}}}

    def spawn(self) -> Process:
        path = self.directory / "sluice.yaml"
        path.write_text(json.dumps(self.config()))
        argv = [*entering(self.group), str(self.program), "--config", str(path)]
        argv += ["--listen", f"rpc=unix:{self.directory}/rpc.sock"]
        argv += ["--listen", f"http=tcp:127.0.0.1:{self.port}"]
        return Process(argv, self.directory, self.name)


class Run:
    def __init__(self, scenario: Scenario, target: str, seconds: float, seed: int):
        self.scenario, self.target, self.seconds, self.seed = scenario, target, seconds, seed
        self.good = dict.fromkeys(scenario.clients, 0)
        self.failed: dict[str, int] = {}
        self.longest_sec = 0.0

    def result(self, n_kills: int) -> dict[str, Any]:
        return {
            "run": self.scenario.name,
            "target": self.target,
            "kills": n_kills,
            "good_per_minute": sum(self.good.values()) * 60 / self.seconds,
            "good_of_each": {model: n * 60 / self.seconds for model, n in self.good.items()},
            "failed": self.failed,
            "longest_sec": self.longest_sec,
        }

    def prompt(self, rng: random.Random) -> str:
        n = LONG_WORDS if self.scenario.is_long else 8
        return f"{rng.randrange(10**6)} {' '.join(rng.choices(THINGS, k=n))}: a story about these, please."

    async def client(self, base_url: str, model: str, until: float) -> None:
        rng = random.Random(f"{self.seed} {model}")
        async with openai.AsyncOpenAI(base_url=base_url, api_key=KEY, timeout=ANSWER_SEC) as api:
            while time.monotonic() < until:
                began = time.monotonic()
                message = {"role": "user", "content": self.prompt(rng)}
                try:
                    answer = await api.chat.completions.create(model=model, messages=[message], max_tokens=N_TOKENS)
                    is_good = bool(answer.choices[0].message.content) and time.monotonic() <= until
                    self.good[model] += is_good
                except (openai.APIError, httpx2.HTTPError) as e:
                    name = f"{type(e).__name__} {getattr(e, 'status_code', '')}".strip()
                    self.failed[name] = self.failed.get(name, 0) + 1
                    await asyncio.sleep(0.1)  # a client that at once comes again for ever measures itself
                self.longest_sec = max(self.longest_sec, time.monotonic() - began)

    async def clients(self, base_url: str) -> None:
        until = time.monotonic() + self.seconds
        tasks = [asyncio.create_task(self.client(base_url, m, until)) for m in self.scenario.clients]
        await asyncio.wait(tasks, timeout=self.seconds + 5)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    def go(self, directory: Path, gguf: Path) -> dict[str, Any]:
        with contextlib.ExitStack() as stack:
            group = Group(self.scenario.limit_bytes)
            stack.callback(group.close)
            ollama = Ollama(directory, TARGETS[self.target])
            stack.callback(ollama.stop)
            ollama.start()  # outside: what it takes to store the models is no part of this
            ollama.derive(MODELS[0], "smollm2")
            create(ollama, MODELS[1], gguf)
            ollama.stop()
            ollama.start(entering(group))
            base = f"{ollama.url}/v1"
            if self.target == "sluice":
                sluiced = Sluiced(directory, ollama, group)
                stack.callback(sluiced.stop)
                sluiced.start()
                base = sluiced.base_url
            for model in self.scenario.loads:
                asyncio.run(self.asked_once(base, model))
            if self.scenario.has_neighbour:
                neighbour = subprocess.Popen([*entering(group), sys.executable, "-c", NEIGHBOUR])
                stack.callback(neighbour.wait)
                stack.callback(neighbour.kill)
            before = kills(group)
            asyncio.run(self.clients(base))
            return self.result(kills(group) - before) | {"peak_bytes": peak_bytes(group)}

    async def asked_once(self, base_url: str, model: str) -> None:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=KEY, timeout=ANSWER_SEC) as api:
            await api.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}], max_tokens=1)


def table(results: list[dict[str, Any]]) -> str:
    lines = ["| run | target | killed | good answers per minute | of each client | longest wait | failed |", "| --- " * 7 + "|"]
    for r in results:
        failed = ", ".join(f"{name} {n}" for name, n in r["failed"].items()) or "none"
        each = ", ".join(f"{n:.0f}" for n in r["good_of_each"].values())
        cells = [r["run"], r["target"], str(r["kills"]), f"{r['good_per_minute']:.0f}", each, f"{r['longest_sec']:.1f} s", failed]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def words(text: str, known: dict[str, Any]) -> list[str]:
    found = [word for word in text.split(",") if word]
    if set(found) - set(known):
        raise argparse.ArgumentTypeError(f"known are {', '.join(known)}")
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench memory", description="Who is killed for want of memory.")
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sluiced", type=Path, help="another daemon than the build's")
    parser.add_argument("--runs", type=lambda t: words(t, SCENARIOS), default=list(SCENARIOS), help="of two,neighbour,cache")
    parser.add_argument("--targets", type=lambda t: words(t, TARGETS), default=list(TARGETS), help="of ollama,ollama-one,sluice")
    parser.add_argument("--seconds", type=float, help="of each run (120; 12 with --quick)")
    parser.add_argument("--quick", action="store_true", help="rough: less than three minutes")
    parser.add_argument("--seed", type=int, default=1, help="of the prompts (1)")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    Sluice.program = (args.sluiced or args.build / "bin" / "sluiced").resolve()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends with us
    seconds = args.seconds or (12 if args.quick else 120)
    try:
        Group(64 * MIB).close()
    except NotPossible as e:
        print(f"SKIPPED {len(args.runs) * len(args.targets)} runs: {e}")
        return 0
    results, failures = [], []
    print(f"seed {args.seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="sluice-memory-") as name:
        base = Path(name)
        gguf = base / f"{MODELS[1]}.gguf"
        twin(Path(settings()["OLLAMA_GGUF"]) / "smollm2.gguf", gguf)
        for run in args.runs:
            for target in args.targets:
                directory = base / f"{run}-{target}"
                directory.mkdir()
                try:
                    results.append(Run(SCENARIOS[run], target, seconds, args.seed).go(directory, gguf))
                    print(json.dumps(results[-1]), file=sys.stderr, flush=True)
                except (BenchError, openai.APIError, OSError) as e:
                    failures.append(f"{run}, {target}: {e}")
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps({"seconds": seconds, "seed": args.seed, "runs": results, "failures": failures}))
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

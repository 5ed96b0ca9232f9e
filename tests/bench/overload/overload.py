#!/usr/bin/env python3
"""The benchmark behind ./dev bench overload: what comes out of a real model under more load than it can carry.

    overload.py --build build/release [--quick] [--loads 2,10] [--targets sluice,haproxy] [--seconds N] [--seed S] [--hog] [--probe] [--json FILE]

A real Ollama with SmolLM2, one slot, one thread. Its capacity is measured with as many clients as keep it busy; then intents
(intents.py) arrive at random at multiples of that rate, whether or not earlier ones are done, and pursue their answer with the
openai package. The same arrivals go to Ollama itself, to rivals tuned by hand and to sluice with its defaults (rivals.py). The
capacity is measured again after each run, and scaled by the model's own speed while the load was on: on a machine that does other
work it drifts, and the table says how far.

The table goes to standard output, all figures and each intent to --json. Exit status 1: something did not run. No figure decides it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Optional

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import figures  # noqa: E402
import report  # noqa: E402
from intents import BATCH, INTERACTIVE, Client, Intent, Kind, make  # noqa: E402
from ollama import MODEL, Ollama  # noqa: E402
from processes import BenchError, pin  # noqa: E402
from rivals import KEY, RIVALS, Rival, Sluice, key_of  # noqa: E402

LOADS = (0.5, 1.0, 2.0, 4.0, 10.0)
N_BUSY = 2  # clients that keep one slot busy
N_PROBES = 3  # in a row that must be served well
PROBE_SEC = 1.0  # between them
PROBE_WELL_SEC = 2.0  # the longest answer that cannot be stopped takes less
RECOVERY_LIMIT_SEC = 90.0
HOG = "hog"
VICTIMS = ("victim1", "victim2", "victim3")
HOG_LOAD, VICTIM_LOAD = 10.0, 0.15  # of the capacity; a fair share is a quarter


@dataclass(frozen=True)
class Times:
    load_sec: float
    warm_sec: float
    capacity_sec: float


# Queues that are bounded in time need about that long to fill, and refused clients come back as late.
# A capacity of less than some twenty answers depends on how many of them happened to be short.
FULL = Times(load_sec=180, warm_sec=60, capacity_sec=25)
QUICK = Times(load_sec=90, warm_sec=40, capacity_sec=15)


@dataclass(frozen=True)
class Capacity:
    tokens_per_sec: float
    intents_per_sec: float
    speed: float  # tokens per second while generating: what changes when the machine does other work

    def at(self, speed: float) -> float:
        """Tokens per second, had the model been that fast."""
        return self.tokens_per_sec * speed / self.speed

    def prompt_sec(self, speed: float) -> float:
        """What an answer takes beside its tokens, had the model been that fast."""
        tokens = self.tokens_per_sec / self.intents_per_sec
        return tokens * (1 / self.at(speed) - 1 / speed)


def arrivals(rng: random.Random, rate: float, times: Times, caller: str = "", only: Optional[Kind] = None) -> list[Intent]:
    """A Poisson process, given that as many come in the warm-up and in the rest as the rate says; half of them are of each kind.

    Without that condition a draw is 5 % above or below the load that was meant, and the shares that can be good are so as well.
    born_at counts from 0.
    """
    found: list[Intent] = []
    for from_sec, to_sec in ((0.0, times.warm_sec), (times.warm_sec, times.load_sec)):
        n = round(rate * (to_sec - from_sec))
        kinds = [only or (INTERACTIVE, BATCH)[i % 2] for i in range(n)]
        rng.shuffle(kinds)
        born = sorted(rng.uniform(from_sec, to_sec) for _ in range(n))
        found += [make(rng, kind, at, caller) for kind, at in zip(kinds, born)]
    return found


class Bench:
    def __init__(self, args: argparse.Namespace, directory: Path):
        self.args = args
        self.directory = directory
        self.times = QUICK if args.quick else FULL
        if args.seconds:
            self.times = Times(args.seconds, min(self.times.warm_sec, args.seconds / 3), self.times.capacity_sec)
        cpus = sorted(os.sched_getaffinity(0))
        self.other_cpus = set(cpus[:-1]) or set(cpus)
        self.model_cpu = cpus[-1] if len(cpus) > 1 else None
        self.ollama = Ollama(directory)
        self.runs: list[dict[str, Any]] = []
        self.failures: list[str] = []

    # ---- the model

    def start_model(self) -> None:
        """A fresh one for each run: nobody waits in it, nothing is cached."""
        self.ollama.restart()
        if not any(m["name"].startswith(MODEL + ":") for m in self.ollama.get("/api/tags")["models"]):
            self.ollama.derive(MODEL, "smollm2")
        self.ollama.load(MODEL, self.model_cpu)

    async def capacity(self, only: Optional[Kind]) -> Capacity:
        """Closed loop, straight to Ollama, both kinds in turn."""
        rng = random.Random(self.args.seed)
        done: list[Intent] = []

        async def worker(client: Client, first: int) -> None:
            turn = first
            while True:
                kind = only or (INTERACTIVE, BATCH)[turn % 2]
                turn += 1
                done.append(await client.pursue(make(rng, kind, time.monotonic()), 0))

        base = f"{self.ollama.url}/v1"
        async with Client(base, MODEL, {}, KEY) as client:
            workers = [asyncio.create_task(worker(client, i)) for i in range(N_BUSY)]
            await asyncio.sleep(1)  # the first ones wait for each other
            before, began_at = self.ollama.count(), time.monotonic()
            await asyncio.sleep(self.times.capacity_sec)
            did, seconds = self.ollama.count().since(before), time.monotonic() - began_at
            await cancelled(workers)
        if not done or any(i.outcome != "done" for i in done):
            raise BenchError(f"Ollama alone fails: {sorted({i.outcome for i in done})}")
        kinds = [[i.n_usage for i in done if i.kind is kind] for kind in (INTERACTIVE, BATCH)]
        means = [sum(k) / len(k) for k in kinds if k]
        rate = did.generated / seconds
        return Capacity(rate, rate / (sum(means) / len(means)), did.tokens_per_sec)

    # ---- one run

    async def run(self, name: str, load: Optional[float]) -> None:
        """load None: the hog."""
        only = INTERACTIVE if load is None else None
        title = f"{name}, hog" if load is None else f"{name}, {load:g} times"
        self.start_model()
        before = await self.capacity(only)
        rival = self.rival(name, load is None)
        try:
            rival.start()
            if rival.process:
                pin(rival.process.pid, self.other_cpus)
            intents = self.offered(before, load)
            client = Client(rival.base_url, MODEL, self.keys(rival, load is None), KEY)
            async with client:
                with self.probed(rival) as probe:
                    result = await self.measured(client, intents, before)
                result["probe"] = probe
        finally:
            rival.stop()
        self.ollama.restart()
        self.ollama.load(MODEL, self.model_cpu)
        after = await self.capacity(only)
        # what it could have done at the speed that it had while the load was on
        speed = result.pop("speed")
        during = (before.at(speed) + after.at(speed)) / 2
        result["capacity_share"] *= before.tokens_per_sec / during
        prompt_sec = max(0.0, (before.prompt_sec(speed) + after.prompt_sec(speed)) / 2)
        n_tokens, n_answers = result.pop("good_work")
        result["time_share"] = (n_tokens / speed + n_answers * prompt_sec) / (self.times.load_sec - self.times.warm_sec)
        row = {"target": name, "version": rival.version(), "load": load}
        row["capacity_tokens_per_sec"] = [before.tokens_per_sec, during, after.tokens_per_sec]
        row["capacity_intents_per_sec"] = before.intents_per_sec
        self.runs.append({**row, **result})
        print(f"{title}: {report.line(self.runs[-1])}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def probed(self, rival: Rival) -> Iterator[dict[str, Any]]:
        """What a client of its own met meanwhile (prober.py); nothing unless asked for, and of sluice."""
        found: dict[str, Any] = {}
        if not self.args.probe or not isinstance(rival, Sluice):
            yield found
            return
        library = self.args.build / "lib" / "libsluice.so.0"
        argv = [sys.executable, Path(__file__).parent / "prober.py", library.resolve(), rival.rpc_path]
        argv += [str(self.times.warm_sec), str(self.times.load_sec - self.times.warm_sec)]
        prober = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        try:
            yield found
            out, _ = prober.communicate(timeout=self.times.load_sec)
            found.update(json.loads(out))
        except (ValueError, subprocess.TimeoutExpired):
            raise BenchError("the prober has failed") from None
        finally:
            prober.kill()
            prober.wait()

    def rival(self, name: str, is_hog: bool) -> Rival:
        directory = Path(tempfile.mkdtemp(prefix=f"{len(self.runs)}-", dir=self.directory))
        if name == Sluice.name and is_hog:
            return Sluice(directory, self.ollama, (HOG, *VICTIMS))
        return RIVALS[name](directory, self.ollama)

    def keys(self, rival: Rival, is_hog: bool) -> dict[str, str]:
        if not is_hog or rival.is_one_key:
            return {}
        return {name: key_of(name) for name in (HOG, *VICTIMS)}

    def offered(self, capacity: Capacity, load: Optional[float]) -> list[Intent]:
        """The same seed gives the same arrivals, but for the rate, which follows the capacity."""
        rng = random.Random(self.args.seed)
        rate = capacity.intents_per_sec
        if load is not None:
            return arrivals(rng, load * rate, self.times)
        found = arrivals(rng, HOG_LOAD * rate, self.times, HOG, INTERACTIVE)
        for victim in VICTIMS:
            found += arrivals(rng, VICTIM_LOAD * rate, self.times, victim, INTERACTIVE)
        return sorted(found, key=lambda intent: intent.born_at)

    async def measured(self, client: Client, intents: list[Intent], capacity: Capacity) -> dict[str, Any]:
        before = self.ollama.count()
        began_at = time.monotonic()
        window = figures.Window(began_at, self.times.warm_sec, self.times.load_sec)
        tasks: list[asyncio.Task[Any]] = []
        for intent in intents:
            intent.born_at += began_at
            await asyncio.sleep(max(0.0, intent.born_at - time.monotonic()))
            tasks.append(asyncio.create_task(client.pursue(intent)))
        await asyncio.sleep(max(0.0, window.end_at - time.monotonic()))
        did = self.ollama.count().since(before)
        recovery = await self.recovery(client, window.end_at)
        await cancelled(tasks)
        result = figures.summary(intents, window, capacity.tokens_per_sec, did.generated)
        result["speed"] = did.tokens_per_sec or capacity.speed
        result["good_work"] = figures.good_work(intents, window)
        result["recovery_sec"] = recovery
        result["callers"] = figures.callers(intents, window)
        if self.args.json:
            result["each"] = [i.record(began_at) for i in intents]
        return result

    async def recovery(self, client: Client, end_at: float) -> Optional[float]:
        """Seconds after the load until a person is served well again, while those who still retry do so; None: not within the limit."""
        rng = random.Random(self.args.seed + 1)
        short = Kind("interactive", (8, 8), INTERACTIVE.limit_sec, True)
        n_well, first_at = 0, end_at
        while time.monotonic() - end_at < RECOVERY_LIMIT_SEC:
            probe = make(rng, short, time.monotonic())
            await client.pursue(probe, 0)
            is_well = probe.outcome == "done" and bool(probe.token_at) and probe.first_wait <= PROBE_WELL_SEC
            first_at = first_at if n_well and is_well else probe.born_at
            n_well = n_well + 1 if is_well else 0
            if n_well == N_PROBES:
                return first_at - end_at
            await asyncio.sleep(max(0.0, probe.born_at + PROBE_SEC - time.monotonic()))
        return None

    # ---- all runs

    def all(self) -> None:
        wanted: list[Optional[float]] = [*self.args.loads, *([None] if self.args.hog else [])]
        for load in wanted:
            for name in self.args.targets:
                try:
                    asyncio.run(self.run(name, load))
                except BenchError as e:
                    self.failures.append(f"{name}, {load}: {e}")
                    print(f"{self.failures[-1]}", file=sys.stderr, flush=True)

    def facts(self) -> dict[str, Any]:
        return {
            "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, kernel {platform.release()}",
            "load_average": os.getloadavg()[0],
            "ollama": self.ollama.version,
            "seed": self.args.seed,
            "times": self.times.__dict__,
        }


def preferred(niceness: int) -> None:
    """Ours and our children's share of the processors, where the kernel gives each session one (sched(7), autogroup)."""
    path = Path("/proc/self/autogroup")
    if path.exists() and path.read_text().split()[-1] != str(niceness):
        path.write_text(f"{niceness}\n")


async def cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def numbers(text: str) -> list[float]:
    return [float(word) for word in text.split(",") if word]


def names(text: str) -> list[str]:
    found = [word for word in text.split(",") if word]
    unknown = sorted(set(found) - set(RIVALS))
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: targets are {', '.join(RIVALS)}")
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench overload", description="What comes out of a real model under overload.")
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sluiced", type=Path, help="another daemon than the build's")
    parser.add_argument("--loads", type=numbers, help="multiples of the capacity (0.5,1,2,4,10)")
    parser.add_argument("--targets", type=names, help=f"of {','.join(RIVALS)} (all; with --quick sluice)")
    parser.add_argument("--seconds", type=float, help="of load in each run (180; 90 with --quick), at least 60")
    parser.add_argument("--seed", type=int, default=1, help="of the arrivals (1)")
    parser.add_argument("--hog", action="store_true", help="also one caller with ten times the load beside three modest ones")
    parser.add_argument("--probe", action="store_true", help="also how soon sluice tells a client no that does nothing else (prober.py)")
    parser.add_argument("--quick", action="store_true", help="rough, two minutes: sluice under twice the load")
    parser.add_argument("--nice", type=int, default=0, help="of the session while this runs, below 0 as root: for a machine that does other work")
    parser.add_argument("--json", type=Path, help="all figures, and each intent")
    args = parser.parse_args()
    if args.loads is None:
        args.loads = [2.0] if args.quick else [] if args.hog else list(LOADS)
    args.targets = args.targets or (["sluice"] if args.quick else list(RIVALS))
    if args.seconds is not None and args.seconds < 60:
        parser.error("--seconds: at least 60, of which a third is warm-up")
    return args


def main() -> int:
    args = arguments()
    Sluice.program = (args.sluiced or args.build / "bin" / "sluiced").resolve()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends with us
    print(f"seed {args.seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="sluice-overload-") as directory:
        bench, facts = Bench(args, Path(directory)), {}
        os.sched_setaffinity(0, bench.other_cpus)
        try:
            preferred(args.nice)
            bench.start_model()
            facts = bench.facts()
            bench.all()
        except KeyboardInterrupt:
            bench.failures.append("interrupted: what follows is not the whole")
        finally:
            bench.ollama.stop()
            preferred(0)
    print(report.table(facts, bench.runs))
    if args.json:
        args.json.write_text(json.dumps({"facts": facts, "runs": bench.runs, "failures": bench.failures}))
    for failure in bench.failures:
        print(f"FAILED: {failure}")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())

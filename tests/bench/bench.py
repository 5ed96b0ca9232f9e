#!/usr/bin/env python3
"""The benchmark behind ./dev bench: sluice beside direct access, nginx and (if installed) LiteLLM, in one run on this machine.

    tests/bench/bench.py --build build/release [--quick] [--only WORD] [--json FILE] [--litellm PYTHON]

What the figures mean is said in docs/BENCHMARKS.md. CPU time comes first, as it is the figure that holds on a busy machine; rivals are
measured in blocks that alternate with ours. No figure decides the exit status: it is 1 only where something did not run or an
answer was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

sys.path.insert(0, str(Path(__file__).parent))

import hangup  # noqa: E402
from processes import BenchError, Process, context_switches, memory_bytes, pin  # noqa: E402
from targets import (  # noqa: E402
    KEY,
    LiteLLM,
    Nginx,
    Sluice,
    Target,
    Upstream,
    reserve_listen_fds,
    version_of,
)

MIB = 1024 * 1024
LOAD_SEC = 120  # the longest that one load may take


@dataclass
class Line:
    """A row of the table: one quantity, by who was measured."""

    section: str
    text: str
    unit: str
    values: dict[str, float] = field(default_factory=dict)
    budget: Optional[float] = None
    note: str = ""


@dataclass
class Subject:
    """One way to a model: whose CPU time counts, and the load that goes there."""

    name: str
    target: Target
    model_prefix: str = ""
    is_rpc: bool = False


def renew(target: Target) -> None:
    """A fresh process: one that does not notice who has left would still ask the model server for them."""
    target.stop()
    target.start()


class Bench:
    def __init__(self, args: argparse.Namespace, directory: Path):
        self.build: Path = args.build.resolve()
        self.is_quick: bool = args.quick
        self.directory = directory
        self.lines: list[Line] = []
        self.raw: dict[str, Any] = {}
        self.failures: list[str] = []
        cpus = sorted(os.sched_getaffinity(0))
        self.gateway_cpu, self.other_cpu = cpus[-1], cpus[0]
        self.upstream = Upstream(directory, self.build / "bin" / "fake_upstream")
        self.sluice = Sluice(directory, self.upstream, self.build)
        self.rivals: list[Target] = []
        if Nginx.find():
            self.rivals.append(Nginx(directory, self.upstream.port))
        if args.litellm:
            self.rivals.append(LiteLLM(directory, self.upstream.port, args.litellm))

    # ---- tools

    @property
    def direct(self) -> Subject:
        return Subject("direct", self.upstream)

    def subjects(self, *ours: Subject) -> list[Subject]:
        """Direct, the rivals and then ours: the order within each round."""
        return [self.direct, *(Subject(r.name, r) for r in self.rivals), *ours]

    def seconds(self, full: float, quick: float) -> float:
        return quick if self.is_quick else full

    def command(self, subject: Subject, model: str, options: list[str], dialect: str) -> list[str]:
        name = subject.model_prefix + model
        if subject.is_rpc:
            program = [str(self.build / "bin" / "rpc_load"), "--socket", str(self.sluice.rpc_path)]
            return [*program, "--model", name, *options]
        program = [
            str(self.build / "bin" / "load"),
            "--target",
            subject.target.address,
            "--key",
            KEY,
        ]
        return [*program, "--model", name, "--dialect", dialect, *options]

    def load(
        self, subject: Subject, model: str, options: list[str], dialect: str, cpu: int
    ) -> dict[str, Any]:
        """One run of a load generator, with the gateway's CPU time in it."""
        argv = ["taskset", "-c", str(cpu), *self.command(subject, model, options, dialect)]
        before = subject.target.process.cpu_nsec()
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LOAD_SEC, check=False)
        after = subject.target.process.cpu_nsec()
        if done.returncode != 0:
            subject.target.process.check_alive()
            raise BenchError(f"{subject.name}, {model}: {done.stderr or done.stdout}")
        result = json.loads(done.stdout)
        result["cpu_usec"] = (after - before) / 1e3
        return result

    def blocks(
        self,
        what: str,
        subjects: list[Subject],
        model: str,
        options: list[str],
        dialect: str = "body",
        rounds: int = 3,
        same_cpu: bool = False,
    ) -> dict[str, list[dict[str, Any]]]:
        """The same load for each subject in turn, again and again."""
        results: dict[str, list[dict[str, Any]]] = {s.name: [] for s in subjects}
        for subject in subjects:
            pin(subject.target.pid, {self.gateway_cpu})
        pin(self.upstream.pid, {self.gateway_cpu if same_cpu else self.other_cpu})
        for _ in range(2 if self.is_quick else rounds):
            for subject in subjects:
                cpu = self.gateway_cpu if same_cpu else self.other_cpu
                results[subject.name].append(self.load(subject, model, options, dialect, cpu))
        self.raw[what] = results
        return results

    def add(
        self, section: str, text: str, unit: str, budget: Optional[float] = None, note: str = ""
    ) -> Line:
        line = Line(section, text, unit, budget=budget, note=note)
        self.lines.append(line)
        return line

    def per(self, results: list[dict[str, Any]], count: str) -> float:
        """CPU microseconds for each answer or chunk: the median of the rounds."""
        return statistics.median(r["cpu_usec"] / r[count] for r in results)

    # ---- CPU

    def cpu_requests(self) -> None:
        ours = [
            Subject("sluice", self.sluice),
            Subject("sluice-ollama", self.sluice, model_prefix="ollama-"),
            Subject("sluice-rpc", self.sluice, is_rpc=True),
        ]
        options = ["-c", "64", "--seconds", str(self.seconds(2, 0.5))]
        for name in ("bench-16", "ollama-bench-16"):  # the first call makes connections
            self.load(Subject("warm", self.sluice), name, ["-n", "200"], "body", self.other_cpu)
        results = self.blocks("requests", self.subjects(*ours), "bench-16", options)
        text = "CPU per short chat request, HTTP in, OpenAI dialect out, log record to a file"
        rows = [
            (text, "sluice", 100.0),
            ("the same, Ollama dialect out", "sluice-ollama", None),
            ("the same, RPC in, OpenAI dialect out", "sluice-rpc", 80.0),
        ]
        for text, name, budget in rows:
            line = self.add("CPU", text, "µs", budget)
            for rival in ("direct", *(r.name for r in self.rivals)):
                line.values[rival] = self.per(results[rival], "answers")
            line.values["sluice"] = self.per(results[name], "answers")
        rate = self.add("load", "requests per second, 64 connections, gateway on one CPU", "1/s")
        tail = self.add("load", "p99 of their latency", "ms")
        for name, runs in results.items():
            rate.values[name] = statistics.median(r["answers_per_sec"] for r in runs)
            tail.values[name] = statistics.median(r["latency_usec"]["p99"] for r in runs) / 1e3

    def cpu_journal(self) -> None:
        """The same request with its record sent as a datagram in the journal's protocol."""
        logged = Sluice(
            self.directory, self.upstream, self.build, "sluice-journal", is_journal=True
        )
        logged.start()
        try:
            before = self.upstream.stats()["journal_records"]
            options = ["-c", "64", "--seconds", str(self.seconds(2, 0.5))]
            results = self.blocks("journal", [Subject("sluice", logged)], "bench-16", options)
            asked = sum(r["answers"] for r in results["sluice"])
            records = self.upstream.stats()["journal_records"] - before
            line = self.add(
                "CPU", "per short chat request, log record to a journal socket", "µs", 100
            )
            line.values["sluice"] = self.per(results["sluice"], "answers")
            line.note = f"{records} records for {asked} requests"
            if records == 0:
                raise BenchError("no record reached the journal's socket")
        finally:
            logged.stop()

    def cpu_chunks_fast(self) -> None:
        ours = [
            Subject("sluice", self.sluice),
            Subject("sluice-ollama", self.sluice, model_prefix="ollama-"),
            Subject("sluice-rpc", self.sluice, is_rpc=True),
        ]
        options = ["-c", "8", "--seconds", str(self.seconds(2, 0.5))]
        results = self.blocks("chunks", self.subjects(*ours), "bench-256", options, "stream")
        rows = [
            ("CPU per relayed chunk, 8 streams of 256 as fast as possible", "sluice", 5.0),
            ("the same, Ollama dialect out", "sluice-ollama", None),
            ("the same, RPC in", "sluice-rpc", None),
        ]
        for text, name, budget in rows:
            line = self.add("CPU", text, "µs", budget)
            for rival in ("direct", *(r.name for r in self.rivals)):
                line.values[rival] = self.per(results[rival], "chunks")
            line.values["sluice"] = self.per(results[name], "chunks")
        rate = self.add("load", "chunks per second, 8 streams, gateway on one CPU", "1/s")
        for name, runs in results.items():
            rate.values[name] = statistics.median(r["chunks_per_sec"] for r in runs)

    def cpu_chunks_paced(self) -> None:
        model = "bench-64-20ms" if self.is_quick else "bench-256-20ms"
        spreads = [("all in step", "0")]
        if not self.is_quick:
            spreads.append(("evenly spread", "20"))
        for how, spread in spreads:
            options = ["-c", "64", "-n", "64", "--spread-ms", spread]
            subjects = self.subjects(Subject("sluice", self.sluice))
            results = self.blocks(f"paced, {how}", subjects, model, options, "stream", rounds=2)
            text = f"CPU per relayed chunk, 64 streams of 50 per second, {how}"
            line = self.add("CPU", text, "µs", 12 if spread == "0" else None)
            first = self.add("latency", f"time to the first token there, p50, {how}", "ms")
            for name, runs in results.items():
                line.values[name] = self.per(runs, "chunks")
                first.values[name] = (
                    statistics.median(r["first_chunk_usec"]["p50"] for r in runs) / 1e3
                )

    def cpu_embeddings(self) -> None:
        options = ["-c", "8", "--seconds", str(self.seconds(2, 0.5)), "--inputs", "1"]
        subjects = self.subjects(Subject("sluice", self.sluice))
        results = self.blocks("embeddings", subjects, "bench-embed-384", options, "embed")
        line = self.add("CPU", "per embedding request of one text, 384 numbers", "µs")
        for name, runs in results.items():
            line.values[name] = self.per(runs, "answers")

    # ---- latency

    def latency(self) -> None:
        ours = [Subject("sluice", self.sluice), Subject("sluice-rpc", self.sluice, is_rpc=True)]
        options = ["-c", "1", "--seconds", str(self.seconds(1, 0.4))]
        subjects = self.subjects(*ours)
        results = self.blocks("latency", subjects, "bench-16", options, rounds=5, same_cpu=True)
        direct = statistics.median(r["latency_usec"]["p50"] for r in results["direct"])
        for text, name, budget in (("HTTP", "sluice", 120.0), ("RPC", "sluice-rpc", 90.0)):
            text = f"added latency at concurrency 1, p50, all on one CPU, {text}"
            line = self.add("latency", text, "µs", budget)
            for rival in self.rivals:
                found = [r["latency_usec"]["p50"] for r in results[rival.name]]
                line.values[rival.name] = statistics.median(found) - direct
            found = [r["latency_usec"]["p50"] for r in results[name]]
            line.values["sluice"] = statistics.median(found) - direct

    # ---- the Python client

    def python_client(self) -> None:
        """CPU of the Python process that asks: this package beside openai over HTTP, at the same daemon."""
        pin(self.sluice.pid, {self.gateway_cpu})
        pin(self.upstream.pid, {self.gateway_cpu})
        runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
        kinds = [("call", "bench-16"), ("async", "bench-16"), ("stream", "bench-256")]
        for _ in range(2 if self.is_quick else 3):
            for how, model in kinds:
                for client in ("openai", "sluice"):
                    runs.setdefault((how, client), []).append(self.python_load(client, how, model))
        self.raw["python"] = {" ".join(key): value for key, value in runs.items()}
        rows = [
            ("CPU in Python per call, short answer", "µs", "call", "cpu_usec", "answers"),
            ("the same, asyncio, 16 at a time", "µs", "async", "cpu_usec", "answers"),
            ("CPU in Python per token of a stream", "µs", "stream", "cpu_usec", "pieces"),
            ("call from Python to answer, p50", "µs", "call", "latency_usec", None),
            ("CPU of the import", "ms", "call", "import_msec", None),
            ("memory of the import", "KiB", "call", "import_kib", None),
        ]
        for text, unit, how, value, count in rows:
            line = self.add("Python", text, unit)
            for client in ("sluice", "openai"):
                found = [r[value] / (r[count] if count else 1) for r in runs[how, client]]
                line.values[client] = statistics.median(found)
            theirs = line.values["openai"]
            line.note = f"openai {number(theirs)}, {theirs / line.values['sluice']:.1f} times"

    def python_load(self, client: str, how: str, model: str) -> dict[str, Any]:
        """A run in a process of its own, which tells what it used."""
        root = Path(__file__).resolve().parents[2]
        at = str(self.sluice.rpc_path)
        if client == "openai":
            at = f"http://{self.sluice.address}/v1"
        argv = ["taskset", "-c", str(self.other_cpu), sys.executable]
        argv += [str(Path(__file__).parent / "python_load.py"), client, "--at", at, "--key", KEY]
        argv += ["--model", model, "--how", how, "--seconds", str(self.seconds(2, 0.5))]
        environment = {
            **os.environ,
            "PYTHONPATH": str(root / "bindings" / "python"),
            "SLUICE_LIBRARY": str(self.build / "lib" / "libsluice.so.0"),
        }
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=LOAD_SEC, check=False, env=environment
        )
        if done.returncode != 0:
            raise BenchError(f"{client}, {how}: {done.stderr}")
        result: dict[str, Any] = json.loads(done.stdout)
        if result["pieces"] != int(model.split("-")[1]) * result["answers"]:
            wrong = f"{result['pieces']} tokens in {result['answers']} answers"
            raise BenchError(f"{client}, {how}, {model}: {wrong}")
        return result

    # ---- size, start, memory

    def size(self) -> None:
        line = self.add("size", "program, stripped", "KB", 300)
        programs = [("sluice", self.sluice.program)]
        nginx = Nginx.find()
        if nginx:
            programs.append(("nginx", Path(nginx)))
        for name, program in programs:
            copy = self.directory / f"stripped-{name}"
            subprocess.run(["strip", "-o", str(copy), str(program)], check=True)
            line.values[name] = copy.stat().st_size / 1000

    def start(self) -> None:
        line = self.add("start", "exec to first answered request", "ms", 30)
        passed = self.add("start", "the same, sockets passed, request waiting", "ms", 60)
        n = 3 if self.is_quick else 7
        for target in [*self.rivals, self.sluice]:
            found = []
            for _ in range(n if target.name != "litellm" else 1):
                target.stop()
                found.append(target.start() * 1e3)
            line.values[target.name] = statistics.median(found)
        self.sluice.stop()
        found = [self.sluice.start_activated() * 1e3 for _ in range(n)]
        passed.values["sluice"] = statistics.median(found)
        self.sluice.start()

    def idle(self) -> None:
        names = {"rss": ("RSS", 12), "pss": ("PSS", 5), "private_dirty": ("private dirty", 2.5)}
        lines = {k: self.add("memory", f"idle {t}", "MiB", b) for k, (t, b) in names.items()}
        seconds = self.seconds(10, 3)
        wake = self.add("memory", f"wake-ups while idle for {seconds:.0f} s", "")
        wake.budget = 0
        time.sleep(1)  # what a first request leaves behind may settle
        targets = [*self.rivals, self.sluice]
        before = {t.name: context_switches(t.pid) for t in targets}
        time.sleep(seconds)
        for target in targets:
            target.process.check_alive()
            wake.values[target.name] = context_switches(target.pid) - before[target.name]
            memory = memory_bytes(target.pid)
            for key, line in lines.items():
                line.values[target.name] = memory[key] / MIB

    def held_streams(self) -> None:
        for n in (256,) if self.is_quick else (256, 1000):
            line = self.add("memory", f"per open stream, {n} streams of 1 token/s", "KiB", 32)
            total = self.add("memory", f"PSS with {n} streams", "MiB", 45 if n == 1000 else None)
            cpu = self.add("memory", f"CPU with {n} streams", "% of one")
            for target in [*self.rivals, self.sluice]:
                renew(target)
                base, _ = self.hold(target, 1)  # with what the first one brings into memory
                pss, share = self.hold(target, n)
                line.values[target.name] = (pss - base) / (n - 1) / 1024
                total.values[target.name] = pss / MIB
                cpu.values[target.name] = share * 100
                renew(target)

    def hold(self, target: Target, n: int) -> tuple[int, float]:
        """(PSS, share of a CPU) while n streams stand open."""
        argv = [
            str(self.build / "bin" / "load"),
            "--target",
            target.address,
            "--key",
            KEY,
            "--hold",
        ]
        argv += ["--model", "bench-600-1000ms", "--dialect", "stream", "-c", str(n), "-n", str(n)]
        log = Process(
            argv, target.directory, f"hold-{n}", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            said = log.process.stdout.readline()
            if b"ready" not in said:
                raise BenchError(f"{target.name} does not hold {n} streams: {said.decode()}")
            before, since = target.process.cpu_nsec(), time.monotonic()
            time.sleep(self.seconds(4, 2))
            share = (target.process.cpu_nsec() - before) / 1e9 / (time.monotonic() - since)
            return memory_bytes(target.pid)["pss"], share
        finally:
            log.process.stdin.close()
            log.stop()

    # ---- leaving

    def hangups(self) -> None:
        n = 3 if self.is_quick else 10
        lines: dict[str, Line] = {}
        for target in [*self.rivals, self.sluice]:
            try:
                found = hangup.all_hangups(target, self.upstream, n)
            except BenchError as e:
                if target is self.sluice:
                    raise
                print(f"{target.name}: {e}", file=sys.stderr)  # a rival that never notices
                renew(target)
                continue
            for situation, times in found.items():
                if situation not in lines:
                    text = f"client gone, model server knows: {situation}"
                    lines[situation] = self.add("leaving", text, "ms", 10)
                lines[situation].values[target.name] = max(times)
        rpc = self.add(
            "leaving", "client gone, model server knows: RPC, before the first byte", "ms", 10
        )
        program = self.build / "bin" / "rpc_load"
        times = [
            hangup.rpc_hangup(self.sluice, self.upstream, program, "bench-16-wait3000ms")
            for _ in range(n)
        ]
        rpc.values["sluice"] = max(times)
        queued = self.add("leaving", "client gone while queued: its place is free", "ms", 10)
        queued.values["sluice"] = max(
            hangup.queued_hangup(self.sluice, self.upstream) for _ in range(n)
        )

    def restart(self) -> None:
        self.sluice.stop()
        asked, failed = hangup.restart_failures(self.sluice, self.seconds(4, 2))
        line = self.add("start", "requests that fail across a restart, sockets kept", "", 0)
        line.values["sluice"] = failed
        line.note = f"of {asked}"
        self.sluice.start()

    # ---- all of it

    def steps(self) -> list[Callable[[], None]]:
        steps = [self.cpu_requests, self.cpu_chunks_fast, self.cpu_chunks_paced, self.latency]
        steps += [self.python_client]
        steps += [self.size, self.start, self.idle, self.held_streams, self.hangups, self.restart]
        if not self.is_quick:
            steps[2:2] = [self.cpu_journal, self.cpu_embeddings]
        return steps

    def run(self, only: str) -> None:
        try:
            self.upstream.start()
            for target in [*self.rivals, self.sluice]:
                target.start()
            for step in self.steps():
                if only in step.__name__:
                    self.run_step(step)
        finally:
            for target in [self.sluice, *self.rivals, self.upstream]:
                self.stop(target)

    def stop(self, target: Target) -> None:
        try:
            target.stop()
        except BenchError as e:
            self.failures.append(str(e))

    def run_step(self, step: Callable[[], None]) -> None:
        print(f"{step.__name__} ...", file=sys.stderr, flush=True)
        try:
            step()
        except (BenchError, subprocess.SubprocessError, OSError) as e:
            self.failures.append(f"{step.__name__}: {e}")
            if not self.sluice.process:
                self.sluice.start()


# ---------------------------------------------------------------------------------------------- report


def machine(bench: Bench) -> dict[str, Any]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            model = line.split(":", 1)[1].strip()
            break
    versions = {"sluiced": version_of([str(bench.sluice.program), "--version"])}
    nginx = Nginx.find()
    if nginx:
        versions["nginx"] = version_of([nginx, "-v"])
    return {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB,
        "load_average": list(os.getloadavg()),
        "versions": versions,
    }


def number(value: Optional[float]) -> str:
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def verdict(line: Line) -> str:
    value = line.values.get("sluice")
    if line.budget is None or value is None:
        return ""
    return "yes" if value <= line.budget else "NO"


def table(bench: Bench) -> str:
    rivals = [r.name for r in bench.rivals]
    head = ["", "unit", "sluice", "budget", "kept", *rivals, "sluice / nginx", "direct", ""]
    rows = [head, ["---"] * len(head)]
    order = ["CPU", "latency", "memory", "size", "start", "leaving", "load", "Python"]
    for line in sorted(bench.lines, key=lambda entry: order.index(entry.section)):
        ours, nginx = line.values.get("sluice"), line.values.get("nginx")
        ratio = f"{ours / nginx:.2f}" if ours is not None and nginx else ""
        others = " ".join(
            f"{name} {number(value)}"
            for name, value in line.values.items()
            if name.startswith("sluice-")
        )
        row = [line.text, line.unit, number(ours), number(line.budget), verdict(line)]
        row += [number(line.values.get(name)) for name in rivals]
        row += [
            ratio,
            number(line.values.get("direct")),
            " ".join(filter(None, [line.note, others])),
        ]
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        for row in rows
    )


def capacity(bench: Bench) -> str:
    """How far the fake model server is from being the limit."""
    said = []
    for what, count, noun in (("requests", "answers", "requests"), ("chunks", "chunks", "chunks")):
        if what in bench.raw:
            mock = bench.per(bench.raw[what]["direct"], count)
            ours = bench.per(bench.raw[what]["sluice"], count)
            said.append(f"{1e6 / mock:,.0f} {noun}/s ({ours / mock:.0f} times what sluice does)")
    return "fake model server, per CPU: " + ", ".join(said) if said else ""


def main() -> int:
    parser = argparse.ArgumentParser(description="sluice beside its rivals, on this machine")
    parser.add_argument("--build", type=Path, default=Path("build/release"))
    parser.add_argument("--quick", action="store_true", help="less than a minute, rougher figures")
    parser.add_argument(
        "--only", default="", metavar="WORD", help="only the steps whose name holds it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything that was measured")
    parser.add_argument(
        "--litellm", type=Path, metavar="PYTHON", help="a Python with litellm[proxy]"
    )
    args = parser.parse_args()
    for name in ("sluiced", "fake_upstream", "load", "rpc_load"):
        if not (args.build / "bin" / name).exists():
            print(f"no {args.build}/bin/{name}: build with -DSLUICE_BENCH=ON", file=sys.stderr)
            return 1
    reserve_listen_fds()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    directory = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    bench = Bench(args, directory)
    about = machine(bench)
    try:
        bench.run(args.only)
    except (BenchError, OSError) as e:
        bench.failures.append(str(e))
    about["load_average_after"] = list(os.getloadavg())
    for key, value in about.items():
        print(f"{key}: {value}")
    print(capacity(bench))
    print(table(bench))
    if args.json:
        found = {"machine": about, "lines": [asdict(line) for line in bench.lines]}
        args.json.write_text(json.dumps({**found, "raw": bench.raw, "failures": bench.failures}))
    for failure in bench.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    if not bench.failures:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"logs: {directory}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())

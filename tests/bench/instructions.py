#!/usr/bin/env python3
"""What a request and a chunk cost in instructions of user space, counted by valgrind: a figure that other work on the machine does not change.

    tests/bench/instructions.py --build build/release [--keep DIR]

Answers are checked as in the benchmark. The kernel's part is not in it, and how many sockets one wake-up brings is up to chance, so that two runs
differ by up to 4 %. --keep leaves the profiles there, one for each load (callgrind_annotate, kcachegrind).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from processes import BenchError  # noqa: E402
from targets import KEY, Sluice, Upstream  # noqa: E402

LOAD_SEC = 300
# name, model, is it RPC, dialect, answers, what is counted
LOADS = (
    ("short chat request, HTTP in, OpenAI dialect out", "bench-16", False, "body", 800, "answers"),
    ("the same, Ollama dialect out", "ollama-bench-16", False, "body", 800, "answers"),
    ("the same, RPC in", "bench-16", True, "", 800, "answers"),
    ("chunk as fast as possible", "bench-256", False, "stream", 48, "chunks"),
    ("the same, Ollama dialect out", "ollama-bench-256", False, "stream", 48, "chunks"),
    ("the same, RPC in", "bench-256", True, "", 48, "chunks"),
    ("chunk, 8 streams of 50 per second", "bench-64-20ms", False, "stream", 8, "chunks"),
)


class Counted(Sluice):
    """Under valgrind, which writes a profile whenever it is told to."""

    def argv(self) -> list[str]:
        return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.directory}/profile", *super().argv()]

    def control(self, what: str) -> None:
        subprocess.run(["callgrind_control", what, str(self.pid)], capture_output=True, check=True)


def run(sluice: Counted, build: Path, model: str, is_rpc: bool, dialect: str, n: int) -> dict[str, int]:
    if is_rpc:
        argv = [str(build / "bin" / "rpc_load"), "--socket", str(sluice.rpc_path)]
    else:
        argv = [str(build / "bin" / "load"), "--target", sluice.address, "--key", KEY, "--dialect", dialect]
    argv += ["--model", model, "-c", "8", "-n", str(n)]
    if dialect == "stream" and model.endswith("ms"):
        argv += ["--spread-ms", "20"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LOAD_SEC, check=False)
    if done.returncode != 0:
        raise BenchError(f"{model}: {done.stderr or done.stdout}")
    result: dict[str, int] = json.loads(done.stdout)
    return result


def count(profile: Path) -> int:
    for line in profile.read_text().splitlines():
        if line.startswith("summary:"):
            return int(line.split()[1])
    raise BenchError(f"no sum in {profile}")


def measure(build: Path, directory: Path) -> None:
    upstream = Upstream(directory, build / "bin" / "fake_upstream")
    upstream.start()
    sluice = Counted(directory, upstream, build)
    try:
        sluice.start()
        for i, (name, model, is_rpc, dialect, n, unit) in enumerate(LOADS, 1):
            run(sluice, build, model, is_rpc, dialect, 8)  # the first ones make connections and grow buffers
            sluice.control("-z")
            result = run(sluice, build, model, is_rpc, dialect, n)
            sluice.control("-d")
            print(f"{count(sluice.directory / f'profile.{i}') / result[unit]:12,.0f}  {name}", flush=True)
    finally:
        sluice.stop()
        upstream.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True, help="a release build with -DSLUICE_BENCH=ON")
    parser.add_argument("--keep", type=Path, help="a folder that does not exist yet, for the profiles")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-count-") as name:
        measure(args.build.resolve(), Path(name))
        if args.keep:
            shutil.copytree(Path(name) / Sluice.name, args.keep)
    return 0


if __name__ == "__main__":
    sys.exit(main())

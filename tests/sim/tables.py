#!/usr/bin/env python3
"""The tables of docs/SIMULATOR.md out of sluice_sim's JSON: tables.py sim.json docs/SIMULATOR.md

Each stands between a comment with the name of its setting and one with "end".
"""
from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

Run = dict[str, Any]
WAITS_AT = (1, 2, 10)  # loads of which the waits are shown


def interval(run: Run, figure: str) -> str:
    found = run[figure]
    return "-" if found["mean"] is None else f"{found['mean']:.2f} ({found['low']:.2f}-{found['high']:.2f})"


def quantiles(run: Run, kind: str) -> str:
    found = run["wait_sec"][kind]
    return " / ".join("-" if found[p] is None else f"{found[p]:.1f}" for p in ("p50", "p95", "p99"))


def sheds(run: Run) -> str:
    """Of all attempts, those of each reason that half a percent met."""
    counts = sorted(run["shed"].items(), key=lambda item: -item[1]) + [("client time-out", run["client_timeouts"])]
    shown = [f"{name} {100 * n / run['attempts']:.0f} %" for name, n in counts if n >= 0.005 * run["attempts"]]
    return ", ".join(shown) or "-"


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def head(*cells: str) -> list[str]:
    return [row(*cells), "|" + "---|" * len(cells)]


def of_loads(runs: list[Run]) -> list[str]:
    lines = head("load", "policy", "goodput", "good tokens", "interactive", "batch", "attempts", "wasted tokens")
    for run in runs:
        figures = [interval(run, f) for f in ("goodput", "token_goodput", "good_interactive", "good_batch")]
        attempts, wasted = run["attempts_per_intent"]["mean"], run["wasted_token_share"]["mean"]
        lines.append(row(f"{run['load']:g}×", run["policy"], *figures, f"{attempts:.2f}", f"{100 * wasted:.1f} %"))
    lines += ["", *head("load", "policy", "wait, interactive (s)", "wait, batch (s)", "attempts without an answer")]
    for run in runs:
        if run["load"] in WAITS_AT:
            waits = [quantiles(run, kind) for kind in ("interactive", "batch")]
            lines.append(row(f"{run['load']:g}×", run["policy"], *waits, sheds(run)))
    return lines


def of_hog(runs: list[Run]) -> list[str]:
    lines = head("policy", "Jain's index", "victims good", "their first token, p95 (s)", "goodput")
    for run in runs:
        p95 = run["victims_first_token_p95_sec"]["mean"]
        shown = "-" if p95 is None else f"{p95:.1f}"
        lines.append(row(run["policy"], interval(run, "jain"), interval(run, "victims_good"), shown, interval(run, "goodput")))
    return lines


TABLES = {"sketch": of_loads, "bench": of_loads, "attempt": of_loads, "hog": of_hog, "deadline": of_loads, "deadline-hog": of_hog}


def main() -> None:
    runs = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["runs"]
    path = Path(sys.argv[2])
    text = path.read_text(encoding="utf-8")
    for setting, table in TABLES.items():
        lines = "\n".join(table([run for run in runs if run["setting"] == setting]))
        pattern = rf"(<!-- {setting} -->\n).*?(<!-- end -->)"
        text, n = re.subn(pattern, lambda m: f"{m[1]}{lines}\n{m[2]}", text, flags=re.S)
        assert n == 1, setting
    path.write_text(text, encoding="utf-8")


main()

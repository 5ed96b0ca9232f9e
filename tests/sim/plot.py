#!/usr/bin/env python3
"""Plots of sluice_sim's JSON as PNG: plot.py sim.json FOLDER

One figure for each setting with several loads: goodput, goodput in tokens, the good share of each class, attempts; with the
95 % interval as a band. One for the fleet, where there is one.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (after the choice of a backend without a screen)

POLICIES = {"fifo": "tab:red", "limits": "tab:orange", "sluice": "tab:blue"}
PANELS = (
    ("goodput", "good intents / min(offered, capacity)"),
    ("token_goodput", "good tokens / min(offered, capacity)"),
    ("good_interactive", "good share, interactive"),
    ("good_batch", "good share, batch"),
    ("attempts_per_intent", "attempts per intent"),
    ("wasted_token_share", "wasted share of tokens"),
)


def curve(axes: Any, runs: list[dict[str, Any]], figure: str, policy: str) -> None:
    points = sorted((r["load"], r[figure]) for r in runs if r["policy"] == policy)
    loads = [load for load, _ in points]
    axes.plot(loads, [p["mean"] for _, p in points], "o-", color=POLICIES[policy], label=policy, markersize=3)
    axes.fill_between(loads, [p["low"] for _, p in points], [p["high"] for _, p in points], color=POLICIES[policy], alpha=0.2)


def plot_setting(setting: str, runs: list[dict[str, Any]], folder: Path) -> Path:
    plot, grid = plt.subplots(2, 3, figsize=(13, 7.5))
    for axes, (figure, title) in zip(grid.flat, PANELS):
        for policy in POLICIES:
            curve(axes, runs, figure, policy)
        axes.set_title(title, fontsize=10)
        axes.set_xscale("log")
        axes.set_xticks(sorted({r["load"] for r in runs}))
        axes.get_xaxis().set_major_formatter(matplotlib.ticker.FormatStrFormatter("%gx"))
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    grid.flat[0].legend()
    plot.suptitle(f"setting {setting}: offered load : capacity")
    plot.tight_layout()
    path = folder / f"{setting}.png"
    plot.savefig(path, dpi=110)
    plt.close(plot)
    return path


def plot_fleet(fleet: dict[str, Any], folder: Path) -> Path:
    plot, grid = plt.subplots(3, 1, figsize=(11, 9), sharex=True)
    at = range(fleet["seconds"])
    for axes, names in zip(grid, (("attempts", "retries", "shed"), ("good", "loads"), ("raised",))):
        for name in names:
            axes.plot(at, fleet[name], linewidth=0.8, label={"raised": "devices above level 0"}.get(name, f"{name} per second"))
        axes.axvline(fleet["crowded_at_sec"], color="black", linestyle=":", linewidth=1)
        axes.legend(loc="upper left")
        axes.grid(alpha=0.3)
    grid[-1].set_xlabel("seconds; dotted: a neighbour takes memory on every device for a minute")
    plot.suptitle(f"fleet of {fleet['devices']} devices, seed {fleet['seed']}")
    plot.tight_layout()
    path = folder / "fleet.png"
    plot.savefig(path, dpi=110)
    plt.close(plot)
    return path


def main() -> None:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    found = json.loads(source.read_text(encoding="utf-8"))
    by_setting: dict[str, list[dict[str, Any]]] = {}
    for run in found["runs"]:
        by_setting.setdefault(run["setting"], []).append(run)
    for setting, runs in by_setting.items():
        if len({r["load"] for r in runs}) > 1:
            print(plot_setting(setting, runs, folder))
    if "fleet" in found:
        print(plot_fleet(found["fleet"], folder))


main()

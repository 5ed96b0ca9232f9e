"""The figures as one line for each run, and as a table in Markdown."""

from __future__ import annotations

from typing import Any, Optional

COLUMNS = (
    "load",
    "target",
    "good interactive",
    "good batch",
    "prompt",
    "of capacity, in tokens / in time",
    "wasted",
    "attempts",
    "wait p50 / p95, interactive",
    "batch",
    "no said in, p50 / p99",
    "recovery",
    "capacity before, during, after, tokens/s",
)


def percent(value: Optional[float]) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def seconds(value: Optional[float]) -> str:
    return "–" if value is None else f"{value:.1f} s"


def msec(value: Optional[float]) -> str:
    return "–" if value is None else f"{value:.3g} ms"


def cells(run: dict[str, Any]) -> list[str]:
    interactive, batch = run["classes"]["interactive"], run["classes"]["batch"]
    waits = [f"{seconds(k['wait_sec']['p50'])} / {seconds(k['wait_sec']['p95'])}" for k in (interactive, batch)]
    refused = run["refused_msec"]
    before, during, after = run["capacity_tokens_per_sec"]
    recovery = run["recovery_sec"]
    attempts = run["attempts"]
    return [
        "hog" if run["load"] is None else f"{run['load']:g}× ({run['load'] * before / during:.1f})",
        run["target"],
        percent(interactive["good"]),
        percent(batch["good"]),
        f"{percent(interactive['prompt'])} / {percent(batch['prompt'])}",
        f"{run['capacity_share']:.2f} / {run['time_share']:.2f}",
        "–" if run["wasted"] is None else f"{100 * run['wasted']:.1f} %",
        "–" if attempts is None else f"{attempts:.2f}",
        *waits,
        f"{msec(refused['p50'])} / {msec(refused['p99'])}",
        "not in 90 s" if recovery is None else seconds(max(0.0, recovery)),
        f"{before:.0f}, {during:.0f}, {after:.0f}",
    ]


def line(run: dict[str, Any]) -> str:
    pairs = zip(COLUMNS[2:], cells(run)[2:])
    text = "; ".join(f"{name} {cell}" for name, cell in pairs)
    shed = ", ".join(f"{reason} {n}" for reason, n in run["shed"].items())
    return f"{text}; shed: {shed or 'none'}{_callers(run)}{_probe(run)}"


def _callers(run: dict[str, Any]) -> str:
    found = run.get("callers") or {}
    if set(found) == {""}:
        return ""
    return "; " + ", ".join(f"{name} {percent(c['good'])} of {c['offered']}" for name, c in found.items())


def _probe(run: dict[str, Any]) -> str:
    found = run.get("probe")
    if not found:
        return ""
    others = ", ".join(f"{name} {n}" for name, n in found["others"].items()) or "nothing"
    held_up = "" if found["is_first"] else ", on processors that others had as well"
    return f"; a client that does nothing else was told no {found['n']} times, in {msec(found['p50'])} / {msec(found['p99'])}{held_up}, else {others}"


def row(words: list[str]) -> str:
    return "| " + " | ".join(words) + " |"


def table(facts: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    said = ", ".join(f"{name} {value}" for name, value in facts.items() if name != "times")
    lines = [said, ""]
    loads = [run for run in runs if run["load"] is not None]
    if loads:
        lines += [row(list(COLUMNS)), row(["---"] * len(COLUMNS)), *(row(cells(run)) for run in loads), ""]
        lines += ["| load | target | attempts that got no answer, by reason |", row(["---"] * 3)]
        for run in loads:
            reasons = ", ".join(f"{reason} {n}" for reason, n in run["shed"].items())
            lines.append(row([f"{run['load']:g}×", run["target"], (reasons or "none") + _probe(run)]))
        lines.append("")
    hogs = [run for run in runs if run["load"] is None]
    if hogs:
        lines += ["| target | hog, good | victims, good | of capacity | attempts of a victim |", row(["---"] * 5)]
        lines += [row(hog_cells(run)) for run in hogs]
    return "\n".join(lines)


def hog_cells(run: dict[str, Any]) -> list[str]:
    victims = [c for name, c in run["callers"].items() if name != "hog"]
    offered = sum(c["offered"] for c in victims)
    good = sum((c["good"] or 0) * c["offered"] for c in victims)
    attempts = sum((c["attempts"] or 0) * c["offered"] for c in victims)
    return [
        run["target"],
        percent(run["callers"]["hog"]["good"]),
        percent(good / offered if offered else None),
        f"{run['capacity_share']:.2f}",
        f"{attempts / offered:.2f}" if offered else "–",
    ]

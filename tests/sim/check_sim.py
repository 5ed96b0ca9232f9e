#!/usr/bin/env python3
"""sluice_sim --quick: the same output twice, byte for byte, and the order of the policies that the numbers are for.

No wall clock is read, and the same seeds make the same run: what holds here once holds always.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def run(program: str, folder: Path, name: str, *args: str) -> tuple[str, bytes]:
    """What it printed, and its JSON."""
    path = folder / name
    done = subprocess.run([program, "--quiet", "--json", str(path), *args], capture_output=True, text=True, check=True)
    return done.stdout, path.read_bytes()


def mean(runs: list[dict[str, Any]], setting: str, policy: str, load: float, figure: str) -> float:
    found = [r for r in runs if (r["setting"], r["policy"], r["load"]) == (setting, policy, load)]
    assert len(found) == 1, (setting, policy, load)
    return found[0][figure]["mean"]


def check_same(program: str, folder: Path) -> None:
    args = ("--quick", "--seeds", "2", "--load", "2")
    first, second = run(program, folder, "a.json", *args), run(program, folder, "b.json", *args)
    assert first == second, "two runs of the same seeds differ"
    other = run(program, folder, "c.json", "--quick", "--seeds", "3", "--load", "2")
    assert other[1] != first[1], "another seed changes nothing"


def check_goals(runs: list[dict[str, Any]]) -> None:
    """Of a device under twice and ten times its load, whether limits count from an intent's birth or from each attempt."""
    for setting in ("bench", "attempt"):
        assert mean(runs, setting, "sluice", 2.0, "good_interactive") >= 0.95, setting
        assert mean(runs, setting, "sluice", 2.0, "good_batch") >= 0.25, setting
        assert mean(runs, setting, "sluice", 2.0, "token_goodput") >= 0.96, setting
        assert mean(runs, setting, "sluice", 2.0, "wasted_token_share") <= 0.01, setting
        assert mean(runs, setting, "sluice", 2.0, "attempts_per_intent") <= 1.5, setting
        assert mean(runs, setting, "sluice", 10.0, "good_interactive") >= 0.28, setting
        assert mean(runs, setting, "sluice", 10.0, "good_batch") >= 0.01, setting
        assert mean(runs, setting, "sluice", 10.0, "token_goodput") >= 0.94, setting  # short answers have more of prompt
        assert mean(runs, setting, "sluice", 10.0, "wasted_token_share") <= 0.01, setting


def check_policies(program: str, folder: Path) -> None:
    args = ("--quick", "--seeds", "2", "--load", "0.5,2,4,10", "--fleet", "0")
    runs = json.loads(run(program, folder, "p.json", *args)[1])["runs"]
    check_goals(runs)
    for load in (2.0, 4.0):
        for setting in ("sketch", "bench"):
            sluice = mean(runs, setting, "sluice", load, "token_goodput")
            assert sluice > 2 * mean(runs, setting, "fifo", load, "token_goodput"), (setting, load)
            good = mean(runs, setting, "sluice", load, "good_interactive")
            assert good > 4 * mean(runs, setting, "limits", load, "good_interactive"), (setting, load)
    assert mean(runs, "sketch", "sluice", 2.0, "goodput") >= 0.9
    for setting in ("sketch", "bench"): # nobody is refused who could have been served
        assert mean(runs, setting, "sluice", 0.5, "good_interactive") >= 0.95
        assert mean(runs, setting, "sluice", 0.5, "good_batch") >= 0.95
    for figure in ("victims_good", "jain"):
        assert mean(runs, "hog", "sluice", 2.1, figure) > mean(runs, "hog", "limits", 2.1, figure), figure
    for r in runs: # each attempt is refused, given up or served; and nothing is served to nobody unseen
        assert r["attempts"] >= r["intents"]
        assert 0 <= r["wasted_slot_share"]["mean"] <= 1


# setting deadline: figure, least, most. What the constants of admission were chosen for.
EASY = (("good_interactive", 0.995, 1.0), ("good_batch", 0.99, 1.0))
DEADLINE: dict[float, tuple[tuple[str, float, float], ...]] = {
    0.5: EASY,
    0.8: EASY,
    1.0: (),
    1.5: (),
    2.0: (("good_interactive", 0.95, 1.0), ("good_batch", 0.25, 1.0),
          ("token_goodput", 0.95, 1.05), # shorter answers have more of prefill
          ("attempts_per_intent", 1.0, 1.5)),
    4.0: (),
    10.0: (("good_interactive", 0.28, 1.0), ("good_batch", 0.01, 1.0), ("token_goodput", 0.91, 1.05)),
}


def check_deadlines(program: str, folder: Path) -> None:
    loads = ",".join(f"{load:g}" for load in DEADLINE)
    args = ("--quick", "--seeds", "2", "--load", loads)
    runs = json.loads(run(program, folder, "d.json", *args, "--setting", "deadline")[1])["runs"]
    for load, goals in DEADLINE.items():
        for figure, least, most in (*goals, ("wasted_token_share", -0.01, 0.01)): # who runs at the end is not counted whole
            found = mean(runs, "deadline", "sluice", load, figure)
            assert least <= found <= most, (load, figure, found)
    runs = json.loads(run(program, folder, "h.json", *args[:3], "--setting", "deadline-hog")[1])["runs"]
    assert mean(runs, "deadline-hog", "sluice", 2.1, "victims_good") >= 0.9
    assert abs(mean(runs, "deadline-hog", "sluice", 2.1, "wasted_token_share")) <= 0.01


def check_hog(program: str, folder: Path) -> None:
    """Victims ask for less than their share in all; the hog fills a third of the slot with interactive calls, which go first."""
    runs = json.loads(run(program, folder, "g.json", "--setting", "hog")[1])["runs"]
    assert mean(runs, "hog", "sluice", 2.1, "victims_good") >= 0.9
    assert mean(runs, "hog", "sluice", 2.1, "jain") >= 0.95
    assert mean(runs, "hog", "sluice", 2.1, "wasted_token_share") <= 0.02


def check_fleet(program: str, folder: Path) -> None:
    fleet = json.loads(run(program, folder, "f.json", "--quick", "--fleet", "40")[1])["fleet"]
    assert fleet["good_popular"] > 0.3
    assert fleet["good_other"] > fleet["good_popular"] / 2, "the popular model starves the others"
    assert max(fleet["raised"]) >= 0.9 * fleet["devices"], "the crowd raised no levels"
    assert sum(fleet["good"][-60:]) > 0, "it never recovered"


def check_bad_arguments(program: str) -> None:
    for args in (["--load", "0"], ["--load", "x"], ["--seeds", "0"], ["--setting", "none"], ["--nothing"], ["word"],
                 ["--fleet", "x"], ["--fleet", "999999"]):
        assert subprocess.run([program, *args], capture_output=True).returncode == 2, args


def main() -> None:
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        check_same(program, Path(folder))
        check_policies(program, Path(folder))
        check_deadlines(program, Path(folder))
        check_hog(program, Path(folder))
        check_fleet(program, Path(folder))
    check_bad_arguments(program)


main()

"""The arithmetic of ./dev bench overload: which intents are good, and what counts when."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

for folder in ("bench", "bench/overload"):
    sys.path.append(str(Path(__file__).parents[1] / folder))

import figures  # noqa: E402
import overload  # noqa: E402
import report  # noqa: E402
from intents import BATCH, INTERACTIVE, Attempt, Intent, Kind  # noqa: E402
from ollama import Count  # noqa: E402

WINDOW = figures.Window(began_at=100.0, warm_sec=10.0, seconds=110.0)  # counts from 110 to 210


def intent(
    born: float, *asked: float, first: float = 0, end: float = 0, n: int = 2, kind: Kind = INTERACTIVE
) -> Intent:
    """Attempts at those moments, all but the last refused; an answer of n tokens where first is given."""
    i = Intent(kind, born, n, "")
    i.attempts = [Attempt(at, 503, 0.002, "queue_full") for at in asked]
    i.end_at, i.outcome = end or asked[-1], "refused 503"
    if first:
        i.attempts[-1] = Attempt(asked[-1], 200, 0.1)
        i.end_at = end or first + 1
        i.token_at = [first + (i.end_at - first) * k / n for k in range(n)]
        i.n_usage, i.outcome = n, "done"
    return i


def test_good_counts_from_the_attempt_and_prompt_from_the_birth() -> None:
    late = intent(120, 120, 127, first=131)
    assert late.is_good and not late.is_prompt
    assert intent(120, 120, first=125).is_prompt
    assert not intent(120, 120, first=125.1).is_good
    assert intent(120, 120, first=150, end=160, kind=BATCH).is_good
    assert not intent(120, 120, first=150, end=160.1, kind=BATCH).is_good
    assert not intent(120, 120).is_good


def test_an_answer_without_tokens_or_that_broke_is_not_good() -> None:
    empty, broken = intent(120, 120, first=121), intent(120, 120, first=121)
    empty.token_at = []
    broken.outcome = "broken: no finish"
    assert not empty.is_good and not broken.is_good


def test_what_happened_before_and_after_does_not_count() -> None:
    intents = [
        intent(101, 101, first=102, end=103),  # before
        intent(105, 105, 112, first=113, end=114),  # born before, served within: makes up for
        intent(200, 200, 230, first=231, end=232),  # this one, refused within and served after
        intent(150, 150, first=151, end=152),
    ]
    found = figures.summary(intents, WINDOW, tokens_per_sec=1.0, n_generated=10)
    assert found["intents"] == 2
    assert found["classes"]["interactive"]["good"] == 1.0
    assert found["classes"]["batch"]["good"] is None
    assert found["attempts"] == 3 / 2  # of 112, 150 and 200
    assert found["shed"] == {"queue_full": 1}
    assert found["capacity_share"] == pytest.approx(4 / 100)  # two answers of two tokens in 100 s
    assert found["wasted"] == pytest.approx(1 - 6 / 10)  # since the first arrival
    assert found["refused_msec"] == {"p50": 2.0, "p99": 2.0}


def test_the_time_that_good_answers_took() -> None:
    half = intent(205, 205, first=209, end=211, n=2)  # its second token comes after the window
    lost = intent(120, 120, first=126)  # too late
    assert figures.good_work([half, lost], WINDOW) == (1, pytest.approx(0.5))
    capacity = overload.Capacity(tokens_per_sec=40.0, intents_per_sec=1.0, speed=80.0)
    assert capacity.prompt_sec(80.0) == pytest.approx(0.5)  # 40 tokens take half of the second
    assert capacity.prompt_sec(40.0) == pytest.approx(1.0)


def test_a_share_is_no_more_than_all_and_of_nothing_none() -> None:
    early = [intent(105, 105, 111, first=112), intent(106, 106, 111, first=113)]
    found = figures.summary([*early, intent(150, 150, first=151)], WINDOW, 1.0, 0)
    assert found["classes"]["interactive"]["good"] == 1.0
    assert found["wasted"] is None
    assert figures.summary([], WINDOW, 1.0, 5)["attempts"] is None


def test_callers_are_told_apart() -> None:
    hog, victim = intent(120, 120), intent(120, 120, first=121)
    hog.caller, victim.caller = "hog", "victim1"
    found = figures.callers([hog, victim], WINDOW)
    assert found["hog"]["good"] == 0 and found["victim1"]["good"] == 1


@pytest.mark.parametrize(("share", "value"), [(0.01, 1), (0.5, 2), (0.75, 3), (0.99, 4), (1.0, 4)])
def test_quantile(share: float, value: int) -> None:
    assert figures.quantile([3, 1, 4, 2], share) == value
    assert figures.quantile([], share) is None


def test_silence_is_the_clients_own_patience_or_a_failed_connection() -> None:
    i = intent(120, 120, 125.6, 126)
    for attempt in i.attempts:
        attempt.status, attempt.reason = 0, ""
    i.end_at = 131.0
    i.note_silence()
    assert [a.reason for a in i.attempts] == ["client_timeout", "no_connection", "client_timeout"]


def test_capacity_follows_the_speed_of_the_model() -> None:
    before, after = Count(100, 90.0, 1.0), Count(300, 250.0, 3.0)
    assert after.since(before) == Count(200, 160.0, 2.0)
    assert after.since(before).tokens_per_sec == 80.0 and Count().tokens_per_sec == 0.0
    assert overload.Capacity(tokens_per_sec=90.0, intents_per_sec=1.0, speed=100.0).at(50.0) == 45.0


def test_arrivals_follow_from_the_seed() -> None:
    times = overload.Times(load_sec=200, warm_sec=50, capacity_sec=1)
    twice = [overload.arrivals(random.Random(7), 5.0, times) for _ in range(2)]
    assert [(i.born_at, i.text) for i in twice[0]] == [(i.born_at, i.text) for i in twice[1]]
    assert [(i.kind, i.text) for i in twice[0]] != [(i.kind, i.text) for i in overload.arrivals(random.Random(8), 5.0, times)]
    for span, n in ((range(0, 50), 125), (range(50, 200), 375)):  # of each kind, the odd one aside
        kinds = [i.kind for i in twice[0] if int(i.born_at) in span]
        assert abs(kinds.count(INTERACTIVE) - n) <= 1 and abs(kinds.count(BATCH) - n) <= 1
    assert all(i.kind.tokens[0] <= i.n_tokens <= i.kind.tokens[1] for i in twice[0])
    assert [i.born_at for i in twice[0]] == sorted(i.born_at for i in twice[0])


def test_the_report_takes_runs_with_nothing_in_them() -> None:
    run = figures.summary([], WINDOW, 1.0, 0)
    run |= {"load": 2.0, "time_share": 0.5, "target": "nginx", "recovery_sec": None, "callers": {}}
    run["capacity_tokens_per_sec"] = [100.0, 80.0, 90.0]
    table = report.table({"seed": 1}, [run, {**run, "load": None, "callers": {"hog": figures.callers([intent(120, 120)], WINDOW)[""]}}])
    heads = [line for line in table.splitlines() if line.startswith("| load | target | good")]
    cells = [line for line in table.splitlines() if line.startswith("| 2× (2.5) | nginx | –")]
    assert len(heads) == 1 and heads[0].count("|") == cells[0].count("|")

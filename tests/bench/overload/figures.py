"""From what became of each intent to the figures of the report. Pure: no clock, no I/O.

    0          warm                          end
    |-----------|=============================|···
                 what happens here counts

Everything counts by the moment at which it happened: intents when they were born, their attempts when they were made, answers when they
were whole, tokens when they came. So the share that is good is that of answers to intents in the same time, of which neither the
beginning nor the quiet after the load is a part, and an intent that is told to come back in a minute is not lost to the count.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Iterable, Optional

from intents import BATCH, INTERACTIVE, Attempt, Intent


@dataclass(frozen=True)
class Window:
    began_at: float  # time.monotonic() of the first arrival
    warm_sec: float
    seconds: float  # of load

    @property
    def warm_at(self) -> float:
        return self.began_at + self.warm_sec

    @property
    def end_at(self) -> float:
        return self.began_at + self.seconds

    def has(self, at: Optional[float]) -> bool:
        return at is not None and self.warm_at <= at < self.end_at


def quantile(values: Iterable[float], share: float) -> Optional[float]:
    """The smallest value that at least that share does not exceed; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def ratio(part: float, whole: float) -> Optional[float]:
    return part / whole if whole else None


def good_tokens(intents: Iterable[Intent], from_at: float, to_at: float) -> int:
    """Tokens of good intents that came in that time."""
    return sum(sum(from_at <= at < to_at for at in i.token_at) for i in intents if i.is_good)


def good_work(intents: Iterable[Intent], window: Window) -> tuple[int, float]:
    """What of good intents came in the window: tokens, and answers, of which those that began or ended outside count in part."""
    n_tokens, n_answers = 0, 0.0
    for i in intents:
        if i.is_good:
            inside = sum(window.has(at) for at in i.token_at)
            n_tokens += inside
            n_answers += inside / len(i.token_at)
    return n_tokens, n_answers


def _class(intents: list[Intent], window: Window) -> dict[str, Any]:
    born = sum(window.has(i.born_at) for i in intents)
    ended = [i for i in intents if window.has(i.end_at)]
    waits = [i.first_wait for i in ended if i.is_good]
    return {
        "offered": born,
        "good": _share(sum(i.is_good for i in ended), born),
        "prompt": _share(sum(i.is_prompt for i in ended), born),
        "wait_sec": {f"p{p}": quantile(waits, p / 100) for p in (50, 95, 99)},
        "attempts": ratio(len(_attempts(intents, window)), born),
    }


def _share(n: int, born: int) -> Optional[float]:
    """Answers to intents of before the window can make it more than all."""
    found = ratio(n, born)
    return None if found is None else min(1.0, found)


def _attempts(intents: list[Intent], window: Window) -> list[Attempt]:
    return [a for i in intents for a in i.attempts if window.has(a.at)]


def _reasons(attempts: list[Attempt]) -> dict[str, int]:
    return dict(Counter(a.reason for a in attempts if a.reason).most_common())


def _refused_msec(attempts: list[Attempt]) -> dict[str, Optional[float]]:
    """Of the answers that said no: from the request to the status line. An own wait in a queue is not a quick no, and shows."""
    seconds = [a.seconds for a in attempts if a.status >= 400]
    found = {f"p{p}": quantile(seconds, p / 100) for p in (50, 99)}
    return {name: None if value is None else value * 1e3 for name, value in found.items()}


def summary(intents: list[Intent], window: Window, tokens_per_sec: float, n_generated: int) -> dict[str, Any]:
    """tokens_per_sec: the capacity; n_generated: by the model server, from the first arrival to the end of the load."""
    attempts = _attempts(intents, window)
    born = sum(window.has(i.born_at) for i in intents)
    tokens = good_tokens(intents, window.warm_at, window.end_at)
    all_good = good_tokens(intents, window.began_at, window.end_at)
    ended = [i for i in intents if window.has(i.end_at)]
    return {
        "intents": born,
        "classes": {
            kind.name: _class([i for i in intents if i.kind is kind], window) for kind in (INTERACTIVE, BATCH)
        },
        "capacity_share": tokens / (tokens_per_sec * (window.end_at - window.warm_at)),
        "attempts": ratio(len(attempts), born),
        "wasted": max(0.0, 1 - all_good / n_generated) if n_generated else None,
        "generated": n_generated,
        "shed": _reasons(attempts),
        "refused_msec": _refused_msec(attempts),
        "outcomes": dict(Counter(i.outcome for i in ended).most_common()),
    }


def callers(intents: list[Intent], window: Window) -> dict[str, dict[str, Any]]:
    """By who asked."""
    names = sorted({i.caller for i in intents})
    return {name: _class([i for i in intents if i.caller == name], window) for name in names}

"""reasons.yaml: why the two differ, and who is right. Each difference belongs to the first reason that fits it.

    - title: One sentence, the heading in the document
      class: a key of CLASSES
      why: |
        The paragraph below it.
      where:                          # any of these
        - fact: header x-litellm-version
        - {requests: "bad: *", fact: "body.error.code", litellm: '"*"', sluice: "-"}

All patterns are the shell's (fnmatch, in which [ is taken as it is); what is left out fits everything.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CLASSES = {
    "openai": "sluice follows OpenAI",
    "fault": "LiteLLM errs",
    "safe": "sluice refuses, or does not pass on, what is not safe",
    "clear": "sluice says it more exactly",
    "more": "sluice does more",
    "device": "on purpose: sluice runs on a device",
    "less": "LiteLLM does more",
    "words": "different words for the same thing",
}
NEEDED = {"title", "class", "why", "where"}
PATTERNS = ("requests", "fact", "litellm", "sluice")


@dataclass(frozen=True)
class Difference:
    request: str
    fact: str
    litellm: str
    sluice: str


class Pattern:
    def __init__(self, given: dict[str, Any]):
        unknown = set(given) - set(PATTERNS)
        assert not unknown, f"reasons.yaml: {unknown} in {given}"
        self.text = ", ".join(f"{k}: {v}" for k, v in given.items())
        self.n_uses = 0
        self.parts = []
        for key in PATTERNS:
            values = given.get(key, [])
            values = values if isinstance(values, list) else [values]
            self.parts.append([_compile(str(v)) for v in values])

    def fits(self, d: Difference) -> bool:
        texts = (d.request, d.fact, d.litellm, d.sluice)
        return all(
            not any_of or any(one.match(text) for one in any_of)
            for any_of, text in zip(self.parts, texts)
        )


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))


@dataclass
class Reason:
    title: str
    kind: str
    why: str
    where: list[Pattern]
    found: list[Difference] = field(default_factory=list)

    def takes(self, d: Difference) -> bool:
        for pattern in self.where:
            if pattern.fits(d):
                pattern.n_uses += 1
                self.found.append(d)
                return True
        return False


def load(path: Path) -> list[Reason]:
    out = []
    for given in yaml.safe_load(path.read_text()) or []:
        assert set(given) == NEEDED, f"reasons.yaml: {given.get('title')}: needs {NEEDED}"
        assert given["class"] in CLASSES, f"reasons.yaml: {given['title']}: {given['class']}?"
        where = [Pattern(one) for one in given["where"]]
        out.append(Reason(given["title"], given["class"], given["why"].strip(), where))
    return out


def sort(reasons: list[Reason], differences: list[Difference]) -> list[Difference]:
    """Gives each difference to the first reason that takes it; those that none takes."""
    return [d for d in differences if not any(reason.takes(d) for reason in reasons)]


def rotten(reasons: list[Reason]) -> list[str]:
    """Patterns that no difference needs any more."""
    return [f"{r.title}: {p.text}" for r in reasons for p in r.where if not p.n_uses]

#!/usr/bin/env python3
"""The LiteLLM proxy and sluice side by side: the same configuration files, the same requests, the same fake model servers.

    compat.py --litellm VENV/bin/litellm [--write] [--config NAME] [--only PATTERN] [--show]

Fails where a difference has no reason in reasons.yaml, where a reason fits nothing any more, and where
docs/litellm-differences.md is not what this run says; --write writes it. --only and --config ask a part (and judge no
document), --show prints every difference. SLUICED names the daemon.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "e2e"))

import direct  # noqa: E402
import document  # noqa: E402
import facts  # noqa: E402
import measure  # noqa: E402
import reasons as reasons_of  # noqa: E402
import table  # noqa: E402
from gateways import Gateway, LiteLLM, Sluice  # noqa: E402
from servers import Ollama, OpenAI, Server  # noqa: E402
from testenv.upstream import Gate, RefusingPort  # noqa: E402

DOCUMENT = SOURCE / "docs" / "litellm-differences.md"
SLOW_SEC = 2.0
CONFIGS = ("main", "dropping", "routing", "keyless")


class World:
    """The fake servers, and what a configuration file says of them through its environment."""

    def __init__(self) -> None:
        self.openai = Server(OpenAI())
        self.ollama = Server(Ollama())
        self.nobody = RefusingPort()
        self.env = {
            "OPENAI_BASE": self.openai.api_base,
            "OLLAMA_BASE": self.ollama.api_base,
            "OLLAMA_API_BASE": self.ollama.api_base,
            "NOBODY_BASE": self.nobody.url + "/v1",
            "COMPAT_KEY": "sk-from-the-environment",
        }

    def close(self) -> None:
        self.openai.close()
        self.ollama.close()
        self.nobody.close()

    def ask(self, gateway: Gateway, entry: table.Entry) -> dict[str, str]:
        """What the gateway answered, and what it sent to the servers meanwhile."""
        server = self.ollama if entry.touches_ollama else self.openai
        for script in entry.scripts:
            server.next(script)
        saw = server.client_saw = Gate()
        began = time.monotonic()
        answer = gateway.ask(entry.method, entry.path, entry.body, entry.headers, saw.open)
        if time.monotonic() - began > SLOW_SEC:
            say(f"{gateway.name} took {time.monotonic() - began:.1f} s for {entry.name}")
        out = facts.of_answer(answer, entry.method)
        heard = self.openai.heard() + self.ollama.heard()
        heard.sort(key=lambda ex: ex.received_at)
        out.update(facts.of_upstream(heard))
        return out


@dataclass
class Outcome:
    """One run of one configuration."""

    differences: list[reasons_of.Difference]
    figures: list[measure.Figures]


def start(name: str, directory: Path, litellm: Path, world: World) -> tuple[Gateway, Gateway]:
    config = HERE / "config" / f"{name}.yaml"
    env = dict(world.env)
    weak = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    first = LiteLLM(litellm, directory, config, {**env, **(weak if name == "keyless" else {})})
    try:
        return first, Sluice(directory, config, env)
    except BaseException:
        first.stop()
        raise


def run(name: str, entries: list[table.Entry], litellm: Path, args: argparse.Namespace) -> Outcome:
    world = World()
    outcome = Outcome([], [])
    with tempfile.TemporaryDirectory(prefix="sluice-compat-") as directory:
        began = time.monotonic()
        both = start(name, Path(directory), litellm, world)
        try:
            say(f"{name}: both are up after {time.monotonic() - began:.1f} s")
            for entry in entries:
                theirs, ours = (world.ask(gateway, entry) for gateway in both)
                found = facts.differences(theirs, ours)
                outcome.differences += [reasons_of.Difference(entry.name, *row) for row in found]
            if name == "main" and not args.only:
                outcome.figures = [measure.figures(gateway) for gateway in both]
            if args.keep_log:
                Path(args.keep_log).mkdir(exist_ok=True)
                for log in Path(directory).glob("*.log"):
                    (Path(args.keep_log) / f"{name}-{log.name}").write_bytes(log.read_bytes())
        finally:
            for gateway in both:
                gateway.stop()
            world.close()
        say(f"{name}: {len(entries)} requests in {time.monotonic() - began:.1f} s")
    return outcome


def say(text: str) -> None:
    print(f"   {text}", flush=True)


def judge_document(text: str, is_to_write: bool) -> bool:
    if is_to_write:
        DOCUMENT.write_text(text)
        return True
    written = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    if written == text:
        return True
    lines = difflib.unified_diff(written.split("\n"), text.split("\n"), "committed", "this run", "", "", 0, "")
    for line in list(lines)[:40]:
        print(line)
    print(f"{DOCUMENT.relative_to(SOURCE)} is not what this run says: ./dev test compat --write")
    return False


def judge(
    found: list[reasons_of.Difference],
    reasons: list[reasons_of.Reason],
    n_requests: int,
    args: argparse.Namespace,
) -> bool:
    unexplained = reasons_of.sort(reasons, found)
    if args.show:
        for d in found:
            print(f"{d.request} :: {d.fact} :: {d.litellm} :: {d.sluice}")
    for d in unexplained:
        print(f"NO REASON: {d.request} | {d.fact} | LiteLLM {d.litellm} | sluice {d.sluice}")
    is_whole = not (args.only or args.config)
    stale = reasons_of.rotten(reasons) if is_whole else []
    for text in stale:
        print(f"REASON WITHOUT A DIFFERENCE: {text}")
    say(f"{n_requests} requests, {len(found)} differences, {len(unexplained)} without a reason")
    for line in document.counts(reasons):
        say(line)
    return not unexplained and not stale


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--litellm", type=Path, required=True, help="the program of the pinned release")
    parser.add_argument("--config", help="only this configuration")
    parser.add_argument("--only", help="only requests whose name fits this pattern")
    parser.add_argument("--show", action="store_true", help="print every difference")
    parser.add_argument("--write", action="store_true", help="write the document")
    parser.add_argument("--keep-log", help="a directory for LiteLLM's logs")
    args = parser.parse_args()
    for name in list(os.environ):
        if name.startswith(("LITELLM", "OLLAMA", "OPENAI")) or name == "DATABASE_URL":
            del os.environ[name]
    names = [e.name for e in table.TABLE]
    assert len(set(names)) == len(names), sorted({n for n in names if names.count(n) > 1})
    found, n_requests = [], 0
    for config in [args.config] if args.config else CONFIGS:
        entries = [
            e
            for e in table.TABLE
            if e.config == config and fnmatch.fnmatch(e.name, args.only or "*")
        ]
        if not entries:
            continue
        outcome = run(config, entries, args.litellm, args)
        found += outcome.differences
        n_requests += len(entries)
        for figures in outcome.figures:
            say(str(figures))
    reasons = reasons_of.load(HERE / "reasons.yaml")
    is_good = judge(found, reasons, n_requests, args)
    if not (args.only or args.config):
        text = document.write(version(args.litellm), n_requests, reasons, beside_ollama(args.litellm))
        is_good = judge_document(text, args.write) and is_good
    return 0 if is_good else 1


def version(litellm: Path) -> str:
    """Of the package beside the program."""
    [found] = litellm.parent.parent.glob("lib/python3*/site-packages/litellm-*.dist-info")
    return found.name.split("-")[1].removesuffix(".dist")


def beside_ollama(litellm: Path) -> str:
    part = direct.compare(litellm)
    if part is None:
        print("skipped 1: no real Ollama is set up; its part of the document is kept as it is")
        return document.direct_of(DOCUMENT.read_text() if DOCUMENT.exists() else "")
    return part


if __name__ == "__main__":
    sys.exit(main())

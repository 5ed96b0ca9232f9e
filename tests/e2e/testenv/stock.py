"""Clients in other languages, built from clients/examples and run one test at a time, each against a daemon of its own.

A client's test program knows nothing of the model server behind the daemon. Where the two must meet it prints a line that ends
with "@word" and reads a line of standard input; the scenario of that test says what happens at that word.

The compilers and the crates or modules are not sluice's to install: where they are missing the tests are skipped, and say why.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

import pytest

from .daemon import Daemon
from .paths import SOURCE
from .upstream import Exchange, Step, Upstream, end, say, stall, text

CACHE = Path(os.environ.get("SLUICE_DEV_CACHE") or Path.home() / ".cache/sluice-dev") / "clients"
BUILD = SOURCE / "build" / "clients"
PATIENCE_SEC = 25.0  # for one test of a client; its own limits are shorter, and say more
BUILD_TIMEOUT_SEC = 900  # a first build takes minutes
NO_NETWORK = re.compile(
    r"dial tcp|no such host|i/o timeout|connection refused|network is unreachable|proxyconnect"
    r"|Could(n't| not) resolve host|Could not connect|failed to download|spurious network error"
    r"|unable to get packages from source|module lookup disabled|TLS handshake timeout"
)

LONG_PIECE, N_LONG_PIECES = "0123456789abcdef" * 64, 12000


@dataclass
class Stage:
    """What a scenario acts on."""

    env: Any
    sluice: Daemon
    upstream: Upstream
    reads_ahead: bool  # the library takes in whatever comes, whether or not the program reads it

    def model_server_is_free(self) -> None:
        assert self.upstream.wait_request().peer_left.wait(10)

    def kill(self) -> None:
        self.sluice.kill()
        self.env.daemons.remove(self.sluice)

    def unread(self) -> None:
        """The answer is on its way and nobody takes it: the model server is paused, or the library has it all."""
        exchange = self.upstream.wait_request()
        assert (exchange.finished if self.reads_ahead else exchange.blocked).wait(20)


@dataclass
class Scenario:
    script: Sequence[Step] = field(default_factory=lambda: say("Hello", " world"))
    meets: dict[str, Callable[[Stage], None]] = field(default_factory=dict)
    after: Optional[Callable[[Stage], None]] = None
    outcome: Optional[str] = None  # of the one call, in the log


def echo() -> list[Step]:
    """Says back what was asked, in three pieces."""

    def step(ex: Exchange) -> None:
        asked = ex.json["messages"][-1]["content"]
        third = len(asked) // 3
        text(asked[:third], asked[third : 2 * third], asked[2 * third :])(ex)

    return [step, end()]


def _free(stage: Stage) -> None:
    stage.model_server_is_free()


def _has_ended(stage: Stage) -> None:
    assert stage.sluice.wait_exit() == 0


UNFINISHED = (text("some"), stall())
CLOSED = {"closed": lambda stage: (stage.model_server_is_free(), stage.sluice.expect_idle())}

SCENARIOS: dict[str, Scenario] = {
    "get_info": Scenario(),
    "list_models": Scenario(),
    "status": Scenario(),
    "metadata_is_allowed": Scenario(),
    "chat": Scenario(outcome="completed"),
    "complete": Scenario(outcome="completed"),
    "embed": Scenario(outcome="completed"),
    "concurrent_streams": Scenario(echo()),
    "many_calls_at_once": Scenario(),
    "slow_reader": Scenario(
        [text(*[LONG_PIECE] * N_LONG_PIECES), end()], {"unread": Stage.unread}, outcome="completed"
    ),
    "cancel_by_request_id": Scenario(UNFINISHED, after=_free, outcome="cancelled"),
    "deadline_in_the_message": Scenario(UNFINISHED, outcome="deadline_exceeded"),
    "deadline_of_the_context": Scenario(UNFINISHED),
    "deadline_that_is_over": Scenario(),
    "close_cancels_the_calls": Scenario(UNFINISHED, CLOSED),
    "daemon_killed_mid_stream": Scenario(UNFINISHED, {"kill": Stage.kill}),
    "unknown_model": Scenario(outcome="model_not_found"),
    "watch": Scenario(UNFINISHED),
    "reload": Scenario(),
    "unload": Scenario(),
    "drain": Scenario(after=_has_ended),
    "not_served": Scenario(),
    "frame_limit": Scenario(outcome="completed"),
}


def play(env: Any, name: str, argv: list[str], passed: str, reads_ahead: bool) -> str:
    """Runs one test of a client in its scenario; its output, in which `passed` must stand."""
    scenario = SCENARIOS[name]
    upstream = env.openai()
    upstream.always(*scenario.script)
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 16})
    stage = Stage(env, sluice, upstream, reads_ahead)
    output, met = _run(argv, {"SLUICE_SOCKET": sluice.rpc_path}, scenario, stage)
    assert passed in output, output
    assert met == list(scenario.meets), f"met {met}: {output}"
    if scenario.after:
        scenario.after(stage)
    if scenario.outcome:
        assert sluice.wait_call_records(1)[0]["SLUICE_OUTCOME"] == scenario.outcome
    return output


def _run(
    argv: list[str], environment: dict[str, str], scenario: Scenario, stage: Stage
) -> tuple[str, list[str]]:
    """The program's output and the words at which it waited; it must end with status 0."""
    lines, met = [], []
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        timer = threading.Timer(PATIENCE_SEC, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                lines.append(line)
                word = re.search(r"@(\w+)$", line)
                if word:
                    met.append(word.group(1))
                    scenario.meets[word.group(1)](stage)
                    process.stdin.write("\n")
                    process.stdin.flush()
            process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
    assert process.returncode == 0, "".join(lines)
    return "".join(lines), met


def try_example(env: Any, program: str, embedding: str) -> None:
    """Models, chat, embed and a wrong model with the example as a person runs it."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})

    def ask(*args: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program, *args],
            env={"SLUICE_SOCKET": sluice.rpc_path},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SEC,
            check=False,
        )

    assert ask("models").stdout == "m\topenai\t1 of 1 available\n"
    assert ask("chat", "m", "hello").stdout == "Hello world\n[7 tokens in, 2 out]\n"
    assert ask("embed", "m", "abc").stdout.startswith(embedding)
    wrong = ask("chat", "nope", "hello")
    assert wrong.returncode == 1 and "(model_not_found)" in wrong.stderr


# ---------------------------------------------------------------------------------------------- building


def source_copy(language: str) -> Path:
    """The client's sources below build/, so that nothing is generated among the real ones."""
    source, copy = SOURCE / "clients/examples" / language, BUILD / language
    copy.mkdir(parents=True, exist_ok=True)
    for path in source.rglob("*"):
        target = copy / path.relative_to(source)
        if path.is_file() and not _is_generated(path.relative_to(source)):
            target.parent.mkdir(parents=True, exist_ok=True)
            # Only what changed, with its own time stamp: cargo and go look at it.
            if not target.exists() or target.read_bytes() != path.read_bytes():
                shutil.copy(path, target)
    return copy


def _is_generated(path: Path) -> bool:
    return path.parts[0] in (".tools", "sluicev1", "target")


def build(argv: list[str], directory: Path, environment: dict[str, str]) -> str:
    """One step of a build, at low priority; its standard output."""
    done = subprocess.run(
        ["nice", *argv],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_SEC,
        check=False,
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def fetch(argv: list[str], directory: Path, environment: dict[str, str]) -> None:
    """Fetches what a build needs; skips the tests where no registry can be reached."""
    try:
        build(argv, directory, environment)
    except AssertionError as e:
        if NO_NETWORK.search(str(e)):
            pytest.skip(f"{argv[0]} cannot fetch the dependencies: {str(e)[-300:]}")
        raise

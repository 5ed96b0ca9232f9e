"""sluicectl under test: run to its end in pipes, or started on a pseudo terminal; its exit codes; what must hold for each run."""

from __future__ import annotations

import grp
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Optional

from . import nobody, paths
from .daemon import SANITIZER_ENV, SANITIZER_REPORT, Daemon
from .terminal import Terminal

OK, FAILED, USAGE, UNREACHABLE, TRY_LATER, INTERRUPTED = 0, 1, 2, 3, 4, 130


def environment(sluice: Optional[Daemon], **extra: str) -> dict[str, str]:
    """Without the variables of whoever runs the tests; with the daemon's socket."""
    ours = ("SLUICE", "XDG_RUNTIME_DIR", "NO_COLOR", "CONFIG_FILE_PATH", "TERM", "COLUMNS")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    if sluice:
        clean["SLUICE_SOCKET"] = sluice.rpc_path
    return {**clean, **SANITIZER_ENV, **extra}


def run(
    sluice: Optional[Daemon],
    *args: str,
    stdin: Any = b"",
    program: str = "",
    preexec: Optional[Callable[[], None]] = None,
    **extra: str,
) -> subprocess.CompletedProcess:
    result = subprocess.run(
        [program or str(paths.SLUICECTL), *args],
        input=stdin,
        capture_output=True,
        env=environment(sluice, **extra),
        timeout=20,
        preexec_fn=preexec,
    )
    assert not SANITIZER_REPORT.search(result.stderr.decode()), result.stderr.decode()
    return result


def said(result: subprocess.CompletedProcess) -> str:
    """What a failure said to people: one line on stderr, nothing that could steer a terminal."""
    text = result.stderr.decode()
    assert text.startswith("sluicectl: ") and text.endswith("\n") and text.count("\n") == 1, text
    assert text[:-1].isprintable(), repr(text)
    return text


def document(result: subprocess.CompletedProcess) -> Any:
    """stdout as the one JSON document that it must be."""
    lines = result.stdout.decode().splitlines()
    assert len(lines) == 1, lines
    return json.loads(lines[0])


def terminal(env: Any, sluice: Optional[Daemon], *args: str, **extra: str) -> Terminal:
    argv = [str(paths.SLUICECTL), *args]
    return env.closing(Terminal(argv, environment(sluice, **extra)))


class Elsewhere:
    """sluicectl as a user without privileges; only root can run it."""

    uid = nobody.UID

    def __init__(self, directory: Path):
        self.program = str(paths.copied(paths.SLUICECTL, directory))
        # a group that the user is not in, and root not by name
        others = (g for g in grp.getgrall() if g.gr_gid not in (0, self.uid) and not g.gr_mem)
        self.group = next(others)

    def run(
        self, socket: str, *args: str, groups: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess:
        return run(
            None,
            *args,
            program=self.program,
            preexec=lambda: nobody.become(groups),
            SLUICE_SOCKET=socket,
        )

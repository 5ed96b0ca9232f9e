"""Completion of sluicectl's command line in real shells: bash always, zsh and fish where they are installed.

Which verbs and flags there are is tests/lint/lint_cli.py's to compare; this is about the shells: model names with colons and
blanks, options in either form, the daemon that --socket names, and no noise and no waiting without one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Optional

import pytest
from testenv import paths
from testenv.cli import OK, environment, run
from testenv.daemon import Daemon, mock
from testenv.terminal import Terminal

FOLDER = paths.SOURCE / "clients" / "cli" / "completions"
MODELS = {"assistant": mock(), "codegemma:2b": mock(), "codegemma:7b": mock(), "a/b": mock()}

BASH = r"""
source "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDBREAKS=${3-$COMP_WORDBREAKS}
_sluicectl && :
printf '%s\n' "${COMPREPLY[@]}"
"""

needs_zsh = pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
needs_fish = pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")


def shell_environment(sluice: Optional[Daemon], **extra: str) -> dict[str, str]:
    """sluicectl is in PATH, and no start-up file of the user's is read."""
    path = f"{paths.SLUICECTL.parent}:{os.environ['PATH']}"
    return environment(sluice, PATH=path, HOME="/nonexistent", **extra)


def output(argv: list[str], variables: dict[str, str]) -> set[str]:
    result = subprocess.run(argv, capture_output=True, text=True, env=variables, timeout=20)
    assert result.stderr == ""
    return set(filter(None, result.stdout.split("\n")))


def bash(sluice: Optional[Daemon], line: str, *breaks: str) -> set[str]:
    script = str(FOLDER / "sluicectl.bash")
    argv = ["bash", "--norc", "-c", BASH, "bash", script, line, *breaks]
    return output(argv, shell_environment(sluice))


# ---------------------------------------------------------------------------------------------- bash


def test_bash_verbs_and_values(env) -> None:
    assert bash(None, "sluicectl ch") == {"chat", "check-config"}
    assert bash(None, "sluicectl --json st") == {"status", "stop"}
    assert bash(None, "sluicectl --socket /x st") == {"status", "stop"}
    assert bash(None, "sluicectl --so") == {"--socket"}
    assert bash(None, "sluicectl chat --class b") == {"batch", "background"}
    assert bash(None, "sluicectl chat --class=b") == {"batch", "background"}
    assert bash(None, "sluicectl chat --class=b", " ") == {"--class=batch", "--class=background"}
    assert bash(None, "sluicectl chat -c int") == {"interactive"}
    assert bash(None, "sluicectl chat hello --eff") == {"--effort"}
    assert bash(None, "sluicectl chat --seed ") == set()
    assert bash(None, "sluicectl key ") == {"new", "hash"}
    assert bash(None, "sluicectl key new ") == set()
    assert bash(None, "sluicectl help dr") == {"drain"}
    assert bash(None, "sluicectl status extra ") == set()


def test_bash_model_names(env) -> None:
    """What is behind the last colon only, as readline keeps what stands before it."""
    sluice = env.start(MODELS)
    assert bash(sluice, "sluicectl run ") == set(MODELS)
    assert bash(sluice, "sluicectl run a") == {"assistant", "a/b"}
    assert bash(sluice, "sluicectl run codegemma:") == {"2b", "7b"}
    assert bash(sluice, "sluicectl run codegemma:7") == {"7b"}
    assert bash(sluice, "sluicectl run codegemma:7", " \t\n=") == {"codegemma:7b"}
    assert bash(sluice, "sluicectl run -v codegemma:7") == {"7b"}
    assert bash(sluice, "sluicectl run --seed 3 codegemma:7") == {"7b"}
    assert bash(sluice, "sluicectl run assistant a") == set(), "that is the prompt"
    assert bash(sluice, "sluicectl chat -m as") == {"assistant"}
    assert bash(sluice, "sluicectl chat --model=as") == {"assistant"}
    assert bash(sluice, "sluicectl chat --model=codegemma:2") == {"2b"}
    assert bash(sluice, "sluicectl stop as") == bash(sluice, "sluicectl show as") == {"assistant"}


def test_bash_asks_the_daemon_of_the_line(env) -> None:
    sluice = env.start({"elsewhere": mock()})
    for line in ("--socket {} run e", "run --socket {} e", "run --socket={} e", "run -s {} e"):
        line = line.format(sluice.rpc_path)
        assert bash(None, f"sluicectl {line}") == {"elsewhere"}, line
        assert bash(None, f"{paths.SLUICECTL} {line}") == {"elsewhere"}, line


def test_bash_completes_files(env) -> None:
    (env.directory / "one.yaml").write_text("")
    assert bash(None, f"sluicectl check-config {env.directory}/o") == {f"{env.directory}/one.yaml"}
    assert bash(None, f"sluicectl chat --socket {env.directory}/o") == {f"{env.directory}/one.yaml"}


def test_bash_without_a_daemon_is_silent(env) -> None:
    nobody = str(env.directory / "nobody.sock")
    assert bash(None, f"sluicectl --socket {nobody} run ") == set()
    assert bash(None, "/nowhere/sluicectl run ") == set()


def interactive(env: Any, argv: list[str], variables: dict[str, str]) -> Terminal:
    return env.closing(Terminal(argv, variables))


def test_bash_at_a_prompt(env) -> None:
    """Typed, with TAB: readline itself."""
    sluice = env.start(MODELS)
    t = interactive(env, ["bash", "--norc", "-i"], shell_environment(sluice, PS1="ready> "))
    t.wait_for("ready> ")
    t.type(f"source {FOLDER}/sluicectl.bash; echo so''urced\n")
    t.wait_for("sourced")
    t.type("sluicectl mod\t--na\t\n")
    t.wait_for("codegemma:7b")
    t.type("sluicectl sho\tcodeg\t7\t; echo ended:$?\n")
    t.wait_for("codegemma:7b, 1 deployment")
    t.wait_for("ended:0")
    t.type("exit\n")
    assert t.wait_exit() == OK


# ---------------------------------------------------------------------------------------------- zsh


@needs_zsh
def test_zsh_at_a_prompt(env) -> None:
    """The file is found by its name in fpath, as where a package installs it."""
    sluice = env.start(MODELS)
    variables = shell_environment(sluice, ZDOTDIR=str(env.directory))
    (env.directory / ".zshrc").write_text(
        f"fpath=({FOLDER} $fpath)\nautoload -Uz compinit\ncompinit -D -u\n"
        "PS1='ready> '\nunsetopt prompt_sp\nsetopt no_beep\n"
    )
    t = interactive(env, ["zsh", "-i"], variables)
    t.wait_for("ready> ")
    t.type("echo $_comps[sluicectl]''x; sluicectl mod\t--na\t\n")
    t.wait_for("_sluicectlx")
    t.wait_for("codegemma:7b")
    t.type("sluicectl sho\tcodeg\t7\t; echo ended:$?\n")
    t.wait_for("codegemma:7b, 1 deployment")
    t.wait_for("ended:0")
    t.type(f"SLUICE_SOCKET=/nobody; sluicectl --socket {sluice.rpc_path} show ass\t; echo en''ded\n")
    t.wait_for("assistant, 1 deployment")
    t.type("sluicectl chat --class=backg\tx\n")
    t.wait_for("no socket at /nobody")
    assert "--class=background" in t.screen
    t.type("exit\n")
    t.wait_exit()


# ---------------------------------------------------------------------------------------------- fish


def fish(env: Any, sluice: Optional[Daemon], line: str) -> set[str]:
    """fish says itself what it would offer; a description stands behind a tab."""
    script = f'source {FOLDER}/sluicectl.fish; complete --do-complete "$argv[1]"'
    home = str(env.directory)
    variables = {**shell_environment(sluice), "HOME": home, "XDG_CONFIG_HOME": home}
    variables["XDG_DATA_HOME"] = variables["XDG_CACHE_HOME"] = home
    lines = output(["fish", "--no-config", "-c", script, line], variables)
    return {offered.partition("\t")[0] for offered in lines}


@needs_fish
def test_fish(env) -> None:
    sluice = env.start(MODELS)
    assert fish(env, sluice, "sluicectl ch") == {"chat", "check-config"}
    assert fish(env, sluice, f"sluicectl -s {sluice.rpc_path} sta") == {"status"}
    assert fish(env, sluice, "sluicectl run codeg") == {"codegemma:2b", "codegemma:7b"}
    assert fish(env, sluice, "sluicectl run assistant ") == set(), "that is the prompt"
    assert fish(env, sluice, "sluicectl chat --model as") == {"assistant"}
    assert fish(env, sluice, "sluicectl chat --model=as") == {"--model=assistant"}
    assert fish(env, sluice, "sluicectl chat -m as") == {"assistant"}
    assert fish(env, sluice, "sluicectl chat --class b") == {"batch", "background"}
    assert fish(env, sluice, "sluicectl status --w") == {"--watch"}
    assert fish(env, sluice, "sluicectl ps --w") == set()
    assert fish(env, sluice, "sluicectl key ") == {"new", "hash"}
    assert fish(env, sluice, "sluicectl help dr") == {"drain"}
    assert fish(env, None, f"sluicectl --socket {sluice.rpc_path} show as") == {"assistant"}
    assert fish(env, None, "sluicectl --socket /nobody.sock show ") == set()


# ---------------------------------------------------------------------------------------------- what they rely on


def test_names_with_blanks(env) -> None:
    sluice = env.start({"two words": mock()})
    assert run(sluice, "models", "--names").stdout == b"two words\n"
    assert bash(sluice, "sluicectl run two") == {r"two\ words"}


def test_files_are_readable_by_their_shells(env) -> None:
    for shell, name in (("bash", "sluicectl.bash"), ("zsh", "_sluicectl"), ("fish", "sluicectl.fish")):
        if shutil.which(shell):
            check = subprocess.run([shell, "-n", str(Path(FOLDER) / name)], capture_output=True)
            assert (check.returncode, check.stderr) == (0, b""), shell

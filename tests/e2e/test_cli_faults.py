"""sluicectl when something is wrong: exit codes, what people and programs are told, no daemon, no permission, no reader."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess

import pytest
from testenv import paths
from testenv.cli import (
    FAILED,
    OK,
    TRY_LATER,
    UNREACHABLE,
    USAGE,
    Elsewhere,
    document,
    environment,
    run,
    said,
)
from testenv.daemon import Daemon
from testenv.upstream import Gate, stall, text, wait_for, whole


# ---------------------------------------------------------------------------------------------- exit codes


def test_exit_codes_of_calls(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    unknown = run(sluice, "chat", "-m", "mm", "x")
    assert unknown.returncode == FAILED and "model_not_found" in said(unknown)
    assert unknown.stdout == b""
    upstream.next(whole(429, {"error": {"message": "slow"}}, {"Retry-After": "3"}))
    busy = run(sluice, "chat", "-m", "m", "x")
    assert busy.returncode == TRY_LATER and "3 s" in said(busy)
    upstream.next(whole(429, {"error": {"message": "slow"}}, {"Retry-After": "3"}))
    busy = run(sluice, "embed", "-m", "m", "--json", "x")
    error = document(busy)["error"]
    assert busy.returncode == TRY_LATER and error["retryable"] is True
    assert (error["code"], error["http_status"]) == ("rate_limit_exceeded", 429)
    assert error["retry_after_usec"] == 3_000_000
    upstream.next(stall())
    late = run(sluice, "chat", "-m", "m", "--timeout=200ms", "x")
    assert late.returncode == FAILED and "deadline" in said(late)


WRONG: list[tuple[str, ...]] = [
    ("nope",),
    ("--nope",),
    ("--socket",),
    ("chat", "--nope"),
    ("chat", "--model"),
    ("chat", "--max-tokens=x", "y"),
    ("chat", "--max-tokens=0", "y"),
    ("chat", "--max-tokens=-1", "y"),
    ("chat", "--max-tokens=4294967296", "y"),
    ("chat", "--temperature=warm", "y"),
    ("chat", "--temperature=inf", "y"),
    ("chat", "--timeout=5", "y"),
    ("chat", "--class=royal", "y"),
    ("run",),
    ("embed", "--dimensions=-1", "y"),
    ("rerank",),
    ("rerank", "--top-n=0", "y", "z"),
    ("classify", "--top-n=1", "y"),
    ("models", "extra"),
    ("status", "extra"),
    ("version", "extra"),
    ("cancel",),
    ("key",),
    ("key", "old"),
    ("key", "new", "extra"),
    ("key", "new", "--count=1001"),
    ("key", "new", "--count=2", "--id=a"),
    ("key", "new", "--id="),
    ("key", "new", "--id=a b"),
    ("key", "new", "--id=" + "a" * 49),
    ("key", "hash", "--id=a"),
    ("key", "hash", "sk-never-on-the-command-line"),
    ("check-config", "a", "b"),
]


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong_command_lines(env, args: tuple[str, ...]) -> None:
    """2, one sentence; with --json the sentence as JSON on stdout as well."""
    people = run(None, *args)
    assert people.returncode == USAGE and people.stdout == b""
    sentence = said(people)
    programs = run(None, "--json", *args)
    assert programs.returncode == USAGE and said(programs) == sentence
    failure = document(programs)
    assert failure["error"] == {
        "code": "usage",
        "message": sentence[len("sluicectl: ") : -1],
    }
    assert failure.get("event", "failed") == "failed"


def test_help(env) -> None:
    nothing = run(None)
    assert nothing.returncode == USAGE and b"Commands:" in nothing.stderr and nothing.stdout == b""
    nothing = run(None, "--json")
    assert nothing.returncode == USAGE and document(nothing)["error"]["code"] == "usage"
    for args in (("--help",), ("-h",), ("help",), ("help", "help")):
        overview = run(None, *args)
        assert overview.returncode == OK and b"Commands:" in overview.stdout
    verbs = [line.split()[0] for line in overview.stdout.decode().split("Commands:")[1].split("\n\n")[0].splitlines()[1:]]
    assert {"chat", "run", "models", "ls", "status", "cancel", "key", "version"} <= set(verbs)
    for verb in set(verbs) - {"help"}:
        by_option, by_help = run(None, verb, "--help"), run(None, "help", verb)
        assert by_option.returncode == OK and by_option.stdout == by_help.stdout, verb
        assert by_option.stdout.startswith(f"Usage: sluicectl {verb} ".encode())
        assert b"--json" in by_option.stdout and b"--help" in by_option.stdout
        assert (b"--socket" in by_option.stdout) == (verb not in ("key", "check-config", "log")), verb
    assert run(None, "help", "nope").returncode == USAGE
    assert b"sluicectl " in run(None, "--version").stdout


# ---------------------------------------------------------------------------------------------- no daemon

VERBS_THAT_CONNECT = [
    ("chat", "x"),
    ("run", "m", "x"),
    ("complete", "x"),
    ("embed", "x"),
    ("rerank", "x", "y"),
    ("classify", "x"),
    ("models",),
    ("status",),
    ("cancel", "x"),
]


@pytest.mark.parametrize("args", VERBS_THAT_CONNECT, ids=" ".join)
def test_no_daemon(env, args: tuple[str, ...]) -> None:
    path = str(env.directory / "nobody.sock")
    result = run(None, "--socket", path, *args)
    assert result.returncode == UNREACHABLE and result.stdout == b""
    assert path in said(result) and "--socket" in said(result)
    programs = run(None, "--socket", path, "--json", *args)
    assert programs.returncode == UNREACHABLE
    assert document(programs)["error"]["code"] == "no_daemon"


def no_daemon(**variables: str) -> str:
    """What is said, which must be the same as JSON."""
    result = run(None, "models", "--json", **variables)
    assert result.returncode == UNREACHABLE
    error = document(result)["error"]
    assert error["code"] == "no_daemon" and error["message"] in said(result)
    return said(result)


def test_what_to_do_without_a_daemon(env) -> None:
    """The wrong path, no unit, a stale socket, no socket at all: each has its own advice."""
    nobody = str(env.directory / "nobody.sock")
    assert "SLUICE_SOCKET" in no_daemon(SLUICE_SOCKET=nobody)
    assert "SLUICE_SOCKET" in no_daemon(SLUICE_SOCKET=str(env.directory / ("x" * 200)))
    file = env.directory / "file"
    file.write_text("")
    assert "no socket" in no_daemon(SLUICE_SOCKET=str(file))
    assert "no socket" in no_daemon(SLUICE_SOCKET=str(file / "below"))
    datagrams = str(env.directory / "datagrams.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(datagrams)
        assert "another kind" in no_daemon(SLUICE_SOCKET=datagrams)
    stale = env.directory / "sluice" / "rpc.sock"
    stale.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(stale))
    assert "systemctl restart sluice.socket" in no_daemon(SLUICE_SOCKET=str(stale))
    by_user = no_daemon(XDG_RUNTIME_DIR=str(env.directory))
    assert str(stale) in by_user and "systemctl --user restart sluice.socket" in by_user
    if not os.path.exists("/run/sluice/rpc.sock"):
        stale.unlink()
        usual = no_daemon(XDG_RUNTIME_DIR=str(env.directory))
        assert str(stale) in usual and "/run/sluice/rpc.sock" in usual
        assert "systemctl enable --now sluice.socket" in usual
        assert "systemctl --user enable --now sluice.socket" in usual


def test_daemon_that_takes_no_connection(env) -> None:
    """Ctrl-C is not made to wait for it."""
    path = str(env.directory / "full.sock")
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as first:
        full.bind(path)
        full.listen(0)
        first.connect(path)
        process = subprocess.Popen(
            [str(paths.SLUICECTL), "models", "--json"],
            env=environment(None, SLUICE_SOCKET=path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        late = run(None, "models", "--json", SLUICE_SOCKET=path)
        assert late.returncode == UNREACHABLE and "restart sluice.service" in said(late)
        assert document(late)["error"]["code"] == "daemon_hangs"
        out, err = process.communicate(timeout=20)
        assert process.returncode == UNREACHABLE, (out, err)


# ---------------------------------------------------------------------------------------------- no permission


def denied(elsewhere: Elsewhere, path: str, *groups: int) -> str:
    result = elsewhere.run(path, "models", "--json", groups=groups)
    assert result.returncode == UNREACHABLE
    error = document(result)["error"]
    assert error["code"] == "permission_denied" and error["message"] in said(result)
    return said(result)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_no_permission_says_which_group(env) -> None:
    sluice = env.start()
    elsewhere = Elsewhere(env.directory)
    group = elsewhere.group
    user = pwd.getpwuid(elsewhere.uid).pw_name
    sluice.directory.chmod(0o755)
    os.chown(sluice.rpc_path, 0, group.gr_gid)
    os.chmod(sluice.rpc_path, 0o660)
    advice = f"sudo usermod -aG {group.gr_name} {user}"
    at_the_socket = denied(elsewhere, sluice.rpc_path)
    assert sluice.rpc_path in at_the_socket and advice in at_the_socket
    os.chown(sluice.directory, 0, group.gr_gid)
    sluice.directory.chmod(0o750)
    at_the_folder = denied(elsewhere, sluice.rpc_path)
    assert f"{sluice.directory} " in at_the_folder and advice in at_the_folder
    sluice.directory.chmod(0o755)
    os.chmod(sluice.rpc_path, 0o600)
    for_its_owner = denied(elsewhere, sluice.rpc_path, group.gr_gid)
    assert "belongs to user root" in for_its_owner and "0600" in for_its_owner
    assert "usermod" not in for_its_owner


# ---------------------------------------------------------------------------------------------- a daemon that goes


def test_daemon_that_goes_away(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("half"), stall())
    with subprocess.Popen(
        [str(paths.SLUICECTL), "chat", "-m", "m", "x"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(sluice),
    ) as process:
        assert process.stdout and process.stderr
        assert os.read(process.stdout.fileno(), 100) == b"half"
        sluice.kill()
        env.daemons.remove(sluice)
        assert b"connection" in process.stderr.read()
    assert process.returncode == UNREACHABLE


# ---------------------------------------------------------------------------------------------- no reader


def test_full_disk_is_no_success(env) -> None:
    sluice = env.start()
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [str(paths.SLUICECTL), "models"], stdout=full, env=environment(sluice), timeout=20
        )
    assert result.returncode == FAILED


def closed(sluice: Daemon, redirection: str, *args: str) -> subprocess.CompletedProcess:
    """sluicectl, started without some of its standard descriptors."""
    script = f'exec "$@" {redirection}'
    argv = ["sh", "-c", script, "sh", str(paths.SLUICECTL), *args]
    return subprocess.run(argv, capture_output=True, env=environment(sluice), timeout=20)


def test_closed_standard_descriptors(env) -> None:
    """None of them becomes the number of the daemon's socket: nothing is read from there or printed into it."""
    sluice = env.start()
    no_input = closed(sluice, "0<&-", "chat", "-m", "m")
    assert no_input.returncode == FAILED and b"descriptor" in no_input.stderr
    not_needed = closed(sluice, "0<&-", "chat", "-m", "m", "x")
    assert (not_needed.returncode, not_needed.stdout) == (OK, b"mocked\n")
    no_output = closed(sluice, "0<&- 1>&-", "chat", "-m", "m", "x")
    assert no_output.returncode == FAILED and b"descriptor" in no_output.stderr
    assert closed(sluice, "0<&- 1>&- 2>&-", "chat", "-m", "m", "x").returncode == FAILED
    quiet = closed(sluice, "2>&-", "chat", "-m", "m", "x")
    assert (quiet.returncode, quiet.stdout) == (OK, b"mocked\n")


@pytest.mark.parametrize("as_json", [False, True])
def test_reader_that_leaves_ends_the_call(env, as_json: bool) -> None:
    """`sluicectl chat | head -1` ends as filters end, by SIGPIPE, and so does the work upstream."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("first\n"), wait_for(gate), *[text("more\n")] * 100, stall())
    args = ["--json"] if as_json else []
    process = subprocess.Popen(
        [str(paths.SLUICECTL), "chat", "-m", "m", *args, "x"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(sluice),
    )
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    gate.open()
    assert process.stderr.read() == b""
    assert process.wait(10) == -signal.SIGPIPE
    assert upstream.wait_request().peer_left.wait(10), "the upstream goes on for nobody"


def ignore_sigpipe() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def test_reader_that_leaves_where_sigpipe_is_ignored(env) -> None:
    """systemd starts services so: the failed write ends the call, and is said."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("first\n"), wait_for(gate), *[text("more\n")] * 100, stall())
    process = subprocess.Popen(
        [str(paths.SLUICECTL), "chat", "-m", "m", "x"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(sluice),
        restore_signals=False,
        preexec_fn=ignore_sigpipe,
    )
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    gate.open()
    assert b"Broken pipe" in process.stderr.read()
    assert process.wait(10) == FAILED
    assert upstream.wait_request().peer_left.wait(10)

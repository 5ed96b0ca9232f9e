"""sluicectl log: the calls of a journal as a table, as JSON, in numbers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from testenv import journal_file, nobody, paths
from testenv.cli import FAILED, INTERRUPTED, OK, USAGE, document, environment, run, said, terminal
from testenv.journal_file import BASE_USEC, call, other
from testenv.paths import SLUICECTL
from testenv.terminal import Terminal

needs_journals = pytest.mark.skipif(
    not journal_file.converter(), reason="systemd-journal-remote is not installed"
)


@pytest.fixture
def journal(env) -> Path:
    """Where a journal will be; a directory of its own."""
    directory = env.directory / "journal"
    directory.mkdir()
    return directory / "system.journal"


def log(journal: Path, *args: str, **extra: str) -> subprocess.CompletedProcess:
    return run(None, "log", "--directory", str(journal.parent), *args, TZ="UTC", **extra)


def rows(result: subprocess.CompletedProcess) -> list[list[str]]:
    """The table without its titles, split at blanks."""
    assert result.returncode == OK, result.stderr
    assert result.stderr == b""
    lines = result.stdout.decode().splitlines()
    assert lines[0].split()[:3] == ["TIME", "MODEL", "UID"]
    return [line.split() for line in lines[1:]]


def ids(result: subprocess.CompletedProcess) -> list[str]:
    return [row[-1] for row in rows(result)]


def objects(result: subprocess.CompletedProcess) -> list[Any]:
    assert result.returncode == OK, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@needs_journals
def test_table(journal: Path) -> None:
    journal_file.append(journal, [other(0, "ready"), call(1), other(2, "x"), call(3)])
    result = log(journal)
    assert rows(result) == [
        f"11-22 08:26:4{n} m 1000 interactive completed {n}ms 100ms 1.1s 7 11 req-{n}".split()
        for n in (1, 3)
    ]
    assert b"\x1b" not in result.stdout


@needs_journals
def test_which_calls(journal: Path) -> None:
    journal_file.append(
        journal,
        [
            call(1, SLUICE_MODEL="a"),
            call(2, SLUICE_OUTCOME="queue_full"),
            call(3, SLUICE_UID=0),
            call(4, SLUICE_OUTCOME="cancelled", SLUICE_MODEL="a"),
            call(5),
        ],
    )
    wanted = {
        (): "12345",
        ("--model", "a"): "14",
        ("-m", "a", "--failed"): "4",
        ("--uid", "0"): "3",
        ("--uid", "root"): "3",
        ("--failed",): "24",
        ("-n", "2"): "45",
        ("-n", "1", "--failed"): "4",
        ("-n", "99"): "12345",
        ("--since", f"@{BASE_USEC // 1_000_000 + 3}"): "345",
        ("--since", "2025-11-22 08:26:44"): "45",
        ("--since", "2025-11-22"): "12345",
        ("--since", "2025-11-22 08:26:42", "-n", "9"): "2345",
        ("--since", "2025-11-22 08:26:42", "-n", "3", "--failed"): "24",
    }
    for args, numbers in wanted.items():
        assert ids(log(journal, *args)) == [f"req-{n}" for n in numbers], args
    assert ids(run(None, "log", "--file", str(journal), TZ="UTC")) == [f"req-{n}" for n in "12345"]


@needs_journals
def test_fifty_by_default(journal: Path) -> None:
    journal_file.append(journal, [call(n) for n in range(60)])
    assert ids(log(journal)) == [f"req-{n}" for n in range(10, 60)]
    assert len(ids(log(journal, "--since", "2025-11-22"))) == 60
    assert len(ids(log(journal, "-n", "55"))) == 55


@needs_journals
def test_no_calls(journal: Path) -> None:
    journal_file.append(journal, [other(0, "ready")])
    for args in ((), ("--stats",), ("--json",)):
        result = log(journal, *args)
        assert (result.returncode, result.stdout) == (OK, b"")
        assert "no finished call was found" in said(result)
    journal_file.append(journal, [call(1)])
    assert "no finished call" in said(log(journal, "--since", "1min ago"))
    assert "no finished call" in said(log(journal, "--model", "nope"))
    assert "no finished call" in said(log(journal, "--failed"))


@needs_journals
def test_json(journal: Path) -> None:
    journal_file.append(journal, [call(1), call(2, SLUICE_UID=None, SLUICE_KEY_ID=None, SLUICE_TTFT_USEC=None)])
    first, second = objects(log(journal, "--json"))
    assert first == {
        "at_usec": BASE_USEC + 1_000_000,
        "time": "2025-11-22T08:26:41.000000Z",
        "id": "req-1",
        "kind": "chat",
        "model": "m",
        "deployment": "m#1",
        "provider": "ollama",
        "class": "interactive",
        "frontend": "rpc",
        "key_id": "ci",
        "uid": 1000,
        "pid": 77,
        "outcome": "completed",
        "queue_usec": 1000,
        "ttft_usec": 100000,
        "total_usec": 1100000,
        "bytes_in": 80,
        "tokens_in": 7,
        "tokens_out": 11,
    }
    assert not {"uid", "key_id", "ttft_usec"} & set(second)


@needs_journals
def test_records_that_are_not_ours(journal: Path) -> None:
    """Anybody may write into the journal: missing, not a number, huge, binary, twice, hostile."""
    everything = [k for k in call(0) if k.startswith("SLUICE_") and k != "SLUICE_EVENT"]
    journal_file.append(
        journal,
        [
            call(1, **{k: None for k in everything}),
            call(2, **{k: "x" for k in everything}),
            call(3, **{k: b"\x00\xff\n\x1b[2J" for k in everything}),
            call(4, **{k: "9" * 100_000 for k in everything}),
            call(5, **{k: "" for k in everything}),
            call(6, **{k: "-1" for k in everything}),
            call(7, **{k: "1" + "0" * 18 for k in everything}),
            call(8),
            call(9, SLUICE_MODEL="m\nm", SLUICE_OUTCOME=b"\xff\n\x1b[2J", SLUICE_REQUEST_ID="a\tb"),
        ],
    )
    table = log(journal)
    assert table.returncode == OK and table.stderr == b""
    lines = table.stdout.decode().splitlines()
    assert len(lines) == 10  # the titles, and a line for each
    assert all(line.isprintable() for line in lines)
    assert lines[1].split()[2:] == ["-"] * 10
    assert lines[-2].split()[-1] == "req-8"
    calls = objects(log(journal, "--json"))
    assert len(calls) == 9
    assert set(calls[0]) == {"at_usec", "time"}
    assert len(calls[3]["model"]) == 256 and "uid" not in calls[3]
    assert calls[6]["tokens_in"] == 10**18
    stats = document(log(journal, "--stats", "--json"))
    assert stats["calls"] == 9 and stats["tokens_in"] == 10**18 + 14
    assert stats["outcomes"]["???[2J"] == 1
    text = log(journal, "--stats")
    assert text.returncode == OK
    assert all(line.isprintable() for line in text.stdout.decode().splitlines())
    assert "m m" in text.stdout.decode().splitlines()


@needs_journals
def test_damaged_file(journal: Path) -> None:
    """A journal that was cut off shows what can be read, and never crashes."""
    journal_file.append(journal, [call(n) for n in range(50)])
    whole = journal.read_bytes()
    for size in (0, 100, 4096, len(whole) // 2, len(whole) - 1000):
        journal.write_bytes(whole[:size])
        for args in ((), ("--stats",)):
            result = log(journal, *args)
            assert result.returncode in (OK, FAILED), result.stderr
    for at in range(200, len(whole), len(whole) // 40):
        journal.write_bytes(whole[:at] + b"\xff" * 64 + whole[at + 64 :])
        assert log(journal).returncode in (OK, FAILED)


@needs_journals
def test_stats(journal: Path) -> None:
    records = [call(n, SLUICE_QUEUE_USEC=1000 * n) for n in range(1, 101)]
    records += [call(200 + n, SLUICE_OUTCOME="queue_full", SLUICE_TTFT_USEC=None) for n in range(3)]
    records += [call(300, SLUICE_MODEL="other", SLUICE_TOKENS_OUT=5)]
    journal_file.append(journal, records)
    stats = document(log(journal, "--stats", "--json"))
    assert (stats["calls"], stats["completed"]) == (104, 101)
    assert stats["outcomes"] == {"completed": 101, "queue_full": 3}
    assert [m["model"] for m in stats["models"]] == ["m", "other"]
    m = stats["models"][0]
    assert m["calls"] == 103 and m["tokens_out"] == 103 * 11
    assert m["ttft_usec"] == {"p50": 100_000, "p90": 100_000, "p99": 100_000}
    assert m["tokens_out_per_1000_sec"] == 10_000  # 10 tokens in the second after the first
    only = document(log(journal, "--stats", "--json", "--model", "m", "-n", "103"))
    assert only["calls"] == 103
    completed = document(log(journal, "--stats", "--json", "--since", "2025-11-22"))
    assert completed["calls"] == 104
    text = log(journal, "--stats").stdout.decode()
    assert "all models" in text and "104: 101 completed, 3 queue_full" in text
    assert "p50 52ms" in text and "10.0 per second" in text
    assert max(map(len, text.splitlines())) <= 80
    assert all(line == line.rstrip() for line in text.splitlines())


@needs_journals
@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_fits_the_terminal(env, journal: Path, columns: int) -> None:
    journal_file.append(
        journal, [call(1), call(2, SLUICE_MODEL="größtes-" * 30, SLUICE_OUTCOME="queue_full")]
    )
    args = ("log", "--directory", str(journal.parent))
    t = terminal(env, None, *args, COLUMNS=str(columns), TERM="xterm", NO_COLOR="1")
    assert t.wait_exit() == OK
    lines = t.screen.splitlines()
    assert len(lines) == 3 and "\x1b" not in t.screen
    assert all(len(line) <= columns for line in lines), lines
    assert "MODEL" in lines[0] and "…" in lines[2]
    assert ("ID" in lines[0].split()) == (columns >= 120)


@needs_journals
def test_colours(env, journal: Path) -> None:
    journal_file.append(journal, [call(1), call(2, SLUICE_OUTCOME="queue_full")])
    t = terminal(env, None, "log", "-D", str(journal.parent), TERM="xterm")
    assert t.wait_exit() == OK
    lines = t.screen.splitlines()
    assert "\x1b[31m" in lines[2] and "\x1b[31m" not in lines[1]


@needs_journals
def test_follow(env, journal: Path) -> None:
    journal_file.append(journal, [call(1), call(2)])
    t: Terminal = env.closing(
        Terminal(
            [str(SLUICECTL), "log", "-f", "-n", "1", "-D", str(journal.parent)],
            environment(None, TERM="dumb", COLUMNS="200"),
        )
    )
    t.wait_for("req-2")
    assert "req-1" not in t.screen
    journal_file.append(journal, [other(3, "x"), call(4)])
    t.wait_for("req-4")
    journal_file.append(journal.with_name("another.journal"), [call(5)])
    t.wait_for("req-5")
    t.press_interrupt()
    assert t.wait_exit() == INTERRUPTED
    assert t.screen.count("TIME") == 1


@needs_journals
def test_follow_into_a_pipe(journal: Path) -> None:
    """Each line leaves at once; a reader that goes ends it."""
    journal_file.append(journal, [call(1)])
    process = subprocess.Popen(
        [str(SLUICECTL), "log", "-f", "--json", "-D", str(journal.parent)],
        stdout=subprocess.PIPE,
        env=environment(None),
    )
    assert process.stdout
    assert json.loads(process.stdout.readline())["id"] == "req-1"
    journal_file.append(journal, [call(2)])
    assert json.loads(process.stdout.readline())["id"] == "req-2"
    process.stdout.close()
    journal_file.append(journal, [call(3), call(4)])
    assert process.wait(10) != 0


@needs_journals
def test_may_not_be_read(journal: Path) -> None:
    journal_file.append(journal, [call(1)])
    os.chmod(journal, 0)
    os.chmod(journal.parent, 0o755)
    os.chmod(journal.parent.parent, 0o755)

    program = str(paths.copied(paths.SLUICECTL, journal.parent.parent))

    become = nobody.become if os.getuid() == 0 else None
    result = run(None, "log", "-D", str(journal.parent), program=program, preexec=become)
    assert result.returncode == FAILED
    assert "systemd-journal" in said(result) and "adm" in said(result)
    result = run(None, "log", "--json", "-D", str(journal.parent), program=program, preexec=become)
    assert document(result)["error"]["code"] == "permission_denied"


def test_no_journal(env) -> None:
    missing = str(env.directory / "missing")
    for args in (("--directory", missing), ("--file", missing)):
        result = run(None, "log", *args)
        assert result.returncode == FAILED and "cannot be opened" in said(result)
    empty = env.directory / "empty"
    empty.mkdir()
    result = run(None, "log", "-D", str(empty), "--json")
    assert result.returncode == FAILED
    assert document(result)["error"]["code"] == "no_journal"


@pytest.mark.parametrize(
    "args",
    [
        ("--since", "soon"),
        ("--since", "2026-02-31"),
        ("--since", ""),
        ("--uid", "nobody-of-this-name"),
        ("--uid", ""),
        ("-n", "0"),
        ("-n", "x"),
        ("--follow", "--stats"),
        ("--follow", "--file", "x"),
        ("--directory", "x", "--file", "y"),
        ("word",),
        ("--nope",),
    ],
)
def test_command_line(args: tuple[str, ...]) -> None:
    result = run(None, "log", *args)
    assert result.returncode == USAGE
    assert result.stdout == b"" and said(result)

"""sluicectl top: blocks in a pipe, a page on a terminal that is given back as it was, keys, signals, small terminals."""

from __future__ import annotations

import fcntl
import json
import signal
import struct
import termios
from typing import Any

import pytest
from test_keys import bearer, key
from testenv.cli import INTERRUPTED, OK, UNREACHABLE, USAGE, run, said, terminal
from testenv.daemon import mock
from testenv.http import Http, chat_body
from testenv.terminal import Terminal
from testenv.upstream import Gate, Upstream, say, wait_for
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
KEYS = "q quit  order by: w waiting  r running  n name  i idle"
ENTER, LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"


def resized(shown: Terminal, rows: int, columns: int) -> list[str]:
    """The page after that, which the kernel tells with a SIGWINCH; with a long --interval nothing else draws one."""
    n = len(pages(shown))
    fcntl.ioctl(shown.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    while len(pages(shown)) == n:
        assert shown._read(10), "it is drawn anew"
    page = pages(shown)[n]
    assert len(page) <= rows and all(len(line) <= columns for line in page), page
    assert page[-1] == KEYS[:columns]
    return page


def pages(shown: Terminal) -> list[list[str]]:
    """What was drawn, page by page, as lines without sequences."""
    drawn = shown.screen.split("\033[H")[1:]
    plain = [page.split("\033[J")[0] for page in drawn if "\033[J" in page]
    for sequence in ("\033[0m", "\033[1m", "\033[K"):
        plain = [page.replace(sequence, "") for page in plain]
    return [page.split("\r\n") for page in plain]


def busy(sluice: Any, upstream: Upstream) -> tuple[Gate, list[Http]]:
    """One call runs, one of the class batch waits."""
    gate = Gate()
    upstream.next(wait_for(gate), *say("first"))
    calls = [sluice.http(), sluice.http()]
    calls[0].send_request("POST", CHAT, chat_body())
    upstream.wait_request()
    calls[1].send_request("POST", CHAT, chat_body(), headers={"x-sluice-class": "batch"})
    eventually(lambda: sluice.status().calls_queued == 1, "one waits")
    return gate, calls


def end(gate: Gate, calls: list[Http]) -> None:
    gate.open()
    for call in calls:
        assert call.read_answer().status == 200
        call.close()


def test_blocks_in_a_pipe(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate, calls = busy(sluice, upstream)
    result = run(sluice, "top", "-n", "2", "--interval", "100ms")
    end(gate, calls)
    assert (result.returncode, result.stderr) == (OK, b"")
    text = result.stdout.decode()
    assert "\033" not in text and "\001" not in text
    blocks = text.split("\n\nCALLER")
    assert text.count("CLASS  ") == 2 and len(blocks) == 3
    lines = [line.split() for line in text.splitlines()]
    assert ["interactive", "0", "1", "-"] in lines
    assert any(line[:3] == ["batch", "1", "0"] for line in lines)
    assert any(line[:2] == ["m", "1/1"] for line in lines)
    assert any(line[:4] == ["others", "1", "1", "1"] for line in lines), "over TCP without a key"
    assert "- tokens/s" in blocks[0] and "0.0 tokens/s" in text


def test_json(env) -> None:
    sluice = env.start()
    assert sluice.post(CHAT, chat_body()).status == 200
    result = run(sluice, "top", "--json", "-n", "2", "-i", "100ms")
    first, second = [json.loads(line) for line in result.stdout.decode().splitlines()]
    assert "tokens_per_sec" not in first and second["tokens_per_sec"] == 0
    assert [c["name"] for c in first["classes"]] == ["interactive", "batch", "background"]
    assert first["callers"][0]["calls_running"] == 0 and first["calls_completed"] == 1
    assert first["deployments"][0]["model"] == "m"


def test_page_keys_and_the_terminal_afterwards(env) -> None:
    sluice = env.start({"b": mock(), "a": mock()})
    shown = terminal(env, sluice, "top", "-i", "60s")
    shown.wait_for("q quit")
    assert not termios.tcgetattr(shown.master)[3] & termios.ICANON
    for key in "wrni ":
        n = len(pages(shown))
        shown.type(key)
        while len(pages(shown)) == n:
            assert shown._read(10), "another page is drawn"
    shown.type("q")
    assert shown.wait_exit() == OK
    assert shown.screen.startswith(ENTER) and shown.screen.endswith(LEAVE)
    assert shown.screen.count(ENTER) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_give_the_terminal_back(env, number: int) -> None:
    shown = terminal(env, env.start(), "top", "-i", "60s")
    shown.wait_for("q quit")
    shown.process.send_signal(number)
    assert shown.wait_exit() == INTERRUPTED
    assert shown.screen.endswith(LEAVE)


def test_stop_and_go_on(env) -> None:
    """Ctrl-Z gives the terminal to the shell; afterwards the page is there again."""
    shown = terminal(env, env.start(), "top", "-i", "60s")
    shown.wait_for("q quit")
    shown.process.send_signal(signal.SIGTSTP)
    shown.wait_for(LEAVE)
    eventually(lambda: stat_of(shown.process.pid) == "T", "it has stopped")
    assert termios.tcgetattr(shown.master)[3] & termios.ICANON
    shown.process.send_signal(signal.SIGCONT)
    while shown.screen.count(ENTER) < 2 or shown.screen.count("q quit") < 2:
        assert shown._read(10)
    shown.type("q")
    assert shown.wait_exit() == OK


def stat_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


@pytest.mark.parametrize("rows, columns", [(24, 80), (10, 40), (3, 10), (1, 1), (200, 300)])
def test_sizes(env, rows: int, columns: int) -> None:
    """Never more rows or columns than there are, whatever there is to show, and the keys below it."""
    sluice = env.start({f"model-{i:02}-with-a-long-name": mock() for i in range(40)})
    assert sluice.post(CHAT, chat_body("model-00-with-a-long-name")).status == 200
    shown = terminal(env, sluice, "top", "-i", "60s")
    shown.wait_for("\033[J")
    page = resized(shown, rows, columns)
    if rows >= 24:
        assert any(line.startswith("others ") for line in page), "who calls"
        assert any(line.startswith("... and ") for line in page) == (rows == 24)
        assert (len(page) == rows) == (rows == 24), "all of it is used where it is not enough"
    shown.type("q")
    assert shown.wait_exit() == OK


def check_rows(page: list[str], title: str, name: str, n: int) -> int:
    """Of a table with n rows: those that are told to be missing are; the number of rows shown, -1 where there is no table."""
    at = [i for i, line in enumerate(page) if line.startswith(title + "  ")]
    n_shown = sum(line.startswith(name) for line in page)
    if not at:
        assert n_shown == 0
        return -1
    after = page[at[0] + 1 + n_shown]
    assert n_shown == n or after == f"... and {n - n_shown} more", page
    assert n - n_shown != 1, "one row fits where the line does that says how many are missing"
    return n_shown


@pytest.mark.parametrize("n_models, n_callers", [(1, 1), (11, 1), (12, 1), (40, 1), (3, 5), (40, 5)])
def test_every_height(env, n_models: int, n_callers: int) -> None:
    keys = [key(f"caller-{i}", f"slu_{i}_0123456789abcdef") for i in range(n_callers)]
    sluice = env.start({f"model-{i:02}": mock() for i in range(n_models)}, sluice={"keys": keys})
    for i in range(n_callers):
        headers = bearer(f"slu_{i}_0123456789abcdef")
        assert sluice.post(CHAT, chat_body("model-00"), headers=headers).status == 200
    shown = terminal(env, sluice, "top", "-i", "60s")
    shown.wait_for("\033[J")
    most_models = most_callers = -1
    for rows in range(1, 60):
        page = resized(shown, rows, 80)
        models = check_rows(page, "MODEL", "model-", n_models)
        callers = check_rows(page, "CALLER", "key caller-", n_callers)
        assert callers >= most_callers and models + callers >= most_models + most_callers, "a row more shows no less"
        most_models, most_callers = models, callers
        if rows >= 24:
            assert callers >= min(n_callers, 5)
            assert len(page) == rows or (models, callers) == (n_models, n_callers)
    assert (most_models, most_callers) == (n_models, n_callers)
    shown.type("q")
    assert shown.wait_exit() == OK


def test_daemon_goes_away(env) -> None:
    sluice = env.start()
    shown = terminal(env, sluice, "top", "-i", "100ms")
    shown.wait_for("q quit")
    sluice.kill()
    env.daemons.remove(sluice)
    assert shown.wait_exit() == UNREACHABLE
    assert LEAVE in shown.screen and "connection to sluiced was lost" in shown.screen.split(LEAVE)[-1]


@pytest.mark.parametrize("args", [["--sort", "x"], ["-i", "1ms"], ["-n", "0"], ["word"]])
def test_usage(args: list[str]) -> None:
    result = run(None, "top", *args)
    assert result.returncode == USAGE and said(result)

"""sluicectl on a terminal: live text, the queue, conversations, Ctrl-C, and nothing that steers the terminal."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from typing import Any

import pytest
from testenv import paths
from testenv.cli import INTERRUPTED, OK, environment, run, terminal
from testenv.daemon import Daemon, mock
from testenv.http import chat_body
from testenv.upstream import Gate, end, say, stall, text, wait_for, whole
from testenv.waiting import eventually


# ---------------------------------------------------------------------------------------------- an answer


def test_terminal_shows_live_tokens_and_a_summary(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("first"), wait_for(gate), text(" second"), end(tokens_out=2))
    t = terminal(env, sluice, "chat", "-m", "m", "x")
    t.wait_for("first")
    assert "second" not in t.screen
    gate.open()
    assert t.wait_exit() == OK
    assert "first second" in t.screen
    summary = t.screen.split("first second")[1]
    assert "2 tokens" in summary and "total" in summary and "first token" in summary


def test_terminal_counts_the_seconds_until_the_first_word(env) -> None:
    """And Ctrl-C is heard while it counts."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(stall())
    t = terminal(env, sluice, "run", "m", "x")
    t.wait_for("working ...")
    t.wait_for("working, 1 s")
    t.press_interrupt()
    assert t.wait_exit() == INTERRUPTED
    assert upstream.wait_request().peer_left.wait(10)


def test_summary_in_a_pipe_where_it_is_wanted(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    for verb in (("chat", "-m", "m"), ("run", "m"), ("complete", "-m", "m")):
        result = run(sluice, *verb, "--verbose", "x")
        assert (result.returncode, result.stdout) == (OK, b"Hello world\n")
        assert b"2 tokens" in result.stderr and b"total" in result.stderr
        assert result.stderr.count(b"\n") == 1 and b"\x1b" not in result.stderr


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("chat", "-m", "m", "x"), ["Hello world"]),
        (("embed", "-m", "m", "a", "bbb"), ["[1,97,0.5,-0.25]", "cosine similarity"]),
    ],
    ids=["chat", "embed"],
)
def test_terminal_shows_the_queue(env, words: tuple[str, ...], shown: list[str]) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(wait_for(gate), *say("x"))
    with sluice.rpc() as rpc:
        rpc.stream("Chat", rpc.chat_request("m"))
        upstream.wait_request()
        t = terminal(env, sluice, *words)
        t.wait_for("position 1")
        gate.open()
        assert t.wait_exit() == OK
    assert all(part in t.screen for part in shown)


def test_control_characters_of_a_model_do_not_reach_the_terminal(env) -> None:
    sluice = env.start({"m": mock("red \x1b[31m alert \x07 \x9b2J end")})
    t = terminal(env, sluice, "chat", "-m", "m", "x")
    assert t.wait_exit() == OK
    assert "alert" in t.screen and "end" in t.screen
    assert "\x1b[31m" not in t.screen and "\x07" not in t.screen and "\x9b" not in t.screen


def test_control_characters_are_escaped_in_json(env) -> None:
    """Those that JSON allows as well: a terminal may look on, and the text is the same to a program."""
    text_ = "red \x1b[31m \x07 \x7f \x80 \x9b2J \xa0 é \\ end"
    sluice = env.start({"m": mock(text_)})
    t = terminal(env, sluice, "run", "--json", "m", "x")
    assert t.wait_exit() == OK
    assert all(c.isprintable() or c in "\r\n\xa0" for c in t.screen), repr(t.screen)
    events = [json.loads(line) for line in t.screen.splitlines()]
    assert "".join(e["text"] for e in events if e["event"] == "text") == text_


def test_colours_only_where_they_are_wanted(env) -> None:
    sluice = env.start()
    coloured = terminal(env, sluice, "models")
    assert coloured.wait_exit() == OK and "\x1b[1mMODEL" in coloured.screen
    for setting in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}):
        for args in (("models",), ("chat", "-m", "m", "x"), ("status",)):
            t = terminal(env, sluice, *args, **setting)
            assert t.wait_exit() == OK
            assert "\x1b" not in t.screen, setting


def test_conversation(env) -> None:
    """Each turn sends all that was said; /clear forgets; a failed turn is taken back; Ctrl-D ends."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(say("Paris."))
    upstream.next(say("Two million."))
    upstream.next(whole(500, {"error": {"message": "boom"}}))
    upstream.next(say("Again."))
    t = terminal(env, sluice, "chat", "-m", "m", "--system", "be brief")
    t.wait_for(">>>")
    t.type("capital of France?\n")
    t.wait_for("Paris.")
    t.type("how many people?\n")
    t.wait_for("Two million.")
    second = upstream.wait_request(2).json["messages"]
    assert [m["role"] for m in second] == ["system", "user", "assistant", "user"]
    assert second[2]["content"] == "Paris."
    t.type("and this fails\n")
    t.wait_for("upstream_error")
    t.type("once more\n")
    t.wait_for("Again.")
    contents = [m["content"] for m in upstream.wait_request(4).json["messages"]]
    assert "and this fails" not in contents and contents[-1] == "once more"
    t.type("/clear\n")
    t.type("fresh\n")
    assert len(upstream.wait_request(5).json["messages"]) == 2
    t.wait_for("Hello world")
    t.type("\x04")
    assert t.wait_exit() == OK


def test_interrupt_in_a_conversation(env) -> None:
    """Ctrl-C ends the answer, not the conversation."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("endless story"), stall())
    t = terminal(env, sluice, "chat", "-m", "m")
    t.wait_for(">>>")
    t.type("tell me\n")
    t.wait_for("endless story")
    t.press_interrupt()
    assert upstream.wait_request().peer_left.wait(10)
    t.type("go on\n")
    t.wait_for("Hello world")
    t.type("/bye\n")
    assert t.wait_exit() == OK


# ---------------------------------------------------------------------------------------------- a live page


def test_watch_is_a_page_that_is_drawn_again(env) -> None:
    sluice = env.start({"m": mock(), "other": mock()})
    t = terminal(env, sluice, "status", "--interval", "100ms")
    t.wait_for("Ctrl-C ends")
    assert t.screen.startswith("\x1b[H\x1b[2J") and "since start 0 completed" in t.screen
    assert "other" in t.screen
    assert sluice.post("/v1/chat/completions", chat_body()).status == 200
    t.wait_for("since start 1 completed")
    t.press_interrupt()
    assert t.wait_exit() == INTERRUPTED
    assert t.screen.count("\x1b[H\x1b[2J") >= 2
    assert "sluicectl:" not in t.screen


def test_watch_on_a_plain_terminal_is_lines(env) -> None:
    sluice = env.start()
    for setting in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        t = terminal(env, sluice, "status", "--watch", **setting)
        t.wait_for("RUNNING")
        t.wait_for("L0")
        t.press_interrupt()
        assert t.wait_exit() == INTERRUPTED
        assert "\x1b" not in t.screen


# ---------------------------------------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize("when", ["before the first word", "in mid-answer", "in the queue"])
def test_interrupt(env, when: str, record_property: Any) -> None:
    """Exit 130, and the daemon has let go of the upstream."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    if when == "in the queue":
        upstream.next(text("x"), stall())
        with sluice.rpc() as rpc:
            rpc.stream("Chat", rpc.chat_request("m"))
            upstream.wait_request()
            check_interrupt(sluice, lambda: sluice.status().calls_queued == 1)
            assert sluice.status().calls_running == 1
        assert len(upstream.requests()) == 1
        return
    upstream.next(*([text("half"), stall()] if when == "in mid-answer" else [stall()]))
    took = check_interrupt(sluice, lambda: bool(upstream.requests()))
    exchange = upstream.wait_request()
    assert exchange.peer_left.wait(10), "the upstream goes on for nobody"
    print(f"Ctrl-C -> exit {took * 1000:.1f} ms")
    record_property("ms", took * 1000)
    eventually(lambda: sluice.status().calls_cancelled == 1, "it counts as cancelled")


def check_interrupt(sluice: Daemon, is_time: Any) -> float:
    process = subprocess.Popen(
        [str(paths.SLUICECTL), "chat", "-m", "m", "x"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(sluice),
    )
    eventually(is_time, "the call is where it should be")
    sent_at = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    took = time.monotonic() - sent_at
    assert process.returncode == INTERRUPTED, (out, err)
    assert b"Sanitizer" not in err
    return took


def test_interrupt_of_embed(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(stall())
    process = subprocess.Popen(
        [str(paths.SLUICECTL), "embed", "-m", "m", "x"],
        stdin=subprocess.DEVNULL,
        env=environment(sluice),
    )
    exchange = upstream.wait_request()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == INTERRUPTED
    assert exchange.peer_left.wait(10)


@pytest.mark.parametrize("verb", ["models", "status", "ps", "reload"])
def test_interrupt_of_a_daemon_that_says_nothing(env, verb: str) -> None:
    """One Ctrl-C is enough."""
    path = str(env.directory / "mute.sock")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(path)
        mute.listen(1)
        process = subprocess.Popen(
            [str(paths.SLUICECTL), verb],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(None, SLUICE_SOCKET=path),
        )
        connection, _ = mute.accept()
        with connection:
            connection.settimeout(10)
            assert connection.recv(4096), "the request"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (INTERRUPTED, b"", b"")

"""sluicectl: plain text for a pipe, live tokens for a terminal, JSON for programs, exit codes for scripts.

0 done, 1 the call failed, 2 bad command line, 3 no daemon, 4 refused for now, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from typing import Any, Optional

import pytest
from testenv import paths
from testenv.daemon import SANITIZER_ENV, SANITIZER_REPORT, Daemon, mock
from testenv.terminal import Terminal
from testenv.upstream import Gate, clean_end, end, error_line, say, stall, text, wait_for, whole
from testenv.waiting import eventually

OK, FAILED, USAGE, UNREACHABLE, TRY_LATER, INTERRUPTED = 0, 1, 2, 3, 4, 130


def environment(sluice: Optional[Daemon], **extra: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SLUICE")}
    if sluice:
        clean["SLUICE_SOCKET"] = sluice.rpc_path
    return {**clean, **SANITIZER_ENV, **extra}


def run(
    sluice: Optional[Daemon], *args: str, stdin: Any = b"", **extra: str
) -> subprocess.CompletedProcess:
    result = subprocess.run(
        [str(paths.SLUICECTL), *args],
        input=stdin,
        capture_output=True,
        env=environment(sluice, **extra),
        timeout=20,
    )
    assert not SANITIZER_REPORT.search(result.stderr.decode()), result.stderr.decode()
    return result


def terminal(env: Any, sluice: Daemon, *args: str) -> Terminal:
    return env.closing(Terminal([str(paths.SLUICECTL), *args], environment(sluice)))


# ---------------------------------------------------------------------------------------------- chat


def test_chat_by_words(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    result = run(
        sluice,
        "chat",
        "--model=m",
        "--system=be brief",
        "--max-tokens=9",
        "--temperature=0",
        "--class=batch",
        "hello",
        "you",
    )
    assert (result.returncode, result.stdout) == (OK, b"Hello world\n"), result.stderr
    assert result.stderr == b""
    got = upstream.wait_request().json
    assert got["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello you"},
    ]
    assert got["max_tokens"] == 9 and got["temperature"] == 0
    assert sluice.wait_call_records(1)[0]["SLUICE_CLASS"] == "batch"


def test_chat_by_pipe(env) -> None:
    """A prompt of several lines, a long one, UTF-8 in and out."""
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(say("Größe", ": 世界"))
    result = run(sluice, "chat", "-m", "m", stdin="zwei\nZeilen äöü\n".encode())
    assert (result.returncode, result.stdout.decode()) == (OK, "Größe: 世界\n")
    assert upstream.wait_request().json["messages"][-1]["content"] == "zwei\nZeilen äöü"
    long = "x" * 3_000_000
    assert run(sluice, "chat", "-m", "m", stdin=long.encode()).returncode == OK
    assert upstream.wait_request(2).json["messages"][-1]["content"] == long


def test_chat_chooses_a_model(env) -> None:
    sluice = env.start({"first": mock("one"), "second": mock("two")})
    assert run(sluice, "chat", "x").stdout == b"one\n"
    assert run(sluice, "chat", "x", SLUICE_MODEL="second").stdout == b"two\n"
    assert run(sluice, "chat", "-m", "first", "x", SLUICE_MODEL="second").stdout == b"one\n"


def test_chat_json(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    result = run(sluice, "chat", "-m", "m", "--json", "x")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == OK
    assert events[-1]["event"] == "done" and events[-1]["usage"]["output_tokens"] == 2
    assert "".join(e["text"] for e in events if e["event"] == "text") == "Hello world"
    assert next(e for e in events if e["event"] == "started")["model"] == "m"


def test_a_pipe_gets_tokens_as_they_come(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("first"), wait_for(gate), text("second"), end())
    with subprocess.Popen(
        [str(paths.SLUICECTL), "chat", "-m", "m", "x"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(sluice),
    ) as process:
        assert process.stdout and os.read(process.stdout.fileno(), 100) == b"first"
        gate.open()
        assert process.stdout.read() == b"second\n"
    assert process.returncode == OK


# ---------------------------------------------------------------------------------------------- errors


def test_answer_that_was_cut_is_no_success(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("half"), error_line("the runner died"), clean_end())
    result = run(sluice, "chat", "-m", "m", "x")
    assert result.returncode == FAILED
    assert result.stdout == b"half\n"
    assert b"upstream_error" in result.stderr and b"the runner died" in result.stderr


def test_exit_codes(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    unknown = run(sluice, "chat", "-m", "mm", "x")
    assert unknown.returncode == FAILED and b"model_not_found" in unknown.stderr
    assert unknown.stdout == b""
    upstream.next(whole(429, {"error": {"message": "slow"}}, {"Retry-After": "3"}))
    busy = run(sluice, "chat", "-m", "m", "x")
    assert busy.returncode == TRY_LATER and b"3 s" in busy.stderr
    upstream.next(stall())
    late = run(sluice, "chat", "-m", "m", "--timeout=200ms", "x")
    assert late.returncode == FAILED and b"deadline" in late.stderr
    for args in (
        (),
        ("nope",),
        ("chat", "--nope"),
        ("chat", "--max-tokens=x", "y"),
        ("chat", "--max-tokens=0", "y"),
        ("chat", "--max-tokens=-1", "y"),
        ("chat", "--max-tokens=4294967296", "y"),
        ("embed", "--dimensions=-1", "y"),
        ("chat", "--timeout=5", "y"),
        ("chat", "--class=royal", "y"),
        ("models", "extra"),
    ):
        assert run(sluice, *args).returncode == USAGE, args
    assert run(sluice, "chat", stdin=b"").returncode == USAGE
    assert run(sluice, "--help").returncode == OK
    for command in ("chat", "complete", "models", "status", "embed", "version"):
        help_ = run(sluice, command, "--help")
        assert help_.returncode == OK and b"--socket" in help_.stdout


def test_no_daemon(env) -> None:
    path = str(env.directory / "nobody.sock")
    for args in (("chat", "x"), ("models",), ("status",), ("embed", "x")):
        result = run(None, "--socket", path, *args)
        assert result.returncode == UNREACHABLE, result.stderr
        assert path.encode() in result.stderr and result.stdout == b""


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


def test_control_characters_of_a_model_do_not_reach_the_terminal(env) -> None:
    sluice = env.start({"m": mock("red \x1b[31m alert \x07 \x9b2J end")})
    t = terminal(env, sluice, "chat", "-m", "m", "x")
    assert t.wait_exit() == OK
    assert "alert" in t.screen and "end" in t.screen
    assert "\x1b[31m" not in t.screen and "\x07" not in t.screen and "\x9b" not in t.screen


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


# ---------------------------------------------------------------------------------------------- a terminal


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


def test_terminal_shows_the_queue(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(wait_for(gate), *say("x"))
    with sluice.rpc() as rpc:
        rpc.stream("Chat", rpc.chat_request("m"))
        upstream.wait_request()
        t = terminal(env, sluice, "chat", "-m", "m", "x")
        t.wait_for("position 1")
        gate.open()
        assert t.wait_exit() == OK
    assert "Hello world" in t.screen


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


def test_no_color(env) -> None:
    sluice = env.start()
    plain = environment(sluice, NO_COLOR="1")
    t = env.closing(Terminal([str(paths.SLUICECTL), "models"], plain))
    assert t.wait_exit() == OK
    assert "\x1b" not in t.screen


# ---------------------------------------------------------------------------------------------- the other commands


def test_models(env) -> None:
    upstream = env.ollama()
    off = upstream.deployment(api_key="os.environ/SLUICE_TEST_NOT_SET")
    sluice = env.start({"a/b:c": mock(), "two": [upstream.deployment(), off]})
    table = run(sluice, "models")
    assert table.returncode == OK
    lines = table.stdout.decode().splitlines()
    assert lines[0].split()[0] == "MODEL"
    assert [line.split()[0] for line in lines[1:]] == ["a/b:c", "two"]
    assert "1 of 2" in lines[2]
    document = json.loads(run(sluice, "models", "--json").stdout)
    assert [m["name"] for m in document["models"]] == ["a/b:c", "two"]
    assert document["models"][1]["available_deployments"] == 1


def test_status(env) -> None:
    upstream = env.openai()
    upstream.always(text("x"), stall())
    sluice = env.start({"m": upstream.deployment()})
    with sluice.rpc() as rpc:
        rpc.stream("Chat", rpc.chat_request("m"))
        rpc.stream("Chat", rpc.chat_request("m"))
        upstream.wait_request()
        eventually(lambda: sluice.status().calls_queued == 1, "one waits")
        people = run(sluice, "status")
        assert people.returncode == OK
        assert "1 running, 1 waiting" in people.stdout.decode()
        document = json.loads(run(sluice, "status", "--json").stdout)
    assert document["calls_running"] == 1 and document["calls_queued"] == 1
    assert document["tickets"] == 1 and document["config_generation"] == 1
    assert document["deployments"][0]["slots_in_use"] == 1


def test_embed(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    by_words = run(sluice, "embed", "-m", "m", "a", "bbb")
    assert by_words.returncode == OK, by_words.stderr
    vectors = [json.loads(line) for line in by_words.stdout.splitlines()]
    assert vectors == [[1, 97, 0.5, -0.25], [3, 294, 0.5, -0.25]]
    by_lines = run(sluice, "embed", "-m", "m", stdin=b"a\n\nbbb\n")
    assert by_lines.stdout == by_words.stdout
    document = json.loads(run(sluice, "embed", "-m", "m", "--json", "a").stdout)
    assert document["embeddings"] == [[1, 97, 0.5, -0.25]] and document["model"] == "m"


def test_complete_and_version(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    result = run(sluice, "complete", "-m", "m", "once upon")
    assert (result.returncode, result.stdout) == (OK, b"Hello world\n")
    assert upstream.wait_request(1, "complete").json["prompt"] == "once upon"
    version = json.loads(run(sluice, "version", "--json").stdout)
    assert version["sluiced"] == version["sluicectl"] == sluice.status().version


def test_many_at_once(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 2})
    results: list[subprocess.CompletedProcess] = []
    threads = [
        threading.Thread(target=lambda: results.append(run(sluice, "chat", "-m", "m", "x")))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [r.stdout for r in results] == [b"Hello world\n"] * 10

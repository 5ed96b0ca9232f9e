"""sluicectl chat, run, complete, embed: plain text for a pipe, JSON for programs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading

import pytest
from testenv import paths
from testenv.cli import FAILED, OK, USAGE, document, environment, run, said
from testenv.daemon import mock
from testenv.upstream import Gate, clean_end, end, error_line, say, text, wait_for
from testenv.upstream import whole as whole_answer


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


def test_chat_json_tells_a_failure_as_the_last_event(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("half"), error_line("the runner died"), clean_end())
    result = run(sluice, "chat", "-m", "m", "--json", "x")
    assert result.returncode == FAILED
    *before, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert [e["event"] for e in before if "text" in e] == ["text"]
    assert last["event"] == "failed" and last["error"]["code"] == "upstream_error"
    assert "the runner died" in last["error"]["message"] and last["error"]["http_status"] == 502
    assert all("error" not in e for e in before)


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


def test_answer_that_was_cut_is_no_success(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("half"), error_line("the runner died"), clean_end())
    result = run(sluice, "chat", "-m", "m", "x")
    assert result.returncode == FAILED
    assert result.stdout == b"half\n"
    assert b"upstream_error" in result.stderr and b"the runner died" in result.stderr


# ---------------------------------------------------------------------------------------------- run


def test_run_is_chat_with_the_model_as_first_word(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    result = run(sluice, "run", "m", "hello", "you", "--system=be brief", "--seed=7")
    assert (result.returncode, result.stdout, result.stderr) == (OK, b"Hello world\n", b"")
    got = upstream.wait_request().json
    assert got["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello you"},
    ]
    assert got["model"] == upstream.deployment()["model"].partition("/")[2] and got["seed"] == 7
    events = run(sluice, "run", "--json", "m", "x").stdout.splitlines()
    assert json.loads(events[-1])["event"] == "done"


@pytest.mark.parametrize(
    "stdin, words, want",
    [
        (b"a text\nof two lines\n", ("sum", "it up"), "a text\nof two lines\nsum it up"),
        (b"all of it\n", (), "all of it"),
        (b"", ("only words",), "only words"),
        (b"\n\n", ("only words",), "only words"),
    ],
)
def test_run_puts_the_pipe_before_the_words(env, stdin: bytes, words: tuple, want: str) -> None:
    """As `cat FILE | ollama run MODEL "what to do with it"` does."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    assert run(sluice, "run", "m", *words, stdin=stdin).returncode == OK
    assert upstream.wait_request().json["messages"][-1]["content"] == want


def test_run_reads_a_file_but_never_waits_for_a_socket(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    path = env.directory / "text"
    path.write_text("from a file\n")
    ours, theirs = socket.socketpair()
    with path.open() as file, ours, theirs:
        for i, (stdin, want) in enumerate(((file, "from a file\nx"), (theirs, "x"))):
            argv = [str(paths.SLUICECTL), "run", "m", "x"]
            subprocess.run(argv, stdin=stdin, env=environment(sluice), timeout=20, check=True)
            assert upstream.wait_request(i + 1).json["messages"][-1]["content"] == want


def test_run_wants_a_model_and_something_to_ask(env) -> None:
    sluice = env.start()
    no_model = run(sluice, "run")
    assert no_model.returncode == USAGE and "MODEL [PROMPT]" in said(no_model)
    assert run(sluice, "run", "m", stdin=b"").returncode == USAGE
    unknown = run(sluice, "run", "mm", "x")
    assert unknown.returncode == FAILED and "sluicectl models" in said(unknown)


def test_too_much_to_ask(env) -> None:
    sluice = env.start()
    for args in (("chat", "-m", "m"), ("run", "m", "words")):
        result = run(sluice, *args, "--json", stdin=b"x" * (5 << 20))
        assert result.returncode == FAILED and "4 MiB" in said(result)
        assert document(result)["error"]["code"] == "too_large"
    nul = run(sluice, "chat", "-m", "m", "--json", stdin=b"a\0b")
    assert nul.returncode == FAILED and document(nul)["error"]["code"] == "not_text"


# ---------------------------------------------------------------------------------------------- the others


def test_embed(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    by_words = run(sluice, "embed", "-m", "m", "a", "bbb")
    assert by_words.returncode == OK, by_words.stderr
    vectors = [json.loads(line) for line in by_words.stdout.splitlines()]
    assert vectors == [[1, 97, 0.5, -0.25], [3, 294, 0.5, -0.25]]
    by_lines = run(sluice, "embed", "-m", "m", stdin=b"a\n\nbbb\n")
    assert by_lines.stdout == by_words.stdout
    whole = document(run(sluice, "embed", "-m", "m", "--json", "a"))
    assert whole["embeddings"] == [[1, 97, 0.5, -0.25]] and whole["model"] == "m"


def test_embed_failures(env) -> None:
    sluice = env.start()
    for args in ((), ("--json",)):
        nothing = run(sluice, "embed", "-m", "m", *args)
        assert nothing.returncode == USAGE and "nothing was asked" in said(nothing)
        assert nothing.stdout == b"" or document(nothing)["error"]["code"] == "usage"
    unknown = run(sluice, "embed", "-m", "mm", "--json", "x")
    assert unknown.returncode == FAILED
    assert document(unknown)["error"]["code"] == "model_not_found"
    lines = run(sluice, "embed", "-m", "m", stdin=b"x\n" * 2049)
    assert lines.returncode == USAGE and "2048 lines" in said(lines)


DOCUMENTS = ["Berlin is in Germany", "Paris is the capital of France"]


def test_rerank(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    by_words = run(sluice, "rerank", "-m", "m", "capital of France", *DOCUMENTS)
    assert by_words.returncode == OK, by_words.stderr
    assert by_words.stdout.decode() == f"1\t{DOCUMENTS[1]}\n0\t{DOCUMENTS[0]}\n"
    lines = "\n\n".join(DOCUMENTS).encode()
    by_lines = run(sluice, "rerank", "-m", "m", "capital of France", stdin=lines)
    assert by_lines.stdout == by_words.stdout
    best = run(sluice, "rerank", "-m", "m", "--top-n=1", "--json", "capital of France", *DOCUMENTS)
    whole = document(best)
    assert whole["model"] == "m" and whole["usage"]["input_tokens"] == 14
    said_of = {"index": 1, "document": {"text": DOCUMENTS[1], "multi_modal": None}}
    assert whole["results"] == [
        {
            "index": 1,
            "score": 1,
            "document": DOCUMENTS[1],
            "said": {**said_of, "relevance_score": 1.0},
        }
    ]
    assert upstream.wait_request(3, "rerank").json["top_n"] == 1
    nothing = run(sluice, "rerank", "-m", "m", "query", stdin=b"\n")
    assert nothing.returncode == USAGE and "nothing was asked" in said(nothing)
    unknown = run(sluice, "rerank", "-m", "mm", "--json", "query", "x")
    assert document(unknown)["error"]["code"] == "model_not_found"


def test_classify(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    by_words = run(sluice, "classify", "-m", "m", "hi", "buy now, buy cheap")
    assert by_words.returncode == OK, by_words.stderr
    assert by_words.stdout == b"Ham\t0.9\thi\nSpam\t0.9\tbuy now, buy cheap\n"
    assert run(sluice, "classify", "-m", "m", stdin=b"hi\n").stdout == b"Ham\t0.9\thi\n"
    whole = document(run(sluice, "classify", "-m", "m", "--json", "hi"))
    (found,) = whole["results"]
    assert (found["index"], found["text"], found["score"]) == (0, "hi", 0.9)
    assert found["said"] == {"index": 0, "label": "Ham", "probs": [0.9, 0.1], "num_classes": 2}
    entities = b'{"data": [{"entity": "B-PER",\n "word": "Ada\\u001b[2J"}, []]}'
    upstream.next(whole_answer(200, entities))
    plain = run(sluice, "classify", "-m", "m", "Ada")
    assert plain.stdout == b'{"entity":"B-PER","word":"Ada\\u001b[2J"}\n[]\n'
    upstream.next(whole_answer(200, b'{"data": [{"label": "a\\u001b[2J\\nb"}]}'))
    hostile = run(sluice, "classify", "-m", "m", "Ada")
    assert hostile.stdout.decode() == "a\ufffd[2J b\t0\tAda\n"


def test_complete(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    result = run(sluice, "complete", "-m", "m", "once upon")
    assert (result.returncode, result.stdout) == (OK, b"Hello world\n")
    assert upstream.wait_request(1, "complete").json["prompt"] == "once upon"
    events = run(sluice, "complete", "-m", "m", "--json", stdin=b"once\n").stdout.splitlines()
    assert json.loads(events[-1])["event"] == "done"
    assert upstream.wait_request(2, "complete").json["prompt"] == "once"


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

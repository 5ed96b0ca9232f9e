"""n > 1 and lists of prompts at a model server that makes one answer for each request: one after the other, in one slot."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from testenv.daemon import Daemon, mock
from testenv.http import SseEvent, chat_body
from testenv.rules import check_complete
from testenv.upstream import Gate, chunk, clean_end, end, error_line, say, text, wait_for, whole

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


def client(sluice: Daemon) -> openai.OpenAI:
    return openai.OpenAI(api_key="x", base_url=sluice.url + "/v1", max_retries=0, timeout=20)


def stream(sluice: Daemon, path: str, body: Any) -> list[SseEvent]:
    with sluice.http() as http:
        http.send_request("POST", path, {**body, "stream": True})
        answer = http.read_head()
        assert answer.status == 200, b"".join(http.body_parts(answer))
        return list(http.sse(answer))


def by_choice(chunks: list[Any], key: str) -> dict[int, str]:
    out: dict[int, str] = {}
    for one in chunks:
        for choice in one["choices"]:
            piece = choice["delta"].get("content") if key == "delta" else choice["text"]
            out[choice["index"]] = out.get(choice["index"], "") + (piece or "")
    return out


def test_n_of_a_chat(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment()})
    ollama.next(text("first"), end("stop", tokens_in=7, tokens_out=1))
    ollama.next(text("second", "!"), end("length", tokens_in=7, tokens_out=2))
    ollama.next(text("third"), end("stop", tokens_in=7, tokens_out=3))
    answer = client(sluice).chat.completions.create(
        model="m", messages=[{"role": "user", "content": "x"}], n=3, seed=5
    )
    assert [(c.index, c.message.content, c.finish_reason) for c in answer.choices] == [
        (0, "first", "stop"),
        (1, "second!", "length"),
        (2, "third", "stop"),
    ]
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 6)
    asked = [ex.json for ex in ollama.requests("chat")]
    assert [a["options"]["seed"] for a in asked] == [5, 6, 7]
    assert all("n" not in a for a in asked)
    (record,) = sluice.wait_call_records(1)
    assert (record["SLUICE_TOKENS_IN"], record["SLUICE_TOKENS_OUT"]) == ("7", "6")


def test_n_of_a_stream(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment()})
    ollama.next(say("one ", "two"))
    ollama.next(say("three"))
    body = chat_body(n=2, stream_options={"include_usage": True})
    chunks = check_complete(stream(sluice, CHAT, body), wants_usage=True)
    assert by_choice(chunks, "delta") == {0: "one two", 1: "three"}
    assert chunks[-1]["usage"]["prompt_tokens"] == 7
    assert chunks[-1]["usage"]["completion_tokens"] == 3


def test_prompts_of_a_completion(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment()})
    for word in ("a", "b", "c", "d"):
        ollama.next(say(word))
    answer = client(sluice).completions.create(
        model="m", prompt=["first", "second"], n=2, suffix="tail"
    )
    assert [(c.index, c.text) for c in answer.choices] == [(0, "a"), (1, "b"), (2, "c"), (3, "d")]
    assert answer.usage and answer.usage.prompt_tokens == 14, "each prompt once"
    asked = [ex.json for ex in ollama.requests("complete")]
    assert [a["prompt"] for a in asked] == ["first", "first", "second", "second"]
    assert all(a["suffix"] == "tail" for a in asked)


def test_prompts_of_a_stream(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment()})
    ollama.next(say("x", "y"))
    ollama.next(say("z"))
    events = stream(sluice, COMPLETIONS, {"model": "m", "prompt": ["p", "q"]})
    assert by_choice(check_complete(events), "text") == {0: "xy", 1: "z"}


def test_prompts_reach_a_server_that_takes_them_all(env) -> None:
    server = env.openai()
    sluice = env.start({"m": server.deployment()})
    choices = [{"index": i, "text": t, "finish_reason": "stop"} for i, t in enumerate("ab")]
    body = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": choices}
    server.next(whole(200, body))
    answer = sluice.post(COMPLETIONS, {"model": "m", "prompt": ["p", "q"]})
    assert [c["text"] for c in answer.json["choices"]] == ["a", "b"]
    assert [ex.json["prompt"] for ex in server.requests("complete")] == [["p", "q"]]


def test_tool_calls_of_two_answers_have_ids_of_their_own(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment()})
    line = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{}}}]},"done":false}\n'
    for _ in range(2):
        ollama.next(chunk(line), end())
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    choices = sluice.post(CHAT, chat_body(n=2, tools=tools)).json["choices"]
    assert [c["finish_reason"] for c in choices] == ["tool_calls", "tool_calls"]
    assert len({c["message"]["tool_calls"][0]["id"] for c in choices}) == 2


def test_one_that_fails_fails_all(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment()})
    ollama.next(say("fine"))
    ollama.next(text("half"), error_line("broken"), clean_end())
    answer = sluice.post(CHAT, chat_body(n=3))
    assert answer.status == 502 and answer.error["code"] == "upstream_error", answer
    ollama.next(say("fine"))
    ollama.next(text("half"), clean_end())
    events = stream(sluice, CHAT, chat_body(n=3))
    error = [e.json for e in events if e.is_error]
    assert error and error[-1]["error"]["code"] == "upstream_cut", events
    assert all(e.data != "[DONE]" for e in events if not e.is_comment)
    assert len(ollama.requests("chat")) == 4, "none is started behind a failure"


def test_a_refusal_of_the_first_is_a_plain_error(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment()})
    ollama.always(whole(400, {"error": "no"}))
    answer = sluice.post(CHAT, chat_body(n=3, stream=True))
    assert answer.status == 400 and len(ollama.requests("chat")) == 1


def test_a_client_that_leaves_in_the_middle(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment()})
    gate = Gate()
    ollama.next(say("one"))
    ollama.next(text("two"), wait_for(gate), end())
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(n=5, stream=True))
        exchange = ollama.wait_request(2, "chat")
    assert exchange.peer_left.wait(10)
    sluice.expect_idle()
    assert len(ollama.requests("chat")) == 2


def test_all_of_them_take_one_slot(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment()}, {"slots": 1})
    gate = Gate()
    ollama.next(text("a"), wait_for(gate), end())
    with sluice.http() as first, sluice.http() as second:
        first.send_request("POST", CHAT, chat_body(n=3))
        ollama.wait_request(1, "chat")
        second.send_request("POST", CHAT, chat_body(content="other"))
        gate.open()
        assert len(first.read_answer().json["choices"]) == 3
        assert second.read_answer().status == 200
    contents = [ex.json["messages"][0]["content"] for ex in ollama.requests("chat")]
    assert contents == ["hello"] * 3 + ["other"]


@pytest.mark.parametrize("n", [0, 9, "2", 1.5])
def test_n_out_of_range(env, n: Any) -> None:
    sluice = env.start()
    answer = sluice.post(CHAT, chat_body(n=n))
    assert answer.status == 400 and answer.error["param"] == "n"


def test_too_many_answers(env) -> None:
    sluice = env.start()
    answer = sluice.post(COMPLETIONS, {"model": "m", "prompt": ["p"] * 129, "n": 2})
    assert answer.status == 400 and answer.error["param"] == "prompt"
    answer = sluice.post(COMPLETIONS, {"model": "m", "prompt": ["p"] * 128, "n": 2})
    assert answer.status == 200 and len(answer.json["choices"]) == 256


def test_an_empty_prompt_among_others(env) -> None:
    """Found before the first is answered."""
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment()})
    answer = sluice.post(COMPLETIONS, {"model": "m", "prompt": ["p", ""]})
    assert answer.status == 400 and answer.error["param"] == "prompt"
    assert not ollama.exchanges


def test_mock_makes_as_many_as_asked(env) -> None:
    sluice = env.start({"m": mock("mocked text")})
    answer = sluice.post(CHAT, chat_body(n=3)).json
    assert [c["message"]["content"] for c in answer["choices"]] == ["mocked text"] * 3

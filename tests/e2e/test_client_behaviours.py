"""Twenty-five things that real clients rely on, one test (or more) for each, named after its number.

Each names the client that breaks without it. Most run raw, as only raw bytes show what a lenient package forgives; the official
package is asked where its own reaction is the point. Where a server behaves badly, it is the scripted one behind sluice: what
reaches the client must be good all the same.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import Any, Callable

import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from testenv.daemon import Daemon, mock
from testenv.http import Answer, Closed, Http, SseEvent, chat_body, contents
from testenv.rules import check_broken, check_complete, data_of
from testenv.upstream import (
    Exchange,
    Gate,
    Step,
    Upstream,
    chunk,
    clean_end,
    end,
    error_line,
    fin,
    say,
    stall,
    text,
    wait_for,
    whole,
)
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "hello"}]
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
}


def client(sluice: Daemon, **kwargs: Any) -> openai.OpenAI:
    options = {"api_key": "k", "base_url": sluice.url + "/v1", "max_retries": 0, "timeout": 20}
    return openai.OpenAI(**{**options, **kwargs})


def post(sluice: Daemon, body: Any, path: str = CHAT, **headers: str) -> Answer:
    with sluice.http() as http:
        return http.request("POST", path, body, headers=headers)


def stream(sluice: Daemon, **members: Any) -> list[SseEvent]:
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True, **members))
        answer = http.read_head()
        assert answer.status == 200, list(http.body_parts(answer))
        return list(http.sse(answer))


def sse(*events: Any) -> list[Step]:
    """Exactly these events from a server of the OpenAI dialect, and [DONE]."""
    steps = [chunk(b"data: " + json.dumps(e).encode() + b"\n\n") for e in events]
    return [*steps, chunk(b"data: [DONE]\n\n"), clean_end()]


def delta(finish: Any = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish}]}


def call(**members: Any) -> dict[str, Any]:
    return delta(tool_calls=[members])


@pytest.fixture
def openai_pair(env) -> tuple[Daemon, Upstream]:
    """A daemon, and the server of the OpenAI dialect behind its model m."""
    server = env.openai()
    return env.start({"m": server.deployment()}), server


# ---------------------------------------------------------------------------------------------- 1 to 7: the stream


def test_01_sse_framing(env, upstream: Upstream) -> None:
    """openai-python and openai-node parse each data line as JSON; both fail at an empty one."""
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("Köln "), wait_for(gate), *say("\u2028 line\r\nbreaks\n\nand \U0001f600"))
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        answer = http.read_head()
        assert (answer.header("content-type") or "").startswith("text/event-stream")
        assert answer.header("content-encoding") is None and answer.header("content-length") is None
        events = http.sse(answer)
        seen: list[SseEvent] = []
        while "Köln" not in contents(seen):  # the rest is held back: it has not been said yet
            seen.append(next(events))
        gate.open()
        seen += list(events)
    check_complete(seen)
    for event in seen:
        assert len(event.lines) == 1 and event.lines[0].startswith("data: ")
        assert event.data == "[DONE]" or isinstance(json.loads(event.data), dict)
    assert contents(seen) == "Köln \u2028 line\r\nbreaks\n\nand \U0001f600"


def test_02_heartbeats_are_comments(env, upstream: Upstream) -> None:
    """`event: ping` without data is an empty event, which both packages parse as JSON; `id:` makes every blank line one."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": {"heartbeat": "100ms"}})
    gate = Gate()
    upstream.next(wait_for(gate), *say("late"))
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        events = http.sse(http.read_head())
        seen = [next(events), next(events)]
        assert all(e.lines == [": keep-alive"] for e in seen)
        gate.open()
        seen += list(events)
    check_complete(seen)  # no id:, no retry:, no event:
    late = Gate()
    upstream.next(wait_for(late), *say("late"))
    chunks = client(sluice).chat.completions.create(model="m", messages=USER, stream=True)
    late.open()
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "late"


@pytest.mark.parametrize("cut", ["clean end", "fin"])
def test_03_terminator(env, upstream: Upstream, cut: str) -> None:
    """openai-python stops in silence at the end of the bytes: only the absence of an error event says that all came."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(say("whole"))
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        body = b"".join(http.body_parts(http.read_head()))
    assert body.endswith(b"\n\ndata: [DONE]\n\n") and body.count(b"[DONE]") == 1
    upstream.next(text("half"), clean_end() if cut == "clean end" else fin())
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        parts = http.body_parts(http.read_head())
        got = b""
        with pytest.raises(Closed):  # no last chunk either: HTTP knows too
            for part in parts:
                got += part
    assert b"half" in got and b"[DONE]" not in got and b'data: {"error":' in got


def test_04_errors_in_mid_stream(env, upstream: Upstream) -> None:
    """Both packages raise at a truthy `error`; the Vercel AI SDK ends a stream at the key, whatever its value."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("half"), error_line("the runner died"), clean_end())
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        error = check_broken(list(http.sse(http.read_head())))
    assert set(error) >= {"message", "type", "code"}
    upstream.next(text("half"), error_line("the runner died"), clean_end())
    with pytest.raises(openai.APIError):
        list(client(sluice).chat.completions.create(model="m", messages=USER, stream=True))


def test_04_no_null_error(openai_pair) -> None:
    sluice, server = openai_pair
    server.always(sse({**delta(content="x"), "error": None}, {**delta("stop"), "error": None}))
    events = stream(sluice)
    assert contents(events) == "x" and all('"error"' not in e.data for e in events)
    assert b'"error"' not in post(sluice, chat_body()).body


def test_05_choices_are_always_an_array(openai_pair) -> None:
    """LangChain: TypeError on null; the Vercel AI SDK's schema wants an array."""
    sluice, server = openai_pair
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    server.always(
        sse(delta(content="x"), {"choices": None}, delta("stop"), {"choices": None, "usage": usage})
    )
    chunks = check_complete(stream(sluice, stream_options={"include_usage": True}), True)
    assert all(isinstance(c["choices"], list) for c in chunks)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_06_usage_chunk(openai_pair, is_wanted: bool) -> None:
    """openai-python keeps the usage of the last chunk; vLLM can send one in each."""
    sluice, server = openai_pair
    usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
    last = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    server.always(
        sse(
            {**delta(content="x"), "usage": usage},
            {**delta("stop"), "usage": usage},
            {"choices": [], "usage": last},
        )
    )
    members = {"stream_options": {"include_usage": True}} if is_wanted else {}
    chunks = check_complete(stream(sluice, **members), is_wanted)
    assert all(c.get("usage") is None for c in chunks[: -1 if is_wanted else None])
    if is_wanted:
        assert chunks[-1]["choices"] == []
        assert {k: chunks[-1]["usage"][k] for k in last} == last
    whole_answer = post(sluice, chat_body()).json["usage"]
    assert {k: whole_answer[k] for k in last} == last


def test_07_finish_reason_once_and_last(env, upstream: Upstream) -> None:
    """Agents branch on it; openai-node's helper throws where it is missing."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.always(text("a", "b"), end("length"))
    chunks = check_complete(stream(sluice))
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert all(c["choices"][0]["finish_reason"] is None for c in chunks[:-1])


@pytest.mark.parametrize("word", ["stop", "tool_calls", "function_call"])
def test_07_tool_calls_end_with_tool_calls(openai_pair, word: str) -> None:
    sluice, server = openai_pair
    server.always(sse(call(index=0, id="c", function={"name": "f", "arguments": "{}"}), delta(word)))
    assert check_complete(stream(sluice, tools=[TOOL]))[-1]["choices"][0]["finish_reason"] == "tool_calls"
    answer = post(sluice, chat_body(tools=[TOOL]))
    assert answer.json["choices"][0]["finish_reason"] == "tool_calls"


# ---------------------------------------------------------------------------------------------- 8 to 13: what is in it


def test_08_deltas_are_concatenated(openai_pair) -> None:
    """openai-python adds strings and numbers up: what is said twice is there twice."""
    sluice, server = openai_pair
    server.always(
        sse(
            delta(role="assistant", content="a"),
            delta(role="assistant", content="b"),
            call(index=0, id="c1", type="function", function={"name": "f", "arguments": '{"x"'}),
            call(index=0, id="c1", type="function", function={"name": "f", "arguments": ":1}"}),
            delta("tool_calls"),
        )
    )
    state = ChatCompletionStreamState(input_tools=openai.NOT_GIVEN)
    for part in client(sluice).chat.completions.create(
        model="m", messages=USER, stream=True, tools=[TOOL]
    ):
        state.handle_chunk(part)
    message = state.get_final_completion().choices[0].message
    assert message.role == "assistant" and message.content == "ab"
    assert message.tool_calls and len(message.tool_calls) == 1
    made = message.tool_calls[0]
    assert (made.id, made.function.name, made.function.arguments) == ("c1", "f", '{"x":1}')
    chunks = check_complete(stream(sluice, tools=[TOOL]))
    deltas = [c["choices"][0]["delta"] for c in chunks]
    assert sum("role" in d for d in deltas) == 1
    calls = [t for d in deltas for t in d.get("tool_calls", [])]
    assert sum("id" in t for t in calls) == sum("name" in t["function"] for t in calls) == 1


INDICES: dict[str, list[dict[str, Any]]] = {
    "as they should be": [{"index": 0, "id": "a"}, {"index": 1, "id": "b"}],
    "missing": [{"id": "a"}, {"id": "b"}],
    "all the same": [{"index": 0, "id": "a"}, {"index": 0, "id": "b"}],
    "with gaps": [{"index": 3, "id": "a"}, {"index": 7, "id": "b"}],
    "without ids": [{"index": 0}, {"index": 1}],
    "null": [{"index": None, "id": "a"}, {"index": None, "id": "b"}],
}


@pytest.mark.parametrize("name", INDICES)
def test_09_tool_calls_have_an_index(openai_pair, name: str) -> None:
    """openai-python inserts at the index and raises without; the Vercel AI SDK wants the id in the first delta."""
    sluice, server = openai_pair
    events = [
        call(**one, type="function", function={"name": f"f{i}", "arguments": "{}"})
        for i, one in enumerate(INDICES[name])
    ]
    server.always(sse(*events, delta("tool_calls")))
    chunks = check_complete(stream(sluice, tools=[TOOL]))
    calls = [t for c in chunks for t in c["choices"][0]["delta"].get("tool_calls", [])]
    assert [t["index"] for t in calls] == [0, 1]
    for i, one in enumerate(calls):
        assert isinstance(one["id"], str) and one["id"] and one["type"] == "function"
        assert one["function"] == {"name": f"f{i}", "arguments": "{}"}
    assert calls[0]["id"] != calls[1]["id"]


@pytest.mark.parametrize("given", ['{"x":1}', {"x": 1}, "", {}, None])
def test_10_arguments_are_a_json_string(openai_pair, given: Any) -> None:
    """Never an object, and "{}" where there are none: every client parses it."""
    sluice, server = openai_pair
    server.always(
        sse(call(index=0, id="c", function={"name": "f", "arguments": given}), delta("tool_calls"))
    )
    chunks = check_complete(stream(sluice, tools=[TOOL]))
    calls = [t for c in chunks for t in c["choices"][0]["delta"].get("tool_calls", [])]
    streamed = "".join(t["function"].get("arguments", "") for t in calls)
    whole_ = post(sluice, chat_body(tools=[TOOL])).json["choices"][0]["message"]
    collected = whole_["tool_calls"][0]["function"]["arguments"]
    for arguments in (streamed, collected):
        assert isinstance(arguments, str)
        assert json.loads(arguments) == ({"x": 1} if given and "x" in given else {})


def test_10_arguments_for_ollama_are_an_object(env) -> None:
    server = env.ollama()
    sluice = env.start({"m": server.deployment()})
    server.always(say("ok"))
    for arguments, wanted in (('{"x":[1.0]}', {"x": [1.0]}), ("", {}), ({"x": 1}, {"x": 1})):
        made = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
        history = [
            *USER,
            {"role": "assistant", "content": None, "tool_calls": [made]},
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
        ]
        assert post(sluice, {"model": "m", "messages": history, "tools": [TOOL]}).status == 200
        sent = server.requests()[-1].json["messages"][1]["tool_calls"][0]
        assert sent["function"]["arguments"] == wanted


def test_11_null_and_missing(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    made = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for content in ({"content": None}, {"content": ""}, {}):
        history = [*USER, {"role": "assistant", **content, "tool_calls": [made]}]
        history.append({"role": "tool", "tool_call_id": "c", "content": "ok"})
        assert post(sluice, {"model": "m", "messages": history}).status == 200
    nulls = ("temperature", "tools", "tool_choice", "stop", "response_format", "user", "logprobs")
    answer = post(sluice, chat_body(**dict.fromkeys(nulls)))
    choice = answer.json["choices"][0]
    assert choice["message"]["content"] == "Hello world"
    assert choice["message"].get("refusal") is None and choice.get("logprobs") is None
    assert "tool_calls" not in choice["message"]  # LangChain iterates over it


def test_11_content_is_there_beside_tool_calls(openai_pair) -> None:
    sluice, server = openai_pair
    server.always(sse(call(index=0, id="c", function={"name": "f"}), delta("tool_calls")))
    message = post(sluice, chat_body(tools=[TOOL])).json["choices"][0]["message"]
    assert "content" in message and message["content"] is None


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_12_content_as_parts(env, upstream: Upstream, role: str) -> None:
    """Continue flattens content to a string because servers fail here."""
    sluice = env.start({"m": upstream.deployment()})
    parts: list[Any] = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    message: dict[str, Any] = {"role": role, "content": parts}
    if role == "tool":
        message["tool_call_id"] = "c"
    assert post(sluice, {"model": "m", "messages": [message, *USER]}).status == 200
    sent = upstream.wait_request().json["messages"][0]
    if upstream.dialect.name == "openai":
        assert sent == message
    else:
        assert sent["content"].replace("\n", "") == "one two"
        assert sent["role"] == ("system" if role == "developer" else role)


@pytest.mark.parametrize("form", [lambda url: {"url": url}, lambda url: url])
def test_12_images(env, upstream: Upstream, form: Callable[[str], Any]) -> None:
    sluice = env.start({"m": upstream.deployment()})
    url = "data:image/png;base64,iVBORw0KGgo="
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": form(url)}]
    message = {"role": "user", "content": parts}
    assert post(sluice, {"model": "m", "messages": [message]}).status == 200
    sent = upstream.wait_request().json["messages"][0]
    if upstream.dialect.name == "openai":
        assert sent == message
    else:
        assert sent["images"] == ["iVBORw0KGgo="] and sent["content"] == "what?"


def test_13_stable_envelope(env, upstream: Upstream) -> None:
    """Ollama's ids collide, and LiteLLM changes them with each chunk; openai-python checks `object`."""
    sluice = env.start({"m": upstream.deployment()})
    ids = set()
    for _ in range(3):
        chunks = check_complete(stream(sluice))  # one id, object, created, model in all of them
        assert chunks[0]["object"] == "chat.completion.chunk" and chunks[0]["model"] == "m"
        answer = post(sluice, chat_body()).json
        assert answer["object"] == "chat.completion" and answer["model"] == "m"
        assert abs(answer["created"] - chunks[0]["created"]) < 60
        ids |= {chunks[0]["id"], answer["id"]}
    assert len(ids) == 6


# ---------------------------------------------------------------------------------------------- 14 to 18: errors


def test_14_error_shape(env) -> None:
    """The Vercel AI SDK wants a string as message; agents look for the well-known codes."""
    server = env.openai()
    sluice = env.start({"m": server.deployment()}, general={"master_key": "sk-1"})
    key = {"authorization": "Bearer sk-1"}
    full = {"error": {"message": "This model's maximum context length is 8 tokens. However, you "
                      "requested 9 tokens", "code": "context_length_exceeded"}}  # fmt: skip
    quota = {"error": {"message": "no more money", "type": "insufficient_quota",
                       "code": "insufficient_quota"}}  # fmt: skip
    rows: list[tuple[Any, str, int, str]] = [
        (None, CHAT, 401, "invalid_api_key"),
        ({"model": "x", "messages": USER}, CHAT, 404, "model_not_found"),
        ({"model": "m", "messages": []}, CHAT, 400, "invalid_request"),
        ({}, "/v1/nothing", 404, "not_found"),
        ({}, "/v1/models", 405, "method_not_allowed"),
    ]
    for body, path, status, code in rows:
        answer = post(sluice, body or {}, path, **(key if body is not None else {}))
        assert (answer.status, answer.error["code"]) == (status, code)
        for name in ("type", "param", "code"):
            assert answer.error[name] is None or isinstance(answer.error[name], str)
    for answer_, status, code in (
        (whole(400, full), 400, "context_length_exceeded"),
        (whole(429, {"error": {"message": "slow down"}}), 429, "rate_limit_exceeded"),
        (whole(429, quota), 429, "insufficient_quota"),
    ):
        server.always(answer_)
        answer = post(sluice, chat_body(num_retries=0), **key)
        assert (answer.status, answer.error["code"]) == (status, code), answer


@pytest.mark.parametrize(
    "status, body, attempts, error",
    [
        (
            400,
            {"error": {"message": "maximum context length is 8 tokens", "code": None}},
            1,
            openai.BadRequestError,
        ),
        (503, {"error": {"message": "busy"}}, 2, openai.InternalServerError),
    ],
)
def test_15_status_and_retries(
    openai_pair, status: int, body: Any, attempts: int, error: type[openai.APIStatusError]
) -> None:
    """The packages repeat 408, 409, 429 and everything from 500 on: a permanent refusal must be a 400."""
    sluice, server = openai_pair
    server.always(whole(status, body))
    with pytest.raises(error):
        client(sluice, max_retries=1).chat.completions.create(
            model="m", messages=USER, extra_body={"num_retries": 0}
        )
    assert len(sluice.wait_call_records(attempts)) == attempts


def queue_of_one(env, server: Upstream) -> tuple[Daemon, list[Http]]:
    """A daemon whose only slot is taken and whose queue is full."""
    sluice = env.start({"m": server.deployment()}, sluice={"queue": {"length": 1}})
    server.always(stall())
    busy = []
    for n_queued in (0, 1):
        busy.append(sluice.http())
        busy[-1].send_request("POST", CHAT, chat_body())
        server.wait_request()
        eventually(lambda n=n_queued: sluice.status().calls_queued == n, "the queue fills")
    return sluice, busy


def test_16_retry_after(env) -> None:
    """Python does not retry above 120 s, node ignores what is above 60: retry-after-ms first, then whole seconds."""
    sluice, busy = queue_of_one(env, env.ollama())
    answer = post(sluice, chat_body())
    assert answer.status == 503 and answer.error["code"] == "queue_full"
    seconds = answer.header("retry-after") or ""
    assert seconds.isdigit() and 1 <= int(seconds) <= 60
    assert 1000 <= int(answer.header("retry-after-ms") or "") <= 60_000
    for http in busy:
        http.close()


def test_17_x_should_retry(env) -> None:
    """Overrides the rule by status in both packages."""
    off = {"model": "openai/x", "api_base": "os.environ/SLUICE_TEST_UNSET"}
    sluice = env.start({"off": off, "m": mock()})
    misconfigured = post(sluice, chat_body("off"))
    assert misconfigured.status == 503 and misconfigured.header("x-should-retry") == "false"
    assert misconfigured.header("retry-after") is None
    not_served = post(sluice, {}, "/v1/responses")
    assert not_served.status == 501 and not_served.header("x-should-retry") == "false"
    with pytest.raises(openai.InternalServerError):
        client(sluice, max_retries=2).chat.completions.create(model="off", messages=USER)
    assert len(sluice.wait_call_records(2)) == 2  # ours, and one of the package's: not three


def test_17_x_should_retry_when_shed(env) -> None:
    sluice, busy = queue_of_one(env, env.ollama())
    assert post(sluice, chat_body()).header("x-should-retry") == "true"
    for http in busy:
        http.close()


def test_18_x_request_id(env) -> None:
    sluice = env.start()
    raw = client(sluice).chat.completions.with_raw_response.create(
        model="m", messages=USER, extra_headers={"x-request-id": "mine"}
    )
    assert raw.headers["x-request-id"] == "mine" and raw.request_id == "mine"
    assert client(sluice).chat.completions.create(model="m", messages=USER)._request_id
    assert post(sluice, {}).header("x-request-id")  # errors have one too
    assert post(sluice, {}, "/nothing").header("x-request-id")


# ---------------------------------------------------------------------------------------------- 19 to 25: the rest


def test_19_embeddings_in_base64(env, upstream: Upstream) -> None:
    """openai-node asks for base64 and decodes whatever comes: floats would be garbage in silence."""
    sluice = env.start({"m": upstream.deployment()})
    wanted = [1.0, 97.0, 0.5, -0.25]

    def embedding(**members: Any) -> Any:
        answer = post(sluice, {"model": "m", "input": "a", **members}, "/v1/embeddings")
        return answer.json["data"][0]["embedding"]

    packed = base64.b64decode(embedding(encoding_format="base64"), validate=True)
    assert list(struct.unpack(f"<{len(packed) // 4}f", packed)) == wanted
    assert embedding(encoding_format="float") == wanted and embedding() == wanted
    assert client(sluice).embeddings.create(model="m", input="a").data[0].embedding == wanted


@pytest.mark.parametrize(
    "given, n",
    [("a", 1), (["a", "bb", "a"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
)
def test_20_embeddings_input(env, upstream: Upstream, given: Any, n: int) -> None:
    """LangChain sends token ids by default."""
    sluice = env.start({"m": upstream.deployment()})
    answer = post(sluice, {"model": "m", "input": given}, "/v1/embeddings")
    if upstream.dialect.name == "ollama" and "a" not in given:
        assert answer.status == 400 and answer.error["param"] == "input"
        return
    assert [d["index"] for d in answer.json["data"]] == list(range(n))
    assert all(d["object"] == "embedding" for d in answer.json["data"])
    assert answer.json["usage"] == {"prompt_tokens": 3 * n, "total_tokens": 3 * n}


@pytest.mark.parametrize(
    "members, cap",
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
    ],
)
def test_21_both_names_of_the_cap(
    env, upstream: Upstream, members: dict[str, Any], cap: int
) -> None:
    sluice = env.start({"m": upstream.deployment()})
    assert post(sluice, chat_body(**members)).status == 200
    sent = upstream.wait_request().json
    if upstream.dialect.name == "ollama":
        assert sent["options"]["num_predict"] == cap
    else:
        assert {k: sent[k] for k in members} == members  # as they were: the server's business


UNKNOWN = {
    "store": True,
    "metadata": {"a": "b"},
    "user": "u",
    "parallel_tool_calls": True,
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "verbosity": "low",
    "modalities": ["text"],
    "prediction": None,
    "something_new": {"x": [1]},
}


def test_22_unknown_members_do_no_harm(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    messages = [{"role": "developer", "content": "be brief"}, *USER]
    answer = post(sluice, {"model": "m", "messages": messages, **UNKNOWN})
    assert answer.status == 200, answer
    sent = upstream.wait_request().json
    if upstream.dialect.name == "ollama":
        assert sent["messages"][0] == {"role": "system", "content": "be brief"}
    else:
        assert sent["messages"] == messages and {k: sent[k] for k in UNKNOWN} == UNKNOWN


def test_22_done_or_refused(env, upstream: Upstream) -> None:
    """A silent n=1 breaks who looks at choices[1]."""
    sluice = env.start({"m": upstream.deployment()})
    answer = post(sluice, chat_body(n=2))
    if answer.status == 200:
        assert [c["index"] for c in answer.json["choices"]] == [0, 1]
    else:
        assert answer.status in (400, 502) and answer.error
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    format_ = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    before = len(upstream.requests())
    answer = post(sluice, chat_body(response_format=format_))
    assert answer.status == 200
    sent = upstream.wait_request(before + 1).json
    assert sent["format"] == schema if "format" in sent else sent["response_format"] == format_
    before = len(upstream.requests())
    answer = post(sluice, chat_body(logprobs=True, top_logprobs=2))
    assert answer.status == 200
    sent = upstream.wait_request(before + 1).json
    assert sent["logprobs"] is True and sent["top_logprobs"] == 2


def test_23_models(env) -> None:
    """Open WebUI drops entries without an id and broke at a null name; ids hold slashes and colons."""
    names = ["plain", "org/name:tag", "hf.co/a/b"]
    sluice = env.start({name: mock() for name in names})
    with sluice.http() as http:
        listed = http.request("GET", "/v1/models").json
        assert listed["object"] == "list" and [m["id"] for m in listed["data"]] == names
        for one in listed["data"]:
            assert one["object"] == "model" and isinstance(one["created"], int)
            assert isinstance(one["owned_by"], str) and None not in one.values()
        missing = http.request("GET", "/v1/models/nobody")
        assert missing.status == 404 and missing.error["code"] == "model_not_found"
    models = client(sluice).models
    assert [m.id for m in models.list()] == names
    assert [models.retrieve(name).id for name in names] == names


def test_24_paths_methods_cors(env) -> None:
    origin = "https://app.example"
    sluice = env.start(
        sluice={"http": {"allowed_origins": [origin]}}, general={"master_key": "sk-1"}
    )
    for headers in (
        {"authorization": "Bearer sk-1"},
        {"x-api-key": "sk-1"},
        {"api-key": "sk-1", "authorization": "Bearer sk-1"},
    ):
        assert post(sluice, chat_body(), "//v1/chat/completions/?beta=true", **headers).status == 200
    with sluice.http() as http:
        assert http.request("HEAD", "/v1/models", headers={"x-api-key": "sk-1"}).status == 200
        asked = "authorization,content-type,x-stainless-os,openai-beta,anthropic-version"
        preflight = http.request(
            "OPTIONS",
            CHAT,
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": asked,
            },
        )
        assert preflight.status in (200, 204)
        assert preflight.header("access-control-allow-origin") == origin
        assert preflight.header("access-control-allow-headers") == asked
        wrong = http.request("DELETE", "/v1/models", headers={"x-api-key": "sk-1"})
        assert wrong.status == 405 and wrong.error and "GET" in (wrong.header("allow") or "")
        missing = http.request("GET", "/nothing", headers={"x-api-key": "sk-1"})
        assert missing.status == 404 and missing.error
    zstd = post(sluice, b"(\xb5/\xfd", **{"x-api-key": "sk-1", "content-encoding": "zstd"})
    assert zstd.status == 415 and zstd.error["code"] == "unsupported_media_type"


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages?beta=true", "/v1/messages/count_tokens"])
def test_25_neighbour_apis_are_refused_clearly(env, path: str) -> None:
    """Codex and Claude Code ask here: an error that says so, which nobody repeats."""
    answer = post(env.start(), {"model": "m", "stream": True}, path)
    assert answer.status == 501 and answer.header("x-should-retry") == "false"
    assert path.split("?")[0] in answer.error["message"]


@pytest.mark.parametrize("member", ["reasoning_content", "reasoning"])
def test_25_reasoning_is_kept_apart(openai_pair, member: str) -> None:
    sluice, server = openai_pair
    server.always(sse(delta(**{member: "hm"}), delta(content="yes"), delta("stop")))
    chunks = check_complete(stream(sluice, reasoning_effort="low"))
    deltas = [c["choices"][0]["delta"] for c in chunks]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == "hm"
    assert "".join(d.get("content", "") for d in deltas) == "yes"
    message = post(sluice, chat_body()).json["choices"][0]["message"]
    assert message["reasoning_content"] == "hm" and message["content"] == "yes"
    assert server.wait_request().json["reasoning_effort"] == "low"


def test_25_completions_for_editors(env, upstream: Upstream) -> None:
    """Continue completes code through /v1/completions with a suffix."""
    sluice = env.start({"m": upstream.deployment()})
    body = {"model": "m", "prompt": "def f(", "suffix": "return x", "stop": ["\n\n"], "stream": True}
    with sluice.http() as http:
        http.send_request("POST", "/v1/completions", body)
        events = list(http.sse(http.read_head()))
    chunks = check_complete(events)
    assert "".join(c["choices"][0]["text"] for c in data_of(events)) == "Hello world"
    assert chunks[0]["object"] == "text_completion"
    sent: Exchange = upstream.wait_request()
    assert sent.json["prompt"] == "def f(" and sent.json["suffix"] == "return x"

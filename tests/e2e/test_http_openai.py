"""The HTTP port as OpenAI clients see it: the official package, and the rules that other clients rely on."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from testenv import paths
from testenv.daemon import Daemon, mock
from testenv.http import SseEvent, chat_body, contents
from testenv.rules import check_complete
from testenv.upstream import (
    Gate,
    Upstream,
    chunk,
    clean_end,
    end,
    error_line,
    say,
    text,
    wait_for,
)

USER = [{"role": "user", "content": "hello"}]


def client(sluice: Daemon, base: str = "/v1", key: str = "anything") -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=sluice.url + base, max_retries=0, timeout=20)


def stream_events(sluice: Daemon, body: Any, path: str = "/v1/chat/completions") -> list[SseEvent]:
    with sluice.http() as http:
        http.send_request("POST", path, {**body, "stream": True})
        answer = http.read_head()
        assert answer.status == 200, list(http.body_parts(answer))
        assert answer.header("cache-control") == "no-store"
        return list(http.sse(answer))


# ---------------------------------------------------------------------------------------------- chat


@pytest.mark.parametrize("base", ["", "/v1"])
def test_chat(env, upstream: Upstream, base: str) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.always(say("Hel", "lo"))
    answer = client(sluice, base).chat.completions.create(model="m", messages=USER)
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "m" and answer.object == "chat.completion" and answer.id
    assert answer.usage and answer.usage.prompt_tokens == 7
    assert answer.usage.completion_tokens == 2 and answer.usage.total_tokens == 9


@pytest.mark.parametrize("base", ["", "/v1"])
def test_chat_stream(env, upstream: Upstream, base: str) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.always(say("Hel", "lo", " wörld"))
    stream = client(sluice, base).chat.completions.create(model="m", messages=USER, stream=True)
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello wörld"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({c.id for c in chunks}) == 1


def test_chat_async(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})

    async def ask(c: openai.AsyncOpenAI, stream: bool) -> str:
        answer = await c.chat.completions.create(model="m", messages=USER, stream=stream)
        if not stream:
            return answer.choices[0].message.content
        return "".join([c.choices[0].delta.content or "" async for c in answer])

    async def main() -> list[str]:
        async with openai.AsyncOpenAI(api_key="x", base_url=sluice.url + "/v1") as c:
            return await asyncio.gather(*(ask(c, bool(i % 2)) for i in range(8)))

    assert asyncio.run(main()) == ["Hello world"] * 8


def test_stream_obeys_the_rules(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    for wants_usage in (False, True):
        body = chat_body()
        if wants_usage:
            body["stream_options"] = {"include_usage": True}
        events = stream_events(sluice, body)
        chunks = check_complete(events, wants_usage)
        assert contents(events) == "Hello world"
        assert chunks[0]["model"] == "m"
        if wants_usage:
            assert chunks[-1]["usage"]["total_tokens"] == 9


def test_tokens_are_not_held_back(env, upstream: Upstream) -> None:
    """What the model has said is with the client before the model says the next word."""
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("first"), wait_for(gate), text("second"), end())
    with sluice.http() as http:
        http.send_request("POST", "/v1/chat/completions", chat_body(stream=True))
        events = http.sse(http.read_head())
        seen: list[SseEvent] = []
        while contents(seen) != "first":
            seen.append(next(events))
        gate.open()
        check_complete(seen + list(events))


def test_utf8_split_anywhere(env, upstream: Upstream) -> None:
    """The upstream's bytes arrive cut inside characters, lines and chunks."""
    sluice = env.start({"m": upstream.deployment()})

    def bytewise(ex: Any) -> None:
        data = ex.server.dialect.piece(ex, "Grüße, 世界 🌍")
        data += ex.server.dialect.end(ex, "stop", 7, 2)
        for i in range(len(data)):
            ex.chunk(data[i : i + 1])
        ex.last_chunk()

    upstream.always(bytewise)
    assert contents(stream_events(sluice, chat_body())) == "Grüße, 世界 🌍"


def test_reasoning_is_kept_apart(env) -> None:
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()})

    def thinks(ex: Any) -> None:
        message = {"role": "assistant", "content": "", "thinking": "hmm"}
        ex.chunk(json.dumps({"model": "m1", "message": message, "done": False}).encode() + b"\n")

    upstream.always(thinks, text("yes"), end())
    chunks = check_complete(stream_events(sluice, chat_body()))
    deltas = [c["choices"][0]["delta"] for c in chunks if c["choices"]]
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == "hmm"
    assert "".join(d.get("content") or "" for d in deltas) == "yes"


# ---------------------------------------------------------------------------------------------- what reaches the upstream


def test_sampling_reaches_the_upstream(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment("the-model")})
    client(sluice).chat.completions.create(
        model="m",
        messages=[{"role": "developer", "content": "be brief"}, *USER],
        max_completion_tokens=5,
        temperature=0.25,
        top_p=0.5,
        seed=42,
        stop=["END"],
    )
    got = upstream.wait_request().json
    assert got["model"] == "the-model"
    assert got["stream"] is True
    if upstream.dialect.name == "ollama":
        options = got["options"]
        assert options["num_predict"] == 5 and options["stop"] == ["END"] and options["seed"] == 42
        assert options["temperature"] == 0.25 and options["top_p"] == 0.5
        assert got["messages"][0] == {"role": "system", "content": "be brief"}
    else:
        assert got["max_completion_tokens"] == 5 and got["stop"] == ["END"] and got["seed"] == 42
        assert got["temperature"] == 0.25 and got["top_p"] == 0.5
        assert got["messages"][1] == USER[0]


def test_defaults_of_the_deployment(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment(temperature=0.125, max_tokens=11, seed=3)})
    assert sluice.post("/v1/chat/completions", chat_body(temperature=0.75)).status == 200
    got = upstream.wait_request().json
    values = got["options"] if upstream.dialect.name == "ollama" else got
    assert values["temperature"] == 0.75 and values["seed"] == 3
    limit = "num_predict" if upstream.dialect.name == "ollama" else "max_tokens"
    assert values[limit] == 11


def test_load_options_come_from_the_deployment_only(env) -> None:
    """A client that could change num_ctx could make Ollama reload the model at each request."""
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment(num_ctx=2048, keep_alive="10m")})
    body = chat_body(num_ctx=512, options={"num_ctx": 513}, keep_alive=0)
    assert sluice.post("/v1/chat/completions", body).status == 200
    for request in upstream.requests("chat", "load"):
        assert request.json["options"]["num_ctx"] == 2048, request.json
        assert request.json["keep_alive"] == "10m", request.json


def test_unknown_members_are_carried_as_they_are(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"store":false,'
        b'"x_number":12345678901234567890.10,"metadata":{"b":1,"a":[2]},"user":"u"}'
    )
    assert sluice.post("/v1/chat/completions", body).status == 200
    sent = upstream.wait_request().body
    assert b'"x_number":12345678901234567890.10' in sent
    assert b'"metadata":{"b":1,"a":[2]}' in sent


def test_unknown_members_do_not_hurt_ollama(env) -> None:
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()})
    body = chat_body(
        store=False, user="u", parallel_tool_calls=True, service_tier="auto", verbosity="low"
    )
    assert sluice.post("/v1/chat/completions", body).status == 200


def test_credentials_go_upstream_only_as_configured(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment(api_key="sk-of-the-deployment")})
    client(sluice, key="sk-of-the-client").chat.completions.create(model="m", messages=USER)
    request = upstream.wait_request()
    assert request.headers["authorization"] == "Bearer sk-of-the-deployment"
    assert "sk-of-the-client" not in str(request.headers)


def test_credentials_go_with_loads_too(env) -> None:
    """An Ollama behind a proxy that asks for a key; keys of some vendors are long."""
    key = "sk-" + "0123456789abcdef" * 128
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment(api_key=key)})
    assert sluice.post("/v1/chat/completions", chat_body()).status == 200
    kinds = {ex.kind: ex.headers.get("authorization") for ex in upstream.requests("load", "chat")}
    assert kinds["load"] == kinds["chat"] == f"Bearer {key}"


def test_content_parts_are_joined(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    assert sluice.post("/v1/chat/completions", body).status == 200
    content = upstream.wait_request().json["messages"][0]["content"]
    assert content == ("one \ntwo" if upstream.dialect.name == "ollama" else parts)


def test_the_newer_limit_wins(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    body = chat_body(max_tokens=50, max_completion_tokens=6)
    assert sluice.post("/v1/chat/completions", body).status == 200
    got = upstream.wait_request().json
    if upstream.dialect.name == "ollama":
        assert got["options"]["num_predict"] == 6
    else:
        assert got["max_completion_tokens"] == 6


def test_several_choices(env) -> None:
    """n is done or refused, never made 1 in silence."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})

    def two(ex: Any) -> None:
        for reason in (None, "stop"):
            for i in (1, 0):
                delta = {} if reason else {"role": "assistant", "content": f"choice {i}"}
                choice = {"index": i, "delta": delta, "finish_reason": reason}
                ex.chunk(ex.server.dialect._event(ex, [choice]))
        ex.chunk(b"data: [DONE]\n\n")
        ex.last_chunk()

    upstream.always(two)
    answer = client(sluice).chat.completions.create(model="m", messages=USER, n=2)
    assert [c.index for c in answer.choices] == [0, 1]
    assert [c.message.content for c in answer.choices] == ["choice 0", "choice 1"]
    chunks = check_complete(stream_events(sluice, chat_body(n=2)))
    assert {c["index"] for x in chunks for c in x["choices"]} == {0, 1}


# ---------------------------------------------------------------------------------------------- tools

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


def tool_call_script(upstream: Upstream) -> list[Any]:
    def calls(ex: Any) -> None:
        if upstream.dialect.name == "ollama":
            function = {"index": 0, "name": "weather", "arguments": {"city": "Köln"}}
            message = {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "call_1", "function": function}],
            }
            ex.chunk(json.dumps({"model": "x", "message": message, "done": False}).encode() + b"\n")
            return
        first = {"name": "weather", "arguments": ""}
        for call in (
            {"index": 0, "id": "call_1", "type": "function", "function": first},
            {"index": 0, "function": {"arguments": '{"city": '}},
            {"index": 0, "function": {"arguments": '"Köln"}'}},
        ):
            delta = {"tool_calls": [call]}
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            ex.chunk(upstream.dialect._event(ex, [choice]))

    # Ollama says "stop" after a tool call, whatever happened.
    return [calls, end("stop" if upstream.dialect.name == "ollama" else "tool_calls")]


def test_tool_call(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.always(*tool_call_script(upstream))
    answer = client(sluice).chat.completions.create(model="m", messages=USER, tools=[WEATHER])
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert call.function.name == "weather" and call.id and call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Köln"}


def test_tool_call_without_arguments(env, upstream: Upstream) -> None:
    """`arguments` is a JSON string, and that of no arguments is "{}"; `content` is there, and null."""
    sluice = env.start({"m": upstream.deployment()})

    def calls(ex: Any) -> None:
        if upstream.dialect.name == "ollama":
            call: dict[str, Any] = {"function": {"name": "now", "arguments": {}}}
            message = {"role": "assistant", "content": "", "tool_calls": [call]}
            ex.chunk(json.dumps({"model": "x", "message": message, "done": False}).encode() + b"\n")
            return
        call = {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": "now", "arguments": "{}"},
        }
        choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
        ex.chunk(upstream.dialect._event(ex, [choice]))

    upstream.always(calls, end("stop" if upstream.dialect.name == "ollama" else "tool_calls"))
    answer = sluice.post("/v1/chat/completions", chat_body(tools=[WEATHER])).json
    message = answer["choices"][0]["message"]
    assert "content" in message and not message["content"]
    call = message["tool_calls"][0]
    assert call["function"]["arguments"] == "{}" and call["id"]
    assert answer["choices"][0]["finish_reason"] == "tool_calls"


def test_tool_call_stream(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.always(*tool_call_script(upstream))
    chunks = check_complete(stream_events(sluice, chat_body(tools=[WEATHER])))
    deltas = [d for c in chunks for d in c["choices"][0]["delta"].get("tool_calls") or []]
    assert deltas[0]["index"] == 0 and deltas[0]["type"] == "function" and deltas[0]["id"]
    assert deltas[0]["function"]["name"] == "weather"
    assert all("id" not in d and "name" not in d["function"] for d in deltas[1:])
    arguments = "".join(d["function"]["arguments"] for d in deltas)
    assert json.loads(arguments) == {"city": "Köln"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_tool_results_go_back(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Köln"}'},
    }
    messages = [
        *USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    body = {"model": "m", "messages": messages, "tools": [WEATHER]}
    assert sluice.post("/v1/chat/completions", body).status == 200
    got = upstream.wait_request().json["messages"]
    if upstream.dialect.name == "ollama":
        assert got[1]["tool_calls"][0]["function"]["arguments"] == {"city": "Köln"}
        assert got[2]["role"] == "tool" and got[2]["content"] == "rain"
    else:
        assert got == messages


# ---------------------------------------------------------------------------------------------- completions, embeddings


def test_completions(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    c = client(sluice)
    answer = c.completions.create(model="m", prompt="say")
    assert answer.choices[0].text == "Hello world" and answer.object == "text_completion"
    stream = c.completions.create(model="m", prompt="say", stream=True)
    chunks = list(stream)
    assert "".join(x.choices[0].text for x in chunks if x.choices) == "Hello world"
    check_complete(stream_events(sluice, {"model": "m", "prompt": "x"}, "/v1/completions"))
    kind = upstream.wait_request().path
    assert kind == ("/api/generate" if upstream.dialect.name == "ollama" else "/v1/completions")


def test_embeddings(env, upstream: Upstream) -> None:
    """The package asks for base64 unless told otherwise; openai-node decodes whatever comes."""
    sluice = env.start({"m": upstream.deployment()})
    c = client(sluice)
    answer = c.embeddings.create(model="m", input=["a", "bbb"])
    assert [d.index for d in answer.data] == [0, 1]
    assert answer.data[0].embedding == [1.0, 97.0, 0.5, -0.25]
    assert answer.data[1].embedding == [3.0, 294.0, 0.5, -0.25]
    assert answer.usage.prompt_tokens == 6 and answer.usage.total_tokens == 6
    floats = c.embeddings.create(model="m", input="a", encoding_format="float")
    assert floats.data[0].embedding == [1.0, 97.0, 0.5, -0.25]
    raw = sluice.post("/v1/embeddings", {"model": "m", "input": "a", "encoding_format": "base64"})
    assert isinstance(raw.json["data"][0]["embedding"], str)
    plain = sluice.post("/embeddings", {"model": "m", "input": "a"})
    assert plain.json["data"][0]["embedding"] == [1.0, 97.0, 0.5, -0.25]
    assert plain.json["object"] == "list" and plain.json["data"][0]["object"] == "embedding"


def test_embeddings_of_tokens(env, upstream: Upstream) -> None:
    """Token ids: to a server of the same dialect as they are; to Ollama a clear 400, never an empty answer."""
    sluice = env.start({"m": upstream.deployment()})
    answer = sluice.post("/v1/embeddings", {"model": "m", "input": [1, 2, 3]})
    if upstream.dialect.name == "openai":
        assert answer.status == 200 and len(answer.json["data"]) == 1
        assert upstream.wait_request().json["input"] == [1, 2, 3]
    else:
        assert answer.status == 400 and answer.error["param"] == "input"


# ---------------------------------------------------------------------------------------------- models, paths, headers


def test_models(env) -> None:
    sluice = env.start({"a/b:c": mock(), "plain": [mock(), mock("two")]})
    c = client(sluice)
    listed = list(c.models.list())
    assert [m.id for m in listed] == ["a/b:c", "plain"]
    assert all(m.object == "model" and m.owned_by and m.created > 0 for m in listed)
    for path in ("/v1/models/a/b:c", "/v1/models/a%2Fb%3Ac", "/models/a/b:c"):
        assert sluice.get(path).json["id"] == "a/b:c"
    with pytest.raises(openai.NotFoundError) as e:
        c.models.retrieve("nope")
    assert e.value.code == "model_not_found"


def test_models_answer_while_upstreams_are_down(env) -> None:
    upstream = env.openai()
    deployment = upstream.deployment()
    upstream.close()
    env.closables.remove(upstream)
    sluice = env.start({"m": deployment})
    assert [m["id"] for m in sluice.get("/v1/models").json["data"]] == ["m"]


@pytest.mark.parametrize(
    "path",
    [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions?beta=true",
        "/chat/completions",
    ],
)
def test_tolerated_paths(env, path: str) -> None:
    sluice = env.start()
    assert sluice.post(path, chat_body()).json["choices"][0]["message"]["content"] == "mocked"


def test_methods_and_paths(env) -> None:
    sluice = env.start()
    not_found = sluice.get("/v1/nothing")
    assert not_found.status == 404 and not_found.error["code"] == "not_found"
    wrong = sluice.get("/v1/chat/completions")
    assert wrong.status == 405 and "POST" in (wrong.header("allow") or "")
    assert wrong.error["code"] == "method_not_allowed"
    wrong = sluice.post("/v1/models", {})
    assert wrong.status == 405 and "GET" in (wrong.header("allow") or "")
    with sluice.http() as http:
        head = http.request("HEAD", "/v1/models")
        assert head.status == 200 and head.body == b""
        assert http.request("GET", "/v1/models").status == 200
        assert http.request("OPTIONS", "/v1/chat/completions").status in (200, 204)
        assert http.request("GET", "/v1/models").status == 200


@pytest.mark.parametrize("path", ["/health/liveliness", "/health/liveness", "/health/readiness"])
def test_health(env, path: str) -> None:
    assert env.start().get(path).status == 200


def test_metrics(env) -> None:
    sluice = env.start()
    assert sluice.post("/v1/chat/completions", chat_body()).status == 200
    answer = sluice.get("/metrics")
    assert answer.status == 200
    assert (answer.header("content-type") or "").startswith("text/plain")
    values = dict(
        line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if line[:1] not in "#"
    )
    assert any(k.startswith("sluice_") and float(v) == 1 for k, v in values.items()), values


def test_headers_that_scripts_use(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    with sluice.http() as http:
        headers: dict[str, Any] = {"X-Request-Id": "my-id.1"}
        answer = http.request("POST", "/v1/chat/completions", chat_body(), headers=headers)
        assert answer.header("x-request-id") == "my-id.1"
        assert answer.header("x-litellm-call-id")
        assert answer.header("x-litellm-model-id")
        assert answer.header("x-litellm-model-group") == "m"
        assert answer.header("x-litellm-attempted-retries") == "0"
        assert answer.header("x-litellm-attempted-fallbacks") == "0"
        overhead = answer.header("x-litellm-overhead-duration-ms")
        assert overhead is not None and float(overhead) >= 0
        made = http.request("POST", "/v1/chat/completions", chat_body())
        assert made.header("x-request-id")
        bad: dict[str, Any] = {"X-Request-Id": "sp ace"}
        answer = http.request("POST", "/v1/chat/completions", chat_body(), headers=bad)
        assert answer.status == 200 and answer.header("x-request-id") != "sp ace"


def test_keep_alive_and_pipelined_requests(env) -> None:
    sluice = env.start()
    with sluice.http() as http:
        for _ in range(3):
            assert http.request("POST", "/v1/chat/completions", chat_body()).status == 200
        http.send_request("GET", "/v1/models")
        http.send_request("GET", "/health/liveliness")
        assert http.read_answer("GET").json["object"] == "list"
        assert http.read_answer("GET").status == 200


def test_http10(env) -> None:
    sluice = env.start()
    body = json.dumps(chat_body(stream=True)).encode()
    with sluice.http() as http:
        http.send(
            b"POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        answer = http.read_head()
        assert answer.status == 200 and answer.header("transfer-encoding") is None
        text_ = b"".join(http.read_to_end()).decode()
        assert text_.endswith("data: [DONE]\n\n")


def test_request_bodies_in_other_shapes(env) -> None:
    sluice = env.start()
    body = json.dumps(chat_body()).encode()
    with sluice.http() as http:
        headers: dict[str, Any] = {
            "Transfer-Encoding": "chunked",
            "Content-Type": "application/json",
        }
        http.send_request("POST", "/v1/chat/completions", headers=headers)
        for i in range(0, len(body), 7):
            part = body[i : i + 7]
            http.send(b"%x\r\n%s\r\n" % (len(part), part))
        http.send(b"0\r\n\r\n")
        assert http.read_answer().status == 200
        headers = {
            "Expect": "100-continue",
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(body)),
        }
        http.send_request("POST", "/v1/chat/completions", headers=headers)
        assert http.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        http.send(body)
        assert http.read_answer().status == 200
    answer = sluice.post("/v1/chat/completions", body, headers={"Content-Encoding": "zstd"})
    assert answer.status == 415 and answer.error["code"] == "unsupported_media_type"


def test_heartbeats_are_comments(env) -> None:
    """A client that waits hears something, and openai-python does not stumble over it."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": {"heartbeat": "100ms"}})
    gate = Gate()
    upstream.next(wait_for(gate), *say("late"))
    with sluice.http() as http:
        http.send_request("POST", "/v1/chat/completions", chat_body(stream=True))
        events = http.sse(http.read_head())
        seen = [next(events), next(events)]
        assert all(e.is_comment for e in seen)
        gate.open()
        rest = list(events)
        assert contents(rest) == "late"
        check_complete(seen + rest)


def test_positions_in_the_queue_are_comments(env) -> None:
    """The package has its stream while the call still waits for a slot, and hears nothing but the answer from it."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": {"heartbeat": "100ms"}})
    gate = Gate()
    upstream.next(wait_for(gate), *say("first"))
    upstream.next(*say("late"))
    with sluice.http() as http:
        http.send_request("POST", "/v1/chat/completions", chat_body())
        upstream.wait_request()
        chunks = client(sluice).chat.completions.create(model="m", messages=USER, stream=True)
        assert sluice.status().calls_queued == 1
        gate.open()
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "late"
        assert http.read_answer().status == 200


# ---------------------------------------------------------------------------------------------- errors as the package sees them


def test_errors_of_the_package(env, upstream: Upstream) -> None:
    sluice = env.start({"codegemma": upstream.deployment()})
    c = client(sluice)
    with pytest.raises(openai.NotFoundError) as e:
        c.chat.completions.create(model="codegema", messages=USER)
    assert e.value.code == "model_not_found" and "codegemma" in e.value.message
    assert e.value.request_id
    with pytest.raises(openai.BadRequestError) as b:
        c.chat.completions.create(model="codegemma", messages=[])
    assert b.value.param == "messages" and b.value.type == "invalid_request_error"
    upstream.next(chunk(upstream.dialect.error_line("boom")))
    with pytest.raises(openai.InternalServerError) as i:
        c.chat.completions.create(model="codegemma", messages=USER)
    assert i.value.status_code == 502 and i.value.code == "upstream_error"


def test_package_raises_in_mid_stream(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("half"), error_line("the runner died"), clean_end())
    seen = ""
    with pytest.raises(openai.APIError, match="the runner died|model server"):
        for part in client(sluice).chat.completions.create(model="m", messages=USER, stream=True):
            seen += part.choices[0].delta.content or ""
    assert seen == "half"


# ---------------------------------------------------------------------------------------------- the promise of the README

SCRIPT = """\
import openai
client = openai.OpenAI(api_key="anything", base_url="http://localhost:4000")
response = client.chat.completions.create(
    model="codegemma",
    messages=[{"role": "user", "content": "Write a Python function to calculate the nth Fibonacci number."}])
print(response.choices[0].message.content)
"""
LITELLM_FILE = """\
model_list:
  - model_name: codegemma
    litellm_params:
      model: ollama/codegemma:2b
      api_base: http://localhost:11434
"""


def test_the_script_runs_unchanged(env) -> None:
    """Real ports, LiteLLM's file, no options: in a network namespace of its own, where 4000 and 11434 are free."""
    directory = env.directory
    (directory / "config.yaml").write_text(LITELLM_FILE)
    (directory / "script.py").write_text(SCRIPT)
    argv = [sys.executable, "-m", "testenv.island", str(directory), str(paths.SLUICED)]
    result = subprocess.run(argv, cwd=Path(__file__).parent, capture_output=True, text=True)
    if result.returncode == 77:  # no namespaces here: the same with other ports
        run_with_other_ports(env)
        return
    assert result.returncode == 0, result.stderr
    assert "def fib" in result.stdout, result.stderr


def run_with_other_ports(env) -> None:
    upstream = env.ollama()
    upstream.always(say("def fib", "(n): ..."))
    sluice = env.start(LITELLM_FILE.replace("http://localhost:11434", upstream.url))
    script = SCRIPT.replace("http://localhost:4000", sluice.url)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout == "def fib(n): ...\n", result.stderr
    assert re.match(r"/api/(chat|generate)", upstream.wait_request().path)
    assert upstream.wait_request().json["model"] == "codegemma:2b"

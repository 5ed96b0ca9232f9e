"""What the official package builds on top of the plain calls: parsed answers, stream helpers, raw responses, the asynchronous twin."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from testenv.daemon import Daemon, mock
from testenv.upstream import Upstream, end, say

USER: Any = [{"role": "user", "content": "hello"}]


class Place(BaseModel):
    city: str
    population: int


PLACE = {"city": "Köln", "population": 1_085_664}
TOOL: Any = openai.pydantic_function_tool(Place, name="place")


def options(sluice: Daemon) -> Any:
    return {"api_key": "k", "base_url": sluice.url + "/v1", "max_retries": 0, "timeout": 20}


def client(sluice: Daemon) -> openai.OpenAI:
    return openai.OpenAI(**options(sluice))


def start(env, upstream: Upstream, *script: Any) -> Daemon:
    if script:
        upstream.always(*script)
    return env.start({"m": upstream.deployment()})


def call(ex: Any) -> None:
    """One tool call, in the server's dialect."""
    if ex.server.dialect.name == "ollama":
        message = {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "place", "arguments": PLACE}}],
        }
        ex.chunk(json.dumps({"model": "x", "message": message, "done": False}).encode() + b"\n")
        return
    arguments = json.dumps(PLACE)
    for part in (
        {"index": 0, "id": "c", "type": "function", "function": {"name": "place"}},
        {"index": 0, "function": {"arguments": arguments[:9]}},
        {"index": 0, "function": {"arguments": arguments[9:]}},
    ):
        choice = {"index": 0, "delta": {"tool_calls": [part]}, "finish_reason": None}
        ex.chunk(ex.server.dialect._event(ex, [choice]))


def test_parse(env, upstream: Upstream) -> None:
    """response_format from a type, sent strictly, and the answer as that type."""
    sluice = start(env, upstream, say('{"city":"K', 'öln","population":1085664}'))
    answer = client(sluice).chat.completions.parse(model="m", messages=USER, response_format=Place)
    assert answer.choices[0].message.parsed == Place(**PLACE)
    sent = upstream.wait_request().json
    if upstream.dialect.name == "ollama":
        assert sent["format"]["properties"]["city"]["type"] == "string"
    else:
        schema = sent["response_format"]["json_schema"]
        assert schema["strict"] is True and schema["schema"]["required"] == ["city", "population"]


def test_parse_of_a_cut_answer(env, upstream: Upstream) -> None:
    sluice = start(env, upstream, *say('{"city":"K')[:1], end("length"))
    with pytest.raises(openai.LengthFinishReasonError):
        client(sluice).chat.completions.parse(model="m", messages=USER, response_format=Place)


def test_parse_of_tools(env, upstream: Upstream) -> None:
    sluice = start(env, upstream, call, end("stop"))
    answer = client(sluice).chat.completions.parse(model="m", messages=USER, tools=[TOOL])
    made = (answer.choices[0].message.tool_calls or [])[0]
    assert made.function.parsed_arguments == Place(**PLACE)


def test_stream_helper(env, upstream: Upstream) -> None:
    sluice = start(env, upstream, say("Hel", "lo"))
    seen = []
    with client(sluice).chat.completions.stream(
        model="m", messages=USER, stream_options={"include_usage": True}
    ) as stream:
        for event in stream:
            seen.append(event.type)
            if event.type == "content.done":
                assert event.content == "Hello"
        last = stream.get_final_completion()
    assert seen.count("content.delta") >= 2 and seen.count("content.done") == 1
    assert last.choices[0].message.content == "Hello" and last.choices[0].finish_reason == "stop"
    assert last.usage and last.usage.total_tokens == 9


def test_stream_helper_with_tools(env, upstream: Upstream) -> None:
    sluice = start(env, upstream, call, end("stop"))
    done = []
    with client(sluice).chat.completions.stream(model="m", messages=USER, tools=[TOOL]) as stream:
        for event in stream:
            if event.type == "tool_calls.function.arguments.done":
                done.append((event.index, event.name, event.parsed_arguments))
        last = stream.get_final_completion()
    assert done == [(0, "place", Place(**PLACE))]
    assert last.choices[0].finish_reason == "tool_calls"


def test_raw_responses(env, upstream: Upstream) -> None:
    sluice = start(env, upstream, say("Hel", "lo"))
    raw = client(sluice).chat.completions.with_raw_response.create(
        model="m", messages=USER, extra_headers={"x-litellm-call-id": "mine"}
    )
    assert raw.status_code == 200 and raw.headers["x-litellm-call-id"] == "mine"
    assert raw.headers["x-litellm-model-group"] == "m"
    assert raw.parse().choices[0].message.content == "Hello"
    with client(sluice).chat.completions.with_streaming_response.create(
        model="m", messages=USER, stream=True
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


def test_extra_body(env) -> None:
    """How the package says what it does not know."""
    server = env.openai()
    sluice = start(env, server, say("hi"))
    answer = client(sluice).chat.completions.create(
        model="m", messages=USER, extra_body={"x_new": {"a": 1}, "num_retries": 0}
    )
    assert answer.choices[0].message.content == "hi"
    sent = server.wait_request().json
    assert sent["x_new"] == {"a": 1} and "num_retries" not in sent


@pytest.mark.parametrize("encoding_format", ["float", "base64", None])
def test_embeddings_in_each_encoding(env, upstream: Upstream, encoding_format: Any) -> None:
    sluice = start(env, upstream)
    kwargs = {"encoding_format": encoding_format} if encoding_format else {}
    answer = client(sluice).embeddings.create(model="m", input=["a", "bbb"], **kwargs)
    assert [d.index for d in answer.data] == [0, 1]
    if encoding_format == "base64":
        assert isinstance(answer.data[0].embedding, str)  # the caller asked for it himself
    else:
        assert answer.data[0].embedding == [1.0, 97.0, 0.5, -0.25]


def test_all_of_it_asynchronously(env, upstream: Upstream) -> None:
    sluice = start(env, upstream)

    async def ask() -> None:
        async with openai.AsyncOpenAI(**options(sluice)) as c:
            chats = [c.chat.completions.create(model="m", messages=USER) for _ in range(8)]
            for answer in await asyncio.gather(*chats):
                assert answer.choices[0].message.content == "Hello world"
            async with c.chat.completions.stream(model="m", messages=USER) as stream:
                async for _ in stream:
                    pass
                last = await stream.get_final_completion()
                assert last.choices[0].message.content == "Hello world"
            text = ""
            async for part in await c.completions.create(model="m", prompt="p", stream=True):
                text += part.choices[0].text if part.choices else ""
            assert text == "Hello world"
            assert len((await c.embeddings.create(model="m", input=["a", "b"])).data) == 2
            assert [m.id async for m in c.models.list()] == ["m"]
            with pytest.raises(openai.NotFoundError) as e:
                await c.models.retrieve("nobody")
            assert e.value.code == "model_not_found"

    asyncio.run(ask())


def test_two_names_for_the_key(env) -> None:
    """AzureOpenAI puts the model into the path and the key into api-key."""
    sluice = env.start({"m": mock("from azure")}, general={"master_key": "sk-1"})
    azure = openai.AzureOpenAI(
        api_key="sk-1", azure_endpoint=sluice.url, api_version="2024-02-01", max_retries=0
    )
    answer = azure.chat.completions.create(model="m", messages=USER)
    assert answer.choices[0].message.content == "from azure"

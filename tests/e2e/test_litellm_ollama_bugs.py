"""Bugs that users of LiteLLM have reported against its Ollama translation, each under its number there (L: BerriAI/litellm).

With scripted answers where the case must be exact, with the real Ollama where it can show it.
"""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from testenv.daemon import Daemon
from testenv.http import SseEvent, chat_body, contents
from testenv.models import OllamaServer
from testenv.rules import check_complete, data_of
from testenv.upstream import Upstream, chunk, end, say, text

CHAT = "/v1/chat/completions"
PREFIXES = pytest.mark.parametrize("prefix", ["ollama", "ollama_chat"])

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def start(env, ollama: Upstream, prefix: str = "ollama_chat", **params: Any) -> Daemon:
    return env.start({"m": ollama.deployment(**params) | {"model": f"{prefix}/m1"}})


def stream(sluice: Daemon, body: Any, path: str = CHAT) -> list[SseEvent]:
    with sluice.http(timeout=50) as http:
        http.send_request("POST", path, {**body, "stream": True})
        answer = http.read_head()
        assert answer.status == 200, b"".join(http.body_parts(answer))
        return list(http.sse(answer))


def said(**message: Any) -> Any:
    """One line of /api/chat."""
    line = {"model": "m1", "message": {"role": "assistant", "content": "", **message}}
    return chunk(json.dumps({**line, "done": False}).encode() + b"\n")


def called(name: str, arguments: Any, **members: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, **members}


def calls_of(events: list[SseEvent]) -> dict[int, dict[str, Any]]:
    """As a client adds them up: strings are concatenated."""
    out: dict[int, dict[str, Any]] = {}
    for one in data_of(events):
        for choice in one["choices"]:
            for delta in choice["delta"].get("tool_calls") or []:
                call = out.setdefault(delta["index"], {"id": "", "name": "", "arguments": ""})
                call["id"] += delta.get("id") or ""
                for key in ("name", "arguments"):
                    call[key] += delta["function"].get(key) or ""
    return out


def reason_of(events: list[SseEvent]) -> str:
    reasons = [c["finish_reason"] for d in data_of(events) for c in d["choices"]]
    (reason,) = [r for r in reasons if r]
    return reason


# ---------------------------------------------------------------------------------------------- finish reasons, tool calls


@PREFIXES
@pytest.mark.parametrize("streams", [False, True])
def test_L2209_L3333_L12481_finish_reason_with_tools(env, prefix: str, streams: bool) -> None:
    """The finish reason was wrong or missing where tools were called."""
    ollama = env.ollama()
    sluice = start(env, ollama, prefix)
    ollama.always(said(tool_calls=[called("get_weather", {"city": "Paris"})]), end("stop"))
    if streams:
        events = stream(sluice, chat_body(tools=[WEATHER]))
        check_complete(events)
        assert reason_of(events) == "tool_calls"
        return
    choice = sluice.post(CHAT, chat_body(tools=[WEATHER])).json["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function" and call["id"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}


@PREFIXES
def test_L35663_streamed_tool_call_finishes_with_tool_calls(env, prefix: str) -> None:
    """Also where the call came in an earlier line than the end, with words before it."""
    ollama = env.ollama()
    sluice = start(env, ollama, prefix)
    ollama.always(
        said(content="Let me look."),
        said(tool_calls=[called("get_weather", {"city": "Paris"})]),
        said(content=""),
        end("stop"),
    )
    events = stream(sluice, chat_body(tools=[WEATHER]))
    check_complete(events)
    assert reason_of(events) == "tool_calls" and contents(events) == "Let me look."


def examples() -> list[dict[str, Any]]:
    """Calls of earlier turns: after three of them even a very small model makes a correct one."""
    out: list[dict[str, Any]] = []
    for i, city in enumerate(("Rome", "Oslo", "Bern")):
        call = {"name": "get_weather", "arguments": json.dumps({"city": city})}
        out += [
            {"role": "user", "content": f"What is the weather in {city}?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"call_{i}", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": f"call_{i}", "content": "sunny"},
            {"role": "assistant", "content": f"It is sunny in {city}."},
        ]
    return out + [{"role": "user", "content": "What is the weather in Paris?"}]


@pytest.mark.timeout(60)
@PREFIXES
def test_L6135_L7094_L35711_tool_call_of_a_real_stream(
    env, ollama_server: OllamaServer, prefix: str
) -> None:
    """With streaming and tools the call arrived as plain text."""
    params = {"model": f"{prefix}/smollm2-tools", "api_base": ollama_server.url}
    sluice = env.start({"m": params})
    sdk = openai.OpenAI(api_key="x", base_url=sluice.url + "/v1", max_retries=0, timeout=50)
    with sdk.chat.completions.stream(
        model="m", messages=examples(), tools=[WEATHER], temperature=0, max_tokens=60
    ) as answer:
        final = answer.get_final_completion()
    choice = final.choices[0]
    assert choice.finish_reason == "tool_calls" and not choice.message.content
    (call,) = choice.message.tool_calls or []
    assert call.function.name == "get_weather" and call.id
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    whole = sdk.chat.completions.create(
        model="m", messages=examples(), tools=[WEATHER], temperature=0, max_tokens=60
    )
    assert whole.choices[0].finish_reason == "tool_calls"


@PREFIXES
def test_L6135_L7094_L35711_tool_calls_are_never_text(env, prefix: str) -> None:
    ollama = env.ollama()
    sluice = start(env, ollama, prefix)
    ollama.always(said(tool_calls=[called("get_weather", {"city": "Paris"}, id="call_a")]), end())
    events = stream(sluice, chat_body(tools=[WEATHER]))
    assert contents(events) == ""
    assert calls_of(events) == {
        0: {"id": "call_a", "name": "get_weather", "arguments": '{"city": "Paris"}'}
    }
    asked = ollama.requests("chat")[0].json
    assert asked["tools"] == [WEATHER] and "format" not in asked, "no detour through JSON mode"


def test_L7570_tools_and_num_ctx_together_under_ollama(env) -> None:
    """ollama/ could not do tools, and the way around it lost num_ctx."""
    ollama = env.ollama()
    sluice = start(env, ollama, "ollama", num_ctx=2048)
    ollama.always(said(tool_calls=[called("get_weather", {"city": "Paris"})]), end())
    answer = sluice.post(CHAT, chat_body(tools=[WEATHER])).json
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    (exchange,) = ollama.requests("chat")
    assert exchange.path == "/api/chat" and exchange.json["options"]["num_ctx"] == 2048
    assert ollama.requests("load")[0].json["options"]["num_ctx"] == 2048


@PREFIXES
@pytest.mark.parametrize("arguments", [{}, None, ""])
def test_L11262_id_of_a_streamed_call_without_arguments(env, prefix: str, arguments: Any) -> None:
    ollama = env.ollama()
    sluice = start(env, ollama, prefix)
    ollama.always(said(tool_calls=[called("now", arguments)]), end())
    events = stream(sluice, chat_body(tools=[WEATHER]))
    (call,) = calls_of(events).values()
    assert call["id"] and call["name"] == "now" and call["arguments"] == "{}"
    first = next(
        d["choices"][0]["delta"]["tool_calls"][0]
        for d in data_of(events)
        if d["choices"] and d["choices"][0]["delta"].get("tool_calls")
    )
    assert first["id"] and first["type"] == "function", "with the first piece of it"


def test_L11262_parallel_calls_are_told_apart(env) -> None:
    ollama = env.ollama()
    sluice = start(env, ollama)
    ollama.always(
        said(tool_calls=[called("now", {}), called("get_weather", {"city": "Oslo"})]),
        said(tool_calls=[called("now", {})]),
        end(),
    )
    calls = calls_of(stream(sluice, chat_body(tools=[WEATHER])))
    assert sorted(calls) == [0, 1, 2], "numbered without gaps, over all lines"
    assert len({c["id"] for c in calls.values()}) == 3
    assert [calls[i]["name"] for i in range(3)] == ["now", "get_weather", "now"]


def test_L26094_earlier_calls_and_results_are_forwarded(env) -> None:
    """Without them the model calls the same tool for ever."""
    ollama = env.ollama()
    sluice = start(env, ollama)
    assert sluice.post(CHAT, {"model": "m", "messages": examples(), "tools": [WEATHER]}).status == 200
    messages = ollama.requests("chat")[0].json["messages"]
    assert messages[1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "call_0",
                "function": {"index": 0, "name": "get_weather", "arguments": {"city": "Rome"}},
            }
        ],
    }
    assert messages[2] == {
        "role": "tool",
        "content": "sunny",
        "tool_name": "get_weather",
        "tool_call_id": "call_0",
    }


@PREFIXES
def test_LPR40611_an_empty_list_of_tools_is_none(env, prefix: str) -> None:
    """tools: [] forced the answer into JSON."""
    ollama = env.ollama()
    sluice = start(env, ollama, prefix)
    answer = sluice.post(CHAT, chat_body(tools=[])).json
    assert answer["choices"][0]["message"]["content"] == "Hello world"
    asked = ollama.requests("chat")[0].json
    assert "tools" not in asked and "format" not in asked


# ---------------------------------------------------------------------------------------------- thinking


def thoughts(events: list[SseEvent]) -> list[str]:
    deltas = [c["delta"] for d in data_of(events) for c in d["choices"]]
    return [d["reasoning_content"] for d in deltas if d.get("reasoning_content")]


@PREFIXES
def test_L15463_L20737_all_thinking_deltas_are_streamed(env, prefix: str) -> None:
    """Only the first two were."""
    ollama = env.ollama()
    sluice = start(env, ollama, prefix)
    pieces = [f"thought {i} " for i in range(20)]
    ollama.always([said(thinking=p) for p in pieces], text("answer"), end())
    events = stream(sluice, chat_body(reasoning_effort="low"))
    check_complete(events)
    assert thoughts(events) == pieces and contents(events) == "answer"
    message = sluice.post(CHAT, chat_body()).json["choices"][0]["message"]
    assert message["reasoning_content"] == "".join(pieces) and message["content"] == "answer"


@pytest.mark.timeout(60)
def test_L15463_L20737_thinking_of_a_real_model(env, ollama_server: OllamaServer) -> None:
    params = {"model": "ollama_chat/smollm2-think", "api_base": ollama_server.url}
    sluice = env.start({"m": params})
    body = chat_body("m", "why?", reasoning_effort="low", temperature=0, max_tokens=20)
    events = stream(sluice, body)
    check_complete(events)
    assert len(thoughts(events)) > 10
    quiet = stream(sluice, chat_body("m", "why?", reasoning_effort="none", max_tokens=8))
    assert not thoughts(quiet) and contents(quiet)


def test_L13340_ollama_takes_thinking_in_a_completion(env) -> None:
    """ollama/ crashed on a line with "thinking"."""
    ollama = env.ollama()
    sluice = start(env, ollama, "ollama")
    line = {"model": "m1", "response": "", "thinking": "hm", "done": False}
    ollama.always(chunk(json.dumps(line).encode() + b"\n"), text("fine"), end())
    answer = sluice.post("/v1/completions", {"model": "m", "prompt": "x"})
    assert answer.status == 200 and answer.json["choices"][0]["text"] == "fine"
    events = stream(sluice, {"model": "m", "prompt": "x"}, "/v1/completions")
    check_complete(events)
    assert "".join(c["text"] for d in data_of(events) for c in d["choices"]) == "fine"


# ---------------------------------------------------------------------------------------------- streams


@PREFIXES
def test_LPR25216_the_first_chunk_is_not_dropped(env, prefix: str) -> None:
    ollama = env.ollama()
    sluice = start(env, ollama, prefix)
    ollama.always(say("First", " second", " third"))
    assert contents(stream(sluice, chat_body())) == "First second third"


@PREFIXES
def test_L1243_the_stream_is_openais(env, prefix: str) -> None:
    """One id, integers for times, a finish chunk, [DONE]."""
    ollama = env.ollama()
    sluice = start(env, ollama, prefix)
    body = chat_body(stream_options={"include_usage": True})
    chunks = check_complete(stream(sluice, body), wants_usage=True)
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    assert {c["model"] for c in chunks} == {"m"}, "the name that was asked for, without a prefix"


# ---------------------------------------------------------------------------------------------- the request map


@PREFIXES
def test_frequency_penalty_is_not_repeat_penalty(env, prefix: str) -> None:
    """-2..2 is added, repeat_penalty multiplies: 0, which clients send by default, ruined the answer."""
    ollama = env.ollama()
    sluice = start(env, ollama, prefix)
    sluice.post(CHAT, chat_body(frequency_penalty=0, presence_penalty=0.5))
    options = ollama.requests("chat")[0].json["options"]
    assert options == {"frequency_penalty": 0, "presence_penalty": 0.5}


@PREFIXES
def test_tool_choice_is_never_dropped_in_silence(env, prefix: str) -> None:
    ollama = env.ollama()
    sluice = start(env, ollama, prefix)
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        answer = sluice.post(CHAT, chat_body(tools=[WEATHER], tool_choice=choice))
        assert answer.status == 400 and answer.error["param"] == "tool_choice", answer
        assert answer.error["code"] == "unsupported_parameter"
    assert not ollama.exchanges
    assert sluice.post(CHAT, chat_body(tools=[WEATHER], tool_choice="none")).status == 200
    assert "tools" not in ollama.requests("chat")[0].json
    assert sluice.post(CHAT, chat_body(tools=[WEATHER], tool_choice="auto")).status == 200
    assert ollama.requests("chat")[1].json["tools"] == [WEATHER]


def test_capabilities_are_not_looked_up_elsewhere(env) -> None:
    """LiteLLM asks /api/show of another server than the deployment's; here nobody is asked for it at all."""
    ollama = env.ollama()
    sluice = start(env, ollama)
    sluice.post(CHAT, chat_body(tools=[WEATHER]))
    ollama.wait_request(1, "version")
    assert {ex.path for ex in ollama.exchanges} == {"/api/generate", "/api/chat", "/api/version"}


def test_usage_is_ollamas_own(env) -> None:
    """No estimate with somebody else's tokenizer; counts that Ollama leaves out are 0."""
    ollama = env.ollama()
    sluice = start(env, ollama)
    done = {"model": "m1", "message": {"content": "hi"}, "done": True, "done_reason": "stop"}
    ollama.next(chunk(json.dumps({**done, "prompt_eval_count": 41}).encode() + b"\n"))
    usage = sluice.post(CHAT, chat_body()).json["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (41, 0)

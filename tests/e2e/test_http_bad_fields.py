"""Every member that sluice reads, with a wrong type, out of range, too long, too deep, too many: 400 with `param`, and nothing
reaches the model server."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
from testenv.http import chat_body

CHAT, COMPLETE, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
USER = {"role": "user", "content": "x"}
BASES: dict[str, dict[str, Any]] = {
    CHAT: chat_body("m"),
    COMPLETE: {"model": "m", "prompt": "x"},
    EMBED: {"model": "m", "input": "x"},
}
VALUES = {
    "a boolean": True,
    "a number": 1,
    "a fraction": 1.5,
    "a string": "x",
    "an array": [1],
    "an object": {"a": 1},
}
# What a member may be; every other type is wrong.
NUMBER, INTEGER, STRING, BOOLEAN = {"a number", "a fraction"}, {"a number"}, {"a string"}, {"a boolean"}
ARRAY, OBJECT = {"an array"}, {"an object"}
SAMPLING: dict[str, set[str]] = {
    "temperature": NUMBER,
    "top_p": NUMBER,
    "frequency_penalty": NUMBER,
    "presence_penalty": NUMBER,
    "min_p": NUMBER,
    "seed": INTEGER,
    "n": INTEGER,
    "top_k": INTEGER,
    "max_tokens": INTEGER,
    "stop": STRING | ARRAY,
}
COMMON: dict[str, set[str]] = {
    "model": STRING,
    "service_tier": STRING,
    "user": STRING,
    "metadata": OBJECT,
    "logit_bias": OBJECT,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "num_retries": INTEGER,
    "timeout": NUMBER,
    "stream_timeout": NUMBER,
    "tags": ARRAY,
    "fallbacks": ARRAY,
    "disable_fallbacks": BOOLEAN,
}
TYPES: dict[str, dict[str, set[str]]] = {
    CHAT: {
        **COMMON,
        **SAMPLING,
        "messages": ARRAY,
        "max_completion_tokens": INTEGER,
        "logprobs": BOOLEAN,
        "top_logprobs": INTEGER,
        "tools": ARRAY,
        "tool_choice": STRING | OBJECT,
        "functions": ARRAY,
        "response_format": OBJECT,
        "reasoning_effort": STRING,
    },
    COMPLETE: {**COMMON, **SAMPLING, "prompt": STRING | ARRAY, "suffix": STRING, "logprobs": INTEGER},
    EMBED: {
        **COMMON,
        "input": STRING | ARRAY,
        "encoding_format": STRING,
        "dimensions": INTEGER,
    },
}


def wrong_types() -> Iterator[tuple[str, str, str]]:
    for path, members in TYPES.items():
        for member, allowed in members.items():
            for name in sorted(set(VALUES) - allowed):
                yield path, member, name


RANGES: dict[str, list[dict[str, Any]]] = {
    CHAT: [
        *({"temperature": v} for v in (-0.1, 2.1, 1e300)),
        *({"top_p": v} for v in (-0.1, 1.1)),
        *({"min_p": v} for v in (-0.1, 1.1)),
        *({"frequency_penalty": v} for v in (-2.1, 2.1)),
        *({"presence_penalty": v} for v in (-2.1, 2.1)),
        *({"seed": v} for v in (2**63, -(2**63) - 1)),
        *({"n": v} for v in (0, -1, 9, 2**40)),
        *({"top_k": v} for v in (-2, 2**31)),
        *({"max_tokens": v} for v in (0, -2, 2**31)),
        *({"max_completion_tokens": v} for v in (0, -2, 2**31)),
        *({"top_logprobs": v} for v in (-1, 21)),
        *({"num_retries": v} for v in (-1, 17)),
        *({"timeout": v} for v in (0, -1, 86401)),
        *({"stream_timeout": v} for v in (0, -1, 86401)),
        {"model": ""},
        {"model": "m" * 257},
        {"stop": ["x"] * 17},
        {"stop": [1]},
        {"tags": ["x" * 129]},
        {"tags": [str(i) for i in range(17)]},
        {"fallbacks": [str(i) for i in range(9)]},
        {"fallbacks": ["x" * 257]},
        {"messages": []},
        {"messages": [USER] * 16_385},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 4097}]},
        {"messages": [{**USER, "tool_calls": [{"function": {"name": "f"}}] * 129}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}] * 1025},
        {"tools": [{}]},
        {"tools": [{"type": "function", "function": {}}]},
        {"tools": [{"type": "function", "function": {"name": 1}}]},
        {"tools": ["f"]},
        {"response_format": {}},
        {"response_format": {"type": 1}},
        {"stream_options": {"include_usage": 1}},
    ],
    COMPLETE: [
        {"prompt": []},
        {"prompt": [None]},
        {"prompt": ["x", 1]},
        {"prompt": ["x"] * 257},
        {"logprobs": 21},
        {"max_tokens": -2},
    ],
    EMBED: [
        {"input": []},
        {"input": [None]},
        {"input": ["x", 1]},
        {"input": ["x"] * 2049},
        {"encoding_format": "hex"},
        {"dimensions": 0},
        {"dimensions": 2**31},
    ],
}

MESSAGES: dict[str, Any] = {
    "messages[0]": "x",
    "messages[0].role": {"content": "x"},
    "messages[0].content": {"role": "user", "content": 1},
    "messages[0].content[0]": {"role": "user", "content": [1]},
    "messages[0].content[0].type": {"role": "user", "content": [{"text": "x"}]},
    "messages[0].content[0].text": {"role": "user", "content": [{"type": "text", "text": 1}]},
    "messages[0].content[0].image_url": {
        "role": "user",
        "content": [{"type": "image_url", "image_url": 1}],
    },
    "messages[0].content[0].image_url.url": {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
    },
    "messages[0].tool_calls": {"role": "assistant", "tool_calls": {}},
    "messages[0].tool_calls[0].function": {"role": "assistant", "tool_calls": [{"id": "c"}]},
    "messages[0].tool_calls[0].function.name": {
        "role": "assistant",
        "tool_calls": [{"id": "c", "function": {"arguments": "{}"}}],
    },
    "messages[0].tool_calls[0].function.arguments": {
        "role": "assistant",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": 1}}],
    },
    "messages[0].tool_calls[0].id": {
        "role": "assistant",
        "tool_calls": [{"id": 1, "function": {"name": "f"}}],
    },
    "messages[0].tool_call_id": {"role": "tool", "content": "x", "tool_call_id": 1},
    "messages[0].name": {"role": "user", "content": "x", "name": 1},
}


@pytest.fixture(scope="module")
def requests() -> list[tuple[str, dict[str, Any], str]]:
    """Path, body, the param that must be named."""
    rows = [(p, {**BASES[p], m: VALUES[v]}, m) for p, m, v in wrong_types()]
    rows += [(p, {**BASES[p], **one}, next(iter(one))) for p, all_ in RANGES.items() for one in all_]
    rows += [(CHAT, {"model": "m", "messages": [one]}, param) for param, one in MESSAGES.items()]
    for path, base in BASES.items():
        rows += [(path, {k: v for k, v in base.items() if k != name}, name) for name in base]
    return rows


@pytest.mark.parametrize("dialect", ["openai", "ollama"])
def test_nothing_wrong_passes(
    env, requests: list[tuple[str, dict[str, Any], str]], dialect: str
) -> None:
    server = env.upstream(dialect)
    sluice = env.start({"m": server.deployment()})
    wrong = []
    with sluice.http() as http:
        for path, body, param in requests:
            answer = http.request("POST", path, body)
            good = (
                answer.status == 400
                and answer.error["type"] == "invalid_request_error"
                and (answer.error["param"] or "").startswith(param)
            )
            if not good:
                wrong.append((path, param, str(body.get(param))[:60], answer.status, answer.body[:200]))
        assert not wrong, "\n".join(map(str, wrong))
        assert not server.exchanges, "a bad request reached the model server"
        assert http.request("POST", CHAT, BASES[CHAT]).status == 200
    assert len(requests) > 200

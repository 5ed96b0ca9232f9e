"""Every member that sluice reads, with a wrong type, out of range, too long, too deep, too many: 400 with `param`, and nothing
reaches the model server."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
from testenv.http import chat_body
from testenv.upstream import Upstream

CHAT, COMPLETE, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
RERANK, CLASSIFY = "/v1/rerank", "/v1/classify"
USER = {"role": "user", "content": "x"}
BASES: dict[str, dict[str, Any]] = {
    CHAT: chat_body("m"),
    COMPLETE: {"model": "m", "prompt": "x"},
    EMBED: {"model": "m", "input": "x"},
    RERANK: {"model": "m", "query": "x", "documents": ["x"]},
    CLASSIFY: {"model": "m", "input": "x"},
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
    "logit_bias": OBJECT,
    "echo": BOOLEAN,
}
POOLING: dict[str, set[str]] = {"truncate_prompt_tokens": INTEGER, "use_activation": BOOLEAN}
COMMON: dict[str, set[str]] = {
    "model": STRING,
    "service_tier": STRING,
    "user": STRING,
    "metadata": OBJECT,
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
        "store": BOOLEAN,
        "parallel_tool_calls": BOOLEAN,
        "function_call": STRING | OBJECT,
        "modalities": ARRAY,
        "audio": OBJECT,
        "prediction": OBJECT,
        "verbosity": STRING,
        "safety_identifier": STRING,
        "prompt_cache_key": STRING,
        "prompt_cache_retention": STRING,
        "prompt_cache_options": OBJECT,
        "moderation": OBJECT,
        "web_search_options": OBJECT,
        "chat_template_kwargs": OBJECT,
    },
    COMPLETE: {
        **COMMON,
        **SAMPLING,
        "prompt": STRING | ARRAY,
        "suffix": STRING,
        "logprobs": INTEGER,
        "best_of": INTEGER,
    },
    RERANK: {
        **COMMON,
        **POOLING,
        "query": STRING | OBJECT,
        "documents": ARRAY | OBJECT,
        "top_n": INTEGER,
        "return_documents": BOOLEAN,
        "max_tokens_per_doc": INTEGER,
        "max_chunks_per_doc": INTEGER,
        "rank_fields": ARRAY,
        "max_tokens_per_query": INTEGER,
        "instruction": STRING,
        "chat_template_kwargs": OBJECT,
    },
    CLASSIFY: {**COMMON, **POOLING, "input": STRING | ARRAY, "add_special_tokens": BOOLEAN},
    EMBED: {
        **COMMON,
        **POOLING,
        "add_special_tokens": BOOLEAN,
        "normalize": BOOLEAN,
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
        {"stream_options": {"include_obfuscation": 1}},
        {"max_tokens": "x", "max_completion_tokens": 1},
        {"logit_bias": {"1": 101}},
        {"logit_bias": {"1": "x"}},
        {"modalities": [1]},
        {"audio": {"voice": 1}},
        {"prediction": {"content": 1}},
        {"web_search_options": {"search_context_size": 1}},
        {"moderation": {"policy": 1}},
        {"functions": [{}]},
        {"functions": ["f"]},
        {"function_call": "some"},
        {"function_call": {}},
        {"tool_choice": "some"},
        {"tool_choice": {"type": "function"}},
        {"tool_choice": {"type": "function", "function": {}}},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": 1}}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "strict": "x"}}]},
        {"tools": [{"type": "custom", "custom": {}}]},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": "x"}}},
        {"response_format": {"type": "json_schema", "json_schema": {"strict": 1}}},
    ],
    COMPLETE: [
        {"prompt": []},
        {"prompt": [None]},
        {"prompt": ["x", 1]},
        {"prompt": ["x"] * 257},
        {"logprobs": 21},
        {"max_tokens": -2},
        {"best_of": 0},
        {"prompt": [1, -1]},
        {"prompt": [[1], [1.5]]},
        {"prompt": [[]]},
    ],
    RERANK: [
        {"query": ""},
        {"documents": []},
        {"documents": ["x"] * 2049},
        {"documents": [1]},
        {"top_n": -1},
        {"max_tokens_per_doc": -1},
        {"rank_fields": [1]},
        {"truncate_prompt_tokens": -2},
    ],
    CLASSIFY: [{"input": []}, {"input": ["x"] * 2049}, {"input": [1.5]}],
    EMBED: [
        {"input": [2**31]},
        {"input": []},
        {"input": [None]},
        {"input": ["x", 1]},
        {"input": ["x"] * 2049},
        {"encoding_format": "hex"},
        {"dimensions": 0},
        {"dimensions": 2**31},
    ],
}



def image(url: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


IMAGES = [
    "data:image/png,aGk=",
    "data:image/png;base64,",
    "data:image/png;base64,a-k=",
    "data:image/png;base64,aG k=",
    "data:image/png;base64,aGkaa",
    "data:image/png;base64,aGk==",
    "data:text/plain;base64,aGk=",
    "data:application/pdf;base64,aGk=",
    "ftp://localhost/a.png",
    "",
]
MESSAGES: dict[str, Any] = {
    "messages[0].refusal": {"role": "assistant", "refusal": 1},
    "messages[0].audio": {"role": "assistant", "audio": 1},
    "messages[0].content[0].input_audio": {
        "role": "user",
        "content": [{"type": "input_audio", "input_audio": {"data": 1}}],
    },
    "messages[0].content[0].file": {"role": "user", "content": [{"type": "file", "file": 1}]},
    "messages[0].content[0].image_url.detail": {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "https://localhost/a", "detail": 1}}],
    },
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
    param = "messages[0].content[0].image_url.url"
    rows += [(CHAT, {"model": "m", "messages": [image(url)]}, param) for url in IMAGES]
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


CARRIED: dict[str, Any] = {
    "store": False,
    "parallel_tool_calls": True,
    "modalities": ["text"],
    "audio": {"format": "wav", "voice": "v"},
    "prediction": {"type": "content", "content": "x"},
    "verbosity": "low",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "web_search_options": {"search_context_size": "low"},
    "moderation": {"model": "m"},
    "logit_bias": {"1": -100},
    "tool_choice": {"type": "web_search"},
    "user": None,
    "audios": 1,
    "best_of": "not of chat",
}


def test_what_is_right_arrives_unchanged(env) -> None:
    """Known or not, on or off: sluice acts on none of these."""
    server = env.openai()
    sluice = env.start({"m": server.deployment()})
    assert sluice.post(CHAT, chat_body("m", **CARRIED)).status == 200
    sent = server.wait_request().json
    assert {name: sent[name] for name in CARRIED} == CARRIED


@pytest.mark.parametrize(
    "path, members",
    [
        (CHAT, {"modalities": ["text", "audio"]}),
        (CHAT, {"modalities": ["image"]}),
        (COMPLETE, {"best_of": 2}),
        (COMPLETE, {"best_of": 3, "n": 2}),
    ],
)
def test_what_no_event_carries_is_refused(env, path: str, members: dict[str, Any]) -> None:
    """Rather than answered without the sound, or with any of several."""
    server = env.openai()
    sluice = env.start(
        {
            "m": server.deployment(),
            "drops": server.deployment(additional_drop_params=[next(iter(members))]),
        }
    )
    answer = sluice.post(path, {**BASES[path], **members})
    assert answer.status == 400 and answer.error["code"] == "unsupported_parameter", answer
    assert answer.error["param"] == next(iter(members))
    assert not server.exchanges
    dropped = {**BASES[path], **members, "model": "drops"}
    dropped.pop("n", None)
    assert sluice.post(path, dropped).status == 200


def test_best_of_that_asks_nothing_passes(env) -> None:
    server = env.openai()
    sluice = env.start({"m": server.deployment()})
    for value in (None, 1):
        assert sluice.post(COMPLETE, {**BASES[COMPLETE], "best_of": value}).status == 200


def test_extra_body_is_what_clients_make_of_it(env, upstream: Upstream) -> None:
    """OpenAI's clients put its members into the body; who sends the word itself means the same."""
    sluice = env.start({"m": upstream.deployment()})
    extra = {"top_k": 7, "temperature": 0.5, "model": "m"}
    body = chat_body("another", temperature=1, extra_body=extra)
    assert sluice.post(CHAT, body).status == 200
    sent = upstream.wait_request().json
    sampling = sent.get("options", sent)
    assert sampling["top_k"] == 7 and sampling["temperature"] == 0.5 and "extra_body" not in sent
    for wrong, param in (({"api_base": "http://localhost"}, "api_base"), ({"n": 0}, "n"), (1, "extra_body")):
        answer = sluice.post(CHAT, chat_body("m", extra_body=wrong))
        assert answer.status == 400 and answer.error["param"] == param, answer
    assert len(upstream.requests()) == 1

"""The requests that both gateways get: one entry each. To add one is to add a line; its name is what reasons.yaml and
docs/litellm-differences.md call it, and stays.

An entry says which configuration it belongs to (config/NAME.yaml), what is sent, and what the fake servers answer, in the order in
which they are asked (else they say "Hello world"). Requests of one configuration run in the order of this file, each to LiteLLM
and then to sluice; nothing is shared between them but what the gateways themselves remember.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Optional

from servers import answer, begun, breaks, cut, fault
from testenv.upstream import begin, clean_end, fin, rst, stall, whole

KEY = "sk-compat-master-1234567890"
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


@dataclass(frozen=True)
class Entry:
    name: str
    config: str
    method: str
    path: str
    body: Any
    headers: dict[str, Optional[str]]
    scripts: tuple[Any, ...]  # of whichever server is asked
    touches_ollama: bool
    is_direct: bool = False  # also asked of a real Ollama


TABLE: list[Entry] = []


def add(
    name: str,
    path: str,
    body: Any = None,
    *scripts: Any,
    config: str = "main",
    method: str = "",
    headers: Optional[dict[str, Optional[str]]] = None,
    direct: bool = False,
) -> None:
    """Puts an entry into the table. scripts: lists of steps, or single steps. A header of None is not sent."""
    all_headers: dict[str, Optional[str]] = {}
    if config != "keyless":
        all_headers["Authorization"] = f"Bearer {KEY}"
    all_headers.update(headers or {})
    model = body.get("model") if isinstance(body, dict) else ""
    on_ollama = isinstance(model, str) and (model in OLLAMA_GROUPS)
    flat = tuple(s if isinstance(s, list) else [s] for s in scripts)
    verb = method or ("GET" if body is None else "POST")
    TABLE.append(Entry(name, config, verb, path, body, all_headers, flat, on_ollama, direct))


OLLAMA_GROUPS = {"o", "g", "o-pinned", "oe", "retried-ollama"}


def said(role: str, content: Any, **members: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **members}


def chat(name: str, model: str, *scripts: Any, **members: Any) -> None:
    """One question to a chat model; members are the body's, config and headers the entry's."""
    known = {k: members.pop(k) for k in ("config", "headers", "path", "direct") if k in members}
    body = {"model": model, "messages": [said("user", "hello")], **members}
    path = known.pop("path", "/v1/chat/completions")
    add(name, path, body, *scripts, **known)


def raw(name: str, body: bytes, path: str = "/v1/chat/completions", **known: Any) -> None:
    """A body that is not what json.dumps would say."""
    add(name, path, body, **known)


def tool(name: str = "get_weather", **members: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    function = {"name": name, "description": "tells", "parameters": parameters, **members}
    return {"type": "function", "function": function}


CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}
CALLS = (("call_u1", "get_weather", {"city": "Paris"}),)
TWO_CALLS = CALLS + (("call_u2", "get_weather", {"city": "Rome"}),)
NO_ARGUMENTS = (("call_u1", "now", {}),)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "number", "schema": SCHEMA}}
STREAM = {"stream": True}
COUNTED = {"stream": True, "stream_options": {"include_usage": True}}


# ---------------------------------------------------------------- chat: what every client says, to both dialects

for kind, m in (("openai", "m"), ("ollama", "o")):

    def both(name: str, *scripts: Any, **members: Any) -> None:
        chat(f"{kind}: {name}", m, *scripts, direct=kind == "ollama", **members)  # noqa: B023

    both("chat")
    both("stream", **STREAM)
    both("stream with usage", **COUNTED)
    both("system message", messages=[said("system", "be brief"), said("user", "hello")])
    both("developer message", messages=[said("developer", "be brief"), said("user", "hello")])
    both("parts", messages=[said("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])])
    both(
        "image",
        messages=[
            said(
                "user",
                [
                    {"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": PIXEL}},
                ],
            )
        ],
    )
    both("several turns", messages=[said("user", "a"), said("assistant", "b"), said("user", "c")])
    both("tools", answer(tools=CALLS, finish="tool_calls" if m == "m" else "stop"), tools=[tool()])
    both(
        "tools, streamed",
        answer(tools=CALLS, finish="tool_calls" if m == "m" else "stop"),
        tools=[tool()],
        **STREAM,
    )
    both(
        "two tool calls, streamed",
        answer(tools=TWO_CALLS, finish="tool_calls" if m == "m" else "stop"),
        tools=[tool()],
        **STREAM,
    )
    both(
        "a tool call without arguments, streamed",
        answer(tools=NO_ARGUMENTS, finish="tool_calls" if m == "m" else "stop"),
        tools=[tool("now")],
        **STREAM,
    )
    both("tools not called", tools=[tool()])
    both("an empty list of tools", tools=[])
    both("tool_choice auto", tools=[tool()], tool_choice="auto")
    both("tool_choice none", tools=[tool()], tool_choice="none")
    both("tool_choice required", tools=[tool()], tool_choice="required")
    both(
        "tool_choice by name",
        tools=[tool()],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    both("parallel_tool_calls false", tools=[tool()], parallel_tool_calls=False)
    both(
        "a tool's result",
        messages=[
            said("user", "weather?"),
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            said("tool", "sunny", tool_call_id="call_1"),
        ],
        tools=[tool()],
    )
    both("json_object", answer("{}"), response_format={"type": "json_object"}, temperature=0)
    both("json_schema", answer('{"n": 1}'), response_format=JSON_SCHEMA, temperature=0)
    both("thinking", answer("four", thinking=("two", " and two")))
    both("thinking, streamed", answer("four", thinking=("two", " and", " two")), **STREAM)
    both("reasoning_effort", reasoning_effort="low")
    both("logprobs", answer(logprobs=True), logprobs=True, top_logprobs=1)
    both("logprobs, streamed", answer(logprobs=True), logprobs=True, top_logprobs=1, **STREAM)
    both("temperature and top_p", temperature=0.5, top_p=0.9)
    both("seed", seed=42)
    both("stop as text", stop="END")
    both("stop as list", stop=["END", "STOP"])
    both("n 2", n=2)
    both("n 2, streamed", n=2, **STREAM)
    both("max_tokens", answer(finish="length"), max_tokens=5)
    both("max_completion_tokens", answer(finish="length"), max_completion_tokens=6)
    both("max_tokens and max_completion_tokens", max_tokens=5, max_completion_tokens=6)
    both("frequency_penalty 0", frequency_penalty=0)
    both("frequency_penalty 1", frequency_penalty=1)
    both("presence_penalty", presence_penalty=0.5)
    both("logit_bias", logit_bias={"5": -100})
    both("user and metadata", user="u-1", metadata={"a": "b"})
    both("service_tier and store", service_tier="auto", store=False)
    both("fields of other servers", top_k=20, min_p=0.1, repeat_penalty=1.1)
    both("an unknown field", some_new_field={"a": [1, 2]})
    both("null for what is optional", temperature=None, tools=None, stop=None, max_tokens=None)
    both("num_ctx and keep_alive", num_ctx=4096, keep_alive="5m")
    both("an integer above 2^53", seed=9007199254740993)
    both("text beyond ASCII", answer("\u00e9\U0001f600"), messages=[said("user", "\u00fc\U0001f600")])

chat("openai: content filter", "m", answer("", finish="content_filter"))
chat("openai: refusal", "m", answer(refusal="I will not."))
chat("openai: refusal, streamed", "m", answer(refusal="I will not."), **STREAM)
chat("openai: details of usage", "m", answer(details=True))
chat("openai: details of usage, streamed", "m", answer(details=True), **COUNTED)
chat("openai: an empty answer", "m", answer(""))
chat("openai: an empty answer, streamed", "m", answer(""), **STREAM)
chat("vllm: chat", "vllm")
chat("vllm: stream", "vllm", **STREAM)
chat("vllm: thinking", "vllm", answer("four", thinking=("two",)))
chat("defaults of the file", "defaults")
chat("defaults of the file, overruled", "defaults", temperature=0.9, max_tokens=5, stop="X")
chat("extra_headers and extra_body of the file", "extras")
chat("extra_body of the file, contradicted", "extras", top_k=1)
chat("mock_response", "mocked")
chat("mock_response, streamed", "mocked", **STREAM)
chat("ollama: pinned options", "o-pinned")
chat("ollama: pinned options, contradicted", "o-pinned", num_ctx=8192, keep_alive="1m", temperature=0.7)
chat("ollama/: chat", "g")
chat("ollama/: stream", "g", **STREAM)
chat("ollama/: system message", "g", messages=[said("system", "be brief"), said("user", "hello")])
chat("ollama/: tools", "g", answer(tools=CALLS), tools=[tool()])
chat("ollama/: json_schema", "g", answer('{"n": 1}'), response_format=JSON_SCHEMA)
chat("ollama/: thinking, streamed", "g", answer("four", thinking=("two",)), **STREAM)

# ---------------------------------------------------------------- names

chat("name: wildcard", "any/thing")
chat("name: wildcard with two slashes", "any/a/b")
chat("name: the longer wildcard wins", "any/special-x")
chat("name: wildcard with a fixed target", "fixed-whatever")
chat("name: alias", "other-name")
chat("name: hidden alias", "hidden-name")
chat("name: with slash and colon", "org/name:tag")
chat("name: a deployment's id", "id-m")
chat("name: the upstream's own", "m1")
chat("name: with the provider's prefix", "openai/m1")
chat("name: unknown", "no-such-model")
chat("name: unknown, streamed", "no-such-model", **STREAM)
chat("name: other case", "M")
chat("name: deployment without its variables", "unset")

# ---------------------------------------------------------------- paths

chat("path: without /v1", "m", path="/chat/completions")
chat("path: trailing slash", "m", path="/v1/chat/completions/")
chat("path: doubled slash", "m", path="//v1/chat/completions")
chat("path: query", "m", path="/v1/chat/completions?beta=true")
chat("path: of Azure's clients", "m", path="/openai/deployments/m/chat/completions")
add("path: unknown", "/v1/no-such-thing")
add("path: unknown, POST", "/v1/no-such-thing", {"model": "m"})
add("path: root", "/")
add("method: GET on chat", "/v1/chat/completions")
add("method: PUT on chat", "/v1/chat/completions", {}, method="PUT")
add("method: POST on models", "/v1/models", {})
add("method: HEAD on models", "/v1/models", method="HEAD")
add("method: OPTIONS from a page", "/v1/chat/completions", method="OPTIONS",
    headers={"Origin": "https://page.example", "Access-Control-Request-Method": "POST",
             "Authorization": None})
chat("a page of another origin", "m", headers={"Origin": "https://page.example"})

# ---------------------------------------------------------------- models, health

add("models", "/v1/models", direct=True)
add("models without /v1", "/models")
add("models, trailing slash", "/v1/models/")
add("a model", "/v1/models/m", direct=True)
add("a model with slash and colon", "/v1/models/org/name:tag")
add("a model with slash and colon, encoded", "/v1/models/org%2Fname%3Atag")
add("a model by its alias", "/v1/models/other-name")
add("a model by wildcard", "/v1/models/any/thing")
add("a model that is not there", "/v1/models/no-such-model", direct=True)
add("models of a file without wildcards", "/v1/models", config="dropping")
add("model/info", "/model/info", config="dropping")
add("v1/model/info", "/v1/model/info", config="dropping")
add("v1/model/info of one", "/v1/model/info?litellm_model_id=id-m", config="dropping")
add("model_group/info", "/model_group/info", config="dropping")
add("health/liveliness", "/health/liveliness", headers={"Authorization": None})
add("health/liveness", "/health/liveness", headers={"Authorization": None})
add("health/readiness", "/health/readiness", headers={"Authorization": None})
add("health/readiness with the key", "/health/readiness")
add("metrics", "/metrics")
add("routes of LiteLLM's management", "/key/info")

# ---------------------------------------------------------------- completions, embeddings, rerank, classify

for kind, m in (("openai", "m"), ("ollama", "g")):

    def text(name: str, *scripts: Any, **members: Any) -> None:
        body = {"model": m, "prompt": "once", **members}  # noqa: B023
        add(f"{kind}: {name}", "/v1/completions", body, *scripts, direct=kind == "ollama")  # noqa: B023

    text("completion")
    text("completion, streamed", **STREAM)
    text("completion, streamed with usage", **COUNTED)
    text("completion of several prompts", prompt=["once", "twice"])
    text("completion of one prompt in a list", prompt=["once"])
    text("completion of token ids", prompt=[1, 2, 3])
    text("completion with suffix", suffix="the end")
    text("completion with echo", echo=True)
    text("completion with logprobs", logprobs=1)
    text("completion with n", n=2)
    text("completion with best_of", best_of=2)
    text("completion with max_tokens and stop", max_tokens=5, stop=["END"])

for kind, m in (("openai", "e"), ("ollama", "oe")):

    def embed(name: str, value: Any = "hello", **members: Any) -> None:
        body = {"model": m, "input": value, **members}  # noqa: B023
        add(f"{kind}: {name}", "/v1/embeddings", body, direct=kind == "ollama")  # noqa: B023

    embed("embedding")
    embed("embeddings", ["a", "b"])
    embed("embedding as base64", encoding_format="base64")
    embed("embedding as float", encoding_format="float")
    embed("embedding with dimensions", dimensions=2)
    embed("embedding of token ids", [1, 2, 3])
    embed("embedding of lists of token ids", [[1, 2], [3]])
    embed("embedding of nothing", [])
    embed("embedding of an empty text", "")
    embed("embedding of a number", 5)
    embed("embedding with user", user="u-1")

DOCUMENTS = ["first", "second", "third"]
for path in ("/v1/rerank", "/rerank", "/v2/rerank"):
    add(f"rerank at {path}", path, {"model": "r", "query": "q", "documents": DOCUMENTS})
add("rerank with top_n", "/v1/rerank", {"model": "r", "query": "q", "documents": DOCUMENTS, "top_n": 2})
add("rerank with return_documents", "/v1/rerank",
    {"model": "r", "query": "q", "documents": DOCUMENTS, "return_documents": True})
add("rerank without documents", "/v1/rerank", {"model": "r", "query": "q"})
add("rerank without query", "/v1/rerank", {"model": "r", "documents": DOCUMENTS})
add("classify", "/v1/classify", {"model": "vllm", "input": "good"})
add("classify without /v1", "/classify", {"model": "vllm", "input": ["good", "bad"]})

# ---------------------------------------------------------------- keys

for name, headers in (
    ("none", {"Authorization": None}),
    ("wrong", {"Authorization": "Bearer sk-wrong"}),
    ("wrong, not like a key", {"Authorization": "Bearer wrong"}),
    ("empty", {"Authorization": "Bearer "}),
    ("without Bearer", {"Authorization": KEY}),
    ("bearer in small letters", {"Authorization": f"bearer {KEY}"}),
    ("Basic", {"Authorization": "Basic c2s6c2s="}),
    ("in x-api-key", {"Authorization": None, "x-api-key": KEY}),
    ("in api-key", {"Authorization": None, "api-key": KEY}),
    ("in x-litellm-api-key", {"Authorization": None, "x-litellm-api-key": f"Bearer {KEY}"}),
    ("wrong beside a right one", {"Authorization": "Bearer sk-wrong", "api-key": KEY}),
):
    chat(f"key: {name}", "m", headers=headers)
add("key: none, models", "/v1/models", headers={"Authorization": None})
add("key: wrong, models", "/v1/models", headers={"Authorization": "Bearer sk-wrong"})
add("key: wrong, unknown path", "/v1/no-such-thing", headers={"Authorization": "Bearer sk-wrong"})
raw("key: wrong, bad body", b"{", headers={"Authorization": "Bearer sk-wrong"})
chat("key: none needed", "m", config="keyless")
chat("key: any where none is needed", "m", config="keyless", headers={"Authorization": "Bearer sk-x"})
add("key: none needed, models", "/v1/models", config="keyless")

# ---------------------------------------------------------------- bad input

raw("bad: empty body", b"")
raw("bad: not JSON", b"hello")
raw("bad: cut JSON", b'{"model": "m", "messages": [')
raw("bad: an array", b"[]")
raw("bad: a text", b'"m"')
raw("bad: null", b"null")
raw("bad: nothing in it", b"{}")
raw("bad: a trailing comma", b'{"model": "m", "messages": [{"role": "user", "content": "x"}],}')
raw("bad: NaN", b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}')
raw("bad: a name twice", b'{"model": "x", "model": "m", "messages": [{"role": "user", "content": "x"}]}')
raw("bad: UTF-8 that is none", b'{"model": "m", "messages": [{"role": "user", "content": "\xff"}]}')
raw("bad: a lone surrogate", b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}')
raw("bad: a NUL", b'{"model": "m", "messages": [{"role": "user", "content": "a\\u0000b"}]}')
raw("bad: a byte order mark", b'\xef\xbb\xbf{"model": "m", "messages": [{"role": "user", "content": "x"}]}')
raw("bad: too deep", b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "x": %s}'
    % (b"[" * 500 + b"]" * 500))
PLAIN = json.dumps({"model": "m", "messages": [said("user", "hello")]}).encode()
raw("bad: text/plain", PLAIN, headers={"Content-Type": "text/plain"})
raw("bad: a form", b"model=m", headers={"Content-Type": "application/x-www-form-urlencoded"})
raw("bad: no Content-Type", PLAIN, headers={"Content-Type": None})
raw("bad: says gzip, is not", PLAIN, headers={"Content-Encoding": "gzip"})
raw("bad: larger than max_request_size_mb", PLAIN + b" " * 1200000, config="keyless")
add("bad: no model", "/v1/chat/completions", {"messages": [said("user", "x")]})
add("bad: no messages", "/v1/chat/completions", {"model": "m"})
for name, members in (
    ("model null", {"model": None}),
    ("model a number", {"model": 5}),
    ("model empty", {"model": ""}),
    ("messages a text", {"messages": "hello"}),
    ("messages null", {"messages": None}),
    ("no message", {"messages": []}),
    ("a message that is a text", {"messages": ["hello"]}),
    ("a message without role", {"messages": [{"content": "x"}]}),
    ("a role that is none", {"messages": [said("robot", "x")]}),
    ("a message without content", {"messages": [{"role": "user"}]}),
    ("content null", {"messages": [said("user", None)]}),
    ("content a number", {"messages": [said("user", 5)]}),
    ("a part of no known type", {"messages": [said("user", [{"type": "smell", "smell": "x"}])]}),
    ("a part without type", {"messages": [said("user", [{"text": "x"}])]}),
    ("an image that is no data URL", {
        "messages": [said("user", [{"type": "image_url", "image_url": {"url": "ftp://x"}}])]}),
    ("tool result without id", {"messages": [said("tool", "x")]}),
    ("temperature a text", {"temperature": "hot"}),
    ("temperature 3", {"temperature": 3}),
    ("temperature -1", {"temperature": -1}),
    ("top_p 2", {"top_p": 2}),
    ("max_tokens 0", {"max_tokens": 0}),
    ("max_tokens -1", {"max_tokens": -1}),
    ("max_tokens a text", {"max_tokens": "5"}),
    ("max_tokens a fraction", {"max_tokens": 5.5}),
    ("max_tokens a whole fraction", {"max_tokens": 5.0}),
    ("n 0", {"n": 0}),
    ("n a text", {"n": "2"}),
    ("n 1000", {"n": 1000}),
    ("stream a text", {"stream": "true"}),
    ("stream a number", {"stream": 1}),
    ("stream_options without stream", {"stream_options": {"include_usage": True}}),
    ("stop a number", {"stop": 5}),
    ("stop of five", {"stop": list("abcde")}),
    ("tools an object", {"tools": {}}),
    ("a tool without function", {"tools": [{"type": "function"}]}),
    ("a tool without name", {"tools": [{"type": "function", "function": {}}]}),
    ("tool_choice of no tool", {"tools": [tool()], "tool_choice": {
        "type": "function", "function": {"name": "other"}}}),
    ("tool_choice without tools", {"tool_choice": "required"}),
    ("top_logprobs without logprobs", {"top_logprobs": 2}),
    ("top_logprobs 21", {"logprobs": True, "top_logprobs": 21}),
    ("response_format a text", {"response_format": "json"}),
    ("response_format of no known type", {"response_format": {"type": "xml"}}),
    ("json_schema without schema", {"response_format": {"type": "json_schema"}}),
    ("seed a text", {"seed": "x"}),
    ("logit_bias a list", {"logit_bias": []}),
    ("frequency_penalty 3", {"frequency_penalty": 3}),
    ("metadata a text", {"metadata": "x"}),
    ("reasoning_effort of no known kind", {"reasoning_effort": "enormous"}),
):
    chat(f"bad: {name}", members.pop("model", "m"), **members)
add("bad: completion without prompt", "/v1/completions", {"model": "m"})
add("bad: embedding without input", "/v1/embeddings", {"model": "e"})
add("bad: embedding in a format that is none", "/v1/embeddings",
    {"model": "e", "input": "x", "encoding_format": "octal"})
add("chat model asked for an embedding", "/v1/embeddings", {"model": "m", "input": "x"})
add("embedding model asked to chat", "/v1/chat/completions",
    {"model": "e", "messages": [said("user", "x")]})

# ---------------------------------------------------------------- what model servers do wrong

for kind, m in (("openai", "m"), ("ollama", "o")):
    for status, message, members in (
        (400, "bad request", {"type": "invalid_request_error"}),
        (401, "who are you", {"type": "invalid_request_error", "code": "invalid_api_key"}),
        (403, "not you", {}),
        (404, 'model "m1" not found', {"type": "not_found_error", "code": "model_not_found"}),
        (408, "too slow", {}),
        (409, "conflict", {}),
        (413, "too large", {}),
        (422, "cannot be processed", {}),
        (429, "slow down", {"type": "rate_limit_error", "code": "rate_limit_exceeded"}),
        (500, "broken", {}),
        (502, "bad gateway", {}),
        (503, "server busy, please try again. maximum pending requests exceeded", {}),
        (504, "gateway timeout", {}),
    ):
        chat(f"{kind}: upstream says {status}", m, fault(status, message, **members))
    chat(f"{kind}: upstream says 429, streamed", m, fault(429, "slow down"), **STREAM)
    chat(f"{kind}: upstream says 429 with Retry-After", m, fault(429, "slow down", Retry_After="7"))
    chat(f"{kind}: upstream says 503 with Retry-After", m, fault(503, "busy", Retry_After="7"))
    chat(f"{kind}: upstream closes without an answer", m, [fin()])
    chat(f"{kind}: upstream resets without an answer", m, [rst()])
    chat(f"{kind}: upstream answers no JSON", m, whole(200, b"<html>", {"Content-Type": "text/html"}))
    chat(f"{kind}: upstream answers an error page", m, whole(502, b"<html>", {"Content-Type": "text/html"}))
    chat(f"{kind}: upstream answers an empty body", m, whole(200, b""))
    chat(f"{kind}: upstream answers an error with 200", m, whole(200, {"error": {"message": "oh"}}))
    chat(f"{kind}: stream cut", m, cut("Hel", "lo"), **STREAM)
    chat(f"{kind}: stream reset", m, [begin(), rst()], **STREAM)
    chat(f"{kind}: stream ends without its end", m, [*begun("Hel"), clean_end()], **STREAM)
    chat(f"{kind}: error inside a stream", m, breaks("Hel", "lo"), **STREAM)
    chat(f"{kind}: stream of nothing", m, [begin(), clean_end()], **STREAM)

CONTEXT = fault(400, "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
                "context_length_exceeded", "invalid_request_error")
POLICY = fault(400, "Your request was rejected as a result of our safety system. content_policy_violation",
               "content_policy_violation", "invalid_request_error")
chat("openai: context too long", "m", CONTEXT)
chat("openai: context too long, streamed", "m", CONTEXT, **STREAM)
chat("openai: content policy", "m", POLICY)
chat("openai: insufficient quota", "m", fault(429, "You exceeded your quota", "insufficient_quota", "insufficient_quota"))
chat("ollama: context too long", "o", fault(400, "the input length exceeds the context length"))
chat("ollama: model not pulled", "o", fault(404, "model 'o1' not found"))
chat("ollama: no tools in the model", "o", fault(400, "registry.ollama.ai/library/o1:latest does not support tools"), tools=[tool()])
chat("ollama: no thinking in the model", "o", fault(400, '"o1" does not support thinking'), reasoning_effort="high")
chat("ollama: does not fit into memory", "o", fault(500, "model requires more system memory (5.0 GiB) than is available (2.0 GiB)"))
chat("nobody listens", "nobody")
chat("nobody listens, streamed", "nobody", **STREAM)
chat("no first token in time", "hurried", [stall()])
chat("no first token in time, streamed", "hurried", [stall()], **STREAM)
add("embedding: upstream says 500", "/v1/embeddings", {"model": "e", "input": "x"}, fault(500, "broken"))
add("completion: upstream says 429", "/v1/completions", {"model": "m", "prompt": "x"}, fault(429, "slow down"))

# ---------------------------------------------------------------- what a client may say about one request

chat("override: call id", "m", headers={"x-litellm-call-id": "my-own-id"})
chat("override: request id", "m", headers={"x-request-id": "my-request"})
chat("override: timeout in the body", "m", [stall()], timeout=0.4)
chat("override: timeout in a header", "m", [stall()], headers={"x-litellm-timeout": "0.4"})
chat("override: num_retries in the body", "m", fault(500, "broken"), answer("second try"), num_retries=1)
chat("override: num_retries in a header", "m", fault(500, "broken"), answer("second try"),
     headers={"x-litellm-num-retries": "1"})
chat("override: fallbacks", "m", fault(500, "broken"), answer("from another"), fallbacks=["vllm"])
chat("override: fallbacks to a name that is none", "m", fault(500, "broken"), fallbacks=["no-such-model"])
chat("override: mock_response", "m", mock_response="mocked by the client")
chat("override: api_base", "m", api_base="http://127.0.0.1:9/v1")
chat("override: api_key", "m", api_key="sk-client")
chat("override: base_url", "m", base_url="http://127.0.0.1:9/v1")
chat("override: extra_body", "m", extra_body={"top_k": 7})
chat("override: extra_headers", "m", extra_headers={"x-compat-client": "1"})
chat("override: tags", "m", tags=["a"])
chat("override: metadata.tags", "m", metadata={"tags": ["a"]})
chat("override: priority", "m", priority=1)
chat("override: num_retries a text", "m", num_retries="many")
chat("override: timeout a text", "m", timeout="soon")
chat("override: the client's own headers", "m", headers={"x-compat-mine": "1", "openai-organization": "org"})

# ---------------------------------------------------------------- drop_params, default_fallbacks

for kind, m in (("openai", "m"), ("ollama", "o"), ("ollama/", "g")):
    for name, value in (
        ("presence_penalty", 0.5),
        ("logit_bias", {"5": -100}),
        ("n", 2),
        ("parallel_tool_calls", False),
        ("an_unknown_field", 1),
    ):
        chat(f"drop_params: {kind} {name}", m, config="dropping", **{name: value})
chat("default_fallbacks", "lonely", fault(500, "broken"), answer("the last resort"), config="dropping")
chat("default_fallbacks, streamed", "lonely", fault(500, "broken"), answer("the last resort"), config="dropping", **STREAM)
chat("default_fallbacks, all broken", "lonely", fault(500, "broken"), fault(500, "broken too"), config="dropping")
chat("default_fallbacks, not for a bad request", "lonely", fault(400, "bad request"), config="dropping")
chat("default_fallbacks, unknown name", "no-such-model", config="dropping")


# ---------------------------------------------------------------- retries, fallbacks, who serves


def routed(name: str, model: str, *scripts: Any, **members: Any) -> None:
    chat(name, model, *scripts, config="routing", **members)


BROKEN = fault(500, "broken")
SLOW_DOWN = fault(429, "slow down", Retry_After="0")
routed("retry: one failure", "retried", BROKEN, answer("second try"))
routed("retry: two failures", "retried-twice", BROKEN, BROKEN, answer("third try"))
routed("retry: too many failures", "retried-always", BROKEN, BROKEN, BROKEN)
routed("retry: streamed", "retried", BROKEN, answer("second try"), **STREAM)
routed("retry: not after the first token", "retried", cut("Hel"), **STREAM)
routed("retry: closed without an answer", "retried", [fin()], answer("second try"))
routed("retry: 400 is not retried", "retried-400", fault(400, "bad request"), answer("second try"))
routed("retry: 401 is not retried", "retried-401", fault(401, "who are you"), answer("second try"))
routed("retry: 408", "retried-408", fault(408, "too slow"), answer("second try"))
routed("retry: 503", "retried-503", fault(503, "busy"), answer("second try"))
routed("retry: ollama", "retried-ollama", BROKEN, answer("second try"))
routed("retry: num_retries 0 in the body", "retried-zero", BROKEN, answer("second try"), num_retries=0)
routed("retry: num_retries of the deployment", "own-retries", BROKEN, answer("second try"))
routed("retry policy: a 400 is retried", "policy", fault(400, "bad request"), answer("second try"))
routed("retry policy: a 429 is not", "policy", SLOW_DOWN, answer("second try"))
routed("fallback: after the retries", "first", BROKEN, BROKEN, BROKEN, answer("from second"))
routed("fallback: streamed", "first-streamed", BROKEN, BROKEN, BROKEN, answer("from second"), **STREAM)
routed("fallback: disabled by the client", "first-disabled", BROKEN, BROKEN, BROKEN, disable_fallbacks=True)
routed("fallback: the client's own", "first-own", BROKEN, BROKEN, BROKEN, answer("from a wildcard"), fallbacks=["anything/x"])
routed("fallback: the client's own with messages", "first-messages", BROKEN, BROKEN, BROKEN, answer("from second"),
       fallbacks=[{"model": "second", "messages": [said("user", "shorter")]}])
routed("fallback: of a 400", "first-400", fault(400, "bad request"), answer("from second"))
routed("fallback: context", "small", CONTEXT, answer("from second"))
routed("fallback: context, streamed", "small", CONTEXT, answer("from second"), **STREAM)
routed("fallback: content policy", "strict", POLICY, answer("from second"))
routed("fallback: mock_testing_fallbacks", "first-mocked", answer("from second"), mock_testing_fallbacks=True)
routed("fallback: unknown name", "no-such-model")
routed("order: the lowest", "ordered")
routed("order: the next after failures", "ordered-failing", BROKEN, BROKEN, BROKEN, answer("from order 2"))
routed("weight: 0 is never drawn", "weighted")
routed("tags: free", "tagged", metadata={"tags": ["free"]})
routed("tags: paid, in the body", "tagged", tags=["paid"])
routed("tags: paid, in a header", "tagged", headers={"x-litellm-tags": "paid"})
routed("tags: none", "tagged")
routed("tags: of no deployment", "tagged", metadata={"tags": ["other"]})
routed("cooldown: 429 goes to the other", "limited", SLOW_DOWN, answer("from the other"))
routed("cooldown: and stays there", "limited")
routed("cooldown: both", "cooled", SLOW_DOWN, SLOW_DOWN, SLOW_DOWN)
routed("cooldown: nobody is left", "cooled")

"""What a deployment adds to every exchange with its model server: extra_headers, loads included, and extra_body; and what it leaves out."""

from __future__ import annotations

import json

from testenv.http import chat_body
from testenv.upstream import Upstream

CHAT = "/v1/chat/completions"
HEADERS = {"X-Team": "kitchen", "x-empty": "", "Authorization": "Token other", "User-Agent": "ours/1"}


def test_extra_headers(env, upstream: Upstream) -> None:
    """One of the same name as sluice's own takes its place."""
    sluice = env.start({"m": upstream.deployment(extra_headers=HEADERS)})
    assert sluice.post(CHAT, chat_body("m")).status == 200
    if upstream.dialect.name == "ollama":
        upstream.wait_request(1, "version")  # beside the call
    told = list(upstream.exchanges)
    assert len(told) == (3 if upstream.dialect.name == "ollama" else 1)  # Ollama's load is one more
    for exchange in told:
        for name, value in HEADERS.items():
            assert exchange.headers[name.lower()] == value, (exchange.path, exchange.headers)


def test_headers_that_say_where_a_message_ends_are_ours(env, upstream: Upstream) -> None:
    tricks = {"Host": "evil.example", "Content-Length": "3", "Transfer-Encoding": "chunked", "Connection": "x"}
    sluice = env.start({"m": upstream.deployment(extra_headers={**tricks, "X-Kept": "1"})})
    answer = sluice.post(CHAT, chat_body("m"))
    assert answer.status in (200, 503), answer
    for exchange in upstream.requests():
        assert exchange.headers["host"] == f"127.0.0.1:{upstream.port}"
        assert int(exchange.headers["content-length"]) == len(exchange.body)
        assert exchange.headers.get("connection") != "x"


def test_extra_body_wins(env) -> None:
    """Over what the client sent and over the deployment's defaults, but not over the model and the stream."""
    upstream = env.openai()
    body = {"chat_template_kwargs": {"enable_thinking": False}, "temperature": 0.25, "model": "evil"}
    sluice = env.start({"m": upstream.deployment("real", extra_body=body, temperature=0.5, top_p=0.75)})
    assert sluice.post(CHAT, chat_body("m", temperature=1, top_k=3)).status == 200
    sent = upstream.wait_request().json
    assert sent["model"] == "real" and sent["stream"] is True
    assert sent["temperature"] == 0.25 and sent["top_p"] == 0.75 and sent["top_k"] == 3
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert json.dumps(sent).count("temperature") == 1


def test_dropped_params_of_a_client_are_not_sent(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment(additional_drop_params=["seed", "temperature", "messages"])})
    assert sluice.post(CHAT, chat_body("m", seed=7, temperature=0.25, top_p=0.75)).status == 200
    sent = upstream.wait_request().json
    assert "seed" not in json.dumps(sent) and "temperature" not in json.dumps(sent)
    assert sent["messages"] and "0.75" in json.dumps(sent)


def test_dropped_params_of_an_ollama_deployment_are_not_sent(env) -> None:
    """A load option is in no body, so that a request and the load before it ask for the same."""
    upstream = env.ollama()
    dropped = ["temperature", "num_ctx"]
    sluice = env.start({"m": upstream.deployment(temperature=0.5, num_ctx=512, num_thread=1, additional_drop_params=dropped)})
    assert sluice.post(CHAT, chat_body("m", temperature=0.25)).status == 200
    for exchange in upstream.requests("chat", "load"):
        assert exchange.json["options"] == {"num_thread": 1}, exchange.path


def test_dropped_params_of_a_deployment_are_not_sent(env) -> None:
    """Nor those that sluice itself asks for: some servers refuse stream_options."""
    upstream = env.openai()
    dropped = ["temperature", "stream_options", "x_mode"]
    sluice = env.start({"m": upstream.deployment(temperature=0.5, extra_body={"x_mode": 1}, additional_drop_params=dropped)})
    assert sluice.post(CHAT, chat_body("m")).status == 200
    assert not set(dropped) & set(upstream.wait_request().json)


def test_dropped_paths_reach_into_members(env, upstream: Upstream) -> None:
    """Into what both dialects send; what is asked stays whole, and so does what no path meets."""
    function = {"name": "f", "parameters": {"type": "object", "properties": {"strict": {"type": "string"}}}}
    tools = [{"type": "function", "function": {**function, "strict": True}}]
    paths = ["tools[*].function.strict", "messages[0].content", "tools[1].type", "seed"]
    sluice = env.start({"m": upstream.deployment(additional_drop_params=paths)})
    assert sluice.post(CHAT, chat_body("m", tools=tools, seed=7)).status == 200
    sent = upstream.wait_request().json
    assert sent["tools"] == [{"type": "function", "function": function}]
    assert sent["messages"][0]["content"] and "seed" not in json.dumps(sent)


def test_dropped_paths_of_a_deployment(env) -> None:
    """Of what the file adds, and of what sluice itself asks for; LiteLLM keeps unknown members below extra_body."""
    upstream = env.openai()
    paths = ["extra_body.chat_template_kwargs.a", "stream_options.include_usage"]
    body = {"chat_template_kwargs": {"a": 1, "b": 2}}
    sluice = env.start({"m": upstream.deployment(extra_body=body, additional_drop_params=paths)})
    assert sluice.post(CHAT, chat_body("m")).status == 200
    sent = upstream.wait_request().json
    assert sent["chat_template_kwargs"] == {"b": 2} and sent["stream_options"] == {}

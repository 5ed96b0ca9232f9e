"""What one request says about its own way: LiteLLM's control members and headers. What becomes of them: test_call_*."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testenv.daemon import Daemon
from testenv.http import Answer, chat_body
from testenv.ttrpc import RpcError, text_of
from testenv.upstream import say

CONTROLS: dict[str, Any] = {
    "fallbacks": ["other"],
    "disable_fallbacks": True,
    "num_retries": 2,
    "timeout": 20,
    "stream_timeout": 10.5,
    "tags": [],
    "mock_timeout": False,
    "litellm_call_id": "x",
    "cache": {"no-cache": True},
}


def chat(sluice: Daemon, body: dict[str, Any], headers: dict[str, str]) -> Answer:
    with sluice.http() as http:
        return http.request("POST", "/v1/chat/completions", {**chat_body("m"), **body}, headers=headers)


def test_controls_are_not_sent_on(env) -> None:
    server = env.openai()
    sluice = env.start({"m": server.deployment()})
    server.always(say("hi"))
    kept = {"metadata": {"session": "s"}, "user": "u", "x_new": {"deep": [1.0]}}
    answer = chat(sluice, {**CONTROLS, **kept}, {"x-litellm-num-retries": "1"})
    assert answer.status == 200, answer
    sent = server.wait_request().json
    assert not set(CONTROLS) & set(sent)
    assert {name: sent[name] for name in kept} == kept


@pytest.mark.parametrize("name", ["x-litellm-call-id", "x-request-id"])
def test_an_id_of_the_client_is_echoed(env, name: str) -> None:
    sluice = env.start()
    answer = chat(sluice, {}, {name: "my-call.1"})
    assert answer.header("x-litellm-call-id") == "my-call.1"
    assert answer.header("x-request-id") == "my-call.1"
    sluice.wait_record(lambda r: r.get("SLUICE_REQUEST_ID") == "my-call.1", "its record")


@pytest.mark.parametrize(
    "body, headers, param",
    [
        ({"num_retries": "2"}, {}, "num_retries"),
        ({"timeout": -1}, {}, "timeout"),
        ({"stream_timeout": 0}, {}, "stream_timeout"),
        ({"tags": "a"}, {}, "tags"),
        ({"metadata": {"tags": [1]}}, {}, "metadata.tags"),
        ({"fallbacks": [{"model": "a", "api_base": "http://x"}]}, {}, "fallbacks"),
        ({"disable_fallbacks": "yes"}, {}, "disable_fallbacks"),
        ({}, {"x-litellm-timeout": "soon"}, "x-litellm-timeout"),
        ({}, {"x-litellm-stream-timeout": "0"}, "x-litellm-stream-timeout"),
        ({}, {"x-litellm-num-retries": "99"}, "x-litellm-num-retries"),
        ({}, {"x-sluice-local-only": "maybe"}, "x-sluice-local-only"),
        ({"api_base": "http://127.0.0.1:1"}, {}, "api_base"),
        ({"base_url": "http://127.0.0.1:1"}, {}, "base_url"),
        ({"api_key": "sk-x"}, {}, "api_key"),
        ({"extra_headers": {"authorization": "x"}}, {}, "extra_headers"),
        ({"litellm_credential_name": "x"}, {}, "litellm_credential_name"),
        ({"aws_secret_access_key": "x"}, {}, "aws_secret_access_key"),
    ],
)
def test_what_cannot_be_said(
    env, body: dict[str, Any], headers: dict[str, str], param: str
) -> None:
    server = env.openai()
    sluice = env.start({"m": server.deployment()})
    answer = chat(sluice, body, headers)
    assert answer.status == 400
    assert answer.error["param"] == param and answer.error["type"] == "invalid_request_error"
    assert not server.requests()


# ---------------------------------------------------------------------------------------------- the same over RPC


def rpc_chat(sluice: Daemon, extra: dict[str, Any]) -> list[Any]:
    with sluice.rpc() as rpc:
        request = rpc.chat_request("m")
        request.sampling.extra_json = json.dumps(extra)
        return list(rpc.events(rpc.stream("Chat", request)))


def test_rpc_says_it_in_extra_json(env) -> None:
    server = env.openai()
    sluice = env.start({"m": server.deployment()})
    server.always(say("hi"))
    assert text_of(rpc_chat(sluice, {**CONTROLS, "x_new": 1})) == "hi"
    sent = server.wait_request().json
    assert not set(CONTROLS) & set(sent) and sent["x_new"] == 1
    for name, value in (("num_retries", 99), ("api_base", "http://x"), ("tags", "a")):
        with pytest.raises(RpcError) as e:
            rpc_chat(sluice, {name: value})
        assert e.value.detail.code == "invalid_request"
        assert e.value.detail.param == f"extra_json.{name}"
    assert len(server.requests()) == 1

"""Paths: their many spellings, what is known about models and health, and what is not served."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from testenv.daemon import Daemon, mock, model, to_yaml
from testenv.http import Answer, chat_body
from testenv.upstream import Upstream, say, stall, whole
from testenv.waiting import eventually


def get(sluice: Daemon, path: str, method: str = "GET", **headers: str) -> Answer:
    with sluice.http() as http:
        return http.request(method, path, headers=headers)


def post(sluice: Daemon, path: str, body: Any) -> Answer:
    with sluice.http() as http:
        return http.request("POST", path, body)


# ---------------------------------------------------------------------------------------------- spellings


@pytest.mark.parametrize("path", ["chat/completions", "completions", "embeddings"])
@pytest.mark.parametrize(
    "spelling", ["/v1/{}", "/{}", "//v1//{}", "/v1/{}/", "/{}//", "/v1/{}?beta=true&x"]
)
def test_spellings_of_a_path(env, path: str, spelling: str) -> None:
    server = env.openai()
    sluice = env.start({"m": server.deployment()})
    server.always(say("hi"))
    body = {**chat_body("m"), "prompt": "p", "input": "i"}
    answer = post(sluice, spelling.format(path), body)
    assert answer.status == 200, answer


NAMES = ["plain", "org/name", "hf.co/a/b:Q4_K_M", "name:latest", "with space", "é"]


@pytest.mark.parametrize("name", NAMES)
def test_one_model_raw_or_escaped(env, name: str) -> None:
    sluice = env.start({name: mock(), "other": mock()})
    spellings = {quote(name), quote(name, safe=""), quote(name, safe="/:")}
    for spelling in spellings:
        for path in (f"/v1/models/{spelling}", f"/models/{spelling}/", f"//models//{spelling}?x=1"):
            answer = get(sluice, path)
            assert answer.status == 200, path
            assert answer.json["id"] == name and answer.json["object"] == "model"
    assert get(sluice, "/v1/models/nobody").error["code"] == "model_not_found"
    assert get(sluice, "/v1/models/%zz").status == 404


@pytest.mark.parametrize("prefix", ["/engines/", "/v1/engines/", "/openai/deployments/"])
@pytest.mark.parametrize("name", ["m", "org/name:1"])
def test_the_model_in_the_path(env, prefix: str, name: str) -> None:
    sluice = env.start({name: mock("from the path"), "other": mock("from the body")})
    for spelling in (name, quote(name, safe="")):
        path = f"{prefix}{spelling}/chat/completions?api-version=2024-02-01"
        for body in (chat_body("other"), {"messages": chat_body()["messages"]}):
            answer = post(sluice, path, body)
            assert answer.status == 200, answer
            assert answer.json["choices"][0]["message"]["content"] == "from the path"
            assert answer.json["model"] == name
    answer = post(sluice, f"{prefix}nobody/chat/completions", chat_body(name))
    assert answer.status == 404 and answer.error["code"] == "model_not_found"


# ---------------------------------------------------------------------------------------------- what is not there


@pytest.mark.parametrize(
    "path",
    [
        "/v1/responses",
        "/responses",
        "/v1/messages",
        "/v1/messages/count_tokens?beta=true",
        "/v1/audio/transcriptions",
        "/v1/images/generations",
        "/v1/files",
        "/v1/batches/b_1",
        "/v1/moderations",
        "/v1/fine_tuning/jobs",
        "/v1/assistants",
        "/key/generate",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_known_and_not_served(env, method: str, path: str) -> None:
    sluice = env.start()
    with sluice.http() as http:
        answer = http.request(method, path, {"model": "m"} if method == "POST" else None)
    assert answer.status == 501
    assert answer.error["code"] == "not_implemented"
    assert path.split("?")[0] in answer.error["message"]
    assert answer.header("x-should-retry") == "false"  # else the SDKs repeat it


@pytest.mark.parametrize("path", ["/", "/v1", "/nothing", "/v1/chat", "/v2/models", "/api/chat"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_not_found_is_json(env, method: str, path: str) -> None:
    with env.start().http() as http:
        answer = http.request(method, path, {} if method == "POST" else None)
    assert answer.status == 404
    assert answer.error["code"] == "not_found" and path in answer.error["message"]


@pytest.mark.parametrize(
    "method, path, allow",
    [
        ("GET", "/v1/chat/completions", "POST, OPTIONS"),
        ("DELETE", "/v1/embeddings", "POST, OPTIONS"),
        ("PUT", "/v1/models", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/models/m", "GET, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("POST", "/model/info", "GET, HEAD, OPTIONS"),
    ],
)
def test_method_not_allowed(env, method: str, path: str, allow: str) -> None:
    with env.start().http() as http:
        answer = http.request(method, path, {} if method == "POST" else None)
    assert answer.status == 405 and answer.header("allow") == allow
    assert answer.error["code"] == "method_not_allowed"


# ---------------------------------------------------------------------------------------------- what is known of models

SECRETS = {
    "api_key": "sk-hidden-key",
    "extra_headers": {"x-token": "hidden-header"},
}


def info_config(env, server: Upstream) -> dict[str, Any]:
    first = {**server.deployment(), **SECRETS, "timeout": 20}
    config = env.config({})
    config["model_list"] = [
        model("a", first, id="first", mode="chat", supports_vision=True),
        model("a", mock(), id="second"),
        model("b", mock()),
    ]
    return config


def start(env, config: dict[str, Any]) -> Daemon:
    return env.start(to_yaml(config))


@pytest.mark.parametrize("path", ["/v1/model/info", "/model/info"])
def test_model_info(env, path: str) -> None:
    server = env.openai()
    sluice = start(env, info_config(env, server))
    answer = get(sluice, path)
    assert answer.status == 200 and b"hidden" not in answer.body
    entries = answer.json["data"]
    assert [e["model_name"] for e in entries] == ["a", "a", "b"]
    assert [e["model_info"]["id"] for e in entries][:2] == ["first", "second"]
    assert entries[0]["litellm_params"]["model"].startswith("openai/")
    assert entries[0]["litellm_params"]["timeout"] == 20
    one = get(sluice, f"{path}?x=1&litellm_model_id=second").json["data"]
    assert one == [entries[1]]
    answer = get(sluice, f"{path}?litellm_model_id=nobody")
    assert answer.status == 404 and answer.error["code"] == "model_not_found"
    assert not server.exchanges


def test_group_info(env) -> None:
    sluice = start(env, info_config(env, env.openai()))
    groups = get(sluice, "/model_group/info").json["data"]
    assert [g["model_group"] for g in groups] == ["a", "b"]
    assert "openai" in groups[0]["providers"] and groups[0]["mode"] == "chat"


# ---------------------------------------------------------------------------------------------- health


def test_probes_of_litellm(env) -> None:
    sluice = env.start()
    assert get(sluice, "/health/liveliness").json == "I'm alive!"
    ready = get(sluice, "/health/readiness").json
    assert ready["status"] == "healthy" and ready["db"] == "Not connected"
    assert ready["cache"] is None and ready["success_callbacks"] == []


def test_health_asks_no_model_server(env) -> None:
    server, other = env.openai(), env.ollama()
    sluice = env.start({"m": server.deployment(), "o": other.deployment()})
    health = get(sluice, "/health").json
    assert health["healthy_count"] == 2 and health["unhealthy_count"] == 0
    assert len(health["healthy_endpoints"]) == 2 and health["unhealthy_endpoints"] == []
    assert {e["api_base"] for e in health["healthy_endpoints"]}
    assert not server.exchanges and not other.exchanges


@pytest.mark.parametrize("model, path", [("openai/x", "/v1"), ("ollama_chat/x", "")])
def test_health_knows_a_dead_server(env, model: str, path: str) -> None:
    base = f"http://127.0.0.1:{env.port()}{path}"
    sluice = env.start({"m": {"model": model, "api_base": base, "api_key": "k"}, "good": mock()})
    assert get(sluice, "/health").json["unhealthy_count"] == 0  # nobody has asked it yet
    assert post(sluice, "/v1/chat/completions", chat_body("m")).status == 502
    health = get(sluice, "/health").json
    assert health["healthy_count"] == 1 and health["unhealthy_count"] == 1
    assert "does not answer" in health["unhealthy_endpoints"][0]["error"]


def test_health_knows_a_pause(env) -> None:
    server = env.openai()
    server.always(whole(429, {"error": {"message": "slow down"}}))
    config = env.config({"m": [server.deployment("a"), server.deployment("b")], "other": mock()})
    config["router_settings"] = {"cooldown_time": 60, "num_retries": 0}
    sluice = start(env, config)
    assert post(sluice, "/v1/chat/completions", chat_body("m")).status == 429
    health = get(sluice, "/health").json
    assert (health["healthy_count"], health["unhealthy_count"]) == (2, 1)
    bad = health["unhealthy_endpoints"][0]
    assert bad["model"] in ("openai/a", "openai/b") and "rate limit" in bad["error"]


def test_health_knows_what_is_switched_off(env) -> None:
    params = {"model": "openai/x", "api_base": "os.environ/SLUICE_TEST_UNSET"}
    health = get(env.start({"off": params, "m": mock()}), "/health").json
    assert health["unhealthy_count"] == 1
    assert "SLUICE_TEST_UNSET" in health["unhealthy_endpoints"][0]["error"]


def test_health_needs_the_key_and_probes_do_not(env) -> None:
    sluice = env.start(general={"master_key": "sk-1"})
    for path in ("/health", "/model/info", "/model_group/info", "/metrics", "/v1/models"):
        assert get(sluice, path).status == 401, path
        assert get(sluice, path, authorization="Bearer sk-1").status == 200, path
    for path in ("/health/liveliness", "/health/liveness", "/health/readiness"):
        assert get(sluice, path).status == 200, path


def test_metrics_are_prometheus_text(env) -> None:
    answer = get(env.start(), "/metrics/")
    assert (answer.header("content-type") or "").startswith("text/plain")
    line = re.compile(r'^(#.*|[a-z_]+(\{[a-z]+="[a-z_]+"\})? [0-9]+(\.[0-9]{6})?)$')
    assert all(line.match(text) for text in answer.body.decode().splitlines())


def test_models_come_quickly_when_servers_hang(env) -> None:
    server = env.openai()
    sluice = env.start({"m": server.deployment()})
    server.always(stall())
    with sluice.http() as busy:
        busy.send_request("POST", "/v1/chat/completions", chat_body("m"))
        server.wait_request()
        assert [m["id"] for m in get(sluice, "/v1/models").json["data"]] == ["m"]
    eventually(lambda: server.wait_request().peer_left.is_set(), "the call is over")

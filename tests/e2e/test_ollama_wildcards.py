"""One deployment for all models of an Ollama server: what is asked for, loaded, listed, unloaded, and never sent to a cloud."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

import pytest
from test_unload import unload
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.models import OllamaServer
from testenv.ttrpc import ENGINE
from testenv.upstream import Gate, Ollama, RefusingPort, Upstream, stall, wait_for, whole
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"


def any_of(server: Any, prefix: str = "ollama_chat", **params: Any) -> dict[str, Any]:
    return {"model": f"{prefix}/*", "api_base": server.url, **params}


def listed(sluice: Daemon) -> list[str]:
    answer = sluice.get("/v1/models")
    assert answer.status == 200, answer
    assert all(m["object"] == "model" and m["owned_by"] for m in answer.json["data"])
    return [m["id"] for m in answer.json["data"]]


def expect_listed(sluice: Daemon, names: list[str]) -> None:
    """Sooner or later: it is asked in the background."""
    eventually(lambda: listed(sluice) == names, f"the list is {names}", 15)


@pytest.mark.parametrize("prefix", ["ollama", "ollama_chat"])
def test_each_model_is_loaded_by_its_name(env, prefix: str) -> None:
    ollama = env.ollama()
    sluice = env.start({"local/*": any_of(ollama, prefix, num_ctx=2048)})
    for name in ("tiny:1b", "u/other", "tiny:1b"):
        assert sluice.post(CHAT, chat_body(f"local/{name}")).status == 200
    loads = [ex.json for ex in ollama.requests("load")]
    assert [load["model"] for load in loads] == ["tiny:1b", "u/other"], "once each"
    assert all(load["options"]["num_ctx"] == 2048 for load in loads)
    asked = [ex.json["model"] for ex in ollama.requests("chat")]
    assert asked == ["tiny:1b", "u/other", "tiny:1b"]


def test_a_failure_is_news_of_that_model_only(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"*": any_of(ollama)})
    for name in ("one", "two"):
        assert sluice.post(CHAT, chat_body(name)).status == 200
    ollama.next(whole(500, {"error": "model runner has unexpectedly stopped"}))
    assert sluice.post(CHAT, chat_body("one")).status == 502
    for name in ("two", "one"):
        assert sluice.post(CHAT, chat_body(name)).status == 200
    assert [ex.json["model"] for ex in ollama.requests("load")] == ["one", "two", "one"]


def test_a_model_that_is_not_there(env) -> None:
    ollama = env.ollama()
    ollama.on_load(whole(404, {"error": "model 'nope' not found"}))
    sluice = env.start({"*": any_of(ollama)})
    answer = sluice.post(CHAT, chat_body("nope"))
    assert answer.status == 404 and answer.error["code"] == "model_not_found"
    assert "ollama pull nope" in answer.error["message"]


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "glm-4.6:CLOUD"])
def test_cloud_models_are_not_asked_for(env, name: str) -> None:
    ollama = env.ollama()
    sluice = env.start({"*": any_of(ollama)})
    answer = sluice.post(CHAT, chat_body(name))
    assert answer.status == 403 and answer.error["param"] == "model", answer
    assert "ollama.com" in answer.error["message"]
    assert not ollama.requests("load", "chat")


@pytest.mark.parametrize("where", [{}, {"tags": ["local_only"]}])
def test_a_copy_of_a_cloud_model_is_not_asked(env, where: dict[str, Any]) -> None:
    """`ollama cp gpt-oss:120b-cloud mine`: the name says nothing, the answer to the load does. No prompt goes there."""
    ollama, other = env.ollama(), env.openai()
    remote = {"remote_model": "gpt-oss:120b", "remote_host": "https://ollama.com:443"}
    ollama.on_load(whole(200, {"model": "mine", "response": "", "done": True, **remote}))
    models = {"m": ollama.deployment("mine", **where), "any/*": any_of(ollama), "n": other.deployment()}
    sluice = env.start(models, router={"num_retries": 2, "fallbacks": [{"m": ["n"]}]})
    for name in ("m", "any/mine"):
        body = chat_body(name, disable_fallbacks=True)
        answer = sluice.post(CHAT, body, headers={"x-sluice-local-only": "true"})
        assert (answer.status, answer.error["param"]) == (403, "model"), answer
        assert "ollama.com" in answer.error["message"]
    assert len(ollama.requests("load")) == 2 and not ollama.requests("chat")
    sluice.expect_idle()


# ---------------------------------------------------------------------------------------------- lists


def test_the_servers_models_are_listed(env) -> None:
    ollama = env.ollama()
    ollama.has = ["tiny:latest", "hf.co/u/big:Q4", "own:latest", "forwarded:120b-cloud"]
    sluice = env.start(
        {"ollama/*": any_of(ollama), "ollama/own:latest": ollama.deployment("own")}
    )
    names = ["ollama/tiny:latest", "ollama/hf.co/u/big:Q4", "ollama/own:latest"]
    expect_listed(sluice, names)
    for name in names:
        one = sluice.get("/v1/models/" + urllib.parse.quote(name, safe=""))
        assert one.status == 200 and one.json["id"] == name
    assert not ollama.requests("load"), "looking loads nothing"


def test_rpc_lists_the_same(env) -> None:
    """Patterns are no models, there as here; what stands for one has the state of its deployments."""
    one, two = env.ollama(), env.ollama()
    one.has, two.has = ["a:1", "b:1"], ["b:1", "c:1"]
    models = {"x-*": [any_of(one), any_of(two)], "openai/*": env.openai().deployment("*")}
    sluice = env.start({**models, "m": one.deployment("um")})
    expect_listed(sluice, ["x-a:1", "x-b:1", "x-c:1", "m"])
    with sluice.rpc() as rpc:
        request = rpc.schema.ListModelsRequest()
        rows = rpc.unary(ENGINE, "ListModels", request, "ListModelsResponse").models
    assert [row.name for row in rows] == listed(sluice)
    assert [(row.deployments, row.available_deployments) for row in rows] == [(2, 2)] * 3 + [(1, 1)]
    assert {row.provider for row in rows} == {"ollama"}


def test_models_that_are_only_forwarded_are_not_listed(env) -> None:
    ollama = env.ollama()
    remote = {"name": "mine:latest", "remote_host": "https://ollama.com:443", "remote_model": "x"}
    ollama.on_tags(whole(200, {"models": [remote, {"name": "tiny:latest"}, {"name": 7}, {}]}))
    sluice = env.start({"*": any_of(ollama)})
    expect_listed(sluice, ["tiny:latest"])


def test_two_servers_with_the_same_models(env) -> None:
    one, two = env.ollama(), env.ollama()
    one.has, two.has = ["a:1", "b:1"], ["b:1", "c:1"]
    sluice = env.start({"x-*": [any_of(one), any_of(two)]})
    expect_listed(sluice, ["x-a:1", "x-b:1", "x-c:1"])


def test_part_of_the_servers_models(env) -> None:
    ollama = env.ollama()
    ollama.has = ["llama3:8b", "qwen:7b", "llama3.2:1b"]
    params = {"model": "ollama_chat/llama*", "api_base": ollama.url}
    sluice = env.start({"meta/*": params})
    expect_listed(sluice, ["meta/3:8b", "meta/3.2:1b"])


def test_a_server_that_hangs_delays_no_list(env) -> None:
    ollama = env.ollama()
    ollama.on_tags(stall())
    sluice = env.start({"ollama/*": any_of(ollama), "m": ollama.deployment("um")})
    ollama.wait_request(1, "tags")
    for _ in range(5):
        assert listed(sluice) == ["m"]
    assert len(ollama.requests("tags")) == 1, "one question at a time"


def test_what_was_known_stays_while_nobody_answers(env) -> None:
    ollama = env.ollama()
    ollama.has = ["tiny:latest"]
    sluice = env.start({"*": any_of(ollama)})
    expect_listed(sluice, ["tiny:latest"])
    gate = Gate()
    ollama.on_tags(wait_for(gate), whole(200, {"models": [{"name": "new:latest"}]}))

    def is_asked_again() -> bool:
        assert listed(sluice) == ["tiny:latest"]
        return len(ollama.requests("tags")) > 1

    eventually(is_asked_again, "the list is old", 15)
    gate.open()
    expect_listed(sluice, ["new:latest"])


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"models":7}'])
def test_a_list_that_is_none(env, answer: bytes) -> None:
    ollama = env.ollama()
    ollama.on_tags(whole(200, answer))
    sluice = env.start({"*": any_of(ollama), "m": ollama.deployment("um")})
    ollama.wait_request(1, "tags")
    assert listed(sluice) == ["m"]


def test_no_server_is_no_alarm(env) -> None:
    port = env.closing(RefusingPort())
    sluice = env.start({"*": {"model": "ollama_chat/*", "api_base": port.url}})
    assert listed(sluice) == []
    assert not [r for r in sluice.records if r.get("SLUICE_EVENT") == "server_down"]


def test_nobody_is_asked_without_wildcards(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment("um")})
    assert listed(sluice) == ["m"] and not ollama.exchanges


# ---------------------------------------------------------------------------------------------- unloading


def test_unload_by_the_public_name(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"local/*": any_of(ollama)})
    assert sluice.post(CHAT, chat_body("local/tiny")).status == 200
    assert unload(sluice.rpc(), "local/tiny") == (1, 0)
    (unloaded,) = ollama.requests("unload")
    assert unloaded.json["model"] == "tiny"
    assert sluice.post(CHAT, chat_body("local/tiny")).status == 200
    assert len(ollama.requests("load")) == 2


# ---------------------------------------------------------------------------------------------- the real one


@pytest.mark.timeout(60)
def test_a_real_server(env, ollama_server: OllamaServer) -> None:
    sluice = env.start({"ollama/*": {"model": "ollama/*", "api_base": ollama_server.url}})
    with urllib.request.urlopen(ollama_server.url + "/api/tags", timeout=20) as answer:
        tags = json.loads(answer.read())
    names = {"ollama/" + m["name"] for m in tags["models"]}  # in no order that lasts
    eventually(lambda: set(listed(sluice)) == names, "all are listed", 15)
    for name in ("tiny", "script:latest"):
        answer = sluice.post(CHAT, chat_body(f"ollama/{name}", max_tokens=5))
        assert answer.status == 200, answer
    vectors = sluice.post("/v1/embeddings", {"model": "ollama/all-minilm", "input": "x"})
    assert len(vectors.json["data"][0]["embedding"]) == 384
    missing = sluice.post(CHAT, chat_body("ollama/never-pulled"))
    assert missing.status == 404 and "ollama pull never-pulled" in missing.error["message"]


# ---------------------------------------------------------------------------------------------- restarts


def test_a_refused_connection_ends_all_belief(env) -> None:
    """A server that was away may be another process: every model of it is loaded anew, not only the one that failed."""
    port = env.port()
    first = Upstream(Ollama(), port=port)
    sluice = env.start({"*": any_of(first)})
    for name in ("one", "two"):
        assert sluice.post(CHAT, chat_body(name)).status == 200
    assert [ex.json["model"] for ex in first.requests("load")] == ["one", "two"]
    first.close()
    down = sluice.post(CHAT, chat_body("one"))
    assert down.status == 502 and down.error["code"] == "upstream_unreachable", down
    second = env.closing(Upstream(Ollama(), port=port))
    assert sluice.post(CHAT, chat_body("two")).status == 200
    assert [ex.json["model"] for ex in second.requests("load")] == ["two"]

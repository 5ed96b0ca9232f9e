"""Unload over RPC: a model's memory is freed by its server, and that is looked at, not believed."""

from __future__ import annotations

import os
import threading
from typing import Any, Callable

import pytest
from test_messages import wait_event
from testenv import ttrpc
from testenv.daemon import mock
from testenv.models import OllamaServer
from testenv.ttrpc import CONTROL, Client, RpcError, kinds
from testenv.upstream import Gate, RefusingPort, end, fin, raw, stall, text, wait_for, whole
from testenv.waiting import eventually


def unload(client: Client, model: str) -> tuple[int, int]:
    """(unloaded, unchanged)"""
    answer = client.unary(
        CONTROL, "Unload", client.schema.UnloadRequest(model=model), "UnloadResponse"
    )
    return answer.unloaded, answer.unchanged


def start_unload(client: Client, model: str) -> int:
    request = client.schema.UnloadRequest(model=model).SerializeToString()
    return client.start(CONTROL, "Unload", request)


def fails(action: Callable[[], Any]) -> RpcError:
    with pytest.raises(RpcError) as e:
        action()
    return e.value


def loaded(client: Client) -> dict[str, bool]:
    return {d.model: d.loaded for d in client.status().deployments}


# ---------------------------------------------------------------------------------------------- it works


def test_unload(env) -> None:
    """Told to free it, looked at, and the next call loads it again."""
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment("um")})
    rpc = sluice.rpc()
    assert kinds(list(rpc.chat("m")))[-1] == "done"
    assert loaded(rpc) == {"m": True}
    assert unload(rpc, "m") == (1, 0)
    asked = upstream.wait_request(1, "unload")
    assert asked.path == "/api/generate"
    assert asked.json == {"model": "um", "keep_alive": 0, "stream": False}
    assert loaded(rpc) == {"m": False} and upstream.loaded == set()
    assert len(upstream.requests("load")) == 1
    assert kinds(list(rpc.chat("m")))[-1] == "done"
    assert len(upstream.requests("load")) == 2, "it is loaded again, and by sluice"


def test_what_is_not_loaded_is_left_alone(env) -> None:
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment("um")})
    assert unload(sluice.rpc(), "m") == (0, 1)
    assert upstream.requests("unload") == []


def test_what_somebody_else_loaded_is_unloaded(env) -> None:
    """sluice has not loaded it, but its server says that it is there."""
    upstream = env.ollama()
    upstream.loaded.add("um")
    sluice = env.start({"m": upstream.deployment("um")})
    assert unload(sluice.rpc(), "m") == (1, 0)
    assert upstream.loaded == set()


def test_what_shares_a_runner_is_unloaded(env) -> None:
    """Ollama lists one name of a runner that two models share: what answered just now is unloaded though it is not listed."""
    upstream = env.ollama()
    upstream.on_list(whole(200, {"models": []}))
    sluice = env.start({"m": upstream.deployment("um")})
    rpc = sluice.rpc()
    assert kinds(list(rpc.chat("m")))[-1] == "done"
    assert unload(rpc, "m") == (1, 0)
    assert len(upstream.requests("unload")) == 1


def test_it_is_looked_at_until_it_is_gone(env) -> None:
    """Ollama answers before the memory is free; the list says when."""
    upstream = env.ollama()
    upstream.on_unload(whole(200, {"done": True, "done_reason": "unload"}))
    sluice = env.start({"m": upstream.deployment("um")})
    rpc = sluice.rpc()
    assert kinds(list(rpc.chat("m")))[-1] == "done"
    stream_id = start_unload(rpc, "m")
    upstream.wait_request(4, "list")
    assert rpc.status().version, "the connection serves others meanwhile"
    upstream.loaded.clear()
    response = ttrpc.Response.decode(rpc.recv_on(stream_id).payload)
    assert response.code == 0
    assert rpc.schema.UnloadResponse.FromString(response.payload).unloaded == 1


def test_other_servers_have_no_such_request(env) -> None:
    ollama, openai = env.ollama(), env.openai()
    models = {"m": [ollama.deployment("um"), openai.deployment("um")], "mock": mock()}
    sluice = env.start(models)
    rpc = sluice.rpc()
    for _ in range(64):  # who is asked is drawn: until the one with something to unload has answered
        assert kinds(list(rpc.chat("m")))[-1] == "done"
        if any(r.kind == "chat" for r in ollama.requests()):
            break
    assert unload(rpc, "m") == (1, 1)
    assert unload(rpc, "mock") == (0, 1)


# ---------------------------------------------------------------------------------------------- it does not


def test_unknown_model(env) -> None:
    error = fails(lambda: unload(env.start().rpc(), "nope"))
    assert (error.code, error.detail.code) == (ttrpc.NOT_FOUND, "model_not_found")
    assert error.detail.param == "model" and '"nope"' in error.message


def test_models_in_use_stay(env) -> None:
    """Also under another name, and under a configuration that a call has outlived."""
    upstream = env.ollama()
    gate = Gate()
    upstream.next(text("a"), wait_for(gate), end())
    models = {"m": upstream.deployment("um"), "alias": upstream.deployment("um", temperature=0.5)}
    sluice = env.start(models)
    rpc = sluice.rpc()
    chat = rpc.chat("m")
    upstream.wait_request()
    for name in ("m", "alias"):
        error = fails(lambda: unload(rpc, name))
        assert (error.code, error.detail.code) == (ttrpc.UNAVAILABLE, "model_in_use")
        assert error.detail.http_status == 409 and error.detail.retry_after_usec > 0
    sluice.write_config(env.config({"new": upstream.deployment("um")}))
    rpc.unary(CONTROL, "Reload", rpc.schema.ReloadRequest(), "ReloadResponse")
    assert fails(lambda: unload(rpc, "new")).detail.code == "model_in_use"
    assert upstream.requests("unload", "list") == []
    gate.open()
    assert kinds(list(chat))[-1] == "done"
    assert unload(rpc, "new") == (1, 0)


def test_a_load_under_way_is_use(env) -> None:
    """Nobody waits for it any more, but the server is at it."""
    upstream = env.ollama()
    gate = Gate()
    upstream.on_load(wait_for(gate))
    sluice = env.start({"m": upstream.deployment("um")})
    rpc = sluice.rpc()
    waiting = Client(sluice.rpc_path)
    waiting.stream("Chat", waiting.chat_request("m"))
    upstream.wait_request(1, "load")
    waiting.close()
    eventually(lambda: rpc.status().tickets == 0, "the caller has left")
    assert fails(lambda: unload(rpc, "m")).detail.code == "model_in_use"
    gate.open()


@pytest.mark.timeout(60)
def test_never_confirmed(env) -> None:
    """A server that says yes and keeps it: not unloaded, and said so."""
    upstream = env.ollama()
    upstream.on_unload(whole(200, {"done": True, "done_reason": "unload"}))
    sluice = env.start({"m": upstream.deployment("um")})
    rpc = sluice.rpc(timeout=30)
    assert kinds(list(rpc.chat("m")))[-1] == "done"
    error = fails(lambda: unload(rpc, "m"))
    assert (error.code, error.detail.code) == (ttrpc.UNAVAILABLE, "upstream_timeout")
    assert "still has it loaded" in error.message
    assert loaded(rpc) == {"m": False}, "nothing sure is known of it any more"
    status = rpc.status()
    assert (status.unloads_stuck, status.model_unloads) == (1, 0)
    assert status.deployments[0].memory_state == "resident", "as far as is known"
    assert wait_event(sluice, "unload_stuck")["SLUICE_MODEL"] == "um"


@pytest.mark.timeout(60)
def test_a_server_that_hangs(env) -> None:
    upstream = env.ollama()
    upstream.loaded.add("um")
    upstream.on_list(stall())
    sluice = env.start({"m": upstream.deployment("um")})
    error = fails(lambda: unload(sluice.rpc(timeout=30), "m"))
    assert error.detail.code == "upstream_timeout" and "does not answer" in error.message


@pytest.mark.parametrize("step", ["list", "unload"])
def test_a_server_that_dies(env, step: str) -> None:
    upstream = env.ollama()
    upstream.loaded.add("um")
    getattr(upstream, f"on_{step}")(fin())
    sluice = env.start({"m": upstream.deployment("um")})
    rpc = sluice.rpc()
    assert fails(lambda: unload(rpc, "m")).detail.code == "upstream_cut"
    assert rpc.status().version


def test_no_server(env) -> None:
    refusing = env.closing(RefusingPort())
    sluice = env.start({"m": {"model": "ollama_chat/um", "api_base": refusing.url}})
    assert fails(lambda: unload(sluice.rpc(), "m")).detail.code == "upstream_unreachable"


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"models":7}',
        b'{"models":[' + b'{"name":"x"},' * 30000 + b'{"name":"x"}]}',  # over the limit
    ],
)
def test_lists_that_are_none(env, body: bytes) -> None:
    upstream = env.ollama()
    upstream.on_list(whole(200, body))
    sluice = env.start({"m": upstream.deployment("um")})
    assert fails(lambda: unload(sluice.rpc(), "m")).detail.code == "upstream_garbage"


@pytest.mark.parametrize("name", ["é" * 60, "x" + "é" * 60])
def test_long_names_in_messages(env, name: str) -> None:
    """They are cut between two characters: a client may refuse what is not UTF-8."""
    upstream = env.ollama()
    upstream.on_list(whole(200, b"[]"))
    upstream.on_load(fin())
    sluice = env.start({name: upstream.deployment(name)})
    shown = name.encode()[:60].decode(errors="ignore")
    assert f'unloading "{shown}": ' in fails(lambda: unload(sluice.rpc(), name)).message
    with pytest.raises(RpcError) as e:
        list(sluice.rpc().chat(name))
    assert shown in e.value.message
    record = sluice.wait_record(lambda r: r.get("SLUICE_EVENT") == "model_load_refused", "a refusal")
    assert name.encode()[:100].decode(errors="ignore") in record["message"]


def test_no_http_at_all(env) -> None:
    upstream = env.ollama()
    upstream.on_list(raw(b"SSH-2.0-OpenSSH_9.2\r\n"), fin())
    sluice = env.start({"m": upstream.deployment("um")})
    assert fails(lambda: unload(sluice.rpc(), "m")).detail.code in (
        "upstream_garbage",
        "upstream_cut",
    )


@pytest.mark.parametrize(
    "status, body, code",
    [
        (404, {"error": "model 'um' not found"}, "model_not_found"),
        (500, {"error": "out of luck"}, "upstream_error"),
        (401, {"error": "unauthorized"}, "upstream_auth_failed"),
    ],
)
def test_errors_of_the_server(env, status: int, body: Any, code: str) -> None:
    upstream = env.ollama()
    upstream.loaded.add("um")
    upstream.on_unload(whole(status, body))
    sluice = env.start({"m": upstream.deployment("um")})
    assert fails(lambda: unload(sluice.rpc(), "m")).detail.code == code


# ---------------------------------------------------------------------------------------------- meanwhile


def test_the_caller_leaves(env) -> None:
    """The connection ends: what the server was told goes on, and what came of it is noted. Nothing is left."""
    upstream = env.ollama()
    gate = Gate()
    upstream.on_unload(wait_for(gate))
    sluice = env.start({"m": upstream.deployment("um")})
    assert kinds(list(sluice.rpc().chat("m")))[-1] == "done"
    rpc = Client(sluice.rpc_path)
    start_unload(rpc, "m")
    upstream.wait_request(1, "unload")
    rpc.close()
    gate.open()
    eventually(lambda: sluice.status().model_unloads == 1, "it is looked whether it has gone")
    assert sluice.status().deployments[0].memory_state == "unloaded"


def test_a_reload_meanwhile(env) -> None:
    """The deployment is gone before its server has answered; the answer comes all the same."""
    upstream = env.ollama()
    upstream.loaded.add("um")
    gate = Gate()
    upstream.on_unload(wait_for(gate))
    sluice = env.start({"m": upstream.deployment("um")})
    rpc = sluice.rpc()
    stream_id = start_unload(rpc, "m")
    upstream.wait_request(1, "unload")
    sluice.write_config(env.config({"n": mock()}))
    rpc.unary(CONTROL, "Reload", rpc.schema.ReloadRequest(), "ReloadResponse")
    gate.open()
    response = ttrpc.Response.decode(rpc.recv_on(stream_id).payload)
    assert rpc.schema.UnloadResponse.FromString(response.payload).unloaded == 1


def test_a_drain_meanwhile(env) -> None:
    upstream = env.ollama()
    upstream.loaded.add("um")
    gate = Gate()
    upstream.on_unload(wait_for(gate))
    sluice = env.start({"m": upstream.deployment("um")})
    rpc, operator = sluice.rpc(), sluice.rpc()
    stream_id = start_unload(rpc, "m")
    upstream.wait_request(1, "unload")
    operator.unary(CONTROL, "Drain", operator.schema.DrainRequest(), "DrainResponse")
    gate.open()
    assert ttrpc.Response.decode(rpc.recv_on(stream_id).payload).code == 0
    assert sluice.wait_exit() == 0


def test_unloads_count_as_calls_and_hold_their_id(env) -> None:
    upstream = env.ollama()
    upstream.loaded.add("um")
    gate = Gate()
    upstream.on_unload(wait_for(gate))
    limits = {"calls_per_connection": 1}
    sluice = env.start({"m": upstream.deployment("um"), "n": mock()}, sluice={"limits": limits})
    rpc = sluice.rpc()
    stream_id = start_unload(rpc, "m")
    upstream.wait_request(1, "unload")
    assert fails(lambda: list(rpc.chat("n"))).detail.code == "too_many_calls"
    rpc.send_frame(stream_id, ttrpc.REQUEST, 0, ttrpc.request_envelope(CONTROL, "Status"))
    assert "in use" in ttrpc.Response.decode(rpc.recv_on(stream_id).payload).message
    gate.open()
    assert ttrpc.Response.decode(rpc.recv_on(stream_id).payload).code == 0


def test_a_call_meanwhile_is_served(env) -> None:
    """Where no budget is kept. Else it waits: test_residency.py."""
    upstream = env.ollama()
    gate = Gate()
    sluice = env.start({"m": upstream.deployment("um")})
    rpc = sluice.rpc()
    assert kinds(list(rpc.chat("m")))[-1] == "done"
    upstream.on_unload(wait_for(gate))
    stream_id = start_unload(rpc, "m")
    upstream.wait_request(1, "unload")
    assert kinds(list(rpc.chat("m")))[-1] == "done"
    gate.open()
    assert ttrpc.Response.decode(rpc.recv_on(stream_id).payload).code == 0


@pytest.mark.parametrize("payload", [b"", b"\x08", b"\x0a\x00", b"\x0a\x02\xff\xff"])
def test_malformed_unloads(env, payload: bytes) -> None:
    rpc = env.start().rpc()
    error = fails(lambda: rpc.unary_bytes(CONTROL, "Unload", payload))
    assert (error.code, error.detail.code) == (ttrpc.INVALID_ARGUMENT, "invalid_request")


def test_many_at_once(env) -> None:
    """Eight connections unload the same model: each is answered, and it is gone."""
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment("um")})
    rpc = sluice.rpc()
    assert kinds(list(rpc.chat("m")))[-1] == "done"
    answers: list[tuple[int, int]] = []

    def one() -> None:
        with Client(sluice.rpc_path) as client:
            answers.append(unload(client, "m"))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert len(answers) == 8 and all(sum(a) == 1 for a in answers)
    assert (1, 0) in answers and upstream.loaded == set()


# ---------------------------------------------------------------------------------------------- a real Ollama


@pytest.mark.timeout(60)
def test_real_ollama_frees_the_memory(env, ollama_server: OllamaServer) -> None:
    """A chat model and an embedding model: gone from /api/ps when the answer comes, and back with the next call."""
    models = {
        name: {"model": f"ollama_chat/{name}", "api_base": ollama_server.url}
        for name in ("tiny", "tiny-embed")
    }
    sluice = env.start(models)
    rpc = sluice.rpc(timeout=50)

    def embed() -> list[Any]:
        request = rpc.schema.EmbedRequest(model="tiny-embed", inputs=["hello"])
        return list(rpc.events(rpc.stream("Embed", request)))

    def chat() -> list[Any]:
        request = rpc.chat_request("tiny")
        request.sampling.max_tokens = 5
        return list(rpc.events(rpc.stream("Chat", request)))

    def held() -> set[str]:
        return {name.split(":")[0] for name in ollama_server.loaded()}

    for name, call in (("tiny", chat), ("tiny-embed", embed)):
        assert kinds(call())[-1] == "done"
        assert name in held()
        assert loaded(rpc)[name]
        assert unload(rpc, name) == (1, 0)
        assert name not in held()
        assert unload(rpc, name) == (0, 1)
        assert kinds(call())[-1] == "done"
        assert name in held()

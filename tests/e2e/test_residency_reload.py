"""A reload that takes a model server away while its models move: nobody waits for ever, and the memory of the device is free to plan with."""

from __future__ import annotations

from typing import Any

import pytest
from test_residency import CHAT, Device, calls, chat, settings
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.ttrpc import CONTROL, Client, Response, RpcError
from testenv.upstream import Gate, Upstream, wait_for
from testenv.waiting import eventually


def two_servers(env: Any, **takes: int) -> tuple[Device, Upstream, Upstream, Daemon]:
    """Both on this device, and the second one's models take memory there. Models are known of the first one."""
    upstream, other = env.ollama(), env.ollama()
    device = Device(env.directory / "root", upstream, **takes)
    other.has, other.sizes, other.loaded = upstream.has, upstream.sizes, upstream.loaded
    return device, upstream, other, env.start({n: upstream.deployment(n) for n in takes}, sluice=settings(env))


def move(env: Any, sluice: Daemon, to: Upstream, *names: str, **more: Any) -> None:
    """The next configuration: these models are at that server."""
    sluice.write_config(env.config({n: to.deployment(n) for n in names}, sluice=settings(env), **more))
    with sluice.rpc() as rpc:
        rpc.unary(CONTROL, "Reload", rpc.schema.ReloadRequest(), "ReloadResponse")


def state(sluice: Daemon, model: str) -> str:
    return {d.model: d.memory_state for d in sluice.status().deployments}[model]


def start_load(rpc: Client, model: str) -> int:
    return rpc.start(CONTROL, "Load", rpc.schema.LoadRequest(model=model).SerializeToString())


# ---------------------------------------------------------------------------------------------- a load under way


def test_the_server_of_an_operators_load_goes(env) -> None:
    """The operator is told why it ended, its server that it did, and the next load begins."""
    device, upstream, other, sluice = two_servers(env, big=900, small=300)
    gate = Gate()
    upstream.on_load(wait_for(gate))
    operator = sluice.rpc()
    stream_id = start_load(operator, "big")
    load = upstream.wait_request(1, "load")
    move(env, sluice, other, "big", "small")
    answer = Response.decode(operator.recv_on(stream_id).payload)
    with pytest.raises(RpcError) as e:
        operator.raise_status(answer)
    assert e.value.detail.code == "upstream_unreachable"
    assert 'loading model "big" was given up: its server left the configuration' in e.value.message
    assert load.peer_left.wait(10), "the load goes on"
    assert sluice.status().reservations == 0
    assert chat(sluice, "small").status == 200
    assert chat(sluice, "big").status == 200
    assert calls(other, "load") == ["small", "big"]


def test_on_the_same_connection(env) -> None:
    """Who waits for the load asks for the reload himself: both are answered."""
    _, upstream, other, sluice = two_servers(env, big=900)
    upstream.on_load(wait_for(Gate()))
    rpc = sluice.rpc()
    load_id = start_load(rpc, "big")
    upstream.wait_request(1, "load")
    sluice.write_config(env.config({"big": other.deployment("big")}, sluice=settings(env)))
    reload_id = rpc.start(CONTROL, "Reload", rpc.schema.ReloadRequest().SerializeToString())
    assert Response.decode(rpc.recv_on(load_id).payload).code != 0
    assert Response.decode(rpc.recv_on(reload_id).payload).code == 0
    assert chat(sluice, "big").status == 200


@pytest.mark.parametrize("leaves_first", [True, False])
def test_the_server_of_a_load_goes_that_nobody_waits_for(env, leaves_first: bool) -> None:
    """Its call has left, before the reload or after it: the load ends with its server, and so does what was set aside for it."""
    device, upstream, other, sluice = two_servers(env, big=900, small=300)
    gate = Gate()
    upstream.on_load(wait_for(gate))
    http = sluice.http()
    http.send_request("POST", CHAT, chat_body("big", stream=True))
    load = upstream.wait_request(1, "load")

    def leave() -> None:
        http.close()
        eventually(lambda: sluice.status().calls_running == 0, "its call is over")

    if leaves_first:
        leave()
    move(env, sluice, other, "big", "small")
    if not leaves_first:
        assert sluice.status().reservations == 1, "its call waits still"
        leave()
    assert load.peer_left.wait(10), "the load goes on"
    eventually(lambda: sluice.status().reservations == 0, "nothing is set aside")
    assert chat(sluice, "small").status == 200
    assert chat(sluice, "big").status == 200
    assert calls(other, "load") == ["small", "big"]


def test_a_call_goes_on_at_the_server_that_left(env) -> None:
    """Who had begun the load gets his answer from there."""
    _, upstream, other, sluice = two_servers(env, big=900, small=300)
    gate = Gate()
    upstream.on_load(wait_for(gate))
    http = env.closing(sluice.http())
    http.send_request("POST", CHAT, chat_body("big", stream=True))
    upstream.wait_request(1, "load")
    move(env, sluice, other, "small")
    gate.open()
    assert http.read_answer().status == 200
    assert calls(upstream, "chat") == ["big"]


def test_a_load_that_grows_at_the_server_that_left(env) -> None:
    """It is watched all the same, and stopped before the kernel does it."""
    device, upstream, other, sluice = two_servers(env, big=900, small=300)
    gate = Gate()
    upstream.on_load(wait_for(gate))
    http = env.closing(sluice.http())
    http.send_request("POST", CHAT, chat_body("big"))
    load = upstream.wait_request(1, "load")
    move(env, sluice, other, "small")
    device.use(1950)
    answer = http.read_answer()
    assert (answer.status, answer.error["code"]) == (503, "model_load_killed"), answer
    assert load.peer_left.wait(10)
    device.use(400)
    assert chat(sluice, "small").status == 200


def test_the_daemon_stops_during_a_load(env) -> None:
    """Nobody is left to be told."""
    _, upstream, _, sluice = two_servers(env, big=900)
    upstream.on_load(wait_for(Gate()))
    http = sluice.http()
    http.send_request("POST", CHAT, chat_body("big"))
    upstream.wait_request(1, "load")
    http.close()
    sluice.expect_idle(n_loads=1)
    sluice.signal(15)
    assert sluice.wait_exit() == 0


# ---------------------------------------------------------------------------------------------- what it held


def test_what_a_server_held_that_left(env) -> None:
    """The same server by another address: what was known of the first one stands in nobody's way, and nobody asks after it."""
    device, upstream, _, sluice = two_servers(env, a=700, big=1500)
    assert chat(sluice, "a").status == 200
    port = upstream.url.rpartition(":")[2]
    names = {n: {**upstream.deployment(n), "api_base": f"http://localhost:{port}"} for n in ("a", "big")}
    sluice.write_config(env.config(names, sluice=settings(env)))
    with sluice.rpc() as rpc:
        rpc.unary(CONTROL, "Reload", rpc.schema.ReloadRequest(), "ReloadResponse")
    upstream.loaded.clear()
    # it takes 1500 of 1600 MiB: only a model that is alone on the device may leave as little as that
    eventually(lambda: chat(sluice, "big").status == 200, "it is loaded")
    assert calls(upstream, "load") == ["a", "big"] and not upstream.requests("unload")


def test_a_name_that_left(env) -> None:
    """Its server is asked by another name what became of the model, and told to free it."""
    device, upstream, _, sluice = two_servers(env, a=800, b=900)
    assert chat(sluice, "a").status == 200
    move(env, sluice, upstream, "b")
    assert chat(sluice, "b").status == 200
    assert calls(upstream, "unload") == ["a"]
    assert device.least >= 240

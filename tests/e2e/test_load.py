"""Load over RPC and `sluicectl load`: a model in memory before the first call; and what `sluicectl models` says of memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_residency import Device, settings, start
from testenv.cli import run
from testenv.daemon import mock
from testenv.http import chat_body
from testenv.ttrpc import CONTROL, Client, RpcError
from testenv.upstream import Gate, wait_for, whole
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
OK, FAILED, TRY_LATER = 0, 1, 4


def load(client: Client, model: str) -> Any:
    return client.unary(CONTROL, "Load", client.schema.LoadRequest(model=model), "LoadResponse")


def start_load(client: Client, model: str) -> int:
    return client.start(CONTROL, "Load", client.schema.LoadRequest(model=model).SerializeToString())


def test_load(env) -> None:
    _, upstream, sluice = start(env, {"a": 700})
    rpc = sluice.rpc()
    answer = load(rpc, "a")
    assert not answer.was_there and answer.load_usec > 0 and answer.need_bytes >> 20 == 699
    assert [e.json["model"] for e in upstream.requests("load")] == ["a"]
    assert load(rpc, "a").was_there
    assert sluice.post(CHAT, chat_body("a")).status == 200
    assert len(upstream.requests("load")) == 1
    (d,) = rpc.status().deployments
    assert (d.memory_state, d.fits, d.need_source) == ("resident", "now", "computed")
    assert rpc.status().model_loads == 1
    metrics = sluice.get("/metrics").body.decode()
    assert "sluice_model_loads_total 1\n" in metrics and "sluice_model_reservations 0\n" in metrics
    assert b"in memory, needs 699 MiB (computed), fits now" in run(sluice, "explain", "a").stdout


def test_load_makes_room(env) -> None:
    device, upstream, sluice = start(env, {"a": 800, "b": 900})
    rpc = sluice.rpc()
    load(rpc, "a")
    load(rpc, "b")
    assert [e.json["model"] for e in upstream.requests("unload")] == ["a"]
    assert device.least >= 240 and rpc.status().model_unloads == 1


def test_a_load_without_a_budget(env) -> None:
    """memory.enabled: false, the default of these tests."""
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment("um"), "o": mock()})
    rpc = sluice.rpc()
    assert not load(rpc, "m").was_there
    assert load(rpc, "m").was_there
    for model, code in (("o", "unsupported_parameter"), ("x", "model_not_found")):
        with pytest.raises(RpcError) as e:
            load(rpc, model)
        assert e.value.detail.code == code
    with pytest.raises(RpcError) as e:
        load(rpc, "")
    assert e.value.detail.code == "invalid_request"


def test_refused_with_the_numbers(env) -> None:
    _, upstream, sluice = start(env, {"huge": 2300, "b": 400})
    refused = run(sluice, "load", "huge")
    assert refused.returncode == FAILED and b"2299 MiB" in refused.stderr and b"model_exceeds_device" in refused.stderr
    upstream.on_load(whole(500, {"error": "llama-server process has terminated: signal: killed"}))
    for code in ("model_load_killed", "model_quarantined"):
        answer = json.loads(run(sluice, "load", "--json", "b").stdout)
        assert answer["error"]["code"] == code
    assert run(sluice, "load", "b").returncode == TRY_LATER
    assert sluice.status().quarantines == 1


def test_who_asked_leaves(env) -> None:
    """The load goes on, and its reservation ends with it."""
    _, upstream, sluice = start(env, {"a": 700})
    gate = Gate()
    upstream.on_load(wait_for(gate))
    rpc = sluice.rpc()
    start_load(rpc, "a")
    upstream.wait_request(1, "load")
    assert sluice.status().reservations == 1
    rpc.close()
    gate.open()
    eventually(lambda: sluice.status().reservations == 0, "the load is over")
    assert sluice.post(CHAT, chat_body("a")).status == 200
    assert len(upstream.requests("load")) == 1


def test_load_by_hand(env) -> None:
    _, _, sluice = start(env, {"a": 700})
    first, again = run(sluice, "load", "a"), run(sluice, "load", "a")
    assert first.returncode == OK and first.stdout.startswith(b"a: loaded in ") and b"699 MiB" in first.stdout
    assert again.stdout.startswith(b"a: it is in memory already")
    assert json.loads(run(sluice, "load", "--json", "a").stdout)["was_there"] is True
    assert b"models    since start 1 loaded" in run(sluice, "status").stdout


def test_models_tells_of_memory_of_a_wildcard(env) -> None:
    """Of each that it stands for, by its name, also before any call; a call that says it without the tag means the same."""
    upstream = env.ollama()
    device = Device(env.directory / "root", upstream, a=700, huge=2300)
    upstream.has = ["a:latest", "huge:latest"]
    sluice = env.start({"local/*": upstream.deployment("*"), "o": mock()}, sluice=settings(env))

    def shown() -> dict[str, Any]:
        return {m["name"]: m for m in json.loads(run(sluice, "models", "--json").stdout)["models"]}

    def is_known() -> bool:
        return {m.get("need_source") for m in shown().values()} == {"computed", None}

    eventually(is_known, "the list, and the sizes of those on it")
    told = shown()
    assert set(told) == {"local/a:latest", "local/huge:latest", "o"} and "fits" not in told["o"]
    a, huge = told["local/a:latest"], told["local/huge:latest"]
    assert (a["file_bytes"] >> 20, a["need_bytes"] >> 20, a["fits"], a["memory_state"]) == (454, 699, "now", "unloaded")
    assert huge["fits"] == "never"
    assert not upstream.requests("load") and {"file_bytes", "held_bytes"} <= set(a)
    assert sluice.post(CHAT, chat_body("local/a")).status == 200
    assert shown()["local/a:latest"]["memory_state"] == "resident" and device.available < 1000
    rows = {line.split()[0]: line for line in run(sluice, "models").stdout.decode().splitlines()}
    assert "454 MiB" in rows["local/a:latest"] and "never" in rows["local/huge:latest"]


def test_models_tells_of_memory(env) -> None:
    """Before any call: servers are asked when models are listed."""
    upstream = env.ollama()
    Device(env.directory / "root", upstream, a=700, huge=2300)
    models = {"a": upstream.deployment("a"), "huge": upstream.deployment("huge"), "o": mock()}
    sluice = env.start(models, sluice=settings(env))
    shown = run(sluice, "models").stdout.decode().splitlines()
    assert shown[0].split() == ["MODEL", "PROVIDER", "AVAILABLE", "SIZE", "NEED", "FITS", "MEMORY"]
    rows = {line.split()[0]: line for line in shown[1:]}
    assert "454 MiB" in rows["a"] and " ~699 MiB" in rows["a"] and "now" in rows["a"] and rows["a"].endswith("unloaded")
    assert "never" in rows["huge"] and max(len(line) for line in shown) <= 80
    assert rows["o"].split()[2:] == ["1", "of", "1", "-", "-", "-", "-"]
    told = {m["name"]: m for m in json.loads(run(sluice, "models", "--json").stdout)["models"]}
    assert told["a"]["need_source"] == "computed" and told["huge"]["fits"] == "never" and "fits" not in told["o"]
    assert run(sluice, "load", "a").returncode == OK
    assert "resident" in run(sluice, "models").stdout.decode()

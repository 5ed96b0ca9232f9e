"""A model server that hangs: what counts as such, that its model is unloaded, and what comes of a unit that cannot be restarted.

That a unit is restarted is tested where systemd is booted (tests/boot/test_server_guard.py).
"""

from __future__ import annotations

from typing import Any

import pytest
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.upstream import Exchange, Gate, Upstream, say, stall, text, wait_for, whole
from testenv.waiting import eventually
from test_messages import events, wait_event
from test_residency import Device, calls, settings

CHAT = "/v1/chat/completions"
FAST = {"timeouts": {"connect": "300ms", "first_byte": "300ms", "gap": "300ms"}}
N = 3  # HANG_CALLS of daemon/core/hang_guard.h


@pytest.fixture
def ollama(env) -> Upstream:
    return env.upstream("ollama")


def row(sluice: Daemon, i: int = 0) -> Any:
    return sluice.status().deployments[i]


def hang(sluice: Daemon, upstream: Upstream, n: int = N) -> None:
    upstream.always(stall())
    for _ in range(n):
        assert sluice.post(CHAT, chat_body()).status == 504


def test_what_hangs_is_unloaded(env, ollama: Upstream) -> None:
    """Out of rotation with its reason in the status, then unloaded; its server's own health call says nothing of it."""
    sluice = env.start({"m": ollama.deployment()}, sluice=FAST)
    gate = Gate()
    ollama.on_unload(wait_for(gate))
    hang(sluice, ollama)
    ollama.wait_request(1, "unload")
    assert "hangs, and is being unloaded" in row(sluice).unavailable_reason
    assert row(sluice).memory_state == "unloading", "in the way in which all models are"
    refused = sluice.post(CHAT, chat_body())
    assert (refused.status, refused.error["code"]) == (503, "upstream_breaker_open")
    assert refused.header("retry-after")
    assert ollama.requests("version")  # answered, and absolves nobody
    gate.open()
    hung = wait_event(sluice, "upstream_hung")
    assert (hung["SLUICE_FAILURES"], hung["SLUICE_MODEL"]) == (str(N), "m1")
    assert hung["SLUICE_DEPLOYMENT"] == row(sluice).id
    wait_event(sluice, "model_evicted")
    assert not ollama.loaded
    eventually(lambda: row(sluice).memory_state == "unloaded" and sluice.status().model_unloads == 1, "it is confirmed")
    assert len(ollama.requests("unload")) == 1
    ollama.always(*say("Hello"))
    eventually(lambda: sluice.post(CHAT, chat_body()).status == 200, "it answers again", 20)
    assert not events(sluice, "unit_not_restarted")
    sluice.expect_idle()


def test_two_calls_are_not_enough(env, ollama: Upstream) -> None:
    sluice = env.start({"m": ollama.deployment()}, sluice=FAST)
    hang(sluice, ollama, N - 1)
    ollama.always(*say("Hello"))
    assert sluice.post(CHAT, chat_body()).status == 200
    hang(sluice, ollama, N - 1)
    assert row(sluice).available and not ollama.requests("unload")
    assert not events(sluice, "upstream_hung")


def test_limits_of_clients_are_no_evidence(env, ollama: Upstream) -> None:
    sluice = env.start({"m": ollama.deployment()}, sluice={"timeouts": {"first_byte": "30s"}})
    ollama.always(stall())
    for _ in range(2 * N):
        assert sluice.post(CHAT, chat_body(timeout=0.2)).status == 504
    assert row(sluice).available and not ollama.requests("unload")
    assert not events(sluice, "upstream_hung")


def test_what_is_answering_does_not_hang(env, ollama: Upstream) -> None:
    """Calls that wait inside the server behind one that is being answered."""
    timeouts = {"connect": "300ms", "first_byte": "300ms", "gap": "30s"}
    params = ollama.deployment(max_parallel_requests=8)
    sluice = env.start({"m": params}, sluice={"timeouts": timeouts})
    gate = Gate()
    ollama.next(text("word"), wait_for(gate), *say("rest"))
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        head = http.read_head()  # leaves with the first word
        assert head.status == 200
        hang(sluice, ollama)
        assert not row(sluice).available  # the breaker
        assert not ollama.requests("unload")
        gate.open()
        assert b"[DONE]" in b"".join(http.body_parts(head))
    assert not events(sluice, "upstream_hung")


def test_one_of_a_wildcards_models_hangs(env, ollama: Upstream) -> None:
    """It is unloaded although another one of the same deployment answers all the time, before and meanwhile."""

    def by_model(ex: Exchange) -> None:
        for step in [stall()] if ex.json["model"] == "sick" else say("Hello"):
            step(ex)

    Device(env.directory / "root", ollama, sick=300, well=300)
    sluice = env.start({"*": {"model": "ollama_chat/*", "api_base": ollama.api_base}}, sluice=settings(env, **FAST))
    gate = Gate()
    ollama.always(by_model)
    ollama.on_unload(wait_for(gate))
    for _ in range(N):
        assert not ollama.requests("unload")
        assert sluice.post(CHAT, chat_body("sick")).status == 504
        assert sluice.post(CHAT, chat_body("well")).status == 200
    assert ollama.wait_request(1, "unload").json["model"] == "sick"
    assert row(sluice).available
    assert sluice.post(CHAT, chat_body("well")).status == 200
    gate.open()
    hung = wait_event(sluice, "upstream_hung")
    assert (hung["SLUICE_FAILURES"], hung["SLUICE_MODEL"]) == (str(N), "sick")
    assert wait_event(sluice, "model_evicted")["SLUICE_MODEL"] == "sick"
    ollama.always(*say("Hello"))
    assert sluice.post(CHAT, chat_body("sick")).status == 200
    assert len(ollama.requests("unload")) == 1
    sluice.expect_idle()


def test_unloading_does_not_help_and_nobody_restarts_it(env, ollama: Upstream) -> None:
    """The unit is named, and there is no service manager to ask: that is said, and calls go on as the breaker lets them."""
    unit = {ollama.api_base: {"restart_unit": "sluice-test-nobody.service"}}
    nobody = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus"}
    sluice = env.start({"m": ollama.deployment()}, sluice={**FAST, "upstreams": unit}, env=nobody)
    ollama.on_unload(whole(500, {"error": "no"}))
    hang(sluice, ollama)
    told = wait_event(sluice, "unit_not_restarted")
    assert told["SLUICE_UNIT"] == "sluice-test-nobody.service"
    assert told["SLUICE_CALLS_CUT"] == "0" and told["SLUICE_REASON"].startswith("the service manager cannot be asked over D-Bus: ")
    assert int(told["SLUICE_NOT_BEFORE_USEC"]) > 290e6
    assert sluice.status().unloads_stuck == 1 and row(sluice).memory_state == "resident"
    ollama.always(*say("Hello"))
    eventually(lambda: sluice.post(CHAT, chat_body()).status == 200, "it answers again", 20)
    assert row(sluice).available
    sluice.expect_idle()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_nobody_calls_and_never_goes(env, ollama: Upstream) -> None:
    """Another one needs the room for two minutes: then the unit is asked to be restarted, without a call that hung."""
    Device(env.directory / "root", ollama, a=800, b=900)
    unit = {ollama.api_base: {"restart_unit": "sluice-test-nobody.service"}}
    sluice = env.start(
        {n: ollama.deployment(n) for n in "ab"},
        sluice=settings(env, upstreams=unit, queue={"wait": {"interactive": "11s"}}),
        env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus"},
    )
    assert sluice.post(CHAT, chat_body("a")).status == 200
    ollama.on_unload(whole(200, {"done": True, "done_reason": "unload"}))

    def is_hung() -> bool:
        assert sluice.post(CHAT, chat_body("b")).status == 503
        return bool(events(sluice, "upstream_hung"))

    eventually(is_hung, "it is found out", 300)
    hung = wait_event(sluice, "upstream_hung")
    assert hung["SLUICE_MODEL"] == "a" and int(hung["SLUICE_FAILURES"]) >= 3
    assert len(calls(ollama, "unload")) == int(hung["SLUICE_FAILURES"])
    assert wait_event(sluice, "unit_not_restarted")["SLUICE_DEPLOYMENT"] == hung["SLUICE_DEPLOYMENT"]
    assert calls(ollama, "chat") == ["a"], "nobody called it meanwhile"
    assert not events(sluice, "breaker_open")
    ollama.on_unload()
    eventually(lambda: sluice.post(CHAT, chat_body("b")).status == 200, "it goes after all", 90)
    sluice.expect_idle()

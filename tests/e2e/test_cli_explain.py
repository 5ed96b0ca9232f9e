"""sluicectl explain: what is said of a model agrees with what a call then meets; of a call, where it stands; nothing happens by it."""

from __future__ import annotations

import os
from typing import Any

from test_keys import ONE, bearer, key
from test_residency import Device, settings, start
from testenv import ttrpc
from testenv.cli import FAILED, OK, USAGE, document, run, said
from testenv.http import Http, chat_body
from testenv.ttrpc import CONTROL
from testenv.upstream import ELSEWHERE, Gate, Upstream, end, say, stall, text, wait_for, whole
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"


def explain(sluice: Any, word: str, *args: str) -> dict[str, Any]:
    result = run(sluice, "explain", "--json", word, *args)
    assert (result.returncode, result.stderr) == (OK, b"")
    return document(result)


def hold(sluice: Any, upstream: Upstream) -> tuple[Gate, list[Http]]:
    gate = Gate()
    upstream.next(wait_for(gate), *say("first"))
    http = sluice.http_unix()
    http.send_request("POST", CHAT, chat_body(), headers={"x-request-id": "holder"})
    upstream.wait_request()
    return gate, [http]


def wait(sluice: Any, calls: list[Http], name: str, class_: str) -> None:
    n = sluice.status().calls_queued
    http = sluice.http_unix()
    http.send_request("POST", CHAT, chat_body(), headers={"x-request-id": name, "x-sluice-class": class_})
    calls.append(http)
    eventually(lambda: sluice.status().calls_queued == n + 1, "it waits")


def finish(gate: Gate, calls: list[Http]) -> None:
    gate.open()
    for call in calls:
        assert call.read_answer().status == 200
        call.close()


def test_admitted(env) -> None:
    sluice = env.start()
    said_ = explain(sluice, "m")
    assert (said_["verdict"], said_["code"]) == ("admitted", "")
    assert "class interactive" in said_["text"] and "may take the call" in said_["text"]
    assert "class batch" in explain(sluice, "m", "--class", "batch")["text"]
    status = sluice.status()
    assert (status.calls_completed, status.calls_refused, len(status.callers)) == (0, 0, 0), "nothing happened"


def test_refused_as_a_call_is(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice={"queue": {"length": 1}})
    gate, calls = hold(sluice, upstream)
    wait(sluice, calls, "waiter", "interactive")
    for _ in range(3):
        said_ = explain(sluice, "m")
        assert (said_["verdict"], said_["code"]) == ("refused", "queue_full")
    answer = sluice.post(CHAT, chat_body())
    assert answer.error["code"] == said_["code"]
    assert sluice.status().calls_queued == 1, "nobody was put out for an explanation"
    finish(gate, calls)


def test_where_a_call_stands(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate, calls = hold(sluice, upstream)
    assert explain(sluice, "m")["verdict"] == "queued"
    wait(sluice, calls, "first", "interactive")
    wait(sluice, calls, "second", "batch")
    running = explain(sluice, "holder")
    assert running["verdict"] == "running" and "no word yet" in running["text"]
    waiting = explain(sluice, "second")
    assert (waiting["verdict"], waiting["position"]) == ("waiting", 2)
    assert "1 before it: 1 interactive" in waiting["text"] and waiting["wait_usec"] > 0
    assert "first" not in waiting["text"], "others are named by class only"
    finish(gate, calls)
    assert run(sluice, "explain", "second").returncode == FAILED


def test_deployments_that_are_left_out(env) -> None:
    upstream = env.openai()
    off = {"model": "openai/x", "api_base": upstream.url, "api_key": "os.environ/NOT_SET_HERE"}
    sluice = env.start({"m": [upstream.deployment(), off], "dead": off})
    text = explain(sluice, "m")["text"]
    assert "may take the call" in text and "left out: " in text and "NOT_SET_HERE" in text
    dead = explain(sluice, "dead")
    assert dead["verdict"] == "refused" and dead["code"] == sluice.post(CHAT, chat_body("dead")).error["code"]


def expect_same(sluice: Any, model: str, code: str, reason: str) -> None:
    """It is refused, by the deployment for that reason, and so is the call."""
    said_ = explain(sluice, model)
    assert (said_["verdict"], said_["code"]) == ("refused", code), said_
    assert f"({code})" in said_["text"] and "no deployment of it takes calls now" in said_["text"]
    assert all(f"; left out: {reason}" in line for line in lines_of(said_["text"])), said_["text"]
    assert "stands by" not in said_["text"]
    assert sluice.post(CHAT, chat_body(model)).error["code"] == code


def test_a_model_that_can_never_fit(env) -> None:
    """Also before any call: the first explanation makes its server be asked."""
    _, upstream, sluice = start(env, {"huge": 2300, "small": 300})
    first = explain(sluice, "huge")
    assert "what it needs is not known yet" in first["text"] or first["code"]
    eventually(lambda: explain(sluice, "huge")["verdict"] == "refused", "its size is known")
    expect_same(sluice, "huge", "model_exceeds_device", "it needs about 2299 MiB (computed)")
    assert "not known yet" in explain(sluice, "small")["text"]
    eventually(lambda: "needs 299 MiB (computed), fits now" in explain(sluice, "small")["text"], "its size is known")
    small = explain(sluice, "small")
    assert small["verdict"] == "admitted" and "; may take the call" in small["text"]
    assert not upstream.requests("load"), "nothing happened"


def test_a_model_that_has_no_room_now(env) -> None:
    device, _, sluice = start(env, {"a": 800})
    device.use(1500)
    assert sluice.post(CHAT, chat_body("a")).error["code"] == "model_loading_budget"
    expect_same(sluice, "a", "model_loading_budget", "to load it 999 MiB must be free")


def test_a_model_whose_load_was_killed(env) -> None:
    _, upstream, sluice = start(env, {"a": 800})
    upstream.on_load(whole(500, {"error": "llama-server process has terminated: signal: killed"}))
    assert sluice.post(CHAT, chat_body("a")).error["code"] == "model_load_killed"
    expect_same(sluice, "a", "model_quarantined", "its last load failed")


def fails_open(sluice: Any) -> None:
    """The breaker of a server that hangs opens: HEALTH_FAILURES of daemon/core/health.h."""
    for _ in range(3):
        answer = sluice.post(CHAT, chat_body(num_retries=0, disable_fallbacks=True))
        assert answer.error["code"] == "upstream_timeout"


def test_a_server_that_hangs(env) -> None:
    upstream = env.openai()
    upstream.always(stall())
    timeouts = {"connect": "300ms", "first_byte": "300ms", "gap": "300ms"}
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": timeouts}, router={"num_retries": 0})
    fails_open(sluice)
    expect_same(sluice, "m", "upstream_breaker_open", "breaker open for ")


def test_who_is_asked_instead(env) -> None:
    """A group that takes no calls now leads to its fallback, and the explanation to the same as the call."""
    ups = {name: env.openai() for name in "mn"}
    ups["m"].always(stall())
    router = {"fallbacks": [{"m": ["n"]}], "disable_cooldowns": True}
    models = {name: u.deployment() for name, u in ups.items()}
    sluice = env.start(models, sluice={"timeouts": {"first_byte": "300ms"}}, router=router)
    assert explain(sluice, "m")["verdict"] == "admitted"
    fails_open(sluice)
    said_ = explain(sluice, "m")
    assert (said_["verdict"], said_["code"]) == ("fallback", ""), said_
    first, then, *_ = said_["text"].splitlines()
    assert "now: it would be refused: " in first
    assert then == "then its fallback n is asked: it would be admitted and get a slot at once"
    assert sluice.post(CHAT, chat_body()).header("x-litellm-model-group") == "n"
    gate = Gate()
    ups["n"].next(wait_for(gate), *say("first"))
    http = sluice.http_unix()
    http.send_request("POST", CHAT, chat_body(), headers={"x-request-id": "holder"})
    ups["n"].wait_request(2)
    assert "\nits fallback n is asked instead of m" in explain(sluice, "holder")["text"]
    queued = explain(sluice, "m")
    assert queued["verdict"] == "fallback" and "n is asked: it would be queued" in queued["text"]
    finish(gate, [http])
    sluice.expect_idle()


def test_nobody_is_asked_instead(env) -> None:
    """Where the fallback takes no calls either, and where the call must not leave the device, it is refused as the call is."""
    local, remote = env.openai(), env.openai()
    local.always(stall())
    off = {"model": "openai/x", "api_base": local.url, "api_key": "os.environ/NOT_SET_HERE"}
    router = {"fallbacks": [{"m": ["off", "far"]}], "disable_cooldowns": True}
    models = {"m": local.deployment(tags=["local_only"]), "off": off, "far": far(remote)}
    sluice = env.start(models, sluice={"timeouts": {"first_byte": "300ms"}}, router=router)
    fails_open(sluice)
    said_ = explain(sluice, "m")
    assert said_["verdict"] == "refused" and "fallback" not in said_["text"]
    assert said_["code"] == sluice.post(CHAT, chat_body()).error["code"]


def test_models_of_a_wildcard(env) -> None:
    """Each by its own name: whether it fits, and whether it is in memory."""
    upstream = env.ollama()
    Device(env.directory / "root", upstream, huge=2300, small=300)
    sluice = env.start({"local/*": upstream.deployment("*")}, sluice=settings(env))
    eventually(lambda: explain(sluice, "local/huge")["verdict"] == "refused", "its size is known")
    expect_same(sluice, "local/huge", "model_exceeds_device", "it needs about 2299 MiB (computed)")
    assert "model not in memory" in explain(sluice, "local/small")["text"]
    assert sluice.post(CHAT, chat_body("local/small")).status == 200
    small = explain(sluice, "local/small")
    assert small["verdict"] == "admitted" and "model in memory, needs " in small["text"]
    assert "model not in memory" in explain(sluice, "local/huge")["text"]


def test_a_model_that_waits_for_another(env) -> None:
    """A slot is free, and the room for the model is not: it would be queued, as the call is."""
    _, upstream, sluice = start(env, {"a": 800, "b": 900})
    assert sluice.post(CHAT, chat_body("b")).status == 200
    assert explain(sluice, "b")["verdict"] == "admitted"
    gate = Gate()
    upstream.next(text("x"), wait_for(gate), end())
    busy = env.closing(sluice.http())
    busy.send_request("POST", CHAT, chat_body("a"))
    upstream.wait_request(2)
    said_ = explain(sluice, "b")
    assert said_["verdict"] == "queued" and "fits later" in said_["text"], said_
    assert "at once" not in said_["text"] and explain(sluice, "a")["verdict"] == "queued"
    gate.open()
    assert busy.read_answer().status == 200


def far(upstream: Upstream, **params: Any) -> dict[str, Any]:
    """The same server by an address that sluice does not know to be this machine's."""
    return upstream.deployment(api_base=upstream.api_base.replace("127.0.0.1", ELSEWHERE), **params)


def lines_of(text: str) -> list[str]:
    """What is said of each deployment."""
    return [line for line in text.splitlines() if line.startswith("deployment ")]


def test_tags_and_the_device(env) -> None:
    upstream, other = env.openai(), env.openai()
    gate = Gate()
    upstream.next(wait_for(gate), *say("first"))
    servers = [upstream.deployment(tags=["eu", "free"]), far(other, tags=["eu"]), other.deployment(tags=["us"])]
    sluice = env.start({"m": servers}, router={"num_retries": 0, "enable_tag_filtering": True})
    calls = []
    for name in ("holder", "waiter"):
        http = sluice.http_unix()
        headers = {"x-request-id": name, "x-litellm-tags": "eu", "x-sluice-local-only": "true"}
        http.send_request("POST", CHAT, chat_body(), headers=headers)
        calls.append(http)
        if name == "holder":
            upstream.wait_request()
    eventually(lambda: sluice.status().calls_queued == 1, "it waits")
    running, waiting = explain(sluice, "holder")["text"], explain(sluice, "waiter")["text"]
    for text in (running, waiting):
        assert "class interactive, tags eu, must not leave the device" in text
    assert [line.rpartition("; ")[2] for line in lines_of(waiting)] == [
        "may take the call", "left out: the call must not leave the device", "left out: its tags are not the call's"
    ]
    assert [", tagged eu free; " in line for line in lines_of(explain(sluice, "m")["text"])] == [True, False, False]
    finish(gate, calls)


def test_keeps_calls_on_the_device(env) -> None:
    local, remote = env.openai(), env.openai()
    sluice = env.start({"m": [local.deployment(tags=["local_only"]), far(remote)]})
    here, there = lines_of(explain(sluice, "m")["text"])
    assert ", keeps calls on the device; may take the call" in here
    assert there.endswith("left out: the call must not leave the device")


def test_quotas_of_key_and_deployment(env) -> None:
    upstream, gate = env.openai(), Gate()
    upstream.next(wait_for(gate), *say("first"))
    router = {"num_retries": 0, "optional_pre_call_checks": ["enforce_model_rate_limits"]}
    keys = [key("ci", ONE, rpm=60, max_parallel=3)]
    models = {"m": upstream.deployment(rpm=9, tpm=5000), "free": upstream.deployment(rpm=9)}
    sluice = env.start(models, sluice={"keys": keys}, router=router)
    assert ", 9 of 9 requests a minute left, 5000 of 5000 tokens a minute left; " in explain(sluice, "m")["text"]
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(), headers={"x-request-id": "mine", **bearer(ONE)})
        upstream.wait_request()
        text = explain(sluice, "mine")["text"]
        assert "\nkey ci, 59 of 60 requests a minute left, 1 of at most 3 calls at a time\n" in text
        assert ", 8 of 9 requests a minute left" in explain(sluice, "m")["text"]
        gate.open()
        assert http.read_answer().status == 200


def test_quota_of_who_asks(env) -> None:
    upstream, gate = env.openai(), Gate()
    upstream.next(wait_for(gate), *say("first"))
    callers = [{"uid": os.getuid(), "rpm": 1, "tpm": 5000, "max_parallel": 3}]
    sluice = env.start({"m": upstream.deployment()}, sluice={"callers": callers})
    mine = f"\nuid {os.getuid()}, "
    before = explain(sluice, "m")
    assert before["verdict"] == "admitted"
    assert f"{mine}1 of 1 requests a minute left, 5000 of 5000 tokens a minute left, 0 of at most 3 calls at a time\n" in before["text"]
    with sluice.http_unix() as http:
        http.send_request("POST", CHAT, chat_body(), headers={"x-request-id": "mine"})
        upstream.wait_request()
        assert f"{mine}0 of 1 requests a minute left, " in explain(sluice, "mine")["text"]
        after = explain(sluice, "m")
        assert (after["verdict"], after["code"]) == ("refused", "rate_limit_exceeded")
        assert "it would be refused: limit of uid " in after["text"] and ", 1 of at most 3 calls at a time\n" in after["text"]
        gate.open()
        assert http.read_answer().status == 200
        refused = http.request("POST", CHAT, chat_body())
    assert (refused.status, refused.error["code"]) == (429, after["code"])


def test_unknown_and_bad(env) -> None:
    sluice = env.start()
    assert "model_not_found" in said(run(sluice, "explain", "nope"))
    assert run(sluice, "explain").returncode == USAGE
    assert run(sluice, "explain", "").returncode == USAGE
    assert "model_not_found" in said(run(sluice, "explain", "a/b c"))
    rpc = sluice.rpc()
    for fields in ({}, {"request_id": "no id"}, {"model": "x" * 2000}, {"model": "m", "class": 9}):
        request = rpc.schema.ExplainRequest(**{k: v for k, v in fields.items() if k != "class"})
        if "class" in fields:
            setattr(request, "class", fields["class"])
        response = ttrpc.Response.decode(rpc.recv_on(rpc.start(CONTROL, "Explain", request.SerializeToString())).payload)
        assert response.code == ttrpc.INVALID_ARGUMENT

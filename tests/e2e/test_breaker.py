"""A model server that hangs is left alone after three calls in a row: what came of them, and how it gets back.

The pauses of the breaker are seconds and not configured: the tests wait for what the status says, never for a time.
"""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from testenv.daemon import Daemon, to_yaml
from testenv.http import Answer, chat_body
from testenv.ttrpc import ENGINE, Client, RpcError
from testenv.upstream import (
    Gate,
    RefusingPort,
    Upstream,
    drip,
    say,
    stall,
    text,
    wait_for,
    whole,
)
from testenv.waiting import eventually
from test_messages import check_entry, events, wait_event

CHAT = "/v1/chat/completions"
FAST = {"timeouts": {"connect": "300ms", "first_byte": "300ms", "gap": "300ms"}}
PATIENT = {"timeouts": {"first_byte": "5s", "gap": "300ms"}}  # a probe is out for long
N = 3  # HEALTH_FAILURES of daemon/core/health.h
PAUSE_PATIENCE_SEC = 20.0  # the first pause is 5 s


def row(sluice: Daemon, i: int = 0) -> Any:
    return sluice.status().deployments[i]


def list_models(rpc: Client) -> Any:
    request = rpc.schema.ListModelsRequest()
    return rpc.unary(ENGINE, "ListModels", request, "ListModelsResponse").models


def hang(sluice: Daemon, upstream: Upstream, word: str = "") -> None:
    """Calls that time out, or stall after a word, until the breaker is open."""
    upstream.always(*([text(word)] if word else []), stall())
    for _ in range(N):
        assert row(sluice).available
        answer = sluice.post(CHAT, chat_body())
        code = "upstream_stalled" if word else "upstream_timeout"
        assert (answer.status, answer.error["code"]) == (504, code)
    assert not row(sluice).available
    assert row(sluice).unavailable_reason.startswith("breaker open for ")


def wait_half_open(sluice: Daemon) -> None:
    """Until a call would be let through."""
    eventually(lambda: row(sluice).available, "the pause is over", PAUSE_PATIENCE_SEC)


def check_refused(answer: Answer, upstream: Upstream, n_requests: int) -> None:
    assert (answer.status, answer.error["code"]) == (503, "upstream_breaker_open"), answer.body
    assert answer.error["type"] == "upstream_error"
    assert 1 <= int(answer.header("retry-after") or "") <= 60
    assert answer.header("x-should-retry") == "true"
    assert f"after {N} time-outs" in answer.error["message"]
    assert len(upstream.requests()) == n_requests


def test_opens_and_a_probe_closes_it(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice=FAST)
    hang(sluice, upstream)
    deployment = row(sluice)
    why = deployment.unavailable_reason.split("; ")[0]  # a guard over hanging runners may have its own word after it
    assert why.endswith(f" s after {N} time-outs")
    answer = sluice.post(CHAT, chat_body())
    check_refused(answer, upstream, N)
    assert deployment.id in answer.error["message"]
    with sluice.rpc() as rpc:
        with pytest.raises(RpcError) as caught:
            list(rpc.chat("m"))
        assert caught.value.detail.code == "upstream_breaker_open"
        assert 0 < caught.value.detail.retry_after_usec <= 60e6
        assert caught.value.detail.retry_after_usec % 1e6 == 0
        assert list_models(rpc)[0].available_deployments == 0
    sluice.expect_idle()

    upstream.always(*say("Hello", " again"))
    wait_half_open(sluice)
    assert sluice.post(CHAT, chat_body()).status == 200
    assert row(sluice).available
    assert sluice.post(CHAT, chat_body()).status == 200

    opened = wait_event(sluice, "breaker_open")
    assert opened["SLUICE_DEPLOYMENT"] == deployment.id
    assert (opened["SLUICE_FAILURES"], opened["SLUICE_OPEN_USEC"]) == (str(N), "5000000")
    assert opened["level"] == "warning"
    closed = wait_event(sluice, "breaker_closed")
    assert (closed["SLUICE_DEPLOYMENT"], closed["SLUICE_FAILURES"]) == (deployment.id, "0")
    assert int(closed["SLUICE_OPEN_USEC"]) >= 5_000_000
    for record in (opened, closed):
        check_entry(record)
    assert len(events(sluice, "breaker_open")) == len(events(sluice, "breaker_closed")) == 1
    outcomes = [r["SLUICE_OUTCOME"] for r in sluice.wait_call_records(N + 4)]
    assert outcomes.count("upstream_breaker_open") == 2


def test_calls_go_to_the_deployment_that_works(env) -> None:
    """What hangs costs three calls and then one for each probe; nobody else notices."""
    bad, good = env.openai(), env.openai()
    bad.always(stall())
    models = {"m": [bad.deployment(), good.deployment("m2")]}
    sluice = env.start(models, sluice=FAST)
    statuses: list[int] = []

    def is_open() -> bool:
        statuses.append(sluice.post(CHAT, chat_body()).status)
        return not row(sluice).available

    eventually(is_open, "the breaker is open")
    assert statuses.count(504) == N, statuses
    assert set(statuses) <= {200, 504}
    n_bad = len(bad.requests())
    # None goes to the server that hangs, unless its pause is over meanwhile: then it is one.
    answers = [sluice.post(CHAT, chat_body()).status for _ in range(10)]
    assert answers.count(504) == len(bad.requests()) - n_bad <= 1, answers
    assert answers.count(200) >= 9
    with sluice.rpc() as rpc:
        model = list_models(rpc)[0]
        assert (model.deployments, model.available_deployments) in ((2, 1), (2, 2))


def test_a_word_and_then_silence_opens_it_too(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice=FAST)
    hang(sluice, upstream, "half")
    check_refused(sluice.post(CHAT, chat_body()), upstream, N)


@pytest.mark.parametrize("dialect", ["ollama", "openai"])
def test_what_does_not_open_it(env, dialect: str) -> None:
    upstream = env.upstream(dialect)
    port = env.closing(RefusingPort())
    params = dict(upstream.deployment(), api_base=port.url)
    long = upstream.deployment("m2", timeout=0.3)
    sluice = env.start({"m": upstream.deployment(), "n": params, "long": long}, sluice=FAST)
    upstream.always(text("word"), lambda ex: drip(b"\n" * 10_000, 0.05)(ex))
    for _ in range(N + 1):  # words came until the limit for the whole answer
        assert sluice.post(CHAT, chat_body("long")).error["code"] == "upstream_timeout"
    for _ in range(2 * N):  # costs nothing: is tried each time
        assert sluice.post(CHAT, chat_body("n")).error["code"] == "upstream_unreachable"
    error = json.dumps(upstream.dialect.error_body("boom")).encode()
    for status in (500, 503, 429):
        upstream.always(whole(status, error))
        for _ in range(2 * N):
            assert sluice.post(CHAT, chat_body()).status >= 429
    upstream.always(stall())
    for _ in range(N - 1):
        assert sluice.post(CHAT, chat_body()).status == 504
    upstream.always(whole(500, error))
    assert sluice.post(CHAT, chat_body()).status == 502  # it answers: the row begins anew
    upstream.always(stall())
    for _ in range(N - 1):
        assert sluice.post(CHAT, chat_body()).status == 504
    assert all(d.available for d in sluice.status().deployments)
    assert not events(sluice, "breaker_open")


def test_who_waits_is_not_left_waiting(env, upstream: Upstream) -> None:
    """One slot, hung; the others stand behind it."""
    sluice = env.start({"m": upstream.deployment()}, sluice=FAST)
    upstream.always(stall())
    clients = [sluice.http() for _ in range(N + 4)]
    for client in clients:
        client.send_request("POST", CHAT, chat_body())
    codes = [client.read_answer().error["code"] for client in clients]
    assert sorted(codes) == ["upstream_breaker_open"] * 4 + ["upstream_timeout"] * N
    sluice.expect_idle()


def test_a_probe_that_is_cancelled_leaves_room(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice=PATIENT)
    hang(sluice, upstream, "half")
    gate = Gate()
    upstream.always(wait_for(gate), *say("late"))
    wait_half_open(sluice)
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body())
        probe = upstream.wait_request(N + 1)
        assert "one call is trying it" in row(sluice).unavailable_reason
        check_refused(sluice.post(CHAT, chat_body()), upstream, N + 1)
    assert probe.peer_left.wait(10)
    eventually(lambda: row(sluice).available, "another call may try")
    gate.open()
    assert sluice.post(CHAT, chat_body()).status == 200
    assert len(upstream.requests()) == N + 2


def reload(sluice: Daemon, config: Any) -> None:
    generation = sluice.status().config_generation
    sluice.write_config(to_yaml(config))
    sluice.signal(signal.SIGHUP)
    eventually(lambda: sluice.status().config_generation > generation, "reloaded")


def test_reload_keeps_what_it_knows(env, upstream: Upstream) -> None:
    """Of a deployment that did not change; one that did starts anew."""
    sluice = env.start({"m": upstream.deployment()}, sluice=FAST)
    hang(sluice, upstream)
    reload(sluice, env.config({"m": upstream.deployment(), "n": upstream.deployment("m2")}, FAST))
    assert not row(sluice).available
    check_refused(sluice.post(CHAT, chat_body()), upstream, N)
    upstream.always(*say("Hello"))
    reload(sluice, env.config({"m": upstream.deployment("m3")}, FAST))
    assert row(sluice).available
    assert sluice.post(CHAT, chat_body()).status == 200


def test_reload_retires_the_deployment_of_a_probe(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice=PATIENT)
    hang(sluice, upstream, "half")
    upstream.always(stall())
    wait_half_open(sluice)
    slow = {"timeouts": {"first_byte": "30s"}}
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body())
        upstream.wait_request(N + 1)
        reload(sluice, env.config({"m": upstream.deployment()}, slow))  # another deployment
        assert row(sluice).available
        upstream.always(*say("Hello"))
        assert sluice.post(CHAT, chat_body()).status == 200
        assert http.read_answer().status == 504
    assert row(sluice).available
    assert sluice.post(CHAT, chat_body()).status == 200
    sluice.expect_idle()

"""The queue: bounded, in order, with an early and clear no that says when to come back."""

from __future__ import annotations

import os
from typing import Any, Optional

import pytest
from test_keys import ONE, TWO, bearer, key
from testenv import ttrpc
from testenv.http import Answer, Http, chat_body, contents
from testenv.rules import check_broken, check_complete
from testenv.ttrpc import RpcError, text_of
from testenv.upstream import Gate, Upstream, say, stall, wait_for
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"


def check_refusal(answer: Answer, code: str, should_retry: bool = True) -> None:
    assert answer.status in (429, 503), answer
    assert answer.error["code"] == code
    retry_after = float(answer.header("retry-after") or "0")
    assert 1 <= retry_after <= 60
    assert 1000 <= float(answer.header("retry-after-ms") or "0") <= 60_000
    assert answer.header("x-should-retry") == ("true" if should_retry else "false")


class Crowd:
    """One call that runs until its gate opens, and calls that wait behind it."""

    def __init__(self, sluice: Any, upstream: Upstream):
        self.sluice = sluice
        self.upstream = upstream
        self.gate = Gate()
        upstream.next(wait_for(self.gate), *say("running"))
        self.running = self.send("running")
        upstream.wait_request()
        self.waiting: list[Http] = []

    def send(self, content: str, **kwargs: Any) -> Http:
        http = self.sluice.http()
        http.send_request("POST", CHAT, chat_body(content=content), **kwargs)
        return http

    def add(self, content: str, **kwargs: Any) -> None:
        n = self.sluice.status().calls_queued
        self.waiting.append(self.send(content, **kwargs))
        eventually(lambda: self.sluice.status().calls_queued == n + 1, f"{content} waits")


def test_queue_full(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice={"queue": {"length": 1}})
    crowd = Crowd(sluice, upstream)
    crowd.add("second")
    check_refusal(sluice.post(CHAT, chat_body()), "queue_full")
    stream = sluice.post(CHAT, chat_body(stream=True))
    check_refusal(stream, "queue_full")
    with sluice.rpc() as rpc, pytest.raises(RpcError) as e:
        list(rpc.chat("m"))
    assert e.value.code == ttrpc.UNAVAILABLE and e.value.detail.code == "queue_full"
    assert 1_000_000 <= e.value.detail.retry_after_usec <= 60_000_000
    assert sluice.get("/v1/models").status == 200, "what needs no slot is answered all the same"
    crowd.gate.open()
    for http in [crowd.running, *crowd.waiting]:
        assert http.read_answer().status == 200
    assert sluice.status().calls_refused == 3


def test_a_greedy_caller_makes_room_for_another(env, upstream: Upstream) -> None:
    """Who fills the queue first does not keep others out: RPC's caller is a uid, HTTP's is nobody."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"queue": {"length": 2}})
    crowd = Crowd(sluice, upstream)
    crowd.add("second")
    crowd.add("third")
    with sluice.rpc() as rpc:
        call = rpc.chat("m")
        assert next(call).queued.position == 2
        check_refusal(crowd.waiting[1].read_answer(), "displaced")
        crowd.gate.open()
        assert text_of(list(call)) == "Hello world"
    for http in [crowd.running, crowd.waiting[0]]:
        assert http.read_answer().status == 200


def test_order_of_arrival(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    crowd = Crowd(sluice, upstream)
    names = [f"waiting {i}" for i in range(6)]
    for name in names:
        crowd.add(name)
    crowd.gate.open()
    for http in [crowd.running, *crowd.waiting]:
        assert http.read_answer().status == 200
    got = [e.json["messages"][-1]["content"] for e in upstream.requests()]
    assert got == ["running", *names]


def test_never_more_than_slots_at_the_server(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment(max_parallel_requests=3)})
    gate = Gate()
    upstream.always(wait_for(gate), *say("x"))
    clients = []
    for _ in range(9):
        http = sluice.http()
        http.send_request("POST", CHAT, chat_body())
        clients.append(http)
    upstream.wait_request(3)
    eventually(lambda: sluice.status().calls_queued == 6, "the rest waits in sluice")
    assert len(upstream.requests()) == 3
    s = sluice.status()
    assert (s.calls_running, s.tickets, s.deployments[0].slots_in_use) == (3, 3, 3)
    gate.open()
    assert [http.read_answer().status for http in clients] == [200] * 9


def test_two_deployments_share_the_work(env) -> None:
    one, two = env.openai(), env.ollama()
    sluice = env.start({"m": [one.deployment(), two.deployment()]})
    gate = Gate()
    one.always(wait_for(gate), *say("x"))
    two.always(wait_for(gate), *say("x"))
    clients = []
    for _ in range(2):
        http = sluice.http()
        http.send_request("POST", CHAT, chat_body())
        clients.append(http)
    one.wait_request()
    two.wait_request()
    gate.open()
    assert [http.read_answer().status for http in clients] == [200, 200]


def test_waiting_too_long(env, upstream: Upstream) -> None:
    wait = {"interactive": "300ms"}
    sluice = env.start({"m": upstream.deployment()}, sluice={"queue": {"wait": wait}})
    crowd = Crowd(sluice, upstream)
    check_refusal(sluice.post(CHAT, chat_body()), "queue_timeout")
    crowd.gate.open()
    assert crowd.running.read_answer().status == 200
    assert sluice.post(CHAT, chat_body()).status == 200


def test_classes_wait_differently(env, upstream: Upstream) -> None:
    wait = {"interactive": "200ms", "batch": "20s", "background": "20s"}
    sluice = env.start({"m": upstream.deployment()}, sluice={"queue": {"wait": wait}})
    crowd = Crowd(sluice, upstream)
    crowd.add("batch", headers={"X-Sluice-Class": "batch"})
    flex = sluice.http()
    flex.send_request("POST", CHAT, chat_body(service_tier="flex"))
    eventually(lambda: sluice.status().calls_queued == 2, "both wait")
    check_refusal(sluice.post(CHAT, chat_body()), "queue_timeout")
    assert sluice.status().calls_queued == 2
    crowd.gate.open()
    for http in [crowd.running, *crowd.waiting, flex]:
        assert http.read_answer().status == 200
    classes = sorted(r["SLUICE_CLASS"] for r in sluice.wait_call_records(4))
    assert classes == ["batch", "batch", "interactive", "interactive"]


@pytest.mark.parametrize("word", ["royal", "", "BATCH", "batch, background", "1", "b" * 200, "b\xe4tch", None])
def test_unknown_class(env, word: Optional[str]) -> None:
    """What is no class is passed over, and never an error: the class is that of the caller, and no ceiling is lifted."""
    sluice = env.start(sluice={"keys": [key("all", ONE), key("low", TWO, **{"class": "batch"})]})
    headers = {} if word is None else {"X-Sluice-Class": word}
    for text in (ONE, TWO):
        assert sluice.post(CHAT, chat_body(), headers={**bearer(text), **headers}).status == 200
    records = [(r["SLUICE_KEY_ID"], r["SLUICE_CLASS"]) for r in sluice.wait_call_records(2)]
    assert records == [("all", "interactive"), ("low", "batch")]


def test_bytes_of_the_queue(env, upstream: Upstream) -> None:
    """Long prompts wait as well, but not all of them."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"queue": {"bytes": "100KiB"}})
    crowd = Crowd(sluice, upstream)
    crowd.add("x" * 60_000)
    check_refusal(sluice.post(CHAT, chat_body(content="x" * 60_000)), "queue_full")
    crowd.add("short")
    crowd.gate.open()
    for http in [crowd.running, *crowd.waiting]:
        assert http.read_answer().status == 200


def test_queue_in_status_and_metrics(env, upstream: Upstream) -> None:
    """Who waits, by class and by caller, how long waits were, and who was turned away."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"queue": {"length": 1}})
    crowd = Crowd(sluice, upstream)
    crowd.add("second", headers={"x-sluice-class": "batch"})
    check_refusal(sluice.post(CHAT, chat_body(), headers={"x-sluice-class": "batch"}), "queue_full")
    status = sluice.status()
    assert [(c.name, c.calls_queued, c.calls_running) for c in status.classes] == [
        ("interactive", 0, 1),
        ("batch", 1, 0),
        ("background", 0, 0),
    ]
    assert status.classes[1].oldest_usec > 0 and status.classes[0].oldest_usec == 0
    assert [(c.calls_queued, c.calls_running, c.weight) for c in status.callers] == [(1, 1, 1)]
    metrics = sluice.get("/metrics").body.decode()
    assert 'sluice_queue_calls{class="batch"} 1\n' in metrics
    assert 'sluice_slot_calls{class="interactive"} 1\n' in metrics
    assert 'sluice_sheds_total{reason="queue_full"} 1\n' in metrics
    crowd.gate.open()
    assert crowd.running.read_answer().status == 200
    assert crowd.waiting[0].read_answer().status == 200
    metrics = sluice.get("/metrics").body.decode()
    for name in ("interactive", "batch"):
        assert f'sluice_queue_wait_seconds_count{{class="{name}"}} 1\n' in metrics
        assert f'sluice_class_calls_completed_total{{class="{name}"}} 1\n' in metrics
    status = sluice.status()
    assert (status.tokens_in, status.tokens_out, status.pieces_out) == (14, 3, 3)
    assert [(c.calls_queued, c.calls_running) for c in status.callers] == [(0, 0)], "it was here a moment ago"


def test_stream_hears_its_position(env, upstream: Upstream) -> None:
    """A comment with the place in the queue, again when it has changed, and none of it in an answer that is not streamed."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": {"heartbeat": "100ms"}})
    crowd = Crowd(sluice, upstream)
    crowd.add("second")
    http = sluice.http()
    http.send_request("POST", CHAT, chat_body(content="third", stream=True))
    events = http.sse(http.read_head())
    seen = [next(events), next(events)]
    assert [e.lines for e in seen] == [[": queued, position 2"]] * 2
    crowd.gate.open()
    seen += list(events)
    check_complete(seen)
    comments = {e.lines[0] for e in seen if e.lines[0].startswith(":")}
    assert comments <= {": queued, position 2", ": queued, position 1", ": keep-alive"}
    whole = crowd.waiting[0].read_answer()
    assert whole.status == 200 and b"queued" not in whole.body
    assert crowd.running.read_answer().status == 200
    http.close()


def test_position_is_news(env, upstream: Upstream) -> None:
    """Behind the head a new position is told long before the next heartbeat is due."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": {"heartbeat": "1s"}})
    crowd = Crowd(sluice, upstream)
    second = Gate()
    upstream.next(wait_for(second), *say("second"))
    crowd.add("second")
    http = sluice.http()
    http.send_request("POST", CHAT, chat_body(content="third", stream=True))
    events = http.sse(http.read_head())
    assert next(events).lines == [": queued, position 2"]
    crowd.gate.open()
    later = next(events)
    while later.lines == [": queued, position 2"]:
        later = next(events)
    assert later.lines == [": queued, position 1"]
    second.open()
    check_complete(list(events))
    http.close()


def test_stream_that_times_out_after_a_heartbeat(env, upstream: Upstream) -> None:
    """Its head went out with the first heartbeat: now the refusal is an error event."""
    settings = {"queue": {"wait": {"interactive": "600ms"}}, "timeouts": {"heartbeat": "150ms"}}
    sluice = env.start({"m": upstream.deployment()}, sluice=settings)
    crowd = Crowd(sluice, upstream)
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        answer = http.read_head()
        assert answer.status == 200
        events = list(http.sse(answer))
    assert events[0].is_comment
    check_broken(events, "queue_timeout")
    crowd.gate.open()


def test_stream_whose_wait_ends_with_its_first_heartbeat(env, upstream: Upstream) -> None:
    """As by default: the refusal comes first, with a status and a Retry-After that a client obeys."""
    settings = {"queue": {"wait": {"interactive": "900ms"}}, "timeouts": {"heartbeat": "900ms"}}
    sluice = env.start({"m": upstream.deployment()}, sluice=settings)
    crowd = Crowd(sluice, upstream)
    with sluice.http() as http:
        answer = http.request("POST", CHAT, chat_body(stream=True))
    assert answer.status == 503 and answer.json["error"]["code"] == "queue_timeout"
    assert int(answer.header("Retry-After")) >= 1
    crowd.gate.open()


def test_stream_that_waits_and_is_served(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": {"heartbeat": "100ms"}})
    crowd = Crowd(sluice, upstream)
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        events = http.sse(http.read_head())
        seen = [next(events)]
        crowd.gate.open()
        seen += list(events)
    check_complete(seen)
    assert contents(seen) == "Hello world"


def test_deadline_in_the_queue(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    crowd = Crowd(sluice, upstream)
    with sluice.rpc() as rpc, pytest.raises(RpcError) as e:
        list(rpc.chat("m", deadline_usec=200_000))
    assert e.value.code == ttrpc.UNAVAILABLE and e.value.detail.code == "queue_timeout"
    assert 1_000_000 <= e.value.detail.retry_after_usec <= 60_000_000
    assert sluice.status().calls_queued == 0
    crowd.gate.open()
    assert len(upstream.requests()) == 1


def test_a_model_that_is_busy_does_not_stop_another(env) -> None:
    busy, idle = env.openai(), env.openai()
    sluice = env.start({"busy": busy.deployment(), "idle": idle.deployment()})
    busy.always(stall())
    held = [sluice.http() for _ in range(5)]
    for http in held:
        http.send_request("POST", CHAT, chat_body("busy"))
    busy.wait_request()
    assert sluice.post(CHAT, chat_body("idle")).status == 200
    with sluice.rpc() as rpc:
        assert text_of(list(rpc.chat("idle"))) == "Hello world"


def test_a_client_says_how_long_it_waits(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    crowd = Crowd(sluice, upstream)
    for headers in ({"x-sluice-max-wait-ms": "200"}, {"x-stainless-read-timeout": "0.4"}):
        check_refusal(sluice.post(CHAT, chat_body(), headers=headers), "queue_timeout")
    answer = sluice.post(CHAT, chat_body(), headers={"x-sluice-max-wait-ms": "soon"})
    assert answer.status == 400 and answer.error["param"] == "x-sluice-max-wait-ms"
    crowd.gate.open()
    assert crowd.running.read_answer().status == 200


def test_interactive_calls_go_first(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    crowd = Crowd(sluice, upstream)
    for name in ("background", "batch", "interactive"):
        crowd.add(name, headers={"x-sluice-class": name})
    crowd.gate.open()
    for http in [crowd.running, *crowd.waiting]:
        assert http.read_answer().status == 200
    got = [e.json["messages"][-1]["content"] for e in upstream.requests()]
    assert got == ["running", "interactive", "batch", "background"]


def test_256_connections_of_one_caller(env, upstream: Upstream) -> None:
    """As many wait as may; the others are told so at once and make room for the last ones, and nothing stays behind."""
    sluice = env.start({"m": upstream.deployment()})
    crowd = Crowd(sluice, upstream)
    clients = [crowd.send(f"{i}") for i in range(256)]
    eventually(lambda: sluice.status().calls_refused == 256 - 64, "64 wait, the others were refused")
    assert sluice.status().calls_queued == 64
    with sluice.rpc() as rpc:
        call = rpc.chat("m")
        assert next(call).queued.position == 2, "another caller's turn comes next but one"
        for http in clients:
            http.close()
        eventually(lambda: sluice.status().calls_queued == 1, "who leaves is gone")
        crowd.gate.open()
        assert text_of(list(call)) == "Hello world"
    assert crowd.running.read_answer().status == 200


def test_retries_without_waiting(env, upstream: Upstream) -> None:
    """They get in no sooner, are told to wait longer, and to stop when the next answer would come too late."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"queue": {"length": 1}})
    crowd = Crowd(sluice, upstream)
    crowd.add("second")
    told, goes_on = [], []
    for i in range(60):
        answer = sluice.post(CHAT, chat_body(), headers={"x-stainless-retry-count": str(i)})
        goes_on.append(answer.header("x-should-retry"))
        check_refusal(answer, "queue_full", should_retry=goes_on[-1] == "true")
        told.append(float(answer.header("retry-after-ms") or "0"))
    assert goes_on == sorted(goes_on, reverse=True) and goes_on[0] == "true" and goes_on[-1] == "false"
    assert sluice.post(CHAT, chat_body()).header("x-should-retry") == "true", "nobody else is told to stop"
    assert max(told[:3]) < 10_000 < min(told[-10:])
    crowd.gate.open()
    for http in [crowd.running, *crowd.waiting]:
        assert http.read_answer().status == 200


def test_callers_of_the_configuration(env, upstream: Upstream) -> None:
    """RPC's caller is this user, whose calls are batch at best, and of whom one may wait."""
    settings = {"callers": [{"uid": os.getuid(), "class": "batch", "queued": 1, "weight": 2}]}
    sluice = env.start({"m": upstream.deployment()}, sluice=settings)
    crowd = Crowd(sluice, upstream)
    with sluice.rpc() as first, sluice.rpc() as second:
        waiting = first.chat("m", "mine")
        assert next(waiting).queued.position == 1
        with pytest.raises(RpcError) as e:
            list(second.chat("m"))
        assert e.value.code == ttrpc.RESOURCE_EXHAUSTED and e.value.detail.code == "client_queue_full"
        crowd.add("of HTTP")
        assert next(waiting).queued.position == 2, "interactive calls go before it"
        crowd.gate.open()
        assert text_of(list(waiting)) == "Hello world"
    for http in [crowd.running, *crowd.waiting]:
        assert http.read_answer().status == 200

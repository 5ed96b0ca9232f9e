"""A client that leaves frees everything at once, wherever its call was: queue, load, upstream.

Latencies from the client's close() to the close of the upstream connection are printed; the assertions only ask that it happens. The
one connection that must survive is that of a load which others wait for.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Any, Callable

import pytest
from testenv.daemon import Daemon
from testenv.http import chat_body, contents
from testenv.rules import check_complete
from testenv.upstream import (
    Exchange,
    Gate,
    Upstream,
    begin,
    end,
    endless,
    stall,
    text,
    wait_for,
)
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"


class Caller:
    """A client with one call open, and a way to leave."""

    def __init__(self, sluice: Daemon, how: str, model: str = "m"):
        self.how = how
        self.sluice = sluice
        if how.startswith("rpc"):
            self.client: Any = sluice.rpc()
            request = self.client.chat_request(model, request_id="leaver")
            self.stream_id = self.client.stream("Chat", request)
        else:
            self.client = sluice.http()
            self.client.send_request("POST", CHAT, chat_body(model, stream="stream" in how))

    def leave(self) -> float:
        """When it began to leave."""
        left_at = time.monotonic()
        if self.how == "rpc cancel":
            assert self.client.cancel("leaver")
        elif "reset" in self.how:
            linger = struct.pack("ii", 1, 0)
            self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.client.close()
        else:
            self.client.close()
        return left_at


WAYS = ("http", "http stream", "http stream reset", "rpc", "rpc cancel")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


def report(record_property: Callable[[str, object], None], what: str, usec: float) -> None:
    print(f"client gone -> {what}: {usec * 1000:.2f} ms")
    record_property(f"ms: {what}", round(usec * 1000, 3))


def expect_closed(exchange: Exchange, left_at: float, what: str, record_property: Any) -> None:
    assert exchange.peer_left.wait(10), f"{what}: the upstream connection is still open"
    assert exchange.connection.closed.wait(10)
    assert exchange.peer_left_at is not None
    report(record_property, what, exchange.peer_left_at - left_at)


def expect_served(sluice: Daemon) -> None:
    answer = sluice.post(CHAT, chat_body())
    assert answer.json["choices"][0]["message"]["content"] == "Hello world"


def test_queued(env, upstream: Upstream, way: str, record_property: Any) -> None:
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("first"), wait_for(gate), end())
    with sluice.http() as first:
        first.send_request("POST", CHAT, chat_body(stream=True))
        upstream.wait_request()
        caller = Caller(sluice, way)
        eventually(lambda: sluice.status().calls_queued == 1, "it waits")
        left_at = caller.leave()
        eventually(lambda: sluice.status().calls_queued == 0, "it waits no more")
        report(record_property, f"out of the queue, {way} (polled)", time.monotonic() - left_at)
        gate.open()
        check_complete(list(first.sse(first.read_head())))
    sluice.expect_idle()
    assert len(upstream.requests()) == 1, "the model server was asked for somebody who had left"
    outcomes = sorted(r["SLUICE_OUTCOME"] for r in sluice.wait_call_records(2))
    assert "cancelled" in outcomes


def test_before_the_first_byte(env, upstream: Upstream, way: str, record_property: Any) -> None:
    """The model thinks; nothing has come back, not even a head."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(stall())
    caller = Caller(sluice, way)
    exchange = upstream.wait_request()
    left_at = caller.leave()
    expect_closed(exchange, left_at, f"before the first byte, {way}", record_property)
    expect_served(sluice)


def test_after_the_head(env, upstream: Upstream, way: str, record_property: Any) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(begin(), stall())
    caller = Caller(sluice, way)
    exchange = upstream.wait_request()
    eventually(lambda: exchange.has_begun, "the head is out")
    left_at = caller.leave()
    expect_closed(exchange, left_at, f"after the head, {way}", record_property)
    expect_served(sluice)


def test_streaming(env, upstream: Upstream, way: str, record_property: Any) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("some", " words"), stall())
    caller = Caller(sluice, way)
    exchange = upstream.wait_request()
    if way == "http":
        eventually(lambda: exchange.n_pieces == 2, "it has said its words")
    elif way.startswith("http"):
        events = caller.client.sse(caller.client.read_head())
        seen = [next(events)]
        while contents(seen) != "some words":
            seen.append(next(events))
    else:
        events = caller.client.events(caller.stream_id)
        while next(events).WhichOneof("kind") != "text":
            pass
    left_at = caller.leave()
    expect_closed(exchange, left_at, f"streaming, {way}", record_property)
    expect_served(sluice)
    record = sluice.wait_call_records(1)[0]
    assert record["SLUICE_OUTCOME"] == "cancelled"


def test_streaming_as_fast_as_it_goes(env, upstream: Upstream, record_property: Any) -> None:
    """Bytes are in flight everywhere when the client goes."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(endless("x" * 50))
    caller = Caller(sluice, "http stream")
    exchange = upstream.wait_request()
    events = caller.client.sse(caller.client.read_head())
    for _ in range(500):
        next(events)
    left_at = caller.leave()
    expect_closed(exchange, left_at, "streaming fast", record_property)
    expect_served(sluice)


def test_the_next_in_the_queue_gets_the_slot(env, upstream: Upstream, way: str) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(stall())
    caller = Caller(sluice, way)
    upstream.wait_request()
    with sluice.http() as waiting:
        waiting.send_request("POST", CHAT, chat_body())
        eventually(lambda: sluice.status().calls_queued == 1, "somebody waits")
        caller.leave()
        assert waiting.read_answer().status == 200


# ---------------------------------------------------------------------------------------------- loading


def test_load_survives_for_the_others(env, way: str) -> None:
    """Ollama aborts a load when its client goes: so the load has a connection of its own, and it stays."""
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 2})
    gate = Gate()
    upstream.on_load(wait_for(gate))
    caller = Caller(sluice, way)
    load = upstream.wait_request(1, "load")
    with sluice.http() as other:
        other.send_request("POST", CHAT, chat_body(stream=True))
        eventually(lambda: sluice.status().calls_running == 2, "both wait for the load")
        caller.leave()
        eventually(lambda: sluice.status().calls_running == 1, "one is gone")
        assert not load.peer_left.is_set(), "the load of the others was aborted"
        gate.open()
        events = list(other.sse(other.read_head()))
    check_complete(events)
    assert contents(events) == "Hello world"
    assert len(upstream.requests("load")) == 1
    assert len(upstream.requests()) == 1, "the model server was asked for somebody who had left"


def test_load_when_all_have_left(env, way: str) -> None:
    """The slot is free at once, the memory when the load is over; whoever comes next is served, with this load or another."""
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.on_load(wait_for(gate))
    caller = Caller(sluice, way)
    upstream.wait_request(1, "load")
    caller.leave()
    sluice.expect_idle(n_loads=1)
    with sluice.http() as other:
        other.send_request("POST", CHAT, chat_body())
        eventually(lambda: sluice.status().calls_running == 1, "the next one waits for the load")
        gate.open()
        assert other.read_answer().status == 200
    assert len(upstream.requests()) == 1


# ---------------------------------------------------------------------------------------------- many


def test_a_crowd_leaves(env, upstream: Upstream) -> None:
    """Fifty calls in every state, all gone at once: nothing is left, the next is served."""
    limits = {"slots": 8, "queue": {"length": 64}, "limits": {"connections_per_uid": 128}}
    sluice = env.start({"m": upstream.deployment()}, sluice=limits)
    for _ in range(4):
        upstream.next(text("x"), stall())
    for _ in range(4):
        upstream.next(stall())
    callers = [Caller(sluice, "http stream" if i % 2 else "http") for i in range(50)]
    upstream.wait_request(8)
    eventually(lambda: sluice.status().calls_queued == 42, "the rest waits")
    for caller in callers:
        caller.leave()
    sluice.expect_idle()
    expect_served(sluice)


def test_leaving_right_after_the_request(env, upstream: Upstream) -> None:
    """Request and FIN arrive together."""
    sluice = env.start({"m": upstream.deployment()})
    for _ in range(30):
        Caller(sluice, "http stream").leave()
    sluice.expect_idle()
    expect_served(sluice)

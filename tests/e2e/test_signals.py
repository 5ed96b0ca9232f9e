"""SIGTERM drains, SIGHUP reloads (test_config.py), SIGUSR1 tells, SIGINT is a SIGTERM from a terminal."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from testenv import ttrpc
from testenv.daemon import Daemon
from testenv.http import Closed, chat_body, contents
from testenv.rules import check_broken, check_complete
from testenv.ttrpc import ConnectionEnded, RpcError, text_of
from testenv.upstream import Gate, Upstream, end, endless, stall, text, wait_for
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"


def open_stream(sluice: Daemon, upstream: Upstream, n: int = 1) -> Any:
    """A stream whose first word has come."""
    http = sluice.http()
    http.send_request("POST", CHAT, chat_body(stream=True))
    upstream.wait_request(n)
    events = http.sse(http.read_head())
    seen = [next(events)]
    while contents(seen) == "":
        seen.append(next(events))
    return http, seen, events


def wait_draining(sluice: Daemon) -> None:
    """No new connection is taken any more."""

    def refused() -> bool:
        try:
            sluice.http(timeout=0.5).close()
            return False
        except (ConnectionRefusedError, TimeoutError, ConnectionResetError):
            return True

    eventually(refused, "the port is closed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle(env, number: int) -> None:
    sluice = env.start()
    started = time.monotonic()
    sluice.signal(number)
    assert sluice.wait_exit() == 0
    assert time.monotonic() - started < 5


def test_running_stream_ends_well(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("before"), wait_for(gate), text(" after"), end())
    http, seen, events = open_stream(sluice, upstream)
    sluice.signal(signal.SIGTERM)
    wait_draining(sluice)
    gate.open()
    seen += list(events)
    check_complete(seen)
    assert contents(seen) == "before after"
    assert sluice.wait_exit() == 0


def test_running_rpc_stream_ends_well(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("before"), wait_for(gate), text(" after"), end())
    rpc = sluice.rpc()
    events = rpc.chat("m")
    seen = [next(events)]
    upstream.wait_request()
    sluice.signal(signal.SIGTERM)
    wait_draining(sluice)
    second = rpc.stream("Chat", rpc.chat_request("m"))
    with pytest.raises(RpcError) as e:
        list(rpc.events(second))
    assert e.value.code == ttrpc.UNAVAILABLE and e.value.detail.code == "draining"
    gate.open()
    assert text_of(seen + list(events)) == "before after"
    assert sluice.wait_exit() == 0


def test_stream_that_takes_too_long(env, upstream: Upstream) -> None:
    """When the drain time is over it ends with an error event, and never looks complete."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": {"drain": "500ms"}})
    upstream.next(text("half"), stall())
    http, seen, events = open_stream(sluice, upstream)
    sluice.signal(signal.SIGTERM)
    seen += list(events)
    check_broken(seen, "draining")
    assert upstream.wait_request().peer_left.wait(10)
    assert sluice.wait_exit() == 0


def test_all_kinds_of_calls_at_the_end_of_the_drain(env, upstream: Upstream) -> None:
    sluice = env.start(
        {"m": upstream.deployment()}, sluice={"slots": 3, "timeouts": {"drain": "500ms"}}
    )
    upstream.always(text("half"), stall())
    http, seen, events = open_stream(sluice, upstream)
    plain = sluice.http()
    plain.send_request("POST", CHAT, chat_body())
    rpc = sluice.rpc()
    stream_id = rpc.stream("Chat", rpc.chat_request("m"))
    upstream.wait_request(3)
    queued = sluice.http()
    queued.send_request("POST", CHAT, chat_body())
    eventually(lambda: sluice.status().calls_queued == 1, "one waits")
    sluice.signal(signal.SIGTERM)
    check_broken(seen + list(events), "draining")
    for waiting in (plain, queued):
        answer = waiting.read_answer()
        assert answer.status == 503 and answer.error["code"] == "draining"
        assert 1 <= float(answer.header("retry-after") or "0") <= 60
    with pytest.raises(RpcError) as e:
        list(rpc.events(stream_id))
    assert e.value.code == ttrpc.UNAVAILABLE and e.value.detail.code == "draining"
    assert sluice.wait_exit() == 0
    assert len(sluice.call_records) == 4


def test_idle_connections_do_not_hold_the_drain(env) -> None:
    sluice = env.start()
    idle = [sluice.http() for _ in range(3)]
    for http in idle:
        assert http.request("GET", "/v1/models").status == 200
    rpc = sluice.rpc()
    assert rpc.status().version
    silent = sluice.http()
    sluice.signal(signal.SIGTERM)
    assert sluice.wait_exit() == 0
    for http in [*idle, silent]:
        http.wait_closed()
    with pytest.raises(ConnectionEnded):
        rpc.recv_frame()


def test_answer_on_a_kept_connection_says_close(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(wait_for(gate), text("x"), end())
    http = sluice.http()
    http.send_request("POST", CHAT, chat_body())
    upstream.wait_request()
    sluice.signal(signal.SIGTERM)
    wait_draining(sluice)
    gate.open()
    answer = http.read_answer()
    assert answer.status == 200 and answer.header("connection") == "close"
    with pytest.raises(Closed):
        http.read_head()
    assert sluice.wait_exit() == 0


def test_client_that_does_not_read_does_not_hold_the_exit(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": {"drain": "500ms"}})
    upstream.next(endless("x" * 200))
    http = sluice.http(rcvbuf=4096)
    http.send_request("POST", CHAT, chat_body(stream=True))
    assert upstream.wait_request().blocked.wait(20)
    sluice.signal(signal.SIGTERM)
    assert sluice.wait_exit(15) == 0


def test_state_dump(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("x"), stall())
    secret = "the prompt is nobody's business"
    http = sluice.http()
    http.send_request("POST", CHAT, chat_body(content=secret, stream=True))
    upstream.wait_request()
    n = len(sluice.records)
    sluice.signal(signal.SIGUSR1)
    eventually(lambda: len(sluice.records) > n, "something is told")
    assert sluice.status().calls_running == 1, "and the daemon lives on"
    told = "\n".join(str(r) for r in sluice.records[n:])
    assert "m" in told and secret not in sluice.log_text


def test_sigpipe_and_others_do_not_kill(env) -> None:
    sluice = env.start()
    sluice.signal(signal.SIGPIPE)
    assert sluice.post(CHAT, chat_body()).status == 200


def test_asked_twice(env, upstream: Upstream) -> None:
    """A second SIGTERM does not wait for the drain time."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": {"drain": "1h"}})
    upstream.next(text("half"), stall())
    http, seen, events = open_stream(sluice, upstream)
    sluice.signal(signal.SIGTERM)
    wait_draining(sluice)
    sluice.signal(signal.SIGTERM)
    check_broken(seen + list(events), "draining")
    assert sluice.wait_exit() == 0

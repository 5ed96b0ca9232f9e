"""A client that does not read: its upstream is paused, its memory bounded, everybody else at full speed."""

from __future__ import annotations

import signal
import socket
import time
from typing import Any

import pytest
from testenv import ttrpc
from testenv.daemon import Daemon, mock
from testenv.http import chat_body, contents
from testenv.rules import check_complete
from testenv.ttrpc import RpcError, text_of
from testenv.upstream import Exchange, Gate, Upstream, end, endless, text
from testenv.waiting import eventually, is_readable

CHAT = "/v1/chat/completions"
MIB = 1 << 20
PIECE = "x" * 200
N_PIECES = 3000


def open_stream(sluice: Daemon, how: str) -> Any:
    """A client with a stream that it does not read."""
    if how == "http":
        http = sluice.http(rcvbuf=4096)
        http.send_request("POST", CHAT, chat_body(stream=True))
        return http
    rpc = sluice.rpc()
    rpc.schema
    rpc.stream_id = rpc.stream("Chat", rpc.chat_request("m"))  # type: ignore[attr-defined]
    return rpc


def settled_bytes(exchange: Exchange) -> int:
    """How much the upstream could send before its own send() blocked."""
    assert exchange.blocked.wait(20), f"never paused after {exchange.sent_bytes / MIB:.1f} MiB"
    return exchange.sent_bytes


@pytest.mark.memory
@pytest.mark.parametrize("how", ["http", "rpc"])
def test_upstream_is_paused(env, upstream: Upstream, how: str) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 2})
    sluice.post(CHAT, chat_body())  # what the first call allocates is not the slow one's
    before = sluice.rss_bytes()
    sluice.reset_peak()
    upstream.next(endless(PIECE))
    client = open_stream(sluice, how)
    exchange = upstream.wait_request(2)
    sent = settled_bytes(exchange)
    grown = sluice.peak_rss_bytes() - before
    print(f"{how}: paused after {sent / MIB:.2f} MiB, daemon grew by {grown / MIB:.2f} MiB")
    assert sent < 16 * MIB
    assert grown < sluice.allowed_bytes(3 * MIB)

    # Somebody else, meanwhile, at full speed.
    upstream.next(text(*[PIECE] * N_PIECES), end())
    started = time.monotonic()
    with sluice.http() as other:
        other.send_request("POST", CHAT, chat_body(stream=True))
        events = list(other.sse(other.read_head()))
    check_complete(events)
    assert contents(events) == PIECE * N_PIECES
    print(f"another stream: {N_PIECES} pieces in {time.monotonic() - started:.2f} s")

    # It reads on: the upstream goes on where it stopped.
    assert exchange.sent_bytes - sent < 2 * MIB
    read_on(client, 2 * MIB)
    eventually(lambda: exchange.sent_bytes > sent + MIB, "the upstream was resumed")
    client.close()
    assert exchange.peer_left.wait(10)


def read_on(client: Any, n_bytes: int) -> None:
    if isinstance(client, ttrpc.Client):
        got = 0
        for event in client.events(client.stream_id):  # type: ignore[attr-defined]
            got += len(event.text.text)
            if got >= n_bytes:
                return
    else:
        got = 0
        for part in client.body_parts(client.read_head()):
            got += len(part)
            if got >= n_bytes:
                return


@pytest.mark.parametrize("how", ["http", "rpc"])
def test_nothing_is_lost_or_reordered(env, upstream: Upstream, how: str) -> None:
    """Paused and resumed many times, coalesced on the way: the same text."""
    sluice = env.start({"m": upstream.deployment()})
    pieces = [f"[{i}]" + "y" * (i % 700) for i in range(8000)]
    upstream.next(text(*pieces), end())
    client = open_stream(sluice, how)
    exchange = upstream.wait_request()
    assert exchange.blocked.wait(20) or exchange.finished.wait(0.1)
    if how == "http":
        events = list(client.sse(client.read_head()))
        check_complete(events)
        assert contents(events) == "".join(pieces)
    else:
        got = list(client.events(client.stream_id))
        assert text_of(got) == "".join(pieces)
        assert [e.seq for e in got] == list(range(1, len(got) + 1))


def test_what_is_held_back_may_be_garbage(env, upstream: Upstream) -> None:
    """The fault is found when the reader goes on, and told then, not after the gap limit.

    One of these sizes has it within the 16 KiB that wait inside libcurl when the reader comes back.
    """
    sluice = env.start({"m": upstream.deployment()}, sluice={"timeouts": {"gap": "1h"}})
    for i, kib in enumerate(range(300, 540, 6)):
        sent = Gate()

        def answer(ex: Exchange, kib: int = kib, sent: Gate = sent) -> None:
            piece = ex.server.dialect.piece(ex, PIECE)
            garbage = b"data: {bad\n\n" if ex.server.dialect.name == "openai" else b"{bad\n"
            ex.chunk(piece * (kib * 1024 // len(piece)) + garbage)
            sent.open()
            ex.wait()

        upstream.next(answer)
        rpc = open_stream(sluice, "rpc")
        upstream.wait_request(i + 1)
        assert is_readable(sent.fd, 10)
        with pytest.raises(RpcError) as e:
            list(rpc.events(rpc.stream_id))
        assert e.value.detail.code == "upstream_garbage" and "JSON" in e.value.message
        rpc.close()


@pytest.mark.parametrize("how", ["http", "rpc"])
def test_stalled_reader_is_let_go(env, upstream: Upstream, how: str) -> None:
    """After sluice.timeouts.stalled_reader its call ends, and with it the upstream connection."""
    sluice = env.start(
        {"m": upstream.deployment()}, sluice={"timeouts": {"stalled_reader": "500ms"}}
    )
    upstream.next(endless(PIECE))
    client = open_stream(sluice, how)
    exchange = upstream.wait_request()
    assert exchange.peer_left.wait(20), "the stalled reader still has its upstream"
    assert sluice.wait_call_records(1)[0]["SLUICE_OUTCOME"] == "stalled_reader"
    sluice.expect_idle()
    if how == "rpc":
        # The connection is not at fault: the stream ends with its status, other calls go on.
        with pytest.raises((RpcError, ttrpc.ConnectionEnded)) as e:
            list(client.events(client.stream_id))
        if isinstance(e.value, RpcError):
            assert e.value.code == ttrpc.RESOURCE_EXHAUSTED
            assert e.value.detail.code == "stalled_reader"
    else:
        client.wait_closed(10)
    assert sluice.post(CHAT, chat_body()).status == 200


def test_slow_is_not_stalled(env, upstream: Upstream) -> None:
    """Who reads a little now and then is slow, and may be."""
    sluice = env.start(
        {"m": upstream.deployment()}, sluice={"timeouts": {"stalled_reader": "1200ms"}}
    )
    upstream.next(endless(PIECE))
    http = sluice.http()
    http.send_request("POST", CHAT, chat_body(stream=True))
    exchange = upstream.wait_request()
    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline:
        assert not exchange.peer_left.wait(0.1), "a reader that makes progress was let go"
        assert http.read_exactly(100_000)
    http.close()


def test_one_slow_stream_of_many_on_one_rpc_connection(env) -> None:
    """ttrpc has no flow control: a connection that is not read stops as a whole, the daemon does not."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 8})
    for _ in range(4):
        upstream.next(endless(PIECE))
    rpc = sluice.rpc()
    rpc.schema
    before = sluice.rss_at_work_bytes()
    for _ in range(4):
        rpc.stream("Chat", rpc.chat_request("m"))
    exchanges = [upstream.wait_request(i + 1) for i in range(4)]
    for exchange in exchanges:
        settled_bytes(exchange)
    assert sluice.rss_bytes() - before < 12 * MIB
    assert text_of(list(sluice.rpc().chat("m"))) == "Hello world"
    rpc.close()
    for exchange in exchanges:
        assert exchange.peer_left.wait(10)


# ---------------------------------------------------------------------------------------------- answers that were made already


def many_models(n: int) -> dict[str, Any]:
    """A model list that no socket buffer takes whole."""
    return {f"{'m' * 200}-{i}": mock() for i in range(n)}


@pytest.mark.memory
def test_unread_answers_hold_the_pipeline(env) -> None:
    """A request of 50 bytes asks for 50,000: who reads none of them is not served on, and is once it reads."""
    n = 500
    sluice = env.start(many_models(150))
    size = len(sluice.get("/v1/models").body)
    before = sluice.rss_bytes()
    sluice.reset_peak()
    http = sluice.http(rcvbuf=4096)
    http.sock.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * n)
    with sluice.rpc() as rpc:  # a round trip later the pipeline was looked at
        assert rpc.status().connections == 2
    grown = sluice.peak_rss_bytes() - before
    print(f"{n * size / MIB:.1f} MiB asked for, daemon grew by {grown / MIB:.2f} MiB")
    assert grown < sluice.allowed_bytes(4 * MIB)
    for _ in range(n):
        answer = http.read_answer()
        assert answer.status == 200 and len(answer.body) == size


def test_keep_alive_leaves_an_answer_whole(env) -> None:
    """Between requests is not idle while the last answer is on its way."""
    sluice = env.start(many_models(250), sluice={"timeouts": {"keep_alive": "200ms"}})
    size = len(sluice.get("/v1/models").body)
    http = sluice.http(rcvbuf=4096)
    http.send_request("GET", "/v1/models")
    with sluice.http() as other:
        assert other.request("GET", "/health/liveliness").status == 200
        other.wait_closed()
    assert len(http.read_answer().body) == size


def test_stopping_leaves_an_answer_whole(env) -> None:
    sluice = env.start(many_models(250))
    size = len(sluice.get("/v1/models").body)
    http = sluice.http(rcvbuf=4096)
    http.send_request("GET", "/v1/models")
    assert http.sock.recv(1, socket.MSG_PEEK)
    sluice.signal(signal.SIGTERM)
    sluice.wait_record(lambda r: r["message"].startswith("stopping"), "it stops")
    assert len(http.read_answer().body) == size
    assert sluice.wait_exit() == 0

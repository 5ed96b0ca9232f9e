"""Where implementations of ttrpc have fallen, or fall over one another: each trap with raw frames, named after it.

The docstrings name the place it comes from: `ttrpc` is the Go implementation, `ttrpc-rust` the Rust one, `trapeze` another one in
Rust. What a stock client does in these places is in test_stock_go.py and test_stock_rust.py; plain bad input in test_rpc_bad_input.py.
"""

from __future__ import annotations

import select
import signal
import socket
import struct
import threading
from typing import Any

import pytest
from testenv import ttrpc
from testenv.ttrpc import (
    CONTROL,
    DATA,
    ENGINE,
    NO_DATA,
    REMOTE_CLOSED,
    REMOTE_OPEN,
    REQUEST,
    RESPONSE,
    Client,
    Frame,
    Response,
    text_of,
)
from testenv.upstream import Gate, Upstream, end, endless, stall, text, wait_for, whole
from testenv.waiting import eventually

MIB = 1 << 20


def header(length: int, stream_id: int, type_: int = REQUEST, flags: int = 0) -> bytes:
    return struct.pack(">IIBB", length, stream_id, type_, flags)


def fence(rpc: Client) -> None:
    """A round trip: what the daemon said before it has arrived."""
    stream_id = rpc.start(ENGINE, "GetInfo", b"")
    assert Response.decode(rpc.recv_on(stream_id).payload).code == ttrpc.OK


def whole_call(rpc: Client, stream_id: int) -> list[Frame]:
    """Every frame of this id, also those behind its end."""
    frames = [rpc.recv_on(stream_id)]
    while not frames[-1].is_end:
        frames.append(rpc.recv_on(stream_id))
    fence(rpc)
    late = [f for f in rpc.pending if f.stream_id == stream_id]
    rpc.pending = [f for f in rpc.pending if f.stream_id != stream_id]
    return frames + late


def only_answer(rpc: Client, stream_id: int) -> Response:
    """The call's one frame, which is a Response."""
    frames = whole_call(rpc, stream_id)
    assert [f.type for f in frames] == [RESPONSE], frames
    assert frames[0].flags == 0
    return Response.decode(frames[0].payload)


def is_well(rpc: Client) -> bool:
    return text_of(list(rpc.chat("m"))) == "mocked"


# ---------------------------------------------------------------------------------------------- how calls end


def requests(rpc: Client) -> dict[str, Any]:
    s = rpc.schema
    return {
        "Chat": rpc.chat_request("m"),
        "Complete": s.CompleteRequest(model="m", prompt="x"),
        "Embed": s.EmbedRequest(model="m", inputs=["x"]),
    }


@pytest.mark.parametrize("method", ["Chat", "Complete", "Embed"])
def test_stream_is_not_ended_by_a_response(env, upstream: Upstream, method: str) -> None:
    """ttrpc client.go RecvMsg, ttrpc-rust stream.rs: Response(OK) at the end is handed out as one more, empty message;
    trapeze handle_server_stream: as an error. A stream ends with Data 0x05."""
    rpc = env.start({"m": upstream.deployment()}).rpc()
    frames = whole_call(rpc, rpc.stream(method, requests(rpc)[method]))
    assert {f.type for f in frames} == {DATA}
    assert [f.flags for f in frames] == [0] * (len(frames) - 1) + [REMOTE_CLOSED | NO_DATA]


@pytest.mark.parametrize("method", ["Chat", "Complete", "Embed"])
def test_no_message_in_the_closing_frame(env, upstream: Upstream, method: str) -> None:
    """ttrpc-rust stream.rs: a close that carries a message is RemoteClosed, no clean end. The spec allows it, we do not do it."""
    rpc = env.start({"m": upstream.deployment()}).rpc()
    frames = whole_call(rpc, rpc.stream(method, requests(rpc)[method]))
    assert frames[-1].payload == b""
    assert all(f.payload for f in frames[:-1]), "an empty Data without the no-data bit is a message"


def test_error_in_mid_stream_is_its_only_end(env, upstream: Upstream) -> None:
    """ttrpc server.go (executed): after an error Response it goes on to send frames on that id."""
    upstream.always(text("some"), stall())
    sluice = env.start({"m": upstream.deployment()})
    rpc = sluice.rpc()
    stream_id = rpc.stream("Chat", rpc.chat_request("m", request_id="x"))
    while not rpc.schema.Event.FromString(rpc.recv_on(stream_id).payload).HasField("text"):
        pass
    with sluice.rpc() as other:
        assert other.cancel("x")
    frames = whole_call(rpc, stream_id)
    assert [f.type for f in frames if f.is_end] == [RESPONSE] and frames[-1].is_end


def test_error_carries_no_payload(env) -> None:
    """ttrpc client.go Call: the payload is unmarshalled before the status is looked at."""
    rpc = env.start().rpc()
    rpc.schema
    for service, method in ((ENGINE, "Nope"), (CONTROL, "Explain"), (ENGINE, "Chat")):
        frame = rpc.recv_on(rpc.start(service, method, b""))
        assert [number for number, _ in ttrpc.fields(frame.payload)] == [1]


def test_success_carries_no_status(env) -> None:
    """ttrpc services.go leaves it out, ttrpc-rust utils.rs sends one with code 0: readers take both, we send none."""
    rpc = env.start().rpc()
    frame = rpc.recv_on(rpc.start(ENGINE, "GetInfo", b""))
    assert [number for number, _ in ttrpc.fields(frame.payload)] == [2]


# ---------------------------------------------------------------------------------------------- flags and first messages


@pytest.mark.parametrize("flags", [0, REMOTE_CLOSED, REMOTE_OPEN, REMOTE_OPEN | NO_DATA])
def test_empty_request_of_a_stream(env, flags: int) -> None:
    """ttrpc #126 (fixed by #157): an empty payload never reached the handler of a stream, which hung. ttrpc-rust #221: without
    the no-data bit an empty first message is made up. Here an empty request is a request, and one that lacks everything."""
    rpc = env.start().rpc()
    rpc.schema
    response = only_answer(rpc, rpc.start(ENGINE, "Chat", b"", flags))
    assert response.code == ttrpc.INVALID_ARGUMENT
    assert is_well(rpc)


@pytest.mark.parametrize("flags", [REMOTE_OPEN, REMOTE_OPEN | NO_DATA])
def test_client_stream_with_either_flags(env, flags: int) -> None:
    """Go opens client streams with 0x02, ttrpc-rust and trapeze with 0x06; trapeze's server refuses the former
    (method_handlers.rs). The rest of a stream that was refused is thrown away in silence: the client sees the error only
    when it reads."""
    rpc = env.start().rpc()
    stream_id = rpc.start(ENGINE, "Upload", b"", flags)
    for _ in range(3):
        rpc.send_frame(stream_id, DATA, 0, ttrpc.blob(1, b"x" * 1000))
    rpc.send_frame(stream_id, DATA, 0, b"")
    rpc.send_frame(stream_id, DATA, REMOTE_CLOSED | NO_DATA)
    assert only_answer(rpc, stream_id).code == ttrpc.UNIMPLEMENTED
    assert not rpc.pending


@pytest.mark.parametrize("flags", [REMOTE_CLOSED, REMOTE_CLOSED | NO_DATA])
def test_close_frame_with_a_message(env, flags: int) -> None:
    """ttrpc server.go (executed): delivers the message and also answers "data close message cannot include data", so the
    call has two ends."""
    upstream = env.openai()
    gate = Gate()
    upstream.always(text("one"), wait_for(gate), text("two"), end())
    rpc = env.start({"m": upstream.deployment()}).rpc()
    stream_id = rpc.stream("Chat", rpc.chat_request("m"))
    upstream.wait_request()
    rpc.send_frame(stream_id, DATA, flags, b"\x08\x01")
    fence(rpc)
    gate.open()
    frames = whole_call(rpc, stream_id)
    events = [rpc.schema.Event.FromString(f.payload) for f in frames[:-1]]
    assert text_of(events) == "onetwo" and {f.type for f in frames} == {DATA}


# ---------------------------------------------------------------------------------------------- size


def test_framing_survives_an_oversized_frame(env) -> None:
    """ttrpc-rust #198, #199: framing was lost behind a frame over 4 MiB; containerd #6247: the Go server panicked."""
    rpc = env.start().rpc()
    rpc.schema
    good = ttrpc.request_envelope(ENGINE, "GetInfo")
    bad_id, good_id = rpc.new_id(), rpc.new_id()
    data = header(4 * MIB + 1, bad_id) + b"\x01" * (4 * MIB + 1) + header(len(good), good_id) + good
    for at in range(0, len(data), 999_983):  # no piece ends where a frame does
        rpc.send_raw(data[at : at + 999_983])
    assert Response.decode(rpc.recv_on(bad_id).payload).code == ttrpc.RESOURCE_EXHAUSTED
    assert Response.decode(rpc.recv_on(good_id).payload).code == ttrpc.OK
    assert is_well(rpc)


@pytest.mark.parametrize("type_", [DATA, RESPONSE, 9])
def test_oversized_frame_that_asks_for_nothing(env, type_: int) -> None:
    """ttrpc channel.go answers RESOURCE_EXHAUSTED whatever the type. On the id of a running stream that would be an end with
    frames behind it, so only requests are answered."""
    upstream = env.openai()
    gate = Gate()
    upstream.always(text("one"), wait_for(gate), text("two"), end())
    rpc = env.start({"m": upstream.deployment()}).rpc()
    stream_id = rpc.stream("Chat", rpc.chat_request("m"))
    upstream.wait_request()
    rpc.send_raw(header(4 * MIB + 1, stream_id, type_) + b"x" * (4 * MIB + 1))
    fence(rpc)
    gate.open()
    frames = whole_call(rpc, stream_id)
    assert {f.type for f in frames} == {DATA}, "the stream was ended by a frame that is no request"


def test_answer_that_does_not_fit_a_frame(env, upstream: Upstream) -> None:
    """ttrpc server.go run (executed): a reply over 4 MiB ended the connection, and with it every other call on it."""
    rpc = env.start({"m": upstream.deployment()}, sluice={"slots": 2}).rpc()
    gate = Gate()
    upstream.next(text("other"), wait_for(gate), end())
    other = rpc.stream("Chat", rpc.chat_request("m"))
    upstream.wait_request()
    vector = b"[" + b",".join([b"0.5"] * 1_100_000) + b"]"
    openai = b'{"data":[{"index":0,"embedding":' + vector + b"}]}"
    ollama = b'{"model":"m","embeddings":[' + vector + b"]}"
    upstream.next(whole(200, ollama if upstream.dialect.name == "ollama" else openai))
    request = rpc.schema.EmbedRequest(model="m", inputs=["x"])
    frames = whole_call(rpc, rpc.stream("Embed", request))
    assert frames[-1].type == RESPONSE and Response.decode(frames[-1].payload).code != ttrpc.OK
    gate.open()
    assert text_of(list(rpc.events(other))) == "other"


# ---------------------------------------------------------------------------------------------- ids and order


def test_ids_need_not_grow(env) -> None:
    """ttrpc server.go: ids must increase. ttrpc-rust client.rs takes the id first and queues the frame later, so two of its
    tasks may put a lower id behind a higher one."""
    upstream = env.openai()
    gate = Gate()
    upstream.always(wait_for(gate), text("answer"), end())
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 8})
    rpc = sluice.rpc()
    ids = []
    for rpc.next_id in (901, 5, 0x7FFFFFFF, 3):
        ids.append(rpc.stream("Chat", rpc.chat_request("m")))
    rpc.next_id = 1001
    eventually(lambda: rpc.status().calls_running == 4, "all four run")
    gate.open()
    for stream_id in ids:
        assert text_of(list(rpc.events(stream_id))) == "answer"


def test_events_are_numbered(env, upstream: Upstream) -> None:
    """ttrpc-rust #311 (fixed by #312): its async client lost or swapped the last frames of a stream. Numbers show it."""
    rpc = env.start({"m": upstream.deployment()}).rpc()
    upstream.next(text(*[f"{i} " for i in range(200)]), end())
    events = list(rpc.chat("m"))
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert events[-1].WhichOneof("kind") == "done"


def test_stray_frames_do_not_shift_the_count_of_calls(env) -> None:
    """ttrpc server.go (read): each error answer takes one from a counter that was never raised, so a busy connection looks idle
    to Shutdown. Here: errors of all kinds, then a stream that runs while the daemon stops."""
    upstream = env.openai()
    gate = Gate()
    upstream.always(text("before"), wait_for(gate), text(" after"), end())
    sluice = env.start({"m": upstream.deployment()})
    rpc = sluice.rpc()
    events = rpc.chat("m")
    seen = [next(events)]
    upstream.wait_request()
    for _ in range(4):
        rpc.recv_on(rpc.start(ENGINE, "Nope", b""))
        rpc.send_frame(2, REQUEST, 0, b"")
        rpc.send_frame(4711, DATA, 0, b"stray")
        bad = rpc.new_id()
        rpc.send_frame(bad, REQUEST, 0, b"\xff")
        assert rpc.recv_on(2).type == rpc.recv_on(bad).type == RESPONSE
    sluice.signal(signal.SIGTERM)
    fence(rpc)
    gate.open()
    assert text_of(seen + list(events)) == "before after"
    assert sluice.wait_exit() == 0


# ---------------------------------------------------------------------------------------------- no flow control


def test_both_sides_write_at_once(env) -> None:
    """ttrpc #72, #168: client and server each blocked in a write, and nobody read. A Go program that starts some thousand
    calls at once looks like this: they all get their answers, however far the reading is behind."""
    rpc = env.start().rpc()
    envelope = ttrpc.request_envelope(ENGINE, "GetInfo")
    n = 3000
    asked = b"".join(header(len(envelope), 2 * i + 1) + envelope for i in range(n))
    writer = threading.Thread(target=rpc.send_raw, args=(asked,))
    writer.start()
    answers = [rpc.recv_frame() for _ in range(n)]
    writer.join()
    assert [f.stream_id for f in answers] == [2 * i + 1 for i in range(n)]
    assert {Response.decode(f.payload).code for f in answers} == {ttrpc.OK}


def fill(rpc: Client) -> tuple[int, bytes]:
    """Asks until the daemon takes no more: how many requests have left whole, and the rest of the last."""
    envelope = ttrpc.request_envelope(ENGINE, "GetInfo")
    frame = header(len(envelope), 1) + envelope
    rpc.sock.setblocking(False)
    sent = 0
    while is_writable(rpc.sock, 1.0):
        sent += rpc.sock.send(frame * 1000)
        assert sent < 64 * MIB, "it reads whatever comes"
    return sent // len(frame), frame[sent % len(frame) :] if sent % len(frame) else b""


def is_writable(sock: socket.socket, timeout: float) -> bool:
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    return bool(poller.poll(timeout * 1000))


def test_who_asked_too_much_at_once_gets_it_all(env) -> None:
    """As above, with a client of one thread that writes until it cannot, then reads. Half of its last request is still to come."""
    sluice = env.start()
    rpc = sluice.rpc()
    n, rest = fill(rpc)
    frames = [rpc.recv_frame() for _ in range(n)]
    rpc.sock.setblocking(True)
    rpc.send_raw(rest)
    frames += [rpc.recv_frame()] if rest else []
    assert {Response.decode(f.payload).code for f in frames} == {ttrpc.OK}
    rpc.next_id = 3
    assert is_well(rpc)


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
def test_who_asked_too_much_and_leaves(env, how: str) -> None:
    """What is not read must still be seen to end: ttrpc #136."""
    sluice = env.start()
    fds = sluice.n_fds()
    rpc = sluice.rpc()
    fill(rpc)
    if how == "half-close":
        rpc.sock.shutdown(socket.SHUT_WR)
    elif how == "reset":
        rpc.sock.recv(1)
        rpc.close()
    else:
        rpc.close()
    eventually(lambda: sluice.n_fds() <= fds, "the descriptor is back")


def test_unread_stream_holds_up_no_other_connection(env) -> None:
    """ttrpc #229 (nerdbox #171): one stream that is not read stops the whole connection of a Go client up to v1.2.8."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 2})
    upstream.next(endless("x" * 1000))
    slow = sluice.rpc()
    slow.stream("Chat", slow.chat_request("m"))
    exchange = upstream.wait_request()
    assert exchange.blocked.wait(20)
    assert text_of(list(sluice.rpc().chat("m"))) == "Hello world"
    slow.close()
    assert exchange.peer_left.wait(10)


def test_cancel_is_read_while_nothing_can_be_written(env) -> None:
    """ttrpc server.go: one writer without a deadline blocks every handler of a connection that does not read. Here the
    connection whose output is full can still cancel its own call."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(endless("x" * 1000))
    rpc = sluice.rpc()
    rpc.schema
    rpc.stream("Chat", rpc.chat_request("m", request_id="full"))
    exchange = upstream.wait_request()
    assert exchange.blocked.wait(20)
    rpc.start(ENGINE, "Cancel", rpc.schema.CancelRequest(request_id="full").SerializeToString())
    assert exchange.peer_left.wait(10)
    assert sluice.wait_call_records(1)[0]["SLUICE_OUTCOME"] == "cancelled"


# ---------------------------------------------------------------------------------------------- cancel and deadlines


def test_half_close_is_an_end(env, upstream: Upstream) -> None:
    """ttrpc server.go: end of file ends the connection at once, so shutdown(SHUT_WR) is no half-close but an abort."""
    upstream.always(text("some"), stall())
    sluice = env.start({"m": upstream.deployment()})
    rpc = sluice.rpc()
    rpc.stream("Chat", rpc.chat_request("m"))
    exchange = upstream.wait_request()
    rpc.sock.shutdown(socket.SHUT_WR)
    assert exchange.peer_left.wait(10)
    assert sluice.wait_call_records(1)[0]["SLUICE_OUTCOME"] == "cancelled"


def test_peer_that_closes_with_unread_data(env, upstream: Upstream) -> None:
    """ttrpc #123, #136, #142: connections and goroutines leaked on ECONNRESET and on half a message."""
    upstream.always(text("some"), stall())
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 8})
    with sluice.rpc() as rpc:
        request = rpc.chat_request("m").SerializeToString()
        rpc.schema
    eventually(lambda: sluice.status().connections == 1, "only the one that asks")
    fds = sluice.n_fds()
    for i in range(4):
        rpc = sluice.rpc()
        rpc.start(ENGINE, "Chat", request, REMOTE_CLOSED)
        upstream.wait_request(i + 1)
        rpc.send_raw(header(100, 99) + b"half")
        assert rpc.sock.recv(1)  # there is more: the kernel resets the connection when it is closed now
        rpc.close()
    for exchange in upstream.requests():
        assert exchange.peer_left.wait(10)
    sluice.expect_idle()
    eventually(lambda: sluice.n_fds() <= fds, "the descriptors are back")


@pytest.mark.parametrize(
    "service, method",
    [(ENGINE, "Chat"), (ENGINE, "GetInfo"), (ENGINE, "ListModels"), (CONTROL, "Status")],
)
def test_deadline_that_is_over_when_it_arrives(env, service: str, method: str) -> None:
    """ttrpc client.go: timeout_nano is the time until the deadline, which may be negative. It has no zero for that: 0 is none."""
    rpc = env.start().rpc()
    request = rpc.chat_request("m").SerializeToString() if method == "Chat" else b""
    stream_id = rpc.start(service, method, request, timeout_nano=-1)
    assert only_answer(rpc, stream_id).code == ttrpc.DEADLINE_EXCEEDED
    assert is_well(rpc)


def test_deadline_covers_the_queue(env) -> None:
    """ttrpc-rust #317 (fixed by #318): a timeout did not cover queueing. Here it ends the wait, and says that it was one."""
    upstream = env.openai()
    upstream.always(text("busy"), stall())
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 1})
    rpc = sluice.rpc()
    rpc.stream("Chat", rpc.chat_request("m", request_id="first"))
    upstream.wait_request()
    waiting = rpc.stream("Chat", rpc.chat_request("m"), timeout_nano=200_000_000)
    frames = whole_call(rpc, waiting)
    response = Response.decode(frames[-1].payload)
    detail = rpc.schema.ErrorDetail.FromString(response.details[0][1])
    assert response.code == ttrpc.UNAVAILABLE and detail.code == "queue_timeout"
    assert len(upstream.requests()) == 1


def test_metadata_is_a_multimap_and_ignored(env) -> None:
    """ttrpc metadata.go: a key may come again; Go sends it with unary calls only, ttrpc-rust with streams, too."""
    rpc = env.start().rpc()
    rpc.schema
    pairs = [(b"a", b"1"), (b"a", b"2"), (b"A", b""), (b"", b"x"), (b"traceparent", b"00-1-2-01")]
    metadata = b"".join(ttrpc.blob(5, ttrpc.blob(1, k) + ttrpc.blob(2, v)) for k, v in pairs)
    envelope = ttrpc.request_envelope(ENGINE, "GetInfo") + metadata
    stream_id = rpc.new_id()
    rpc.send_frame(stream_id, REQUEST, 0, envelope)
    assert only_answer(rpc, stream_id).code == ttrpc.OK
    chat = ttrpc.request_envelope(ENGINE, "Chat", rpc.chat_request("m").SerializeToString())
    stream_id = rpc.new_id()
    rpc.send_frame(stream_id, REQUEST, REMOTE_CLOSED, metadata + chat)
    assert text_of(list(rpc.events(stream_id))) == "mocked"


# ---------------------------------------------------------------------------------------------- ends and leaks


def test_cancel_races_with_the_end(env, upstream: Upstream) -> None:
    """ttrpc #140 (containerd #8390): a message for a stream that is just being closed panicked the Go client. Here both ends of
    the race come in one write, again and again: one end each, and nothing is left over."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 4})
    rpc = sluice.rpc()
    for i in range(50):
        chat = rpc.chat_request("m", request_id=f"r{i}").SerializeToString()
        cancel = rpc.schema.CancelRequest(request_id=f"r{i}").SerializeToString()
        stream_id, cancel_id = rpc.new_id(), rpc.new_id()
        chat = ttrpc.request_envelope(ENGINE, "Chat", chat)
        cancel = ttrpc.request_envelope(ENGINE, "Cancel", cancel)
        frame = header(len(chat), stream_id, REQUEST, REMOTE_CLOSED) + chat
        if i % 2:
            rpc.send_raw(frame + header(len(cancel), cancel_id) + cancel)
        else:
            rpc.send_raw(frame)
            rpc.pending.append(rpc.recv_on(stream_id))
            rpc.send_raw(header(len(cancel), cancel_id) + cancel)
        frames = whole_call(rpc, stream_id)
        assert sum(f.is_end for f in frames) == 1 and frames[-1].is_end
        assert rpc.recv_on(cancel_id).type == RESPONSE
    sluice.expect_idle()


def test_finished_streams_leave_nothing(env) -> None:
    """ttrpc #231 (containerd #13161): a stream's context was never cancelled, and a goroutine stayed behind each of them. ttrpc
    client.go: a stream that ends with an error stays in the map."""
    sluice = env.start()
    rpc = sluice.rpc()
    rpc.schema
    request = rpc.chat_request("m").SerializeToString()
    wrong = rpc.chat_request("nope").SerializeToString()

    def calls(n: int) -> None:
        for _ in range(n):
            for payload in (request, wrong):
                stream_id = rpc.start(ENGINE, "Chat", payload, REMOTE_CLOSED)
                while not rpc.recv_on(stream_id).is_end:
                    pass

    calls(600)  # what is allocated once is there now, the quarantine of a sanitizer is full
    fds, rss = sluice.n_fds(), sluice.rss_bytes()
    calls(1000)
    assert sluice.n_fds() == fds
    assert sluice.rss_bytes() - rss < sluice.allowed_bytes(MIB // 2), "each stream leaves something"


def test_only_known_types_are_sent(env, upstream: Upstream) -> None:
    """ttrpc-rust client.rs ends the stream, ttrpc client.go fails the call when a type comes that it does not know."""
    rpc = env.start({"m": upstream.deployment()}).rpc()
    rpc.schema
    rpc.send_frame(1, 9, 0, b"a type of the future")
    rpc.stream("Chat", rpc.chat_request("m"))
    rpc.start(ENGINE, "GetInfo", b"")
    rpc.start(ENGINE, "Nope", b"")
    n_ends, types = 0, set()
    while n_ends < 3:
        frame = rpc.recv_frame()
        types.add(frame.type)
        n_ends += frame.is_end
    assert types == {RESPONSE, DATA}

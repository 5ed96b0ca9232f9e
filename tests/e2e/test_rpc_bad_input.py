"""What no ttrpc library sends: the answers of a strict, calm server, within bounded memory, at the cost of that connection only."""

from __future__ import annotations

import random
import struct

import pytest
from testenv import ttrpc
from testenv.daemon import Daemon
from testenv.ttrpc import (
    CONTROL,
    DATA,
    ENGINE,
    REQUEST,
    RESPONSE,
    Client,
    ConnectionEnded,
    Response,
    text_of,
)
from testenv.upstream import Gate, end, text, wait_for
from testenv.waiting import eventually

MIB = 1 << 20


def is_well(rpc: Client) -> bool:
    return text_of(list(rpc.chat("m"))) == "mocked"


def answer(rpc: Client, stream_id: int) -> Response:
    frame = rpc.recv_on(stream_id)
    assert frame.type == RESPONSE, frame
    response = Response.decode(frame.payload)
    assert response.payload == b"" or response.code == 0
    return response


def header(length: int, stream_id: int = 1, type_: int = REQUEST, flags: int = 0) -> bytes:
    return struct.pack(">IIBB", length, stream_id, type_, flags)


# ---------------------------------------------------------------------------------------------- frames


@pytest.mark.parametrize("length", [16 * MIB, 0x7FFFFFFF, 0xFFFFFFFF])
def test_insane_length(env, length: int) -> None:
    """Byte 0 of the header is reserved: whoever sets it does not speak ttrpc."""
    sluice = env.start()
    rpc, other = sluice.rpc(), sluice.rpc()
    assert is_well(rpc) and is_well(other)
    rpc.send_raw(header(length))
    with pytest.raises(ConnectionEnded):
        rpc.recv_frame()
    assert is_well(other)


def test_http_on_the_rpc_socket(env) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    rpc.send_raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with pytest.raises(ConnectionEnded):
        rpc.recv_frame()
    assert is_well(sluice.rpc())


@pytest.mark.parametrize("excess", [1, 4 * MIB])
def test_oversized_frame(env, excess: int) -> None:
    """Thrown away as it comes, answered, and the connection goes on."""
    sluice = env.start()
    rpc = sluice.rpc()
    assert is_well(rpc)
    before = sluice.rss_at_work_bytes()
    sluice.reset_peak()
    stream_id = rpc.new_id()
    rpc.send_raw(header(4 * MIB + excess, stream_id) + b"x" * (4 * MIB + excess))
    assert answer(rpc, stream_id).code == ttrpc.RESOURCE_EXHAUSTED
    assert is_well(rpc)
    assert sluice.peak_rss_bytes() - before < 3 * MIB, "it was kept instead of thrown away"


def test_largest_frame(env) -> None:
    """4 MiB exactly is legal; the answer to it is an answer."""
    rpc = env.start().rpc()
    rpc.schema
    envelope = ttrpc.request_envelope(ENGINE, "GetInfo")
    stream_id = rpc.new_id()
    payload = envelope + ttrpc.blob(15, b"x" * (4 * MIB - len(envelope) - 5))
    assert len(payload) == 4 * MIB
    rpc.send_frame(stream_id, REQUEST, 0, payload)
    assert answer(rpc, stream_id).code == 0
    assert is_well(rpc)


def test_oversized_frames_in_a_row(env) -> None:
    """A few strikes, then the connection is closed."""
    sluice = env.start()
    rpc = sluice.rpc()
    with pytest.raises((ConnectionEnded, BrokenPipeError, ConnectionResetError)):
        for _ in range(64):
            stream_id = rpc.new_id()
            rpc.send_raw(header(4 * MIB + 1, stream_id) + b"x" * (4 * MIB + 1))
            answer(rpc, stream_id)
    assert is_well(sluice.rpc())


def test_half_a_frame_then_silence(env) -> None:
    """It holds its own connection and a bounded piece of memory, nothing else; when it goes, all goes."""
    sluice = env.start()
    other = sluice.rpc()
    assert is_well(other)
    fds = sluice.n_fds()
    before = sluice.rss_at_work_bytes()
    halves = []
    for i in range(8):
        rpc = sluice.rpc()
        rpc.send_raw((header(4 * MIB) + b"x" * 1000)[: 5 if i % 2 else None])
        halves.append(rpc)
    assert is_well(other)
    assert sluice.rss_bytes() - before < 6 * MIB, "room for what was only announced"
    for rpc in halves:
        rpc.close()
    eventually(lambda: sluice.n_fds() <= fds, "the descriptors are back")
    assert is_well(other)


def test_frames_split_anywhere(env) -> None:
    rpc = env.start().rpc()
    payload = ttrpc.request_envelope(ENGINE, "Chat", rpc.chat_request("m").SerializeToString())
    stream_id = rpc.new_id()
    data = header(len(payload), stream_id, REQUEST, ttrpc.REMOTE_CLOSED) + payload
    for i in range(len(data)):
        rpc.send_raw(data[i : i + 1])
    assert text_of(list(rpc.events(stream_id))) == "mocked"


def test_many_frames_at_once(env) -> None:
    rpc = env.start().rpc()
    payload = ttrpc.request_envelope(ENGINE, "Chat", rpc.chat_request("m").SerializeToString())
    ids = [rpc.new_id() for _ in range(12)]
    rpc.send_raw(
        b"".join(header(len(payload), i, REQUEST, ttrpc.REMOTE_CLOSED) + payload for i in ids)
    )
    for stream_id in ids:
        assert text_of(list(rpc.events(stream_id))) == "mocked"


def test_unknown_types_are_ignored(env) -> None:
    rpc = env.start().rpc()
    for type_ in (0, 4, 0x7F, 0xFF, RESPONSE):
        rpc.send_frame(1, type_, 0, b"whatever")
    assert is_well(rpc)
    assert not rpc.pending


@pytest.mark.parametrize("stream_id", [0, 2, 0xFFFFFFFE])
@pytest.mark.parametrize("type_", [REQUEST, DATA])
def test_ids_that_are_the_servers(env, stream_id: int, type_: int) -> None:
    rpc = env.start().rpc()
    rpc.send_frame(stream_id, type_, 0, ttrpc.request_envelope(ENGINE, "GetInfo"))
    assert answer(rpc, stream_id).code == ttrpc.INVALID_ARGUMENT
    assert is_well(rpc)


def test_data_for_unknown_ids_is_ignored(env) -> None:
    rpc = env.start().rpc()
    assert is_well(rpc)
    rpc.send_frame(1, DATA, 0, b"late")  # of a finished stream
    rpc.send_frame(4711, DATA, ttrpc.REMOTE_CLOSED, b"never there")
    rpc.send_frame(4713, DATA, ttrpc.REMOTE_CLOSED | ttrpc.NO_DATA)
    assert is_well(rpc)
    assert not rpc.pending


def test_data_on_a_unary_id(env) -> None:
    """The frame that kills Go servers."""
    rpc = env.start().rpc()
    rpc.schema
    envelope = ttrpc.request_envelope(ENGINE, "GetInfo")
    for _ in range(20):
        stream_id = rpc.new_id()
        request = header(len(envelope), stream_id) + envelope
        rpc.send_raw(request + (header(4, stream_id, DATA) + b"data") * 5)
        frames = [rpc.recv_on(stream_id)]
        assert frames[0].type == RESPONSE
        assert Response.decode(frames[0].payload).code in (0, ttrpc.INVALID_ARGUMENT)
    assert is_well(rpc)
    assert len(rpc.pending) <= 20, "INVALID_ARGUMENT once per id at most"


def test_data_on_a_server_stream(env) -> None:
    """The client has closed its side (or sends more anyway): the stream itself must not suffer."""
    upstream = env.openai()
    gate = Gate()
    upstream.always(text("one"), wait_for(gate), text("two"), end())
    sluice = env.start({"m": upstream.deployment()})
    rpc = sluice.rpc()
    stream_id = rpc.stream("Chat", rpc.chat_request("m"))
    upstream.wait_request()
    rpc.send_frame(stream_id, DATA, ttrpc.REMOTE_CLOSED | ttrpc.NO_DATA)
    gate.open()
    assert text_of(list(rpc.events(stream_id))) == "onetwo"


def test_id_that_is_in_use(env) -> None:
    """INVALID_ARGUMENT on that id; the other streams of the connection do not notice."""
    upstream = env.openai()
    gate = Gate()
    upstream.always(text("one"), wait_for(gate), text("two"), end())
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 4})
    rpc = sluice.rpc()
    victim = rpc.stream("Chat", rpc.chat_request("m"))
    bystander = rpc.stream("Chat", rpc.chat_request("m"))
    upstream.wait_request(2)
    rpc.send_frame(victim, REQUEST, 0, ttrpc.request_envelope(ENGINE, "GetInfo"))
    while (frame := rpc.recv_on(victim)).type != RESPONSE:
        pass
    assert Response.decode(frame.payload).code == ttrpc.INVALID_ARGUMENT
    gate.open()
    assert text_of(list(rpc.events(bystander))) == "onetwo"
    sluice.expect_idle()


# ---------------------------------------------------------------------------------------------- envelopes


@pytest.mark.parametrize(
    "service, method",
    [
        (ENGINE, "Nope"),
        ("sluice.v1.Nope", "Chat"),
        ("", ""),
        (ENGINE, ""),
        (ENGINE, "chat"),
        ("/" + ENGINE, "Chat"),
    ],
)
def test_unknown_methods(env, service: str, method: str) -> None:
    rpc = env.start().rpc()
    stream_id = rpc.start(service, method, b"")
    assert answer(rpc, stream_id).code in (ttrpc.UNIMPLEMENTED, ttrpc.INVALID_ARGUMENT)
    assert is_well(rpc)


BAD_ENVELOPES = {
    "empty": b"",
    "not protobuf": b"\xff\xff\xff\xff",
    "cut field": ttrpc.varint(1 << 3 | 2) + b"\x20" + b"short",
    "endless varint": b"\x20" + b"\xff" * 12,
    "field 0": b"\x00\x01",
    "group": b"\x0b" * 100,
    "wrong wire type": ttrpc.number(1, 5) + ttrpc.number(2, 5),
    "service not UTF-8": ttrpc.blob(1, b"\xff\xfe") + ttrpc.blob(2, b"Chat"),
    "NUL in the method": ttrpc.blob(1, ENGINE.encode()) + ttrpc.blob(2, b"Chat\0x"),
    "long method": ttrpc.blob(1, ENGINE.encode()) + ttrpc.blob(2, b"x" * 100_000),
}


@pytest.mark.parametrize("name", BAD_ENVELOPES)
def test_bad_envelopes(env, name: str) -> None:
    rpc = env.start().rpc()
    stream_id = rpc.new_id()
    rpc.send_frame(stream_id, REQUEST, 0, BAD_ENVELOPES[name])
    response = answer(rpc, stream_id)
    assert response.code in (ttrpc.INVALID_ARGUMENT, ttrpc.UNIMPLEMENTED), response
    assert is_well(rpc)


# ---------------------------------------------------------------------------------------------- bombs

FULL = 4 * MIB - 200


def chat_prefix() -> bytes:
    return ttrpc.blob(2, b"m") + ttrpc.blob(3, ttrpc.number(1, 2) + ttrpc.blob(2, b"hi"))


BOMBS = {
    # one legal frame each; protobuf-c alone would allocate up to 386 MB for them
    "empty messages": chat_prefix() + b"\x1a\x00" * (FULL // 2),
    "empty stops": chat_prefix() + ttrpc.blob(4, b"\x4a\x00" * (FULL // 2)),
    "unknown varints": chat_prefix() + b"\xf8\x07\x00" * (FULL // 3),
    "empty images": chat_prefix() + ttrpc.blob(3, ttrpc.number(1, 2) + b"\x1a\x00" * (FULL // 2)),
    "one field again and again": chat_prefix() + ttrpc.blob(4, b"\x40\x01" * (FULL // 2)),
    "groups": chat_prefix() + b"\x7b" * FULL,
    "deep JSON": chat_prefix() + ttrpc.blob(5, b"[" * FULL),
    "deep extra": chat_prefix() + ttrpc.blob(4, ttrpc.blob(10, b'{"a":' * (FULL // 5))),
    "nested text": chat_prefix() + ttrpc.blob(3, ttrpc.blob(4, ttrpc.blob(3, b"[" * (FULL - 100)))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(env, name: str) -> None:
    """A decoded message may cost 4 frames and a little; what the answer is matters less than that there is one."""
    sluice = env.start()
    rpc = sluice.rpc()
    assert is_well(rpc)
    peak = bomb_peak(sluice, rpc, "Chat", BOMBS[name])
    assert peak < 40 * MIB, f"{peak / MIB:.1f} MiB for one frame"
    assert is_well(rpc)


def bomb_peak(sluice: Daemon, rpc: Client, method: str, payload: bytes) -> int:
    before = sluice.rss_at_work_bytes()
    sluice.reset_peak()
    stream_id = rpc.start(ENGINE, method, payload, ttrpc.REMOTE_CLOSED)
    frame = rpc.recv_on(stream_id)
    while not frame.is_end:
        frame = rpc.recv_on(stream_id)
    if frame.type == RESPONSE:
        assert Response.decode(frame.payload).code in (
            ttrpc.INVALID_ARGUMENT,
            ttrpc.RESOURCE_EXHAUSTED,
            ttrpc.UNAVAILABLE,
        )
    return sluice.peak_rss_bytes() - before


@pytest.mark.parametrize("method, field", [("Embed", 3), ("Complete", 9)])
def test_bombs_for_other_methods(env, method: str, field: int) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    assert is_well(rpc)
    payload = ttrpc.blob(2, b"m") + ttrpc.varint(field << 3 | 2) + b"\x00"
    payload += (ttrpc.varint(field << 3 | 2) + b"\x00") * (FULL // 2 - 10)
    assert bomb_peak(sluice, rpc, method, payload) < 40 * MIB
    assert is_well(rpc)


def test_metadata_bomb(env) -> None:
    """In the envelope, before any method is known."""
    sluice = env.start()
    rpc = sluice.rpc()
    assert is_well(rpc)
    before = sluice.rss_at_work_bytes()
    sluice.reset_peak()
    stream_id = rpc.new_id()
    payload = ttrpc.request_envelope(ENGINE, "GetInfo") + b"\x2a\x00" * (FULL // 2)
    rpc.send_frame(stream_id, REQUEST, 0, payload)
    assert answer(rpc, stream_id).code in (0, ttrpc.INVALID_ARGUMENT)
    assert sluice.peak_rss_bytes() - before < 16 * MIB
    assert is_well(rpc)


def test_memory_is_given_back(env) -> None:
    """Ten bombs cost what one costs."""
    sluice = env.start()
    rpc = sluice.rpc()
    peaks = [bomb_peak(sluice, rpc, "Chat", BOMBS["empty messages"]) for _ in range(10)]
    assert max(peaks) < 40 * MIB
    rpc.close()
    with sluice.rpc() as after:
        assert is_well(after)


@pytest.mark.parametrize(
    ("service", "method"), [(ENGINE, "GetInfo"), (CONTROL, "Status"), (ENGINE, "Nope")]
)
def test_answers_that_nobody_reads(env, service: str, method: str) -> None:
    """A peer that asks on and on and reads nothing is not read any more: it costs little, and nobody else."""
    sluice = env.start()
    bystander = sluice.rpc()
    assert is_well(bystander)
    before = sluice.rss_at_work_bytes()
    frame = ttrpc.request_envelope(service, method)
    asked = header(len(frame), 1, REQUEST, 0) + frame
    for peer in [sluice.rpc() for _ in range(8)]:
        peer.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            for _ in range(64):
                peer.send_raw(asked * 1000)
    assert sluice.peak_rss_bytes() - before < 24 * MIB
    assert is_well(bystander)


@pytest.mark.parametrize("field", [1, 2])
def test_texts_that_are_not_utf8(env, field: int) -> None:
    rpc = env.start().rpc()
    message = ttrpc.number(1, 2) + ttrpc.blob(2, b"\xff\xfe" if field == 1 else b"ok")
    model = b"m" if field == 1 else b"m\0x"
    payload = ttrpc.blob(2, model) + ttrpc.blob(3, message)
    stream_id = rpc.start(ENGINE, "Chat", payload, ttrpc.REMOTE_CLOSED)
    assert answer(rpc, stream_id).code == ttrpc.INVALID_ARGUMENT
    assert is_well(rpc)


def test_random_frames(env) -> None:
    """Noise in frames, bit flips in good requests: no crash, no leak, no hang."""
    sluice = env.start()
    rng = random.Random(20260102)
    with sluice.rpc() as rpc:
        good = ttrpc.request_envelope(ENGINE, "Chat", rpc.chat_request("m").SerializeToString())
    fds = sluice.n_fds()
    for _ in range(30):
        with sluice.rpc() as rpc:
            for _ in range(20):
                payload = bytearray(
                    good if rng.random() < 0.7 else rng.randbytes(rng.randrange(200))
                )
                for _ in range(rng.randrange(3)):
                    if payload:
                        payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
                id_, type_ = rng.randrange(1, 50), rng.choice((1, 1, 1, 2, 3, 3, 9))
                rpc.send_frame(id_, type_, rng.randrange(8), bytes(payload))
            rpc.send_frame(0xABC1, REQUEST, 0, ttrpc.request_envelope(ENGINE, "GetInfo"))
            rpc.recv_on(0xABC1)
    with sluice.rpc() as rpc:
        assert is_well(rpc)
    eventually(lambda: sluice.n_fds() <= fds, "the descriptors are back")

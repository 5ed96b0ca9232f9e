"""The environment itself, as far as a wrong one would make other tests pass: scripts do what they say."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, Iterator

import pytest
from testenv import ttrpc
from testenv.upstream import (
    DeafPort,
    Gate,
    Ollama,
    OpenAI,
    RefusingPort,
    Upstream,
    clean_end,
    cut_inside_chunk,
    end,
    endless,
    error_line,
    rst,
    stall,
    text,
    wait_for,
    whole,
)


@pytest.fixture(params=[Ollama, OpenAI], ids=["ollama", "openai"])
def server(request: pytest.FixtureRequest) -> Iterator[Upstream]:
    upstream = Upstream(request.param())
    yield upstream
    upstream.close()


def ask(server: Upstream, **members: Any) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    path = "/api/chat" if server.dialect.name == "ollama" else "/v1/chat/completions"
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": "m", "messages": messages, "stream": True, **members}
    connection.request("POST", path, json.dumps(body))
    return connection.getresponse()


def test_says_what_the_script_says(server: Upstream) -> None:
    server.next(text("one", "two"), end())
    answer = ask(server).read().decode()
    assert "one" in answer and "two" in answer
    assert ("[DONE]" in answer) == (server.dialect.name == "openai")
    assert ('"done": true' in answer) == (server.dialect.name == "ollama")
    assert server.wait_request().kind == "chat"


def test_status_and_error_line(server: Upstream) -> None:
    server.next(whole(429, server.dialect.error_body("slow down"), {"Retry-After": "7"}))
    answer = ask(server)
    assert answer.status == 429 and answer.getheader("Retry-After") == "7"
    server.next(text("x"), error_line("broken"), clean_end())
    said = ask(server).read().decode()
    assert "broken" in said and "[DONE]" not in said and '"done": true' not in said


def test_cut_and_reset(server: Upstream) -> None:
    server.next(cut_inside_chunk())
    with pytest.raises(http.client.IncompleteRead):
        ask(server).read()
    server.next(rst())
    with pytest.raises(ConnectionResetError):
        ask(server)


def test_gate_and_leaving(server: Upstream) -> None:
    gate = Gate()
    server.next(wait_for(gate), text("late"), end())
    gate.open()
    assert b"late" in ask(server).read()
    server.next(text("x"), stall())
    answer = ask(server)
    assert answer.read1()
    exchange = server.wait_request(2)
    assert not exchange.peer_left.is_set()
    answer.close()
    assert exchange.peer_left.wait(10)
    assert exchange.connection.closed.wait(10)


def test_sees_its_send_block(server: Upstream) -> None:
    server.next(endless("x" * 1000))
    answer = ask(server)
    exchange = server.wait_request()
    assert exchange.blocked.wait(10)
    answer.close()
    assert exchange.peer_left.wait(10)


def test_ports_that_do_not_serve() -> None:
    refusing, deaf = RefusingPort(), DeafPort()
    for port, error in ((refusing, ConnectionRefusedError), (deaf, TimeoutError)):
        with pytest.raises(error):
            host = port.url.removeprefix("http://").split(":")
            socket.create_connection((host[0], int(host[1])), timeout=0.2)
        port.close()


def test_ttrpc_codec() -> None:
    envelope = ttrpc.request_envelope("a.B", "C", b"\x08\x01", -5)
    decoded = ttrpc.fields(envelope)
    assert [n for n, _ in decoded] == [1, 2, 3, 4]
    assert decoded[3][1] == (1 << 64) - 5
    status = (
        ttrpc.number(1, 5)
        + ttrpc.blob(2, b"no")
        + ttrpc.blob(3, ttrpc.blob(1, b"t") + ttrpc.blob(2, b"v"))
    )
    response = ttrpc.Response.decode(ttrpc.blob(1, status))
    assert (response.code, response.message, response.details) == (5, "no", [("t", b"v")])
    assert ttrpc.varint(300) == b"\xac\x02"

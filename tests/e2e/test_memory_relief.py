"""What sluiced gives back when the service manager says that memory is short (MEMORY_PRESSURE_WATCH)."""

from __future__ import annotations

import base64
import os
import socket
from typing import Any

import pytest
from testenv.bare import Activated
from testenv.http import Http, chat_body
from testenv.upstream import Gate, end, text, wait_for
from testenv.waiting import eventually, is_readable

CHAT = "/v1/chat/completions"
MOCK = "model_list:\n- {model_name: m, litellm_params: {model: openai/x, mock_response: hi}}\n"


class Fifo:
    """A FIFO in the place of the kernel's file."""

    def __init__(self, env: Any):
        self.path = str(env.directory / "memory.pressure")
        os.mkfifo(self.path)
        self.variables = {"MEMORY_PRESSURE_WATCH": self.path, "MEMORY_PRESSURE_WRITE": "c29tZQA="}

    def alarm(self) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, b"x")
        os.close(fd)


class Stream:
    """A Unix socket in its place, as the protocol allows."""

    def __init__(self, env: Any):
        self.path = str(env.directory / "memory.pressure")
        self.listener = env.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.listener.settimeout(10)
        self.first = b"some 200000 2000000\0"
        encoded = base64.b64encode(self.first).decode()
        self.variables = {"MEMORY_PRESSURE_WATCH": self.path, "MEMORY_PRESSURE_WRITE": encoded}
        self.peer: Any = None

    def alarm(self) -> None:
        if self.peer is None:
            self.peer, _ = self.listener.accept()
            self.peer.settimeout(10)
            assert self.peer.recv(100) == self.first
        self.peer.send(b"x")


def reliefs(sluice: Any) -> list[dict[str, str]]:
    return [r for r in sluice.records if r.get("SLUICE_EVENT") == "memory_relief"]


@pytest.mark.parametrize("kind", [Fifo, Stream])
def test_gives_back_what_nobody_uses(env, kind: Any) -> None:
    pressure = kind(env)
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 2}, env=pressure.variables)
    gate = Gate()
    upstream.next(text("hello"), wait_for(gate), end())
    running = sluice.http()
    running.send_request("POST", CHAT, chat_body(stream=True))
    upstream.wait_request()
    idle, silent, rpc = sluice.http(), sluice.http(), sluice.rpc()
    assert idle.request("GET", "/v1/models").status == 200
    assert rpc.status().version

    pressure.alarm()
    idle.wait_closed()
    told = sluice.wait_record(lambda r: r.get("SLUICE_EVENT") == "memory_relief", "it is told")
    assert told["SLUICE_CONNECTIONS"] == "1" and told["MESSAGE_ID"]
    assert silent.request("GET", "/v1/models").status == 200, "it was about to say something"
    assert rpc.status().calls_running == 1, "programs keep their connection"
    gate.open()
    answer = running.read_answer()
    assert b"[DONE]" in answer.body, "running calls are not touched"


def test_connections_to_model_servers(env) -> None:
    pressure = Fifo(env)
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, env=pressure.variables)
    upstream.always(text("x"), end())
    assert sluice.post(CHAT, chat_body()).status == 200
    connection = upstream.wait_request().connection
    assert not connection.closed.wait(0.2), "it is kept for the next call"
    pressure.alarm()
    assert connection.closed.wait(10)
    for _ in range(2):  # and the next calls make new ones
        assert sluice.post(CHAT, chat_body()).status == 200


def test_alarms_without_end(env) -> None:
    """Between two alarms some time passes, whatever the other end does."""
    pressure = Fifo(env)
    sluice = env.start(env=pressure.variables)
    for _ in range(200):
        pressure.alarm()
    eventually(lambda: reliefs(sluice), "the first is heard")
    assert sluice.post(CHAT, chat_body()).status == 200
    assert len(reliefs(sluice)) <= 3, "each was obeyed"


def test_leaves_when_idle_under_socket_activation(env) -> None:
    pressure = Fifo(env)
    (env.directory / "config.yaml").write_text(MOCK)
    args = ("--config", str(env.directory / "config.yaml"))
    service = env.closing(Activated(env.directory, *args, **pressure.variables))
    with Http(service.path) as silent:
        with Http(service.path) as http:
            assert http.request("GET", "/v1/models").status == 200
            pressure.alarm()
            http.wait_closed()
        assert not is_readable(silent.sock, 0.2) and service.statuses == []
    reader = os.open(pressure.path, os.O_RDWR | os.O_NONBLOCK)  # keeps it open between the two
    try:

        def left() -> bool:
            pressure.alarm()
            return service.statuses == [0]

        eventually(left, "it leaves, as nobody is there any more")
    finally:
        os.close(reader)
    assert "memory is short" in service.log
    with Http(service.path) as http:
        assert http.request("GET", "/v1/models").status == 200


def test_switched_off(env) -> None:
    sluice = env.start(env={"MEMORY_PRESSURE_WATCH": "/dev/null", "MEMORY_PRESSURE_WRITE": "AA=="})
    assert sluice.post(CHAT, chat_body()).status == 200
    said = [r["message"] for r in sluice.records]
    assert said and not [text for text in said if "is not watched" in text]

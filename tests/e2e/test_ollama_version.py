"""Which version an Ollama server is: asked beside the calls, shown, and another process by another version."""

from __future__ import annotations

import json
import signal
import urllib.request
from typing import Any

import pytest
from test_messages import events, wait_event
from testenv import cli
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.models import OllamaServer
from testenv.upstream import Ollama, Upstream, fin, raw, stall, text, whole
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"

pytestmark = pytest.mark.timeout(60)


def version_of(sluice: Daemon, model: str = "m") -> str:
    with sluice.rpc() as rpc:
        (found,) = [d.server_version for d in rpc.status().deployments if d.model == model]
    return str(found)


def ask(sluice: Daemon, model: str = "m", n: int = 1) -> None:
    for _ in range(n):
        answer = sluice.post(CHAT, chat_body(model))
        assert answer.status == 200, answer


def wait_version(sluice: Daemon, version: str) -> None:
    eventually(lambda: version_of(sluice) == version, f"version {version} is known")


def test_it_is_asked_for_once_and_shown(env) -> None:
    server, other = env.ollama(), env.openai()
    models = {"m": server.deployment("a", api_key="key"), "n": server.deployment("b")}
    sluice = env.start({**models, "o": other.deployment()})
    assert version_of(sluice) == ""
    server.settle()
    assert not server.requests("version"), "who looks has nobody asked"
    ask(sluice, "m", 3)
    wait_version(sluice, "0.34.3")
    ask(sluice, "n", 3)
    ask(sluice, "o")
    server.settle()
    (asked,) = server.requests("version")
    assert asked.headers["authorization"] == "Bearer key"
    assert version_of(sluice, "n") == "0.34.3" and version_of(sluice, "o") == ""

    shown = cli.run(sluice, "show", "m").stdout.decode()
    assert "    version    0.34.3\n" in shown
    assert "    version    -\n" in cli.run(sluice, "show", "o").stdout.decode()
    told = cli.document(cli.run(sluice, "status", "--json"))
    assert [d["server_version"] for d in told["deployments"]] == ["0.34.3", "0.34.3", ""]
    sluice.signal(signal.SIGUSR1)
    dumped = sluice.wait_record(lambda r: "state: deployment m" in str(r), "the state of m")
    assert "loaded=yes server_version=0.34.3" in str(dumped)
    assert not events(sluice, "upstream_renewed")


def test_after_a_break_it_is_asked_for_again(env) -> None:
    """A server that was restarted breaks its answers off; nobody was refused a connection."""
    server = env.ollama()
    sluice = env.start({"m": server.deployment("a"), "n": server.deployment("b")})
    ask(sluice, "m")
    ask(sluice, "n")
    wait_version(sluice, "0.34.3")
    server.next(text("Hel"), fin())
    assert sluice.post(CHAT, chat_body("m")).status == 502
    server.version = "0.35.0"
    ask(sluice, "n", 3)
    wait_version(sluice, "0.35.0")
    told = wait_event(sluice, "upstream_renewed")
    assert told["SLUICE_SERVER"] == server.url
    assert told["SLUICE_SERVER_VERSION"] == "0.35.0"
    assert told["SLUICE_SERVER_VERSION_BEFORE"] == "0.34.3"
    assert told["level"] == "notice"
    server.settle()
    assert len(server.requests("version")) == 2
    assert [ex.json["model"] for ex in server.requests("load")] == ["a", "b", "b"]
    sluice.wait_call_records(6)
    assert len(events(sluice, "upstream_renewed")) == 1
    assert not events(sluice, "upstream_down")


def test_a_server_that_was_away(env) -> None:
    port = env.port()
    server = Upstream(Ollama(), port=port)
    sluice = env.start({"m": server.deployment()})
    ask(sluice)
    wait_version(sluice, "0.34.3")
    server.close()
    for _ in range(3):
        assert sluice.post(CHAT, chat_body()).status == 502
    assert version_of(sluice) == "0.34.3", "what it was, until it says what it is"
    server = env.closing(Upstream(Ollama(), port=port))
    ask(sluice, n=2)
    told = wait_event(sluice, "upstream_renewed")
    assert told["SLUICE_SERVER_VERSION"] == told["SLUICE_SERVER_VERSION_BEFORE"] == "0.34.3"
    server.settle()
    assert len(server.requests("version")) == len(server.requests("load")) == 1
    for event in ("upstream_down", "upstream_up", "upstream_renewed"):
        assert len(events(sluice, event)) == 1


@pytest.mark.parametrize(
    "steps",
    [
        [stall()],
        [fin()],
        [raw(b"\x00\x01\r\n\r\n"), fin()],
        [whole(404, b"404 page not found")],
        [whole(200, b"Ollama is running")],
        [whole(200, {"version": None})],
        [whole(200, {"version": "\x1b[2J"})],
        [whole(200, {"version": "x" * 48})],
        [whole(200, {"version": "x" * 5000})],
    ],
    ids=["hangs", "cut", "no http", "not there", "text", "null", "escape", "long", "too long"],
)
def test_a_server_that_does_not_say(env, steps: list[Any]) -> None:
    server = env.ollama()
    server.on_version(*steps)
    sluice = env.start({"m": server.deployment()})
    ask(sluice)
    server.wait_request(1, "version")
    ask(sluice, n=5)
    assert version_of(sluice) == ""
    assert len(server.requests("version")) == 1 and len(server.requests("load")) == 1
    assert not events(sluice, "upstream_down") and not events(sluice, "upstream_renewed")


def test_a_real_server_that_is_restarted(env, ollama_server: OllamaServer) -> None:
    with urllib.request.urlopen(ollama_server.url + "/api/version", timeout=20) as answer:
        version = json.loads(answer.read())["version"]
    sluice = env.start({"m": {"model": "ollama_chat/script", "api_base": ollama_server.url}})
    ask(sluice)
    wait_version(sluice, version)
    ollama_server.stop()
    assert sluice.post(CHAT, chat_body()).status == 502
    ollama_server.start()
    ask(sluice)
    told = wait_event(sluice, "upstream_renewed")
    assert told["SLUICE_SERVER_VERSION"] == told["SLUICE_SERVER_VERSION_BEFORE"] == version
    ask(sluice)
    assert version_of(sluice) == version

"""The official openai package for Node drives every endpoint that it knows and sluice serves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testenv import node
from testenv.daemon import mock
from testenv.http import chat_body
from testenv.upstream import Upstream, clean_end, end, error_line, say, stall, text, void


def calls(ex: Any) -> None:
    """One tool call, in the server's dialect."""
    if ex.server.dialect.name == "ollama":
        function = {"index": 0, "name": "weather", "arguments": {"city": "Köln"}}
        message = {"role": "assistant", "content": "", "tool_calls": [{"function": function}]}
        ex.chunk(json.dumps({"model": "x", "message": message, "done": False}).encode() + b"\n")
        return
    for call in (
        {"index": 0, "id": "c", "type": "function", "function": {"name": "weather"}},
        {"index": 0, "function": {"arguments": '{"city": '}},
        {"index": 0, "function": {"arguments": '"Köln"}'}},
    ):
        choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
        ex.chunk(ex.server.dialect._event(ex, [choice]))


SCRIPTS: dict[str, list[Any]] = {
    "tool_call": [calls, end("stop")],
    "tool_stream": [calls, end("stop")],
    "structured_output": [say('{"city":', ' "Köln"}')],
    "error_in_mid_stream": [text("half"), error_line("the runner died"), clean_end()],
}


@pytest.mark.parametrize(
    "check",
    [
        "chat",
        "raw_response",
        "stream",
        "stream_helper",
        "tool_call",
        "tool_stream",
        "structured_output",
        "completions",
        "embeddings",
        "errors",
        "error_in_mid_stream",
    ],
)
def test_node(env, upstream: Upstream, check: str) -> None:
    upstream.always(*SCRIPTS.get(check, [say("Hello", " world")]))
    sluice = env.start({"m": upstream.deployment()})
    node.run(sluice.url + "/v1", check)


def test_node_lists_models(env) -> None:
    sluice = env.start({"m": mock(), "org/name:tag": mock()})
    node.run(sluice.url + "/v1", "models")


def test_node_skips_heartbeats(env) -> None:
    """Comments come before the answer, as the model server takes its time."""
    server = env.openai()
    sluice = env.start({"m": server.deployment()}, sluice={"timeouts": {"heartbeat": "100ms"}})
    # Longer than three heartbeats, by the clock of the model server.
    server.next(lambda ex: void(ex.wait(timeout=0.4)), *say("late"))
    node.run(sluice.url + "/v1", "heartbeats")


def test_node_skips_positions_in_the_queue(env) -> None:
    """Another call has the slot for longer than three heartbeats, by the clock of the model server."""
    server = env.openai()
    sluice = env.start({"m": server.deployment()}, sluice={"timeouts": {"heartbeat": "100ms"}})
    server.next(lambda ex: void(ex.wait(timeout=0.4)), *say("first"))
    server.always(say("late"))
    with sluice.http() as http:
        http.send_request("POST", "/v1/chat/completions", chat_body())
        server.wait_request()
        node.run(sluice.url + "/v1", "heartbeats")
        assert http.read_answer().status == 200


def test_node_leaves_in_mid_stream(env) -> None:
    server = env.openai()
    server.always(text("some"), stall())
    sluice = env.start({"m": server.deployment()})
    node.run(sluice.url + "/v1", "abort")
    assert server.wait_request().peer_left.wait(10)

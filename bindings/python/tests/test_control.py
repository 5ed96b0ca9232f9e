"""watch(), reload(), drain(), unload(), explain(): what operators do from Python."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sluice
from conftest import Service
from testenv.daemon import mock
from testenv.upstream import Gate, say, wait_for
from testenv.waiting import eventually

USER = [{"role": "user", "content": "hello"}]


def test_watch(service: Service, client: sluice.Client) -> None:
    with client.watch(0.1) as states:
        first = next(states)
        assert first.version and {d.model for d in first.deployments} == {
            "mock",
            "m",
            "o",
            "narrow",
        }
        client.chat.completions.create(model="mock", messages=USER)
        for state in states:
            if state.calls_completed == first.calls_completed + 1:
                break
    with pytest.raises(sluice.BadRequestError) as e:
        client.watch(0.01)
    assert e.value.param == "interval"


def test_watch_ends_with_the_daemon(env: Any) -> None:
    daemon = env.start()
    with sluice.Client(daemon.rpc_path, timeout=20) as client, client.watch() as states:
        next(states)
        with sluice.Client(daemon.rpc_path, timeout=20) as other:
            assert other.drain().calls_running == 0
        with pytest.raises(sluice.InternalServerError) as e:
            for _ in states:
                pass
        assert e.value.code == "draining"
    assert daemon.wait_exit() == 0


def test_reload(env: Any) -> None:
    daemon = env.start()
    with sluice.Client(daemon.rpc_path, timeout=20) as client:
        assert client.status().config_generation == 1
        daemon.write_config(env.config({"m": mock(), "more": mock()}))
        result = client.reload()
        assert (result.config_generation, result.models) == (2, 2)
        assert [m.id for m in client.models.list()] == ["m", "more"]
        daemon.write_config("model_list: 7")
        with pytest.raises(sluice.APIStatusError) as e:
            client.reload()
        assert e.value.code == "bad_configuration" and "model_list" in e.value.message
        assert client.status().config_generation == 2


def test_unload(service: Service, client: sluice.Client) -> None:
    client.chat.completions.create(model="o", messages=USER)
    deployment = next(d for d in client.status().deployments if d.model == "o")
    assert deployment.upstream_model == "the-model" and deployment.is_loaded
    assert deployment.api_base == service.ollama.url and deployment.idle_seconds is not None
    assert deployment.server_version in ("", service.ollama.version)  # asked beside the call
    assert (deployment.order, deployment.weight, deployment.tags, deployment.aliases) == (None, None, [], [])
    assert deployment.paused_seconds is None and not deployment.is_local_only
    result = client.unload("o")
    assert (result.unloaded, result.unchanged) == (1, 0)
    with pytest.raises(sluice.NotFoundError):
        client.unload("nope")


def test_explain_a_model(service: Service, client: sluice.Client) -> None:
    found = client.explain("m")
    assert (found.verdict, found.code, found.position) == ("admitted", None, None)
    assert "class interactive for m now: " in found.text and "deployment " in found.text
    assert "class batch" in client.explain("m", class_="batch").text
    with sluice.Client(service.path, timeout=20, class_="background") as other:
        assert "class background" in other.explain("m").text
        assert "class interactive" in other.explain("m", class_="interactive").text
    with pytest.raises(sluice.NotFoundError) as e:
        client.explain("nope")
    assert e.value.code == "model_not_found"


def test_explain_a_call(service: Service, client: sluice.Client) -> None:
    """The one that holds the only slot, the one that waits behind it, and what a third would meet."""
    gate = Gate()
    service.openai.next(wait_for(gate), *say("first"))

    def ask(name: str) -> str:
        with sluice.Client(service.path, timeout=20) as c:
            answer = c.chat.completions.create(model="narrow", messages=USER, request_id=name)
            return str(answer.choices[0].message.content)

    with ThreadPoolExecutor(2) as pool:
        holder = pool.submit(ask, "holder")
        service.openai.wait_request()
        running = client.explain(request_id="holder")
        assert (running.verdict, running.code) == ("running", None)
        assert "no word yet" in running.text and running.position is None
        waiter = pool.submit(ask, "waiter")
        eventually(lambda: client.status().calls_queued == 1, "it waits")
        waiting = client.explain("narrow", request_id="waiter")
        assert (waiting.verdict, waiting.code, waiting.position) == ("waiting", None, 1)
        assert waiting.wait_seconds is not None and "0 before it" in waiting.text
        assert client.explain("narrow").verdict == "queued"
        gate.open()
        assert holder.result(20) == "first" and waiter.result(20)
    assert client.explain("narrow", request_id="holder").verdict == "admitted"  # it is over


@pytest.mark.parametrize(
    "arguments, param",
    [
        ({}, "model"),
        ({"model": ""}, "model"),
        ({"model": "m\0x"}, "model"),
        ({"request_id": "a b"}, "request_id"),
        ({"model": "m", "request_id": "x" * 65}, "request_id"),
        ({"model": "m", "class_": "best"}, "class_"),
    ],
)
def test_explain_refuses(client: sluice.Client, arguments: Any, param: str) -> None:
    with pytest.raises(sluice.BadRequestError) as e:
        client.explain(**arguments)
    assert e.value.param == param


def test_async(env: Any) -> None:
    daemon = env.start()

    async def main() -> None:
        async with sluice.AsyncClient(daemon.rpc_path, timeout=20) as client:
            async with await client.watch(0.1) as states:
                async for state in states:
                    assert state.config_generation == 1
                    break
            assert (await client.reload()).config_generation == 2
            assert (await client.unload("m")).unchanged == 1
            assert (await client.explain("m")).verdict == "admitted"
            with pytest.raises(sluice.BadRequestError):
                await client.explain(request_id="a b")
            assert (await client.drain()).calls_running == 0

    asyncio.run(main())
    assert daemon.wait_exit() == 0

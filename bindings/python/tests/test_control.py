"""watch(), reload(), drain(), unload(): what operators do from Python."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sluice
from conftest import Service
from testenv.daemon import mock

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
            assert (await client.drain()).calls_running == 0

    asyncio.run(main())
    assert daemon.wait_exit() == 0

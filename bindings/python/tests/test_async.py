"""AsyncClient: the same answers, many calls at a time, cancelling, and whose loop it is."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any, List

import pytest
import sluice
from conftest import MOCK_TEXT, Service
from testenv.upstream import Gate, end, say, stall, text, vector, wait_for

USER = [{"role": "user", "content": "hello"}]


def test_everything_once(service: Service) -> None:
    service.openai.always(say("Hel", "lo"))

    async def main() -> None:
        async with sluice.AsyncClient(service.path, timeout=20) as client:
            answer = await client.chat.completions.create(model="m", messages=USER)
            assert answer.choices[0].message.content == "Hello"
            assert answer.usage and answer.usage.total_tokens == 9
            stream = await client.chat.completions.create(model="m", messages=USER, stream=True)
            chunks = [chunk async for chunk in stream]
            assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello"
            assert chunks[-1].choices[0].finish_reason == "stop"
            whole = await client.completions.create(model="m", prompt="x")
            assert whole.choices[0].text == "Hello"
            pieces = await client.completions.create(model="m", prompt="x", stream=True)
            assert "".join([p.choices[0].text async for p in pieces]) == "Hello"
            vectors = await client.embeddings.create(model="m", input="abc")
            assert vectors.data[0].embedding == vector("abc")
            assert [m.id for m in await client.models.list()] == ["mock", "m", "o", "narrow"]
            assert (await client.models.retrieve("m")).id == "m"
            assert (await client.status()).version == (await client.info()).version
            with pytest.raises(sluice.NotFoundError):
                await client.chat.completions.create(model="nope", messages=USER, stream=True)
            with pytest.raises(TypeError, match="temprature"):
                await client.chat.completions.create(model="m", messages=USER, temprature=1)
            assert await client.cancel("nope") is False

    asyncio.run(main())


def test_many_at_a_time(service: Service) -> None:
    """More than one connection carries, and no thread for them."""
    n_threads = threading.active_count()

    async def ask(client: sluice.AsyncClient, stream: bool) -> str:
        if not stream:
            answer = await client.chat.completions.create(model="mock", messages=USER)
            return answer.choices[0].message.content or ""
        async with await client.chat.completions.create(
            model="mock", messages=USER, stream=True
        ) as chunks:
            return "".join([c.choices[0].delta.content or "" async for c in chunks])

    async def main() -> List[str]:
        async with sluice.AsyncClient(service.path, timeout=20) as client:
            answers = await asyncio.gather(*(ask(client, bool(i % 2)) for i in range(60)))
            assert threading.active_count() == n_threads
            return list(answers)

    assert asyncio.run(main()) == [MOCK_TEXT] * 60


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_task_ends_its_call(service: Service, stream: bool) -> None:
    service.openai.next(*([text("a")] if stream else []), stall())

    async def ask(client: sluice.AsyncClient) -> None:
        answer: Any = await client.chat.completions.create(model="m", messages=USER, stream=stream)
        async for _ in answer:
            pass

    async def main() -> None:
        async with sluice.AsyncClient(service.path, timeout=20) as client:
            task = asyncio.ensure_future(ask(client))
            loop = asyncio.get_running_loop()
            exchange = await loop.run_in_executor(None, service.openai.wait_request)
            await client.status()  # a turn of the loop: the text has arrived
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await loop.run_in_executor(None, exchange.peer_left.wait, 10)
            assert (await client.status()).version

    asyncio.run(main())


@pytest.mark.parametrize("how", ["aclose", "with", "wait_for", "cancel", "by id", "other thread"])
def test_ways_to_end_a_stream(service: Service, how: str) -> None:
    service.openai.next(text("a"), stall())

    async def main() -> None:
        async with sluice.AsyncClient(service.path, timeout=20) as client:
            stream = await client.chat.completions.create(model="m", messages=USER, stream=True)
            exchange = service.openai.wait_request()
            if how == "aclose":
                await stream.aclose()
            elif how == "with":
                async with stream:
                    pass
            elif how == "wait_for":
                with pytest.raises(asyncio.TimeoutError):
                    while True:
                        await asyncio.wait_for(stream.__anext__(), 0.05)
            else:
                timer = threading.Timer(0.05, stream.cancel)
                if how == "cancel":
                    stream.cancel()
                elif how == "by id":
                    assert await client.cancel(stream.request_id)
                else:
                    timer.start()
                with pytest.raises(sluice.APIStatusError) as e:
                    async for _ in stream:
                        pass
                assert e.value.code == "cancelled"
            assert [chunk async for chunk in stream] == []
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, exchange.peer_left.wait, 10)

    asyncio.run(main())


def test_two_tasks_and_one_stream(service: Service) -> None:
    """Only one may read; another may close it, which ends the reader's loop."""
    service.openai.next(text("a"), stall())

    async def main() -> None:
        async with sluice.AsyncClient(service.path, timeout=20) as client:
            stream = await client.chat.completions.create(model="m", messages=USER, stream=True)

            async def read() -> int:
                return len([chunk async for chunk in stream])

            task = asyncio.ensure_future(read())
            while not client._connections[0].waiters:
                await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await stream.__anext__()
            await stream.close()
            assert await task == 2

    asyncio.run(main())


def test_a_client_is_closed_while_a_task_waits(service: Service) -> None:
    service.openai.next(stall())

    async def main() -> None:
        client = sluice.AsyncClient(service.path, timeout=20)
        ask = client.chat.completions.create(model="m", messages=USER)
        task = asyncio.ensure_future(ask)
        while not client._connections or not client._connections[0].waiters:
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(RuntimeError, match="closed"):
            await task

    asyncio.run(main())


def test_timeouts(service: Service) -> None:
    async def main() -> None:
        async with sluice.AsyncClient(service.path, timeout=0.05) as client:
            for stream in (False, True):
                service.openai.next(wait_for(Gate()), end())
                with pytest.raises(sluice.APITimeoutError) as e:
                    await client.chat.completions.create(model="m", messages=USER, stream=stream)
                assert e.value.code == "timeout"
            service.openai.next(text("a"), wait_for(Gate()), end())
            with pytest.raises(sluice.APITimeoutError) as late:
                await client.chat.completions.create(
                    model="m", messages=USER, deadline=0.2, timeout=None
                )
            assert late.value.code == "deadline_exceeded"

    asyncio.run(main())


def test_another_loop(service: Service) -> None:
    client = sluice.AsyncClient(service.path, timeout=20)

    async def use() -> None:
        await client.status()

    asyncio.run(use())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(use())
    result: List[BaseException] = []

    def other_thread() -> None:
        try:
            asyncio.run(use())
        except RuntimeError as e:
            result.append(e)

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join(20)
    assert "another event loop" in str(result[0])
    with pytest.raises(RuntimeError):
        client.status().send(None)  # no loop at all


def test_daemon_dies_and_comes_back(env: Any) -> None:
    import signal

    upstream = env.openai()
    daemon = env.start({"m": upstream.deployment()})

    async def main() -> None:
        client = sluice.AsyncClient(daemon.rpc_path, timeout=20)
        upstream.next(text("a"), wait_for(Gate()), end())
        stream = await client.chat.completions.create(model="m", messages=USER, stream=True)
        daemon.signal(signal.SIGKILL)
        daemon.wait_exit()
        with pytest.raises(sluice.APIConnectionError) as e:
            async for _ in stream:
                pass
        assert e.value.code == "connection_lost"
        daemon.start()
        assert (await client.status()).version
        upstream.next(text("a"), wait_for(Gate()), end())
        stream = await client.chat.completions.create(model="m", messages=USER, stream=True)
        daemon.signal(signal.SIGKILL)
        daemon.wait_exit()
        daemon.start()
        assert (await client.status()).version  # not on the connection of the stream
        await stream.close()
        await client.close()
        with pytest.raises(RuntimeError, match="closed"):
            await client.status()

    asyncio.run(main())


def test_a_dropped_stream_warns_and_ends(service: Service) -> None:
    async def main() -> None:
        async with sluice.AsyncClient(service.path, timeout=20) as client:
            service.openai.next(text("a"), stall())
            stream = await client.chat.completions.create(model="m", messages=USER, stream=True)
            exchange = service.openai.wait_request()
            with pytest.warns(ResourceWarning, match="unclosed AsyncStream"):
                del stream
                gc.collect()
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, exchange.peer_left.wait, 10)

    asyncio.run(main())


def test_an_idle_client_takes_no_time(service: Service) -> None:
    """The loop sleeps while nothing comes: no busy descriptor is left behind."""

    async def main() -> int:
        async with sluice.AsyncClient(service.path, timeout=20) as client:
            service.openai.next(text("a"), stall())
            stream = await client.chat.completions.create(model="m", messages=USER, stream=True)
            await stream.__anext__()
            await stream.__anext__()
            connection: Any = client._connections[0]
            n = 0
            original = connection.process

            def counted() -> bool:
                nonlocal n
                n += 1
                return bool(original())

            connection.process = counted
            await asyncio.sleep(0.2)
            await stream.close()
            return n

    assert asyncio.run(main()) <= 4

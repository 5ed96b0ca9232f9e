"""Against a real Ollama with small models."""

from __future__ import annotations

import asyncio
from typing import Any, Iterator

import pytest
import sluice
from conftest import Env

pytestmark = [pytest.mark.once, pytest.mark.timeout(120)]

USER = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def path(ollama_server: Any) -> Iterator[str]:
    env = Env()

    def deployment(model: str) -> Any:
        return {"model": f"ollama_chat/{model}", "api_base": ollama_server.url, "num_ctx": 512}

    daemon = env.start({"chat": deployment("smollm2"), "embed": deployment("all-minilm")})
    yield daemon.rpc_path
    env.stop()


def test_chat(path: str) -> None:
    with sluice.Client(path, timeout=60) as client:
        options: Any = {
            "model": "chat",
            "messages": USER,
            "max_tokens": 12,
            "temperature": 0,
            "seed": 1,
        }
        answer = client.chat.completions.create(**options)
        assert answer.choices[0].message.content and answer.usage
        assert 0 < answer.usage.completion_tokens <= 12 and answer.usage.prompt_tokens > 0
        chunks = list(client.chat.completions.create(**options, stream=True))
        said = "".join(c.choices[0].delta.content or "" for c in chunks)
        assert said == answer.choices[0].message.content
        assert chunks[-1].choices[0].finish_reason == answer.choices[0].finish_reason


def test_completion_and_embeddings(path: str) -> None:
    with sluice.Client(path, timeout=60) as client:
        text = client.completions.create(model="chat", prompt="Once upon a time", max_tokens=8)
        assert text.choices[0].text
        vectors = client.embeddings.create(model="embed", input=["a cat", "a kitten", "tax law"])
        cat, kitten, law = (v.embedding for v in vectors.data)
        assert len(cat) == 384
        assert dot(cat, kitten) > dot(cat, law)


def dot(a: Any, b: Any) -> float:
    return float(sum(x * y for x, y in zip(a, b)))


def test_async(path: str) -> None:
    async def main() -> None:
        async with sluice.AsyncClient(path, timeout=60) as client:
            stream = await client.chat.completions.create(
                model="chat", messages=USER, max_tokens=200, stream=True
            )
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            await stream.close()
            answer = await client.chat.completions.create(model="chat", messages=USER, max_tokens=4)
            assert answer.choices[0].message.content

    asyncio.run(main())

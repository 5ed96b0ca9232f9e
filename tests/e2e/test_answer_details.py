"""What an OpenAI-dialect server says beside the text of an answer, and every client gets to see: tokens of its thinking."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from testenv.daemon import Daemon
from testenv.upstream import Upstream, chunk, clean_end, whole

MESSAGES: Any = [{"role": "user", "content": "hi"}]
DETAILS = {"completion_tokens_details": {"reasoning_tokens": 4}}
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, **DETAILS}


@pytest.fixture
def upstream(env) -> Upstream:
    return env.openai()


@pytest.fixture
def sluice(env, upstream: Upstream) -> Daemon:
    return env.start({"m": upstream.deployment(num_retries=0)})


@pytest.fixture
def client(sluice: Daemon) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{sluice.port}/v1", api_key="x", max_retries=0)


def sse(*bodies: dict[str, Any]) -> bytes:
    text = "".join(f"data: {json.dumps(body)}\n\n" for body in bodies)
    return text.encode() + b"data: [DONE]\n\n"


def delta(finish: Any = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish}]}


def test_tokens_of_thinking(upstream: Upstream, client: openai.OpenAI) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    upstream.next(whole(200, {"choices": [choice], "usage": USAGE}))
    usage = client.chat.completions.create(model="m", messages=MESSAGES).usage
    assert usage and usage.completion_tokens_details
    assert usage.completion_tokens_details.reasoning_tokens == 4 and usage.completion_tokens == 5


def test_tokens_of_thinking_streamed(upstream: Upstream, client: openai.OpenAI) -> None:
    upstream.next(chunk(sse(delta(content="x"), delta("stop"), {"choices": [], "usage": USAGE})), clean_end())
    options: Any = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True, stream_options=options))
    usage = chunks[-1].usage
    assert usage and usage.completion_tokens_details and usage.completion_tokens_details.reasoning_tokens == 4

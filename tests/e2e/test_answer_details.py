"""What an OpenAI-dialect server says beside the text of an answer, and every client gets to see: tokens of its thinking, a refusal."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from testenv.cli import run
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


@pytest.mark.parametrize("is_stream", [False, True])
def test_fingerprint_of_the_server(upstream: Upstream, client: openai.OpenAI, is_stream: bool) -> None:
    """The build of the model server, as seeds are only worth something with it; none where the server says none."""
    chunks = [{**body, "system_fingerprint": "fp_build_1"} for body in (delta(content="x"), delta(content="y"), delta("stop"))]
    upstream.next(chunk(sse(*chunks)), clean_end())
    upstream.next(chunk(sse(delta(content="x"), delta("stop"))), clean_end())
    for expected in ("fp_build_1", None):
        answer: Any = client.chat.completions.create(model="m", messages=MESSAGES, stream=is_stream)
        parts = list(answer) if is_stream else [answer]
        assert parts and {part.system_fingerprint for part in parts} == {expected}


def refusal(finish: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": "I will not."}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}


def test_refusal(upstream: Upstream, client: openai.OpenAI) -> None:
    upstream.next(whole(200, refusal()))
    message = client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message
    assert (message.refusal, message.content) == ("I will not.", None)


def test_refusal_streamed(upstream: Upstream, client: openai.OpenAI) -> None:
    upstream.next(chunk(sse(delta(refusal="I will "), delta(refusal="not."), delta("stop"))), clean_end())
    deltas = [c.choices[0].delta for c in client.chat.completions.create(model="m", messages=MESSAGES, stream=True)]
    assert "".join(d.refusal or "" for d in deltas) == "I will not."
    assert not any(d.content for d in deltas)


def test_refusal_instead_of_the_structure(upstream: Upstream, client: openai.OpenAI) -> None:
    """As a text it would be parsed, and .parse() would throw."""

    class Answer(BaseModel):
        x: int

    upstream.next(whole(200, refusal()))
    message = client.chat.completions.parse(model="m", messages=MESSAGES, response_format=Answer).choices[0].message
    assert message.refusal == "I will not." and message.parsed is None


def test_refusal_at_the_terminal(upstream: Upstream, sluice: Daemon) -> None:
    """What a model says instead of an answer is shown as one."""
    upstream.next(whole(200, refusal()))
    upstream.next(whole(200, refusal()))
    assert run(sluice, "chat", "-m", "m", "hi").stdout == b"I will not.\n"
    events = [json.loads(line) for line in run(sluice, "chat", "-m", "m", "--json", "hi").stdout.splitlines()]
    texts = [(e["channel"], e["text"]) for e in events if e["event"] == "text"]
    assert texts == [("refusal", "I will not.")]

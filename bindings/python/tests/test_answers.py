"""What calls answer: whole and in pieces, text, thinking, tool calls, usage, embeddings, models, status."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any, List

import pytest
import sluice
from conftest import MOCK_TEXT, Service
from fake_daemon import HANG_UP, FakeDaemon, done, started, text, tool_call
from testenv.upstream import end, say, vector, whole
from testenv.upstream import text as say_text

USER = [{"role": "user", "content": "hello"}]


def content(chunks: List[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


@pytest.mark.parametrize("model", ["m", "o"])
def test_chat(service: Service, client: sluice.Client, model: str) -> None:
    service.upstream(model).next(say("Hel", "lo wörld"))
    answer = client.chat.completions.create(model=model, messages=USER)
    assert answer.choices[0].message.content == "Hello wörld"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"
    assert answer.object == "chat.completion" and answer.model == model and answer.created > 0
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 2)
    assert answer.usage.total_tokens == 9
    info = answer.sluice
    assert answer.id == "chatcmpl-" + info.request_id and answer._request_id == info.request_id
    assert info.deployment and info.has_usage
    assert info.queue_seconds is not None and info.total_seconds
    assert 0 <= info.queue_seconds <= info.total_seconds < 20


@pytest.mark.parametrize("model", ["m", "o"])
def test_stream(service: Service, client: sluice.Client, model: str) -> None:
    service.upstream(model).next(say("Hel", "lo", " wörld"))
    chunks = list(client.chat.completions.create(model=model, messages=USER, stream=True))
    assert content(chunks) == "Hello wörld"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks][-1] == "stop"
    assert {c.choices[0].finish_reason for c in chunks[:-1]} == {None}
    assert {c.id for c in chunks} == {"chatcmpl-" + chunks[0].sluice.request_id}
    assert {c.object for c in chunks} == {"chat.completion.chunk"}
    assert all(c.usage is None for c in chunks)


def test_stream_with_usage(service: Service, client: sluice.Client) -> None:
    service.openai.next(say("a", "b"))
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model="m", messages=USER, stream=True, stream_options=options
        )
    )
    assert chunks[-1].choices == [] and chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 9
    assert all(c.usage is None for c in chunks[:-1])


def test_objects_as_json(client: sluice.Client) -> None:
    answer = client.chat.completions.create(model="mock", messages=USER)
    dumped = answer.model_dump()
    assert dumped["choices"][0]["message"]["content"] == MOCK_TEXT
    assert "sluice" not in dumped and dumped["system_fingerprint"] is None
    assert json.loads(answer.model_dump_json()) == dumped
    assert "system_fingerprint" not in answer.to_dict()
    assert answer.model_dump(exclude_unset=True) == answer.to_dict(mode="json")
    assert json.loads(answer.model_dump_json(exclude_unset=True)) == answer.to_dict()
    with pytest.raises(TypeError, match="exclude"):
        answer.model_dump(exclude={"id"})
    assert answer == answer and "世界" in answer.model_dump_json()


def test_no_text_at_all(service: Service, client: sluice.Client) -> None:
    service.openai.next(end("length", 3, 0))
    answer = client.chat.completions.create(model="m", messages=USER)
    assert answer.choices[0].message.content == "" and answer.choices[0].finish_reason == "length"
    service.openai.next(end("length", 3, 0))
    chunks = list(client.chat.completions.create(model="m", messages=USER, stream=True))
    assert content(chunks) == "" and chunks[-1].choices[0].finish_reason == "length"


def test_characters_that_come_in_parts() -> None:
    data = "Grüße, 世界 🌍".encode()
    events = [started(), *(text(data[i : i + 1]) for i in range(len(data))), done()]
    with FakeDaemon(events, events) as fake, sluice.Client(fake.path, timeout=20) as client:
        chunks = list(client.chat.completions.create(model="m", messages=USER, stream=True))
        assert content(chunks) == "Grüße, 世界 🌍"
        assert all(c.choices[0].delta.content != "\ufffd" for c in chunks)
        answer = client.chat.completions.create(model="m", messages=USER)
        assert answer.choices[0].message.content == "Grüße, 世界 🌍"


def test_a_character_that_never_becomes_whole() -> None:
    events = [started(), text(b"a\xe4\xb8"), done()]
    with FakeDaemon(events, events) as fake, sluice.Client(fake.path, timeout=20) as client:
        chunks = list(client.chat.completions.create(model="m", messages=USER, stream=True))
        assert content(chunks) == "a\ufffd" and chunks[-1].choices[0].finish_reason == "stop"
        answer = client.chat.completions.create(model="m", messages=USER)
        assert answer.choices[0].message.content == "a\ufffd"


def test_tokens_of_thinking() -> None:
    events = [started(), text(b"yes"), done(reasoning=1)]
    with FakeDaemon(events) as fake, sluice.Client(fake.path, timeout=20) as client:
        usage = client.chat.completions.create(model="m", messages=USER).usage
        assert usage and usage.completion_tokens_details
        assert usage.completion_tokens_details.reasoning_tokens == 1


def test_refusals_are_kept_apart() -> None:
    events = [started(), text(b"I will ", channel=2), text(b"not\xc3", channel=2), done()]
    with FakeDaemon(events, events) as fake, sluice.Client(fake.path, timeout=20) as client:
        chunks = list(client.chat.completions.create(model="m", messages=USER, stream=True))
        deltas = [c.choices[0].delta for c in chunks]
        assert "".join(d.refusal or "" for d in deltas) == "I will not\ufffd"
        assert not content(chunks)
        message = client.chat.completions.create(model="m", messages=USER).choices[0].message
        assert (message.refusal, message.content) == ("I will not\ufffd", None)


def test_thinking_is_kept_apart() -> None:
    events = [started(), text(b"hmm \xc3", channel=1), text(b"yes"), done()]
    with FakeDaemon(events, events) as fake, sluice.Client(fake.path, timeout=20) as client:
        chunks = list(client.chat.completions.create(model="m", messages=USER, stream=True))
        deltas = [c.choices[0].delta for c in chunks]
        assert "".join(d.reasoning_content or "" for d in deltas) == "hmm \ufffd"
        assert "".join(d.content or "" for d in deltas) == "yes"
        message = client.chat.completions.create(model="m", messages=USER).choices[0].message
        assert (message.reasoning_content, message.content) == ("hmm \ufffd", "yes")


def test_logprobs() -> None:
    one = b'{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"b","logprob":-1}]}]}'
    events = [started(), text(b"a", logprobs=one), text(b"a", logprobs=one), done()]
    with FakeDaemon(events, events) as fake, sluice.Client(fake.path, timeout=20) as client:
        create = client.chat.completions.create
        found = create(model="m", messages=USER, logprobs=True, top_logprobs=1).choices[0].logprobs
        assert found and found.content and [t.token for t in found.content] == ["a", "a"]
        assert found.content[0].logprob == -0.5 and found.content[0].bytes == [97]
        assert found.content[0].top_logprobs[0].token == "b" and found.refusal is None
        chunks = list(create(model="m", messages=USER, logprobs=True, stream=True))
        pieces = [c.choices[0].logprobs for c in chunks if c.choices[0].logprobs]
        assert len(pieces) == 2


# ---------------------------------------------------------------------------------------------- tool calls


TOOL_EVENTS = [
    started(),
    tool_call(0, b"call_1", b"weather", b'{"city":'),
    tool_call(0, b"", b"", b'"Z\xc3'),
    tool_call(0, b"", b"", b'\xbcrich"}'),
    tool_call(1, b"", b"now", b""),
    done(1),
]


def test_tool_calls() -> None:
    with FakeDaemon(TOOL_EVENTS) as fake, sluice.Client(fake.path, timeout=20) as client:
        answer = client.chat.completions.create(model="m", messages=USER, request_id="me")
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    first, second = choice.message.tool_calls or []
    assert (first.id, first.type, first.function.name) == ("call_1", "function", "weather")
    assert json.loads(first.function.arguments) == {"city": "Zürich"}
    assert (second.id, second.function.arguments) == ("call_me_0_1", "{}")


def test_tool_calls_in_pieces() -> None:
    """Ids and names once, arguments to be joined, an index on each piece."""
    with FakeDaemon(TOOL_EVENTS) as fake, sluice.Client(fake.path, timeout=20) as client:
        chunks = list(
            client.chat.completions.create(model="m", messages=USER, request_id="me", stream=True)
        )
    pieces = [t for c in chunks for t in c.choices[0].delta.tool_calls or []]
    assert [p.id for p in pieces if p.id] == ["call_1", "call_me_0_1"]
    assert [p.function.name for p in pieces if p.function and p.function.name] == ["weather", "now"]
    joined = {0: "", 1: ""}
    for piece in pieces:
        assert piece.function
        joined[piece.index] += piece.function.arguments or ""
    assert json.loads(joined[0]) == {"city": "Zürich"} and joined[1] == "{}"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


# ---------------------------------------------------------------------------------------------- others


@pytest.mark.parametrize("model", ["m", "o"])
def test_completion(service: Service, client: sluice.Client, model: str) -> None:
    upstream = service.upstream(model)
    upstream.next(say("once", " upon"))
    answer = client.completions.create(model=model, prompt="tell", max_tokens=9)
    assert answer.choices[0].text == "once upon" and answer.choices[0].finish_reason == "stop"
    assert answer.object == "text_completion" and answer.id.startswith("cmpl-")
    assert answer.usage and answer.usage.total_tokens == 9
    upstream.next(say("once", " upon"))
    pieces = list(client.completions.create(model=model, prompt="tell", stream=True))
    assert "".join(p.choices[0].text for p in pieces) == "once upon"
    assert pieces[-1].choices[0].finish_reason == "stop"
    assert upstream.wait_request(1, "complete").json["prompt"] == "tell"


@pytest.mark.parametrize("model", ["m", "o"])
def test_embeddings(service: Service, client: sluice.Client, model: str) -> None:
    answer = client.embeddings.create(model=model, input=["a", "bbb", "日本"])
    assert [e.index for e in answer.data] == [0, 1, 2]
    assert [e.embedding for e in answer.data] == [vector(x) for x in ("a", "bbb", "日本")]
    assert answer.usage.prompt_tokens == 9 and answer.object == "list"
    one = client.embeddings.create(model=model, input="a", encoding_format="float")
    assert one.data[0].embedding == vector("a")
    packed = client.embeddings.create(model=model, input="a", encoding_format="base64")
    data = base64.b64decode(packed.data[0].embedding)
    assert list(struct.unpack(f"<{len(data) // 4}f", data)) == vector("a")


def test_models(client: sluice.Client) -> None:
    models = client.models.list()
    assert [m.id for m in models] == [m.id for m in models.data] == ["mock", "m", "o", "narrow"]
    assert models.data[0].object == "model" and models.data[0].provider == "mock"
    assert client.models.retrieve("m").id == "m"
    with pytest.raises(sluice.NotFoundError) as e:
        client.models.retrieve("nope")
    assert e.value.code == "model_not_found" and e.value.status_code == 404


def test_status_and_info(service: Service, client: sluice.Client) -> None:
    client.chat.completions.create(model="mock", messages=USER)
    status = client.status()
    assert status.uptime_seconds > 0 and status.calls_completed > 0 and status.tickets == 0
    assert not status.is_draining and status.connections >= 1
    assert {d.model for d in status.deployments} == {"mock", "m", "o", "narrow"}
    assert all(d.is_available and d.slots >= 1 for d in status.deployments)
    info = client.info()
    assert info.version == status.version and info.max_frame_bytes == 4 << 20
    assert {"chat", "complete", "embed", "cancel"} <= set(info.features)
    assert b"sluice.v1" in info.file_descriptor_set


# ---------------------------------------------------------------------------------------------- answers that fail


def test_a_cut_answer_never_looks_complete() -> None:
    for last in ([HANG_UP], []):
        events = [started(), text(b"half"), *last]
        with FakeDaemon(events, events) as fake:
            with sluice.Client(fake.path, timeout=20) as client:
                stream = client.chat.completions.create(model="m", messages=USER, stream=True)
                seen = []
                with pytest.raises(sluice.APIError) as e:
                    for chunk in stream:
                        seen.append(chunk)
                assert content(seen) == "half"
                assert e.value.code == ("connection_lost" if last else "answer_cut")
                assert list(stream) == []
            with sluice.Client(fake.path, timeout=20) as client, pytest.raises(sluice.APIError):
                client.chat.completions.create(model="m", messages=USER)


def test_garbage() -> None:
    with FakeDaemon([b"\xff\xff"]) as fake, sluice.Client(fake.path, timeout=20) as client:
        with pytest.raises(sluice.InternalServerError) as e:
            client.chat.completions.create(model="m", messages=USER)
    assert e.value.code == "bad_answer"


def test_an_error_in_mid_stream(service: Service, client: sluice.Client) -> None:
    from testenv.upstream import error_line

    service.openai.next(say_text("a"), error_line("broke"))
    with client.chat.completions.create(model="m", messages=USER, stream=True) as stream:
        with pytest.raises(sluice.InternalServerError) as e:
            list(stream)
    assert "broke" in e.value.message and e.value.code == "upstream_error"
    service.openai.next(whole(429, {"error": {"message": "slow down"}}, {"Retry-After": "7"}))
    with pytest.raises(sluice.RateLimitError) as limited:
        client.chat.completions.create(model="m", messages=USER, stream=True)
    assert limited.value.retry_after == 7.0 and limited.value.is_retryable

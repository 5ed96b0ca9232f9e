"""vLLM: the exact shapes of its answers, as its source makes them (vllm/entrypoints/openai: chat_completion/serving.py,
completion/serving.py, engine/protocol.py; api_server.py for the words of its errors), seen by the official package.

What it does that others do not: the role in a chunk of its own with empty content, null members that were set, the last words in
the same chunk as finish_reason, stop_reason, token_ids, usage in every chunk (continuous_usage_stats), "stop" for a tool that the
client named, reasoning under two names, `data: [DONE]` also behind an error, a status as the code of an error.
"""

from __future__ import annotations

import json
from typing import Any, Optional

import openai
import pytest
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.upstream import Step, Upstream, chunk, clean_end, whole

MESSAGES: Any = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture
def vllm(env) -> Upstream:
    return env.openai()


@pytest.fixture
def sluice(env, vllm: Upstream) -> Daemon:
    """One attempt for each call: what is looked at is the answer."""
    base = vllm.url + "/v1"
    return env.start({"m": {"model": "hosted_vllm/org/model", "api_base": base, "num_retries": 0}})


@pytest.fixture
def client(sluice: Daemon) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{sluice.port}/v1", api_key="x", max_retries=0)


def event(body: dict[str, Any]) -> str:
    return "data: " + json.dumps(body, separators=(",", ":")) + "\n\n"


def chat_chunk(delta: Optional[dict[str, Any]], index: int = 0, **choice: Any) -> str:
    choices = []
    if delta is not None:
        choices = [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **choice}]
    usage = choice.pop("usage", None) if delta is None else None
    head = {"id": "chatcmpl-7f1", "object": "chat.completion.chunk", "created": 1763000000}
    body: dict[str, Any] = {**head, "model": "org/model", "choices": choices}
    if usage:
        body["usage"] = usage
    return event(body)


FIRST = chat_chunk({"role": "assistant", "content": ""}).replace(
    '"choices"', '"prompt_token_ids":null,"choices"'
)
USAGE = {"prompt_tokens": 9, "total_tokens": 13, "completion_tokens": 4, "prompt_tokens_details": None}


def stream_of(*events: str, is_done: bool = True) -> list[Step]:
    texts = [*events, "data: [DONE]\n\n"] if is_done else list(events)
    return [*(chunk(t.encode()) for t in texts), clean_end()]


def read(client: openai.OpenAI, **further: Any) -> list[Any]:
    return list(
        client.chat.completions.create(
            model="m",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
            **further,
        )
    )


def joined(chunks: list[Any], member: str, index: int = 0) -> str:
    deltas = [c.delta for k in chunks for c in k.choices if c.index == index]
    return "".join(getattr(d, member, None) or "" for d in deltas)


def reasons(chunks: list[Any], index: int = 0) -> list[str]:
    found = [c.finish_reason for k in chunks for c in k.choices if c.index == index]
    return [r for r in found if r]


# ---------------------------------------------------------------------------------------------- streams


def test_text_whose_last_words_come_with_the_finish_reason(vllm: Upstream, client) -> None:
    last = chat_chunk({"content": " you"}, finish_reason="stop", stop_reason=None, token_ids=None)
    vllm.next(stream_of(FIRST, chat_chunk({"content": "thank"}), last, chat_chunk(None, usage=USAGE)))
    chunks = read(client)
    assert joined(chunks, "content") == "thank you"
    assert reasons(chunks) == ["stop"]
    assert [c.usage.completion_tokens for c in chunks if c.usage] == [4]
    assert len({c.id for c in chunks}) == 1


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_under_both_names(vllm: Upstream, client, name: str) -> None:
    """`reasoning` since 0.12, `reasoning_content` before it."""
    think = [chat_chunk({name: t}) for t in ("let ", "me ", "see")]
    last = chat_chunk({"content": "4"}, finish_reason="stop", stop_reason=None)
    vllm.next(stream_of(FIRST, *think, last))
    chunks = read(client)
    assert joined(chunks, "reasoning_content") == "let me see"
    assert joined(chunks, "content") == "4"


def test_both_names_in_one_chunk_are_one_thought(vllm: Upstream, client) -> None:
    """As 0.11 sent it."""
    both = chat_chunk({"reasoning": "hm", "reasoning_content": "hm"})
    vllm.next(stream_of(FIRST, both, chat_chunk({"content": "x"}, finish_reason="stop")))
    assert joined(read(client), "reasoning_content") == "hm"


def tool_delta(index: int, **members: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **members}]}


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_tool_calls(vllm: Upstream, client, finish: str) -> None:
    """A tool that the client named ends with "stop" in vLLM: clients branch on tool_calls."""
    begun = tool_delta(
        0, id="chatcmpl-tool-1", type="function", function={"name": "weather", "arguments": None}
    )
    second = tool_delta(
        1, id="chatcmpl-tool-2", type="function", function={"name": "weather", "arguments": "{}"}
    )
    vllm.next(
        stream_of(
            FIRST,
            chat_chunk(begun),
            chat_chunk(tool_delta(0, function={"arguments": '{"city":'})),
            chat_chunk(tool_delta(0, function={"arguments": '"Oslo"}'})),
            chat_chunk(second),
            chat_chunk({"content": ""}, finish_reason=finish, stop_reason=None),
        )
    )
    chunks = read(client, tools=[TOOL])
    deltas = [t for k in chunks for c in k.choices for t in c.delta.tool_calls or []]
    assert [(d.index, d.id) for d in deltas if d.id] == [(0, "chatcmpl-tool-1"), (1, "chatcmpl-tool-2")]
    text = "".join(d.function.arguments or "" for d in deltas if d.index == 0)
    assert json.loads(text) == {"city": "Oslo"}
    assert reasons(chunks) == ["tool_calls"]


def test_usage_in_every_chunk_is_a_running_count(vllm: Upstream, client) -> None:
    def counted(text: str, n: int, **choice: Any) -> str:
        usage = {"prompt_tokens": 9, "total_tokens": 9 + n, "completion_tokens": n}
        return event({**json.loads(chat_chunk({"content": text}, **choice)[6:]), "usage": usage})

    vllm.next(
        stream_of(
            counted("", 0),
            counted("a", 1),
            counted("b", 2, finish_reason="length", stop_reason=None),
            chat_chunk(None, usage={**USAGE, "completion_tokens": 2, "total_tokens": 11}),
        )
    )
    chunks = read(client)
    assert [c.usage.total_tokens for c in chunks if c.usage] == [11]
    assert chunks[-1].usage and chunks[-1].choices == []
    assert reasons(chunks) == ["length"]


def test_choices_that_take_turns(vllm: Upstream, client) -> None:
    heads = [chat_chunk({"role": "assistant", "content": ""}, i) for i in (0, 1)]
    words = [chat_chunk({"content": w}, i) for w, i in (("a", 1), ("x", 0), ("b", 1), ("y", 0))]
    ends = [chat_chunk({"content": ""}, i, finish_reason="stop", stop_reason=None) for i in (1, 0)]
    vllm.next(stream_of(*heads, *words, *ends))
    chunks = read(client, n=2)
    assert (joined(chunks, "content", 0), joined(chunks, "content", 1)) == ("xy", "ab")
    assert reasons(chunks, 0) == reasons(chunks, 1) == ["stop"]


def test_logprobs(vllm: Upstream, client) -> None:
    token = {"token": "hi", "logprob": -0.25, "bytes": [104, 105], "top_logprobs": []}
    said = chat_chunk({"content": "hi"}, logprobs={"content": [token]})
    end = chat_chunk({"content": ""}, logprobs={"content": []}, finish_reason="stop")
    vllm.next(stream_of(FIRST, said, end))
    chunks = read(client, logprobs=True)
    found = [t for k in chunks for c in k.choices if c.logprobs for t in c.logprobs.content or []]
    assert [(t.token, t.logprob, t.bytes) for t in found] == [("hi", -0.25, [104, 105])]


def test_done_behind_an_error_is_no_end(vllm: Upstream, sluice: Daemon) -> None:
    """create_streaming_error_response(), then [DONE]: what came before must not look complete."""
    error = {"message": "engine died", "type": "InternalServerError", "param": None, "code": 500}
    vllm.next(stream_of(FIRST, chat_chunk({"content": "par"}), event({"error": error})))
    with sluice.http() as http:
        http.send_request("POST", "/v1/chat/completions", chat_body("m", stream=True))
        events = list(http.sse(http.read_head()))
    said = [e.data for e in events if not e.is_comment]
    assert "[DONE]" not in said
    assert "engine died" in json.loads(said[-1])["error"]["message"]
    assert not any('"finish_reason":"' in data for data in said)


def test_a_server_that_is_aborted_has_not_finished(vllm: Upstream, client) -> None:
    """finish_reason "abort": somebody stopped the request inside vLLM."""
    end = chat_chunk({"content": ""}, finish_reason="abort", stop_reason=None)
    vllm.next(stream_of(FIRST, chat_chunk({"content": "par"}), end))
    with pytest.raises(openai.APIError):
        read(client)


# ---------------------------------------------------------------------------------------------- other endpoints


def test_completion(vllm: Upstream, client) -> None:
    def piece(text: str, reason: Optional[str]) -> str:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
        head = {"id": "cmpl-1", "created": 1763000000, "model": "org/model"}
        return event({**head, "choices": [{**choice, "stop_reason": None}], "usage": None})

    vllm.next(stream_of(piece("def", None), piece(" f()", None), piece(":", "length")))
    answer = client.completions.create(model="m", prompt="#", max_tokens=3)
    assert answer.choices[0].text == "def f():"
    assert answer.choices[0].finish_reason == "length"


def test_embeddings(vllm: Upstream, client) -> None:
    data = [{"index": i, "object": "embedding", "embedding": [i, 0.5]} for i in (0, 1)]
    usage = {"prompt_tokens": 6, "total_tokens": 6, "completion_tokens": 0, "prompt_tokens_details": None}
    head = {"id": "embd-1", "object": "list", "created": 1763000000, "model": "org/model"}
    vllm.next(whole(200, {**head, "data": data, "usage": usage}))
    answer = client.embeddings.create(model="m", input=["a", "b"])
    assert [d.embedding for d in answer.data] == [[0.0, 0.5], [1.0, 0.5]]
    assert answer.usage.total_tokens == 6


def test_its_own_parameters_reach_it_as_they_were_sent(vllm: Upstream, sluice: Daemon) -> None:
    own = (
        '"top_k":-1,"min_p":0.05,"repetition_penalty":1.10,"guided_json":{"type":"object"},'
        '"structured_outputs":{"choice":["a","b"]},"chat_template_kwargs":{"enable_thinking":false},'
        '"stop_token_ids":[151643,18446744073709551615],"ignore_eos":false,"cache_salt":"s"'
    )
    body = '{"model":"m","messages":[{"role":"user","content":"x"}],' + own + "}"
    with sluice.http() as http:
        assert http.request("POST", "/v1/chat/completions", body.encode()).status == 200
    sent = vllm.wait_request().body.decode()
    assert own in sent
    assert json.loads(sent)["model"] == "org/model"


# ---------------------------------------------------------------------------------------------- errors

CONTEXT = (
    "This model's maximum context length is 4096 tokens. However, you requested 5010 tokens (5000 in the messages, 10 in the"
    " completion). Please reduce the length of the messages or completion.",
    "You passed 5001 input tokens and requested 0 output tokens. However, the model's context length is only 4096 tokens,"
    " resulting in a maximum input length of 4096 tokens. Please reduce the length of the input prompt.",
    "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 tokens and your"
    " request has 10 input tokens (5000 > 4096 - 10).",
    "The decoder prompt (length 5001) is longer than the maximum model length of 4096. Make sure that `max_model_len` is no"
    " smaller than the number of text tokens.",
)


@pytest.mark.parametrize("is_wrapped", [True, False], ids=["today", "before 0.10"])
@pytest.mark.parametrize("text", CONTEXT, ids=range(len(CONTEXT)))
def test_a_prompt_that_does_not_fit(vllm: Upstream, client, text: str, is_wrapped: bool) -> None:
    inner: dict[str, Any] = {"message": text, "type": "BadRequestError", "param": None, "code": 400}
    vllm.next(whole(400, {"error": inner} if is_wrapped else {"object": "error", **inner}))
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert e.value.code == "context_length_exceeded"
    assert "4096" in e.value.message and "50" in e.value.message  # both numbers


ERRORS: list[tuple[int, Any, int, str]] = [
    (400, {"error": {"message": "bad temperature", "type": "BadRequestError", "code": 400}}, 400, "upstream_rejected"),
    (401, {"error": "Unauthorized"}, 502, "upstream_auth_failed"),
    (
        404,
        {"error": {"message": "The model `org/model` does not exist.", "type": "NotFoundError", "code": 404}},
        404,
        "model_not_found",
    ),
    (
        500,
        {"error": {"message": "EngineCore encountered an issue", "type": "InternalServerError", "code": 500}},
        502,
        "upstream_error",
    ),
    (503, {"error": {"message": "overloaded", "type": "ServiceUnavailable", "code": 503}}, 503, "upstream_overloaded"),
    (500, b"Internal Server Error", 502, "upstream_error"),
]


@pytest.mark.parametrize("case", ERRORS, ids=lambda c: f"{c[0]}-{c[3]}")
def test_other_errors(vllm: Upstream, client, case: tuple[int, Any, int, str]) -> None:
    status, body, want_status, want_code = case
    vllm.next(whole(status, body))
    with pytest.raises(openai.APIStatusError) as e:
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert (e.value.status_code, e.value.code) == (want_status, want_code)

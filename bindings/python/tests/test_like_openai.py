"""The openai package over HTTP and this one over the RPC, side by side at the same daemon: the same in, the same out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Optional

import pytest
import sluice
from conftest import Service
from scripts import with_tool_calls
from testenv.upstream import Gate, end, error_line, say, text, wait_for, whole

try:
    import openai
except ImportError:  # where these tests are not run
    pass

pytestmark = pytest.mark.once

USER = [{"role": "user", "content": "hello"}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


@dataclass
class Pair:
    """Both clients, and what each says to the same call."""

    service: Service
    theirs: Any
    ours: sluice.Client

    def ask(self, call: Callable[[Any], Any], *script: Any, model: str = "m") -> List[Any]:
        """(openai's result, ours), the model server playing the script for each."""
        found = []
        for client in (self.theirs, self.ours):
            if script:
                self.service.upstream(model).next(*script)
            found.append(call(client))
        return found


@pytest.fixture
def pair(service: Service) -> Iterator[Pair]:
    theirs = openai.OpenAI(
        api_key="x", base_url=service.daemon.url + "/v1", max_retries=0, timeout=20
    )
    with theirs, sluice.Client(service.path, timeout=20) as ours:
        yield Pair(service, theirs, ours)


def same(value: Any) -> Any:
    """What an answer says, without what differs from call to call."""
    dumped = value.model_dump(exclude_none=True)
    for name in ("id", "created"):
        dumped.pop(name, None)
    return dumped


CALLS = with_tool_calls(
    [
        {
            "index": 0,
            "id": "call_a",
            "type": "function",
            "function": {"name": "weather", "arguments": ""},
        }
    ],
    [{"index": 0, "function": {"arguments": '{"city":'}}],
    [{"index": 0, "function": {"arguments": '"Zürich"}'}}],
    [
        {
            "index": 1,
            "id": "call_b",
            "type": "function",
            "function": {"name": "now", "arguments": "{}"},
        }
    ],
)


@pytest.mark.parametrize("model", ["mock", "m", "o"])
def test_chat(pair: Pair, model: str) -> None:
    script = () if model == "mock" else (say("Hel", "lo wörld"),)
    theirs, ours = pair.ask(
        lambda c: c.chat.completions.create(model=model, messages=USER), *script, model=model
    )
    assert same(ours) == same(theirs)
    assert theirs.choices[0].message.content == ours.choices[0].message.content
    assert ours.id.startswith("chatcmpl-") and theirs.id.startswith("chatcmpl-")
    assert type(ours.created) is type(theirs.created)


@pytest.mark.parametrize("model", ["mock", "m", "o"])
@pytest.mark.parametrize("usage", [False, True])
def test_stream(pair: Pair, model: str, usage: bool) -> None:
    script = () if model == "mock" else (say("Hel", "lo", " wörld"),)
    options = {"stream_options": {"include_usage": True}} if usage else {}
    theirs, ours = pair.ask(
        lambda c: list(
            c.chat.completions.create(model=model, messages=USER, stream=True, **options)
        ),
        *script,
        model=model,
    )
    assert [same(c) for c in ours] == [same(c) for c in theirs]


def test_tool_calls(pair: Pair) -> None:
    theirs, ours = pair.ask(
        lambda c: c.chat.completions.create(model="m", messages=USER, tools=[TOOL]), CALLS
    )
    assert same(ours) == same(theirs)
    assert ours.choices[0].finish_reason == "tool_calls"
    message = ours.choices[0].message
    assert [c.function.name for c in message.tool_calls] == ["weather", "now"]
    # and each side takes the other's message back
    again = [
        *USER,
        theirs.choices[0].message,
        {"role": "tool", "tool_call_id": "call_a", "content": "rain"},
    ]
    pair.ask(lambda c: c.chat.completions.create(model="m", messages=again), say("so"))
    http, rpc = [e.json["messages"] for e in pair.service.openai.requests()[-2:]]
    assert rpc[1]["tool_calls"] == http[1]["tool_calls"] and rpc[2] == http[2]


def test_tool_calls_in_pieces(pair: Pair) -> None:
    theirs, ours = pair.ask(
        lambda c: list(
            c.chat.completions.create(model="m", messages=USER, tools=[TOOL], stream=True)
        ),
        CALLS,
    )
    assert [same(c) for c in ours] == [same(c) for c in theirs]


def test_what_the_model_server_gets(pair: Pair) -> None:
    """The same arguments become the same request."""
    arguments = {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "hello"}], "name": "ann"},
        ],
        "temperature": 0.25,
        "top_p": 0.5,
        "seed": 42,
        "stop": ["END"],
        "max_tokens": 5,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "logit_bias": {"1": 2},
        "logprobs": True,
        "top_logprobs": 2,
        "tools": [TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "user": "me",
        "extra_body": {"mirostat": 2},
    }
    pair.ask(lambda c: c.chat.completions.create(**arguments), say("x"))
    http, rpc = [e.json for e in pair.service.openai.requests()]
    for name in set(arguments) - {"messages", "extra_body", "max_tokens"}:
        assert rpc.get(name) == http.get(name), name
    assert rpc["mirostat"] == http["mirostat"] == 2
    assert rpc["max_tokens"] == http["max_tokens"] == 5
    text_of = [m["content"] for m in rpc["messages"]]
    assert text_of == ["be brief", "hello"]


@pytest.mark.parametrize("model", ["mock", "m", "o"])
def test_completions(pair: Pair, model: str) -> None:
    script = () if model == "mock" else (say("once", " upon"),)
    theirs, ours = pair.ask(
        lambda c: c.completions.create(model=model, prompt="tell"), *script, model=model
    )
    assert same(ours) == same(theirs)
    theirs, ours = pair.ask(
        lambda c: list(c.completions.create(model=model, prompt="tell", stream=True)),
        *script,
        model=model,
    )
    assert [same(c) for c in ours] == [same(c) for c in theirs]


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # of a str where openai's type says list
@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_embeddings(pair: Pair, encoding: Optional[str]) -> None:
    options = {"encoding_format": encoding} if encoding else {}
    theirs, ours = pair.ask(
        lambda c: c.embeddings.create(model="m", input=["a", "日本"], **options)
    )
    assert same(ours) == same(theirs)
    assert isinstance(ours.data[0].embedding, str if encoding == "base64" else list)


def test_models(pair: Pair) -> None:
    theirs, ours = pair.ask(lambda c: c.models.list())
    names = ("id", "object", "owned_by")
    assert [[getattr(m, n) for n in names] for m in ours] == [
        [getattr(m, n) for n in names] for m in theirs
    ]
    theirs, ours = pair.ask(lambda c: c.models.retrieve("m"))
    assert ours.id == theirs.id == "m"


def error_of(call: Callable[[], Any]) -> Any:
    with pytest.raises(Exception) as e:
        call()
    return e.value


@pytest.mark.parametrize(
    "model, script, name",
    [
        ("nope", None, "NotFoundError"),
        ("m", whole(400, {"error": {"message": "no", "param": "x"}}), "BadRequestError"),
        ("m", whole(401, {"error": {"message": "no"}}), "InternalServerError"),
        ("m", whole(429, {"error": {"message": "no"}}, {"Retry-After": "3"}), "RateLimitError"),
        ("m", whole(500, {"error": {"message": "no"}}), "InternalServerError"),
        ("m", whole(503, {"error": {"message": "no"}}), "InternalServerError"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_exceptions(pair: Pair, model: str, script: Any, name: str, stream: bool) -> None:
    """The same class, status, code, param; also of streams, where create() itself raises."""
    theirs, ours = pair.ask(
        lambda c: error_of(
            lambda: c.chat.completions.create(model=model, messages=USER, stream=stream)
        ),
        *([script] if script else []),
    )
    assert type(ours).__name__ == type(theirs).__name__ == name
    for attribute in ("status_code", "code", "param"):
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    assert theirs.body["message"] == ours.message
    assert ours.request_id and theirs.request_id
    seconds = theirs.response.headers.get("retry-after")
    assert (seconds is None) == (ours.retry_after is None)
    if seconds is not None:
        assert abs(float(seconds) - ours.retry_after) <= 1


def test_timeouts(pair: Pair) -> None:
    theirs, ours = pair.ask(
        lambda c: error_of(
            lambda: c.chat.completions.create(model="m", messages=USER, timeout=0.2)
        ),
        wait_for(Gate()),
        end(),
    )
    assert type(ours).__name__ == type(theirs).__name__ == "APITimeoutError"
    bases = [{b.__name__ for b in type(e).__mro__} for e in (ours, theirs)]
    assert {"APIConnectionError", "APIError"} <= bases[0] & bases[1]


def test_errors_in_mid_stream(pair: Pair) -> None:
    def read(client: Any) -> Any:
        seen = []
        stream = client.chat.completions.create(model="m", messages=USER, stream=True)
        error = error_of(lambda: seen.extend(iter_into(stream, seen)))
        return "".join(c.choices[0].delta.content or "" for c in seen), error

    (text_http, theirs), (text_rpc, ours) = pair.ask(read, text("half"), error_line("broke"))
    assert text_http == text_rpc == "half"
    assert isinstance(theirs, openai.APIError) and isinstance(ours, sluice.APIError)
    assert theirs.code == ours.code and theirs.message == ours.message


def iter_into(stream: Any, seen: List[Any]) -> List[Any]:
    for piece in stream:
        seen.append(piece)
    return []


def test_argument_errors(pair: Pair) -> None:
    theirs, ours = pair.ask(
        lambda c: error_of(lambda: c.chat.completions.create(model="m", messages=USER, wrong=1))
    )
    assert type(ours) is type(theirs) is TypeError and "wrong" in str(ours)
    theirs, ours = pair.ask(
        lambda c: error_of(
            lambda: c.chat.completions.create(model="o", messages=USER, logit_bias={"1": 2})
        )
    )
    assert type(ours).__name__ == type(theirs).__name__ == "BadRequestError"
    assert ours.param == theirs.param == "logit_bias"


def test_async(pair: Pair) -> None:
    service = pair.service

    async def ask(client: Any) -> Any:
        async with client:
            service.openai.next(say("a", "b"))
            answer = await client.chat.completions.create(model="m", messages=USER)
            service.openai.next(say("a", "b"))
            stream = await client.chat.completions.create(model="m", messages=USER, stream=True)
            return same(answer), [same(c) async for c in stream]

    async def main() -> List[Any]:
        theirs = openai.AsyncOpenAI(api_key="x", base_url=service.daemon.url + "/v1", max_retries=0)
        return [await ask(theirs), await ask(sluice.AsyncClient(service.path))]

    theirs, ours = asyncio.run(main())
    assert ours == theirs

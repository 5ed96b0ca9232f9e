"""What create() takes: it reaches the model server, or it is refused by name."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Dict

import pytest
import sluice
from conftest import Service
from sluice import _request
from testenv.upstream import Gate, end, say, text, wait_for

USER = [{"role": "user", "content": "hello"}]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def sent(service: Service, model: str = "m") -> Dict[str, Any]:
    return service.upstream(model).requests()[-1].json


def test_sampling(service: Service, client: sluice.Client) -> None:
    client.chat.completions.create(
        model="m",
        messages=USER,
        temperature=0,
        top_p=0.5,
        seed=-1,
        max_tokens=5,
        stop=["END", "FIN"],
        frequency_penalty=0.25,
        presence_penalty=-0.25,
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="low",
        top_k=7,
        min_p=0.125,
        n=1,
        user=None,
    )
    got = sent(service)
    assert got["temperature"] == 0 and got["top_p"] == 0.5 and got["seed"] == -1
    assert got["stop"] == ["END", "FIN"] and got["max_tokens"] == 5
    assert got["frequency_penalty"] == 0.25 and got["presence_penalty"] == -0.25
    assert got["logprobs"] is True and got["top_logprobs"] == 2
    assert got["reasoning_effort"] == "low" and got["top_k"] == 7 and got["min_p"] == 0.125


def test_the_newer_name_wins(service: Service, client: sluice.Client) -> None:
    client.chat.completions.create(model="o", messages=USER, max_tokens=5, max_completion_tokens=6)
    assert sent(service, "o")["options"]["num_predict"] == 6
    client.chat.completions.create(model="o", messages=USER, stop="END")
    assert sent(service, "o")["options"]["stop"] == ["END"]


def test_what_only_the_model_server_knows(service: Service, client: sluice.Client) -> None:
    client.chat.completions.create(
        model="m", messages=USER, logit_bias={"50256": -100}, user="me", extra_body={"mirostat": 2}
    )
    got = sent(service)
    assert got["logit_bias"] == {"50256": -100} and got["user"] == "me" and got["mirostat"] == 2


def test_tools(service: Service, client: sluice.Client) -> None:
    client.chat.completions.create(
        model="m",
        messages=USER,
        tools=[TOOL],
        tool_choice="required",
        response_format={"type": "json_object"},
    )
    got = sent(service)
    assert got["tools"] == [TOOL] and got["tool_choice"] == "required"
    assert got["response_format"] == {"type": "json_object"}
    choice = {"type": "function", "function": {"name": "weather"}}
    client.chat.completions.create(model="m", messages=USER, tools=[TOOL], tool_choice=choice)
    assert sent(service)["tool_choice"] == choice


@dataclass
class OwnMessage:
    role: str
    content: str


def test_messages(service: Service, client: sluice.Client) -> None:
    """Dicts, objects of this package (an answer goes back as it came), and other dataclasses."""
    call = sluice._types.ChatCompletionMessageToolCall(
        "call_1", sluice._types.Function('{"city":"Zürich"}', "weather")
    )
    answer = sluice.ChatCompletionMessage(content=None, tool_calls=[call])
    client.chat.completions.create(
        model="m",
        messages=[
            {"role": "developer", "content": "be brief"},
            OwnMessage("user", "and the weather?"),
            answer,
            {
                "role": "tool",
                "tool_call_id": "call_1",
                "content": [{"type": "text", "text": "rain"}],
            },
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": "a"}, "b"]},
        ],
    )
    system, asked, called, told, last = sent(service)["messages"]
    assert system["content"] == "be brief" and system["role"] in ("system", "developer")
    assert asked == {"role": "user", "content": "and the weather?"}
    assert called["tool_calls"][0]["id"] == "call_1"
    assert called["tool_calls"][0]["function"] == {
        "name": "weather",
        "arguments": '{"city":"Zürich"}',
    }
    assert told["tool_call_id"] == "call_1" and told["content"] == "rain"
    assert last["content"] == "a\nb" and last["name"] == "ann"


def test_images(service: Service, client: sluice.Client) -> None:
    data = "data:image/png;base64," + base64.b64encode(PNG).decode()
    message = {
        "role": "user",
        "content": [
            {"type": "text", "text": "what is it?"},
            {"type": "image_url", "image_url": {"url": data, "detail": "low"}},
        ],
    }
    client.chat.completions.create(model="o", messages=[message])
    got = sent(service, "o")["messages"][0]
    assert got["content"] == "what is it?" and base64.b64decode(got["images"][0]) == PNG
    message["content"][1] = {"type": "image_url", "image_url": "https://example.com/a.png"}  # type: ignore[index]
    client.chat.completions.create(model="m", messages=[message])
    parts = sent(service)["messages"][0]["content"]
    assert [p["image_url"]["url"] for p in parts if p["type"] == "image_url"] == [
        "https://example.com/a.png"
    ]


def test_class_and_request_id(service: Service, client: sluice.Client) -> None:
    n = len(service.daemon.call_records)
    create = client.chat.completions.create
    create(model="mock", messages=USER, class_="batch", request_id="my-id.1")
    create(model="mock", messages=USER, priority="background")
    create(model="mock", messages=USER, service_tier="flex")
    create(model="mock", messages=USER)
    with sluice.Client(service.path, class_="background") as other:
        other.chat.completions.create(model="mock", messages=USER)
        other.chat.completions.create(model="mock", messages=USER, class_="batch")
    records = service.daemon.wait_call_records(n + 6)[n:]
    classes = [r["SLUICE_CLASS"] for r in records]
    assert classes == ["batch", "background", "batch", "interactive", "background", "batch"]
    assert records[0]["SLUICE_REQUEST_ID"] == "my-id.1"


def test_deadline(service: Service, client: sluice.Client) -> None:
    service.openai.next(text("a"), wait_for(Gate()), end())
    with client.chat.completions.create(
        model="m", messages=USER, stream=True, deadline=0.5
    ) as stream:
        with pytest.raises(sluice.APITimeoutError) as e:
            list(stream)
    assert e.value.code == "deadline_exceeded" and e.value.request_id == stream.request_id


def test_timeout(service: Service, client: sluice.Client) -> None:
    """Passes on this side; the call is cancelled in the daemon."""
    for stream in (False, True):
        service.openai.next(wait_for(Gate()), end())
        with pytest.raises(sluice.APITimeoutError) as e:
            client.chat.completions.create(model="m", messages=USER, stream=stream, timeout=0.05)
        assert e.value.code == "timeout"
    for exchange in service.openai.requests():
        assert exchange.peer_left.wait(10)


# ---------------------------------------------------------------------------------------------- refused


def test_unknown_arguments(client: sluice.Client) -> None:
    calls = [
        lambda **k: client.chat.completions.create(model="m", messages=USER, **k),
        lambda **k: client.completions.create(model="m", prompt="x", **k),
        lambda **k: client.embeddings.create(model="m", input="x", **k),
    ]
    for call in calls:
        for name in ("temprature", "extra_headers", "functions"):
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
                call(**{name: 1})
    with pytest.raises(TypeError, match="api_key"):
        sluice.Client(api_key="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="messages"):
        client.chat.completions.create(model="m")  # type: ignore[call-overload]


def test_what_is_typed_is_what_is_taken() -> None:
    """The TypedDicts of _request, which only type checkers see, name what the tables name."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(_request.__file__).read_text())
    typed: Dict[str, set] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name.endswith("Options"):
            names = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign)}  # type: ignore[union-attr]
            for base in node.bases:
                names |= typed.get(getattr(base, "id", ""), set())
            typed[node.name] = names
    assert typed["ChatOptions"] == set(_request.CHAT.names)
    assert typed["CompleteOptions"] == set(_request.COMPLETE.names)
    assert typed["EmbedOptions"] == set(_request.EMBED.names)


@pytest.mark.parametrize(
    "options, param",
    [
        ({"n": 2}, "n"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"temperature": float("nan")}, "temperature"),
        ({"seed": 1 << 70}, "seed"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": "a\0b"}, "stop"),
        ({"class_": "urgent"}, "class_"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": -1}, "deadline"),
        ({"request_id": "no spaces"}, "request_id"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0]"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": "file:///x"}]}
                ]
            },
            "messages[0].content[0].image_url",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": "data:;base64,%%"}],
                    }
                ]
            },
            "messages[0].content[0].image_url",
        ),
        ({"model": "a\0b"}, "model"),
        ({"model": "\ud800"}, "model"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
        ({"messages": [{"role": ["user"], "content": "a"}]}, "messages[0].role"),
        ({"stop": "\ud800"}, "stop"),
        ({"temperature": 10**400}, "temperature"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": 10**400}, "timeout"),
    ],
)
def test_bad_values(service: Service, client: sluice.Client, options: Any, param: str) -> None:
    arguments = {"model": "m", "messages": USER, **options}
    with pytest.raises(sluice.BadRequestError) as e:
        client.chat.completions.create(**arguments)
    assert e.value.param == param and e.value.status_code == 400
    assert service.openai.requests() == []


@pytest.mark.parametrize(
    "options, name",
    [
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"request_id": 7}, "request_id"),
        ({"timeout": "soon"}, "timeout"),
        ({"tools": [object()]}, "tools"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [7]}, "messages"),
        ({"messages": [{"role": "user", "content": 7}]}, "content"),
        ({"model": None}, "model"),
        ({"class_": ["batch"]}, "class_"),
        ({"priority": {}}, "priority"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stop": 5}, "stop"),
        ({"stop": {"a": 1}}, "stop"),
        ({"logprobs": 2}, "logprobs"),
        ({"stream": "no"}, "stream"),
        ({"tools": "weather"}, "tools"),
        ({"tools": TOOL}, "tools"),
        ({"tools": 5}, "tools"),
        ({"tools": [5]}, r"tools\[0\]"),
        ({"messages": 5}, "messages"),
        ({"messages": [{"role": "assistant", "tool_calls": 5}]}, r"messages\[0\].tool_calls"),
        ({"class_": "batch", "priority": "batch"}, "priority"),
    ],
)
def test_wrong_types(client: sluice.Client, options: Any, name: str) -> None:
    arguments = {"model": "m", "messages": USER, **options}
    with pytest.raises(TypeError, match=name):
        client.chat.completions.create(**arguments)


@pytest.mark.parametrize("value", [None, 5, b"abc", {"a": 1}])
def test_inputs_of_wrong_types(client: sluice.Client, value: Any) -> None:
    with pytest.raises(TypeError, match="input"):
        client.embeddings.create(model="m", input=value)


def test_names_of_other_calls(client: sluice.Client) -> None:
    """What is refused is told by the name of the argument."""
    with pytest.raises(sluice.BadRequestError) as e:
        client.completions.create(model="m", prompt="a\0b")
    assert e.value.param == "prompt"
    with pytest.raises(sluice.BadRequestError) as e:
        client.cancel("not an id")
    assert e.value.param == "request_id"
    with pytest.raises(TypeError, match="model"):
        client.models.retrieve(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [sluice.Client, sluice.AsyncClient])
@pytest.mark.parametrize(
    "options, error, name",
    [
        ({"path": 5}, TypeError, "path"),
        ({"path": ""}, ValueError, "path"),
        ({"path": "a\0b"}, ValueError, "path"),
        ({"timeout": "5"}, TypeError, "timeout"),
        ({"timeout": -1}, sluice.BadRequestError, "timeout"),
        ({"class_": "foo"}, sluice.BadRequestError, "class_"),
        ({"class_": 5}, TypeError, "class_"),
    ],
)
def test_clients_are_checked_when_made(kind: Any, options: Any, error: Any, name: str) -> None:
    with pytest.raises(error, match=name):
        kind(**options)


def test_what_other_kinds_refuse(client: sluice.Client) -> None:
    with pytest.raises(sluice.BadRequestError) as e:
        client.completions.create(model="m", prompt=["a", "b"])  # type: ignore[call-overload]
    assert e.value.param == "prompt"
    for inputs in ([], [1, 2], [[1]]):
        with pytest.raises(sluice.BadRequestError) as e:
            client.embeddings.create(model="m", input=inputs)  # type: ignore[arg-type]
        assert e.value.param == "input"
    with pytest.raises(sluice.BadRequestError) as e:
        client.embeddings.create(model="m", input="x", encoding_format="int8")
    assert e.value.param == "encoding_format"


def test_too_large(service: Service, client: sluice.Client) -> None:
    with pytest.raises(sluice.APIStatusError) as e:
        client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x" * (4 << 20)}]
        )
    assert e.value.status_code == 413 and e.value.code == "payload_too_large"
    service.openai.next(say("fine"))
    content = "x" * ((4 << 20) - 4096)
    answer = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": content}]
    )
    assert answer.choices[0].message.content == "fine"

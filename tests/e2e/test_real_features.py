"""What a chat can be asked for beside text, from a real Ollama and a real llama-server: tools, structured answers, thinking,
log-probabilities, seeds, stop words, several answers. The official package is the client.

Two made models say what a parser of theirs must understand, word by word: one calls a tool, one thinks first. So tool calls
and thoughts come out of the real parsers, whatever the prompt.
"""

from __future__ import annotations

import json
from typing import Any, Iterator

import openai
import pytest
from pydantic import BaseModel
from testenv.models import Components, LlamaServer, OllamaServer

pytestmark = pytest.mark.timeout(60)

USER: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
CITY = {"city": "Oslo", "days": 2}

TEMPLATE = """{%- if tools %}<|im_start|>system
{% for t in tools %}{{ t | tojson }}
{% endfor %}<tool_call>
{"name": <name>, "arguments": <arguments>}
</tool_call><|im_end|>
{% endif %}{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
THINKING = """{%- for m in messages %}<|im_start|>{{ m.role }}
{% if m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% else %}<think>
{% endif %}{% endif %}"""

# Two servers that answer the same questions: a name of the model in Ollama, and how llama-server is started for it.
NAMES = {"call": ("script-call", "script-call"), "think": ("script-think", "script-think")}
NAMES["text"] = ("smollm2", "smollm2")


class Servers:
    """Makes params of a deployment for a model, on one kind of server."""

    def __init__(self, kind: str, request: pytest.FixtureRequest) -> None:
        self.kind = kind
        self.request = request
        self.started: list[LlamaServer] = []

    def params(self, which: str) -> dict[str, Any]:
        ollama_name, gguf_name = NAMES[which]
        if self.kind == "ollama":
            server: OllamaServer = self.request.getfixturevalue("ollama_server")
            return {"model": f"ollama_chat/{ollama_name}", "api_base": server.url}
        found: Components = self.request.getfixturevalue("components")
        args = ["-c", "1024", "--jinja"]
        if which != "text":
            template = THINKING if which == "think" else TEMPLATE
            args += ["--chat-template", template, "--reasoning-format", "deepseek"]
        llama = LlamaServer(found, gguf_name, *args)
        self.started.append(llama)
        return {"model": f"openai/{gguf_name}", "api_base": llama.api_base, "api_key": "x"}


@pytest.fixture(params=["ollama", "llama_server"])
def servers(request: pytest.FixtureRequest, components: Components) -> Iterator[Servers]:
    made = Servers(request.param, request)
    yield made
    for server in made.started:
        server.stop()


@pytest.fixture
def ask(env, servers: Servers) -> Any:
    """A client of a daemon whose model m is one of NAMES."""

    def start(which: str) -> openai.OpenAI:
        sluice = env.start({"m": servers.params(which)})
        return openai.OpenAI(api_key="x", base_url=sluice.url + "/v1", max_retries=0, timeout=50)

    return start


# ---------------------------------------------------------------------------------------------- tools


def test_a_tool_is_called(ask) -> None:
    answer = ask("call").chat.completions.create(model="m", messages=USER, tools=[WEATHER])
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.type == "function" and call.id
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == CITY


def test_a_tool_is_called_in_a_stream(ask) -> None:
    """Through the package's own accumulator, which throws at what does not add up."""
    with ask("call").chat.completions.stream(model="m", messages=USER, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", CITY)
    assert call.id


def test_the_result_of_a_tool_is_sent_back(ask) -> None:
    """A second turn with the call and its result: servers refuse it when ids or forms are wrong."""
    client = ask("call")
    first = client.chat.completions.create(model="m", messages=USER, tools=[WEATHER])
    message = first.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "12 degrees"}
    turns: Any = [*USER, message.model_dump(exclude_none=True), result]
    second = client.chat.completions.create(model="m", messages=turns, tools=[WEATHER])
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_no_tools_no_calls(ask) -> None:
    """The same words without tools are words."""
    answer = ask("call").chat.completions.create(model="m", messages=USER)
    assert answer.choices[0].finish_reason == "stop"
    assert not answer.choices[0].message.tool_calls
    assert "weather" in answer.choices[0].message.content


# ---------------------------------------------------------------------------------------------- thinking


def test_thoughts_stay_out_of_the_answer(ask) -> None:
    answer = ask("think").chat.completions.create(model="m", messages=USER, reasoning_effort="medium")
    message = answer.choices[0].message
    assert message.content.strip() == "The answer is 4."
    assert message.reasoning_content.strip() == "Two and two is four."


def test_thoughts_are_streamed(ask) -> None:
    """Each of them, not the first two."""
    stream = ask("think").chat.completions.create(
        model="m", messages=USER, stream=True, reasoning_effort="medium"
    )
    deltas = [c.delta for k in stream for c in k.choices]
    thoughts = [d.reasoning_content for d in deltas if getattr(d, "reasoning_content", None)]
    assert "".join(thoughts).strip() == "Two and two is four."
    assert len(thoughts) >= 3
    assert "".join(d.content or "" for d in deltas).strip() == "The answer is 4."


# ---------------------------------------------------------------------------------------------- form


class Capital(BaseModel):
    country: str
    capital: str


def test_a_structured_answer_is_parsed(ask) -> None:
    question: Any = [{"role": "user", "content": "What is the capital of France?"}]
    answer = ask("text").chat.completions.parse(
        model="m", messages=question, response_format=Capital, temperature=0, max_tokens=100
    )
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Capital) and parsed.country and parsed.capital


def test_a_json_object(ask) -> None:
    question: Any = [{"role": "user", "content": "A JSON object about a cat, very short."}]
    answer = ask("text").chat.completions.create(
        model="m",
        messages=question,
        response_format={"type": "json_object"},
        temperature=0,
        max_tokens=150,
    )
    if answer.choices[0].finish_reason == "length":
        assert answer.choices[0].message.content.lstrip().startswith("{")
    else:
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_log_probabilities(ask) -> None:
    answer = ask("text").chat.completions.create(
        model="m", messages=USER, logprobs=True, top_logprobs=3, max_tokens=5, temperature=0
    )
    tokens = answer.choices[0].logprobs.content
    assert 1 <= len(tokens) <= 5
    assert "".join(t.token for t in tokens).strip() in answer.choices[0].message.content
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        assert max(t.logprob for t in token.top_logprobs) == pytest.approx(token.logprob, abs=1e-4)


def test_a_seed_repeats_an_answer(ask) -> None:
    client = ask("text")
    texts = {
        client.chat.completions.create(
            model="m", messages=USER, seed=seed, temperature=1.5, max_tokens=12
        )
        .choices[0]
        .message.content
        for seed in (7, 7, 7)
    }
    assert len(texts) == 1


def test_stop_words(ask) -> None:
    counting: Any = [{"role": "user", "content": "Count: one, two, three, four, five."}]
    answer = ask("text").chat.completions.create(
        model="m", messages=counting, stop=[" ", "\n"], max_tokens=60, temperature=0
    )
    text = answer.choices[0].message.content
    assert " " not in text and "\n" not in text
    assert answer.choices[0].finish_reason == "stop"

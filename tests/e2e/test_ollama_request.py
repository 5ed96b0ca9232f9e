"""What reaches Ollama of a request, and what is said where it cannot: drop_params, load options, keep_alive, the context, embeddings."""

from __future__ import annotations

import base64
import struct
from typing import Any

import openai
import pytest
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.models import OllamaServer
from testenv.upstream import end, whole

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"

UNSAYABLE: list[dict[str, Any]] = [
    {"logit_bias": {"5": 1}},
    {"tool_choice": "required"},
    {"response_format": {"type": "grammar"}},
    {"reasoning_effort": "utmost"},
    {"modalities": ["text", "audio"]},
    {"web_search_options": {}},
    {"moderation": {"model": "m"}},
]

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("members", UNSAYABLE, ids=lambda m: next(iter(m)))
def test_drop_params(env, members: dict[str, Any]) -> None:
    """Refused by name, or left out where the deployment says so; never ignored in silence."""
    ollama = env.ollama()
    sluice = env.start(
        {"strict": ollama.deployment("um"), "lax": ollama.deployment("um", drop_params=True)}
    )
    refused = sluice.post(CHAT, chat_body("strict", **members))
    assert refused.status == 400 and refused.error["code"] == "unsupported_parameter", refused
    assert refused.error["param"] == next(iter(members))
    assert not ollama.exchanges
    assert sluice.post(CHAT, chat_body("lax", **members)).status == 200
    assert not set(ollama.requests("chat")[0].json) & set(members)


def test_additional_drop_params(env) -> None:
    ollama = env.ollama()
    names = ["temperature", "stop", "response_format"]
    sluice = env.start({"m": ollama.deployment("um", additional_drop_params=names)})
    members = {"temperature": 1, "stop": "x", "top_p": 0.5, "response_format": {"type": "json_object"}}
    assert sluice.post(CHAT, chat_body(**members)).status == 200
    asked = ollama.requests("chat")[0].json
    assert asked["options"] == {"top_p": 0.5} and "format" not in asked


@pytest.mark.parametrize(
    ("asked", "sent"), [("5m", 300), (300, 300), (0, 60), (-1, 86400), ("90h", 86400)]
)
def test_keep_alive_of_a_client(env, asked: Any, sent: int) -> None:
    """Bounded: 0 would make others wait for a load, -1 would keep the memory for ever."""
    ollama = env.ollama()
    sluice = env.start(
        {"free": ollama.deployment("a"), "pinned": ollama.deployment("b", keep_alive="10m")}
    )
    for model in ("free", "pinned"):
        assert sluice.post(CHAT, chat_body(model, keep_alive=asked)).status == 200
    assert [ex.json["keep_alive"] for ex in ollama.requests("chat")] == [sent, "10m"]


def test_keep_alive_that_is_none(env) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment("a")})
    answer = sluice.post(CHAT, chat_body(keep_alive="soon"))
    assert answer.status == 400 and answer.error["param"] == "keep_alive"


def loaded_with(server: OllamaServer, sluice: Daemon, **members: Any) -> list[int]:
    answer = sluice.post(CHAT, chat_body("m", max_tokens=3, **members))
    assert answer.status == 200, answer
    return sorted(server.runners())


def test_num_ctx_of_a_client_reloads_nothing(env, ollama_server: OllamaServer) -> None:
    """aider sends another one with every request; each would make Ollama load the model again."""
    params = {"model": "ollama_chat/tiny", "api_base": ollama_server.url, "num_ctx": 512}
    sluice = env.start({"m": params})
    before = loaded_with(ollama_server, sluice)
    for num_ctx in (1024, 2048, 8192):
        assert loaded_with(ollama_server, sluice, num_ctx=num_ctx, num_thread=2) == before


@pytest.mark.parametrize("path", ["chat", "complete"])
@pytest.mark.parametrize("streams", [False, True])
def test_a_prompt_that_does_not_fit_says_both_numbers(
    env, ollama_server: OllamaServer, path: str, streams: bool
) -> None:
    params = {"model": "ollama_chat/tiny", "api_base": ollama_server.url, "num_ctx": 256}
    sluice = env.start({"m": params})
    long = "word " * 3000
    if path == "chat":
        answer = sluice.post(CHAT, chat_body("m", long, stream=streams))
    else:
        answer = sluice.post("/v1/completions", {"model": "m", "prompt": long, "stream": streams})
    assert answer.status == 400 and answer.error["code"] == "context_length_exceeded", answer
    message = answer.error["message"]
    assert "maximum context length is 256 tokens" in message and "prompt has 150" in message


# ---------------------------------------------------------------------------------------------- embeddings


def test_embeddings_of_the_real_one(env, ollama_server: OllamaServer) -> None:
    params = {"model": "ollama/all-minilm", "api_base": ollama_server.url}
    sluice = env.start({"m": params})
    plain = sluice.post(EMBEDDINGS, {"model": "m", "input": "a cat", "dimensions": 16})
    vector = plain.json["data"][0]["embedding"]
    assert len(vector) == 16 and abs(sum(v * v for v in vector) - 1) < 1e-3
    packed = sluice.post(
        EMBEDDINGS, {"model": "m", "input": "a cat", "dimensions": 16, "encoding_format": "base64"}
    )
    data = base64.b64decode(packed.json["data"][0]["embedding"])
    assert struct.unpack("<16f", data) == pytest.approx(vector, rel=1e-5)
    sdk = openai.OpenAI(api_key="x", base_url=sluice.url + "/v1", max_retries=0, timeout=50)
    whole_one = sdk.embeddings.create(model="m", input=["a", "b"])
    assert [len(d.embedding) for d in whole_one.data] == [384, 384]
    more = sluice.post(EMBEDDINGS, {"model": "m", "input": "a cat", "dimensions": 1000})
    assert more.status == 400 and more.error["param"] == "dimensions", more
    assert "384" in more.error["message"]


def test_an_embedding_that_does_not_fit_says_both_numbers(env) -> None:
    """Ollama's own words have none: the limit is the configuration's, the number counted in words."""
    ollama = env.ollama()
    said = {"error": "the input length exceeds the context length"}
    ollama.next(whole(400, said))
    sluice = env.start({"m": ollama.deployment("um", num_ctx=8)})
    answer = sluice.post(EMBEDDINGS, {"model": "m", "input": ["a", "word " * 600]})
    assert answer.status == 400 and answer.error["code"] == "context_length_exceeded", answer
    message = answer.error["message"]
    assert said["error"] in message
    assert "takes 8 tokens at most" in message and "prompt has 600 at least" in message


def test_embeddings_of_a_version_without_dimensions(env) -> None:
    ollama = env.ollama()
    ollama.next(whole(200, {"embeddings": [[3.0, 4.0, 12.0]], "prompt_eval_count": 2}))
    sluice = env.start({"m": ollama.deployment("um")})
    answer = sluice.post(EMBEDDINGS, {"model": "m", "input": "x", "dimensions": 2}).json
    assert answer["data"][0]["embedding"] == pytest.approx([0.6, 0.8])
    asked = ollama.requests("embed")[0].json
    assert asked["dimensions"] == 2 and asked["truncate"] is False


@pytest.mark.parametrize("value", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_refused_by_name(env, value: Any) -> None:
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment("um")})
    answer = sluice.post(EMBEDDINGS, {"model": "m", "input": value})
    assert answer.status == 400 and answer.error["param"] == "input", answer
    answer = sluice.post("/v1/completions", {"model": "m", "prompt": value})
    assert answer.status == 400 and answer.error["param"] == "prompt", answer
    assert not ollama.exchanges


@pytest.mark.parametrize("reason", ["load", "unload"])
def test_a_load_is_no_answer(env, reason: str) -> None:
    """An empty answer that only says what is loaded now must not pass for a finished one; another try may answer."""
    ollama = env.ollama()
    sluice = env.start({"m": ollama.deployment("um")})
    ollama.next(end(reason))
    answer = sluice.post(CHAT, chat_body("m", "hello"))
    assert answer.status == 502 and answer.error["code"] == "upstream_cut", answer
    ollama.next(end(reason))
    assert sluice.post(CHAT, chat_body("m", "hello", num_retries=1)).status == 200

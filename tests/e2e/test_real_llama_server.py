"""sluice before a real llama-server: the plain OpenAI dialect, TCP and Unix socket, keys, loading, death."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from typing import Any, Callable, Iterator

import openai
import pytest
from test_real_ollama import FRANCE, SENTENCES, STORY, check_similarities
from testenv.daemon import Daemon
from testenv.http import chat_body, contents
from testenv.models import Components, LlamaServer, words
from testenv.rules import check_broken, check_complete
from testenv.ttrpc import text_of
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"

pytestmark = pytest.mark.timeout(60)


def deployment(server: LlamaServer, model: str = "smollm2", **params: Any) -> dict[str, Any]:
    return {"model": f"openai/{model}", "api_base": server.api_base, "api_key": "x", **params}


@pytest.fixture
def own_server(components: Components) -> Iterator[Callable[..., LlamaServer]]:
    """Servers that may be killed."""
    servers: list[LlamaServer] = []

    def start(*args: str, **kwargs: Any) -> LlamaServer:
        servers.append(LlamaServer(components, "smollm2", "-c", "512", *args, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def ask(sluice: Daemon, **members: Any) -> str:
    body = chat_body("m", FRANCE, temperature=0, max_tokens=40, **members)
    answer = sluice.post(CHAT, body)
    assert answer.status == 200, answer
    return answer.json["choices"][0]["message"]["content"]


def test_chat(env, llama_server: LlamaServer) -> None:
    sluice = env.start({"m": deployment(llama_server)})
    client = openai.OpenAI(api_key="x", base_url=sluice.url, max_retries=0, timeout=50)
    answer = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": FRANCE}], temperature=0, max_tokens=40
    )
    assert "paris" in words(answer.choices[0].message.content or "")
    assert answer.usage and answer.usage.completion_tokens > 3
    with sluice.http(timeout=50) as http:
        body = chat_body("m", FRANCE, temperature=0, max_tokens=40, stream=True)
        http.send_request("POST", CHAT, {**body, "stream_options": {"include_usage": True}})
        events = list(http.sse(http.read_head()))
    check_complete(events, wants_usage=True)
    assert contents(events) == answer.choices[0].message.content
    with sluice.rpc(timeout=50) as rpc:
        request = rpc.chat_request("m", FRANCE)
        request.sampling.temperature = 0
        request.sampling.max_tokens = 40
        got = list(rpc.events(rpc.stream("Chat", request)))
    assert text_of(got) == answer.choices[0].message.content


def test_log_probabilities_are_carried(env, llama_server: LlamaServer) -> None:
    sluice = env.start({"m": deployment(llama_server)})
    body = chat_body("m", max_tokens=3, logprobs=True, top_logprobs=2)
    choice = sluice.post(CHAT, body).json["choices"][0]
    assert len(choice["logprobs"]["content"]) == 3
    assert len(choice["logprobs"]["content"][0]["top_logprobs"]) == 2


def test_completion(env, llama_server: LlamaServer) -> None:
    sluice = env.start({"m": deployment(llama_server)})
    answer = sluice.post("/v1/completions", {"model": "m", "prompt": "One, two,", "max_tokens": 5})
    assert answer.status == 200 and answer.json["choices"][0]["text"]


def test_embeddings(env, llama_embedder: LlamaServer) -> None:
    sluice = env.start({"e": deployment(llama_embedder, "all-minilm")})
    client = openai.OpenAI(api_key="x", base_url=sluice.url, max_retries=0, timeout=50)
    answer = client.embeddings.create(model="e", input=SENTENCES)
    check_similarities([d.embedding for d in answer.data])
    with sluice.rpc(timeout=50) as rpc:
        request = rpc.schema.EmbedRequest(model="e", inputs=SENTENCES)
        events = list(rpc.events(rpc.stream("Embed", request)))
    vectors = [list(e.embedding.values) for e in events if e.WhichOneof("kind") == "embedding"]
    check_similarities(vectors)


def test_rerank(env, llama_ranker: LlamaServer) -> None:
    """The same scores as without sluice, whichever way the documents are written."""
    sluice = env.start({"r": deployment(llama_ranker, "tiny-rank")})
    documents = ["paris is a city", "the cat", "france", "a b c d e f"]
    body = {"model": "r", "query": "paris in france", "documents": documents}
    request = urllib.request.Request(llama_ranker.url + "/v1/rerank", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=20) as direct:
        said = json.loads(direct.read())
    answer = sluice.post("/v1/rerank", body)
    assert answer.status == 200 and answer.json["results"] == said["results"]
    assert len({r["relevance_score"] for r in said["results"]}) == len(documents)
    assert answer.json["usage"] == said["usage"]
    objects = {**body, "documents": [{"text": d} for d in documents], "top_n": 2}
    best = sluice.post("/v2/rerank", {**objects, "return_documents": True}).json["results"]
    assert [r["index"] for r in best] == [r["index"] for r in said["results"][:2]]
    assert [r["document"]["text"] for r in best] == [documents[r["index"]] for r in best]
    assert len(sluice.post("/rerank", {**body, "top_n": 0}).json["results"]) == len(documents)
    with sluice.rpc(timeout=50) as rpc:
        ask_rpc = rpc.schema.RerankRequest(model="r", query=body["query"], documents=documents)
        events = list(rpc.events(rpc.stream("Rerank", ask_rpc)))
    found = [e.result for e in events if e.WhichOneof("kind") == "result"]
    assert [(r.index, r.score) for r in found] == [
        (r["index"], r["relevance_score"]) for r in said["results"]
    ]


def test_rerank_of_a_long_document(env, llama_ranker: LlamaServer) -> None:
    """A 500 of llama-server, which says both numbers; the context has 512 tokens."""
    sluice = env.start({"r": deployment(llama_ranker, "tiny-rank")})
    body = {"model": "r", "query": "q", "documents": ["a", "b " * 2000]}
    answer = sluice.post("/v1/rerank", body)
    assert answer.status == 400 and answer.error["code"] == "context_length_exceeded", answer
    assert re.search(r"20\d\d tokens.*512", answer.error["message"]), answer
    assert sluice.post("/v1/rerank", {**body, "documents": ["a"]}).status == 200


def test_rerank_without_a_ranker(env, llama_server: LlamaServer) -> None:
    sluice = env.start({"m": deployment(llama_server)})
    answer = sluice.post("/rerank", {"model": "m", "query": "q", "documents": ["a"]})
    assert answer.status == 400 and "rerank" in answer.error["message"], answer
    answer = sluice.post("/classify", {"model": "m", "input": "a"})  # it has no such path
    assert answer.status == 404 and answer.error["code"] == "model_not_found", answer


def test_prompt_too_long(env, llama_server: LlamaServer) -> None:
    sluice = env.start({"m": deployment(llama_server)})
    for stream in (False, True):
        answer = sluice.post(CHAT, chat_body("m", "word " * 2000, stream=stream))
        assert answer.status == 400 and answer.error["code"] == "context_length_exceeded", answer
    assert "paris" in words(ask(sluice))


def test_client_leaves_in_mid_stream(env, llama_server: LlamaServer) -> None:
    sluice = env.start({"m": deployment(llama_server)})
    with sluice.http(timeout=50) as http:
        http.send_request("POST", CHAT, chat_body("m", STORY, stream=True, max_tokens=400))
        events = http.sse(http.read_head())
        seen = [next(events)]
        while not contents(seen):
            seen.append(next(events))
    sluice.expect_idle()
    assert "paris" in words(ask(sluice))


def test_server_killed_in_mid_stream(env, own_server: Callable[..., LlamaServer]) -> None:
    server = own_server()
    sluice = env.start({"m": deployment(server)})
    with sluice.http(timeout=50) as http:
        http.send_request("POST", CHAT, chat_body("m", STORY, stream=True, max_tokens=400))
        events = http.sse(http.read_head())
        seen = [next(events)]
        while not contents(seen):
            seen.append(next(events))
        os.kill(server.process.pid, signal.SIGKILL)
        check_broken(seen + list(events), "upstream_cut")
    server.process.wait(10)
    answer = sluice.post(CHAT, chat_body("m"))
    assert answer.status == 502 and answer.error["code"] == "upstream_unreachable"


def test_keys(env, own_server: Callable[..., LlamaServer]) -> None:
    server = own_server("--api-key", "sk-of-the-server")
    sluice = env.start(
        {
            "m": deployment(server, api_key="sk-of-the-server"),
            "bad": deployment(server, api_key="sk-wrong"),
        }
    )
    assert "paris" in words(ask(sluice))
    answer = sluice.post(CHAT, chat_body("bad"))
    assert answer.status == 502 and answer.error["code"] == "upstream_auth_failed"
    assert "sk-" not in answer.error["message"] and "sk-" not in sluice.log_text


def test_unix_socket(env, own_server: Callable[..., LlamaServer]) -> None:
    path = str(env.directory / "llama.sock")
    own_server(unix_path=path)
    params = {"model": "openai/smollm2", "api_base": f"unix:{path}:/v1", "api_key": "x"}
    sluice = env.start({"m": params})
    assert "paris" in words(ask(sluice))


def test_while_it_loads(env, own_server: Callable[..., LlamaServer]) -> None:
    """Refused, then 503, then served: nothing else on the way."""
    server = own_server(wait=False)
    sluice = env.start({"m": deployment(server)})
    seen: list[tuple[int, str]] = []

    def served() -> bool:
        answer = sluice.post(CHAT, chat_body("m", max_tokens=2))
        seen.append((answer.status, "" if answer.status == 200 else answer.error["code"]))
        return answer.status == 200

    eventually(served, "it has loaded", 25)
    assert set(seen) <= {
        (502, "upstream_unreachable"),
        (503, "upstream_overloaded"),
        (200, ""),
    }, seen

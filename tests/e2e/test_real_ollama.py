"""sluice before a real Ollama with real small models: what scripts cannot promise.

Models: smollm2 (SmolLM2-135M-Instruct), all-minilm (embeddings), script (says one fixed sentence), loop (one word for ever), tiny and tiny2
(random words, very fast), tiny-embed. The server is our own, so that its runners may be killed.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator

import openai
import pytest
from testenv.daemon import Daemon
from testenv.http import SseEvent, chat_body, contents
from testenv.models import Components, OllamaServer, words
from testenv.rules import check_broken, check_complete
from testenv.ttrpc import RpcError, kinds, text_of
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
FRANCE = "What is the capital of France? Answer in one short sentence."
STORY = "Tell me a very long story about a king and his seven sons."

pytestmark = pytest.mark.timeout(60)


def deployments(server: OllamaServer, *names: str, **params: Any) -> dict[str, Any]:
    return {
        name: {"model": f"ollama_chat/{name}", "api_base": server.url, **params} for name in names
    }


def client(sluice: Daemon) -> openai.OpenAI:
    return openai.OpenAI(api_key="x", base_url=sluice.url + "/v1", max_retries=0, timeout=50)


def stream(sluice: Daemon, body: Any) -> list[SseEvent]:
    with sluice.http(timeout=50) as http:
        http.send_request("POST", CHAT, {**body, "stream": True})
        answer = http.read_head()
        assert answer.status == 200, b"".join(http.body_parts(answer))
        return list(http.sse(answer))


def begin_story(sluice: Daemon, model: str = "smollm2") -> tuple[Any, Iterator[SseEvent]]:
    """A long answer of which a few words have come."""
    http = sluice.http(timeout=50)
    http.send_request("POST", CHAT, chat_body(model, STORY, stream=True, max_tokens=1500))
    answer = http.read_head()
    assert answer.status == 200, b"".join(http.body_parts(answer))
    events = http.sse(answer)
    seen: list[SseEvent] = []
    while len(contents(seen)) < 20:
        seen.append(next(events))
    return http, events


# ---------------------------------------------------------------------------------------------- answers


def test_chat_by_http(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "smollm2"))
    answer = client(sluice).chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": FRANCE}],
        temperature=0,
        max_tokens=40,
    )
    assert "paris" in words(answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage and answer.usage.prompt_tokens > 10 and answer.usage.completion_tokens > 3


def test_chat_stream_by_http(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "smollm2"))
    body = chat_body("smollm2", FRANCE, temperature=0, max_tokens=40)
    events = stream(sluice, {**body, "stream_options": {"include_usage": True}})
    chunks = check_complete(events, wants_usage=True)
    assert "paris" in words(contents(events))
    assert len(chunks) > 5, "it came word by word"
    assert chunks[-1]["usage"]["prompt_tokens"] > 10


def test_chat_by_rpc(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "smollm2"))
    rpc = sluice.rpc(timeout=50)
    request = rpc.chat_request("smollm2", FRANCE)
    request.sampling.temperature = 0
    request.sampling.max_tokens = 40
    events = list(rpc.events(rpc.stream("Chat", request)))
    assert "paris" in words(text_of(events))
    done = events[-1].done
    assert done.usage.output_tokens > 3 and done.timings.first_token_usec > 0


def test_max_tokens(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "tiny"))
    for limit in ({"max_tokens": 7}, {"max_completion_tokens": 7}):
        answer = sluice.post(CHAT, chat_body("tiny", temperature=0, **limit)).json
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 7


def test_exact_text_everywhere(env, ollama_server: OllamaServer) -> None:
    """`script` says one sentence, whatever it is asked: every path must carry exactly its bytes."""
    import json

    direct = json.loads(
        ollama_server.post(
            "/api/chat",
            {
                "model": "script",
                "messages": [{"role": "user", "content": "hello"}],
                "stream": False,
            },
        )
    )
    said = direct["message"]["content"]
    assert len(said) > 40 and direct["done_reason"] == "stop"
    models = deployments(ollama_server, "script")
    models["v1"] = {
        "model": "openai/script",
        "api_base": ollama_server.url + "/v1",
        "api_key": "x",
    }
    sluice = env.start(models)
    for model in ("script", "v1"):
        plain = sluice.post(CHAT, chat_body(model)).json["choices"][0]
        assert (plain["message"]["content"], plain["finish_reason"]) == (said, "stop")
        events = stream(sluice, chat_body(model))
        check_complete(events)
        assert contents(events) == said
        with sluice.rpc(timeout=50) as rpc:
            got = list(rpc.chat(model))
        assert text_of(got) == said and kinds(got)[-1] == "done"
    usage = sluice.post(CHAT, chat_body("script")).json["usage"]
    assert usage["completion_tokens"] == direct["eval_count"]
    assert usage["prompt_tokens"] == direct["prompt_eval_count"]


def test_broken_utf8_of_a_random_model(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "tiny"))
    events = stream(sluice, chat_body("tiny", seed=3, max_tokens=500, temperature=2.0))
    check_complete(events)


def test_structured_answer(env, ollama_server: OllamaServer) -> None:
    import json

    sluice = env.start(deployments(ollama_server, "smollm2"))
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    }
    answer = client(sluice).chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "The capital of France as JSON."}],
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        temperature=0,
        max_tokens=60,
    )
    assert isinstance(json.loads(answer.choices[0].message.content or "")["city"], str)


def test_completion(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "smollm2"))
    answer = client(sluice).completions.create(
        model="smollm2", prompt="One, two, three, four,", max_tokens=8, temperature=0
    )
    assert answer.choices[0].text and answer.object == "text_completion"


# ---------------------------------------------------------------------------------------------- embeddings


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


SENTENCES = [
    "A cat sits on the mat",
    "A kitten is resting on a rug",
    "How do I reset my password?",
    "I forgot my login credentials",
]


def check_similarities(vectors: list[list[float]]) -> None:
    assert cosine(vectors[0], vectors[1]) > 0.5
    assert cosine(vectors[2], vectors[3]) > 0.5
    for i, j in ((0, 2), (0, 3), (1, 2), (1, 3)):
        assert cosine(vectors[i], vectors[j]) < 0.3


def test_embeddings(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "all-minilm"))
    answer = client(sluice).embeddings.create(model="all-minilm", input=SENTENCES)
    by_http = [d.embedding for d in answer.data]
    assert [len(v) for v in by_http] == [384] * 4
    check_similarities(by_http)
    assert answer.usage.prompt_tokens > 20
    rpc = sluice.rpc(timeout=50)
    request = rpc.schema.EmbedRequest(model="all-minilm", inputs=SENTENCES)
    events = list(rpc.events(rpc.stream("Embed", request)))
    by_rpc = [list(e.embedding.values) for e in events if e.WhichOneof("kind") == "embedding"]
    for a, b in zip(by_http, by_rpc):
        assert cosine(a, b) > 0.9999


def test_many_embeddings_at_once(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "tiny-embed"))
    inputs = [f"sentence number {i}" for i in range(200)]
    answer = client(sluice).embeddings.create(model="tiny-embed", input=inputs)
    assert [d.index for d in answer.data] == list(range(200))


# ---------------------------------------------------------------------------------------------- several models


def test_two_models_in_turn_and_at_once(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "tiny", "tiny2", "script"))
    for model in ("tiny", "tiny2", "tiny"):
        assert sluice.post(CHAT, chat_body(model, max_tokens=5)).status == 200
    clients = []
    for i in range(9):
        http = sluice.http(timeout=50)
        model = ("tiny", "tiny2", "script")[i % 3]
        http.send_request("POST", CHAT, chat_body(model, max_tokens=50))
        clients.append(http)
    assert [http.read_answer().status for http in clients] == [200] * 9


def test_cold_start_of_all(env, ollama_server: OllamaServer) -> None:
    """Nothing is loaded, everybody comes at once: one load at a time, all are served."""
    for model in ("tiny", "tiny2", "script"):
        ollama_server.unload(model)
    sluice = env.start(deployments(ollama_server, "tiny", "tiny2", "script"), {"slots": 2})
    clients = []
    for i in range(6):
        http = sluice.http(timeout=50)
        http.send_request("POST", CHAT, chat_body(("tiny", "tiny2", "script")[i % 3], max_tokens=5))
        clients.append(http)
    assert [http.read_answer().status for http in clients] == [200] * 6


# ---------------------------------------------------------------------------------------------- errors


def test_model_that_ollama_does_not_have(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "never-pulled"))
    answer = sluice.post(CHAT, chat_body("never-pulled"))
    assert answer.status == 404 and answer.error["code"] == "model_not_found", answer


def test_prompt_too_long(env, ollama_server: OllamaServer) -> None:
    """Ollama would cut it in silence; a clear error lets the caller do something about it."""
    sluice = env.start(deployments(ollama_server, "tiny", num_ctx=256))
    long = "word " * 3000
    answer = sluice.post(CHAT, chat_body("tiny", long, max_tokens=5))
    assert answer.status == 400 and answer.error["code"] == "context_length_exceeded", answer
    streamed = sluice.post(CHAT, chat_body("tiny", long, max_tokens=5, stream=True))
    assert streamed.status == 400 and streamed.error["code"] == "context_length_exceeded"
    with sluice.rpc(timeout=50) as rpc, pytest.raises(RpcError) as e:
        list(rpc.chat("tiny", long))
    assert e.value.detail.code == "context_length_exceeded"
    assert sluice.post(CHAT, chat_body("tiny", max_tokens=5)).status == 200


def test_embedding_input_too_long(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "all-minilm"))
    answer = sluice.post("/v1/embeddings", {"model": "all-minilm", "input": "word " * 3000})
    assert answer.status == 400 and answer.error["code"] == "context_length_exceeded", answer


def test_endless_repetition(env, ollama_server: OllamaServer) -> None:
    """Ollama stops it with an error line after status 200: a started stream must not look complete."""
    sluice = env.start(deployments(ollama_server, "loop"))
    events = stream(sluice, chat_body("loop", max_tokens=2000))
    error = check_broken(events, "upstream_error")
    assert contents(events) and "repeat" in error["message"]
    answer = sluice.post(CHAT, chat_body("loop", max_tokens=2000))
    assert answer.status == 502 and answer.error["code"] == "upstream_error"
    with sluice.rpc(timeout=50) as rpc, pytest.raises(RpcError) as e:
        list(rpc.chat("loop"))
    assert e.value.detail.code == "upstream_error"


def test_wrong_kind_of_model(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "all-minilm", "tiny"))
    chat = sluice.post(CHAT, chat_body("all-minilm"))
    assert chat.status in (400, 502) and chat.error["message"]
    embed = sluice.post("/v1/embeddings", {"model": "tiny", "input": "x"})
    assert embed.status in (400, 502) and embed.error["message"]


# ---------------------------------------------------------------------------------------------- bad days


def test_client_leaves_in_mid_stream(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "smollm2"))
    http, _ = begin_story(sluice)
    http.close()
    sluice.expect_idle()
    assert sluice.post(CHAT, chat_body("smollm2", max_tokens=3)).status == 200


def test_runner_killed_in_mid_stream(env, ollama_server: OllamaServer) -> None:
    sluice = env.start(deployments(ollama_server, "smollm2"))
    http, events = begin_story(sluice)
    assert ollama_server.kill_runners() >= 1
    rest = list(events)
    error = check_broken(rest)
    assert error["code"] in ("upstream_error", "upstream_cut"), error
    again = sluice.post(CHAT, chat_body("smollm2", max_tokens=3))
    assert again.status == 200, "the next request loads it again"


def test_runner_killed_before_the_answer(env, ollama_server: OllamaServer) -> None:
    """/api/ps goes on listing the dead model; the next request must not fail for that."""
    sluice = env.start(deployments(ollama_server, "script"))
    assert sluice.post(CHAT, chat_body("script")).status == 200
    assert ollama_server.kill_runners() >= 1
    answers = [sluice.post(CHAT, chat_body("script")).status for _ in range(2)]
    assert answers[-1] == 200, answers


def test_runner_that_hangs(env, ollama_server: OllamaServer) -> None:
    """Ollama never notices, and its health calls go on smiling; the gap between tokens tells."""
    sluice = env.start(
        deployments(ollama_server, "smollm2"), sluice={"timeouts": {"gap": "1500ms"}}
    )
    assert sluice.post(CHAT, chat_body("smollm2", max_tokens=2)).status == 200
    http, events = begin_story(sluice)
    pids = ollama_server.runners()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        check_broken(list(events), "upstream_stalled")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    sluice.expect_idle()


@pytest.fixture
def own_ollama(components: Components) -> Iterator[OllamaServer]:
    """One that may be stopped."""
    with tempfile.TemporaryDirectory(prefix="sluice-ollama-") as directory:
        server = OllamaServer(components, Path(directory))
        server.start()
        yield server
        server.stop()


def test_ollama_stopped_and_started(env, own_ollama: OllamaServer) -> None:
    sluice = env.start(deployments(own_ollama, "script", "smollm2"))
    assert sluice.post(CHAT, chat_body("script")).status == 200
    http, events = begin_story(sluice)
    own_ollama.stop()
    check_broken(list(events), "upstream_cut")
    down = sluice.post(CHAT, chat_body("script"))
    assert down.status == 502 and down.error["code"] == "upstream_unreachable", down
    assert sluice.get("/v1/models").status == 200
    own_ollama.start()
    eventually(lambda: sluice.post(CHAT, chat_body("script")).status == 200, "it is back", 20)


def test_the_script_of_the_readme(env, own_ollama: OllamaServer) -> None:
    """LiteLLM's file, a model of that name, the openai package; only the ports are others."""
    from test_http_openai import LITELLM_FILE, SCRIPT

    own_ollama.derive("smollm2", "codegemma:2b", num_predict=100, num_thread=1)
    sluice = env.start(LITELLM_FILE.replace("http://localhost:11434", own_ollama.url))
    script = SCRIPT.replace("http://localhost:4000", sluice.url)
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout) > 50
    (record,) = sluice.wait_call_records(1)
    assert record["SLUICE_OUTCOME"] == "completed" and int(record["SLUICE_TOKENS_OUT"]) > 10

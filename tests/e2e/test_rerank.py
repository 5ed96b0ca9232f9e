"""Reranking over HTTP: what clients of Cohere, Jina, LiteLLM, vLLM and llama-server send and read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testenv.daemon import mock
from testenv.http import Answer
from testenv.ttrpc import RpcError
from testenv.upstream import Exchange, Gate, Upstream, ranks, wait_for, whole

QUERY = "capital of France"
DOCUMENTS = ["Berlin is in Germany", "Paris is the capital of France", "the capital of Spain"]
ORDER = [1, 2, 0]
PATHS = ("/v1/rerank", "/rerank", "/v2/rerank", "/v1/reranking", "/reranking", "//v1//rerank/?x=1")


def body(**members: Any) -> dict[str, Any]:
    return {"model": "m", "query": QUERY, "documents": DOCUMENTS, **members}


def indexes(answer: Answer) -> list[int]:
    assert answer.status == 200, answer
    return [result["index"] for result in answer.json["results"]]


def like_llama_server(ex: Exchange) -> None:
    """No id, no documents, raw logits, and an order of its own where it does not know top_n."""
    results = [{"index": i, "relevance_score": 4 * s - 2} for i, s in ranks(QUERY, DOCUMENTS)]
    usage = {"prompt_tokens": 80, "total_tokens": 80}
    answer = {"model": "rank", "object": "list", "usage": usage, "results": results[::-1]}
    ex.whole(200, answer)


@pytest.fixture
def server(env) -> Upstream:
    return env.openai()


def test_before_vllm(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment("up/model")})
    for path in PATHS:
        answer = sluice.post(path, body())
        assert indexes(answer) == ORDER
    got = answer.json
    assert got["id"].startswith("rerank-") and got["model"] == "m" and got["object"] == "list"
    assert [r["relevance_score"] for r in got["results"]] == [1.0, 2 / 3, 0.0]
    assert got["results"][0]["document"]["text"] == DOCUMENTS[1]
    assert got["usage"] == {"prompt_tokens": 21, "total_tokens": 21}
    assert got["meta"]["billed_units"] == {"total_tokens": 21}
    assert got["meta"]["tokens"] == {"input_tokens": 21, "output_tokens": 0}
    sent = server.wait_request()
    assert sent.path == "/v1/rerank" and sent.headers["authorization"] == "Bearer sk-upstream"
    assert sent.json == {"model": "up/model", "query": QUERY, "documents": DOCUMENTS}
    assert answer.header("x-litellm-model-group") == "m"


def test_before_llama_server(env, server: Upstream) -> None:
    server.always(like_llama_server)
    server.next(like_llama_server)
    server.next(like_llama_server)
    sluice = env.start({"m": server.deployment()})
    answer = sluice.post("/v1/rerank", body())
    assert indexes(answer) == ORDER
    assert [set(r) for r in answer.json["results"]] == [{"index", "relevance_score"}] * 3
    assert answer.json["usage"]["total_tokens"] == 80
    answer = sluice.post("/v1/rerank", body(top_n=2, return_documents=True))
    assert indexes(answer) == ORDER[:2]
    assert answer.json["results"][0]["document"] == {"text": DOCUMENTS[1]}
    assert server.wait_request(2).json["top_n"] == 2


def test_documents_come_back_as_asked(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment()})
    for wanted, has in ((None, True), (True, True), (False, False)):
        answer = sluice.post("/rerank", body(return_documents=wanted))
        assert ["document" in r for r in answer.json["results"]] == [has] * 3


def test_objects_and_unknown_fields(env, server: Upstream) -> None:
    """Objects of a text become the text, which every server takes; what else there is reaches the server as it came."""
    sluice = env.start({"m": server.deployment()})
    given = [{"text": DOCUMENTS[0]}, DOCUMENTS[1], {"text": DOCUMENTS[2]}]
    members = {"max_tokens_per_doc": 512, "rank_fields": ["a"], "truncate_prompt_tokens": 9}
    assert indexes(sluice.post("/v2/rerank", body(documents=given, **members))) == ORDER
    sent = server.wait_request().json
    assert sent["documents"] == DOCUMENTS and members.items() <= sent.items()
    server.next(whole(200, {"results": [{"index": 1, "relevance_score": 1}]}))
    odd = [{"title": "t", "text": "x"}, {"image": "data:"}]
    answer = sluice.post("/v2/rerank", body(documents=odd, return_documents=True))
    assert answer.json["results"] == [
        {"index": 1, "relevance_score": 1, "document": {"image": "data:"}}
    ]
    assert server.wait_request(2).json["documents"] == odd


def test_top_n_of_nothing_means_all(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment()})
    for top_n in (0, None):
        assert indexes(sluice.post("/rerank", body(top_n=top_n))) == ORDER
    assert ["top_n" in e.json for e in server.requests()] == [False, False]


def test_never_a_stream(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment()})
    answer = sluice.post("/rerank", body(stream=True, stream_options={"include_usage": True}))
    assert answer.header("content-type") == "application/json" and indexes(answer) == ORDER
    assert "stream" not in server.wait_request().json


BAD = [
    ({"query": None}, "query"),
    ({"query": ""}, "query"),
    ({"query": ["a"]}, "query"),
    ({"documents": None}, "documents"),
    ({"documents": []}, "documents"),
    ({"documents": "a"}, "documents"),
    ({"documents": ["a", 7]}, "documents[1]"),
    ({"documents": ["a"] * 2049}, "documents"),
    ({"top_n": -1}, "top_n"),
    ({"top_n": "2"}, "top_n"),
    ({"top_n": 1.5}, "top_n"),
    ({"return_documents": "yes"}, "return_documents"),
    ({"model": ""}, "model"),
]


@pytest.mark.parametrize("members,param", BAD, ids=[f"{i}-{p}" for i, (_, p) in enumerate(BAD)])
def test_bad_input(env, server: Upstream, members: dict[str, Any], param: str) -> None:
    sluice = env.start({"m": server.deployment()})
    answer = sluice.post("/v1/rerank", body(**members))
    assert answer.status == 400 and answer.error["param"] == param, answer
    assert server.requests() == []


def ranked(*results: dict[str, Any]) -> dict[str, Any]:
    return {"results": list(results)}


HOSTILE = {
    "no results": {"model": "x"},
    "results null": {"results": None},
    "results an object": {"results": {}},
    "a bare list": [{"index": 0, "relevance_score": 1}],
    "an index too high": ranked({"index": 3, "relevance_score": 1}),
    "an index below 0": ranked({"index": -1, "relevance_score": 1}),
    "no index": ranked({"relevance_score": 1}),
    "an index twice": ranked(*[{"index": 1, "relevance_score": 1}] * 2),
    "NaN": b'{"results":[{"index":0,"relevance_score":NaN}]}',
    "infinity": b'{"results":[{"index":0,"relevance_score":1e999}]}',
    "a score of text": ranked({"index": 0, "relevance_score": "1"}),
    "no score": ranked({"index": 0}),
    "more than documents": ranked(*[{"index": 0, "relevance_score": 1}] * 4),
    "a million": b'{"results":[{}' + b",{}" * 1_000_000 + b"]}",
    "not JSON": b"<html>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers(env, server: Upstream, name: str) -> None:
    sluice = env.start({"m": server.deployment()})
    server.next(whole(200, HOSTILE[name]))
    answer = sluice.post("/v1/rerank", body())
    assert answer.status == 502 and answer.error["code"] == "upstream_garbage", answer
    assert indexes(sluice.post("/v1/rerank", body())) == ORDER
    sluice.expect_idle()


def test_errors_of_the_server(env, server: Upstream) -> None:
    """llama-server without --reranking; vLLM with another kind of model; one that knows nothing of it."""
    sluice = env.start({"m": server.deployment()})
    cases = [
        (501, {"error": {"code": 501, "message": "start it with `--reranking`", "type": "not_supported_error"}}),
        (400, {"error": {"message": "The model does not support Rerank", "type": "BadRequestError", "code": 400}}),
        (404, {"detail": "Not Found"}),
        (429, {"error": {"message": "slow down"}}),
    ]  # fmt: skip
    want = ["upstream_rejected", "upstream_rejected", "model_not_found", "rate_limit_exceeded"]
    for (status, said), code in zip(cases, want):
        server.next(whole(status, said))
        answer = sluice.post("/v1/rerank", body())
        assert answer.error["code"] == code, answer


def test_client_leaves(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment()})
    gate = Gate()
    server.next(wait_for(gate))
    with sluice.http() as http:
        http.send_request("POST", "/v1/rerank", body())
        exchange = server.wait_request()
    assert exchange.peer_left.wait(10)
    sluice.expect_idle()


def test_ollama_says_no(env) -> None:
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()})
    answer = sluice.post("/v1/rerank", body())
    assert answer.status == 501 and answer.error["code"] == "not_implemented", answer
    assert "Ollama cannot rerank" in answer.error["message"]
    assert upstream.requests() == []


def test_mock(env) -> None:
    sluice = env.start({"m": mock()})
    answer = sluice.post("/v1/rerank", body(top_n=2, return_documents=True))
    assert indexes(answer) == [0, 1]
    assert [r["document"]["text"] for r in answer.json["results"]] == DOCUMENTS[:2]


def test_over_rpc(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment("up/model"), "mock": mock()})
    with sluice.rpc() as rpc:
        request = rpc.schema.RerankRequest(model="m", query=QUERY, documents=DOCUMENTS, top_n=2)
        request.extra_json = json.dumps({"truncate_prompt_tokens": 9})
        events = list(rpc.events(rpc.stream("Rerank", request)))
        assert [e.WhichOneof("kind") for e in events] == ["started", "result", "result", "done"]
        found = [e.result for e in events[1:3]]
        assert [(r.index, r.score) for r in found] == [(1, 1.0), (2, 2 / 3)]
        assert json.loads(found[0].json)["document"]["text"] == DOCUMENTS[1]
        assert events[-1].done.usage.input_tokens == 21 and not events[-1].done.finish_reasons
        sent = {"model": "up/model", "query": QUERY, "documents": DOCUMENTS, "top_n": 2}
        assert server.wait_request().json == {**sent, "truncate_prompt_tokens": 9}
        request = rpc.schema.RerankRequest(model="mock", query=QUERY, documents=DOCUMENTS)
        events = list(rpc.events(rpc.stream("Rerank", request)))
        assert [e.result.index for e in events if e.WhichOneof("kind") == "result"] == [0, 1, 2]


def test_bad_input_over_rpc(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment()})
    cases = [
        ({"documents": DOCUMENTS}, "query"),
        ({"query": QUERY}, "documents"),
        ({"query": QUERY, "documents": ["a"] * 2049}, "documents"),
        ({"query": QUERY, "documents": ["a"], "top_n": 2**32 - 1}, "top_n"),
        ({"query": QUERY, "documents": ["a"], "extra_json": "[]"}, "extra_json"),
    ]
    with sluice.rpc() as rpc:
        for members, param in cases:
            request = rpc.schema.RerankRequest(model="m", **members)
            with pytest.raises(RpcError) as caught:
                list(rpc.events(rpc.stream("Rerank", request)))
            assert caught.value.detail.param == param, caught.value
    assert server.requests() == []


def test_large_answers_over_rpc(env, server: Upstream) -> None:
    """2,048 results of a kilobyte arrive whole; one that no frame holds is an error, and the connection goes on."""
    sluice = env.start({"m": server.deployment()})
    documents = [f"{i} " + "x" * 1000 for i in range(2048)]
    with sluice.rpc(timeout=30) as rpc:
        request = rpc.schema.RerankRequest(model="m", query="7", documents=documents)
        events = list(rpc.events(rpc.stream("Rerank", request)))
        found = [e.result.index for e in events if e.WhichOneof("kind") == "result"]
        assert found[0] == 7 and sorted(found) == list(range(2048))
        server.next(whole(200, {"results": [{"index": 0, "relevance_score": 1, "x": "y" * (5 << 20)}]}))
        request = rpc.schema.RerankRequest(model="m", query="7", documents=["a"])
        with pytest.raises(RpcError) as caught:
            list(rpc.events(rpc.stream("Rerank", request)))
        assert caught.value.detail.code == "out_of_memory"
        assert list(rpc.events(rpc.stream("Rerank", request)))[-1].done.usage.input_tokens == 7
    answer = sluice.post("/rerank", body())
    assert indexes(answer) == ORDER
    sluice.expect_idle()


def test_ollama_says_no_over_rpc(env) -> None:
    sluice = env.start({"m": env.ollama().deployment()})
    with sluice.rpc() as rpc:
        request = rpc.schema.RerankRequest(model="m", query=QUERY, documents=DOCUMENTS)
        with pytest.raises(RpcError) as caught:
            list(rpc.events(rpc.stream("Rerank", request)))
    assert caught.value.code == 12 and caught.value.detail.code == "not_implemented"


def test_log_record(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment()})
    sluice.post("/v1/rerank", body())
    record = sluice.wait_call_records(1)[0]
    assert record["SLUICE_KIND"] == "rerank" and record["SLUICE_OUTCOME"] == "completed"
    assert record["SLUICE_TOKENS_IN"] == "21"


def test_two_thousand_documents(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment()})
    documents = [f"{'x ' * 100}{i}" for i in range(2048)]
    answer = sluice.post("/v1/rerank", body(query="1999", documents=documents, top_n=3))
    assert indexes(answer)[0] == 1999 and len(answer.json["results"]) == 3

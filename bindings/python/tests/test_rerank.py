"""rerank() and classify(): what is sent, what comes back, what is refused before it is sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import sluice
from conftest import MOCK_TEXT, Service
from testenv.upstream import whole

QUERY = "capital of France"
DOCUMENTS = ["Berlin is in Germany", "Paris is the capital of France", "the capital of Spain"]
TEXTS = ["hi", "buy now, buy cheap, buy all"]
ENTITIES = [{"entity": "B-PER", "word": "Ada", "score": 0.99, "index": 1}]


def test_rerank(service: Service, client: sluice.Client) -> None:
    answer = client.rerank(model="m", query=QUERY, documents=DOCUMENTS)
    assert [r.index for r in answer] == [1, 2, 0]
    assert [r.relevance_score for r in answer.results] == [1.0, 2 / 3, 0.0]
    assert answer.results[0].document == sluice.RerankDocument(DOCUMENTS[1])
    assert answer.results[0].raw["document"] == {"text": DOCUMENTS[1], "multi_modal": None}
    assert answer.model == "m" and answer.usage.total_tokens == 21
    assert answer.id == "rerank-" + answer.sluice.request_id and answer.sluice.deployment
    sent = service.openai.wait_request().json
    assert sent == {"model": "the-model", "query": QUERY, "documents": DOCUMENTS}


def test_rerank_options(service: Service, client: sluice.Client) -> None:
    answer = client.rerank(
        model="m",
        query=QUERY,
        documents=({"text": d} for d in DOCUMENTS),  # type: ignore[arg-type]
        top_n=2,
        return_documents=False,
        user="u",
        class_="batch",
        extra_body={"truncate_prompt_tokens": 9},
    )
    assert [(r.index, r.document) for r in answer] == [(1, None), (2, None)]
    sent = service.openai.wait_request().json
    wanted = {"documents": DOCUMENTS, "top_n": 2, "user": "u", "truncate_prompt_tokens": 9}
    assert {k: sent[k] for k in wanted} == wanted


def test_documents_are_filled_in(client: sluice.Client) -> None:
    """The mock sends none, as llama-server."""
    answer = client.rerank(model="mock", query=QUERY, documents=DOCUMENTS, return_documents=True)
    assert [r.document and r.document.text for r in answer] == DOCUMENTS
    bare = client.rerank(model="mock", query=QUERY, documents=DOCUMENTS)
    assert [r.document for r in bare] == [None] * 3
    assert bare.model_dump(exclude_none=True)["results"][1] == {"index": 1, "relevance_score": 0.5}


def test_dump_is_what_http_answers(service: Service, client: sluice.Client) -> None:
    answer = client.rerank(model="m", query=QUERY, documents=DOCUMENTS, return_documents=True)
    body = {"model": "m", "query": QUERY, "documents": [*DOCUMENTS], "return_documents": True}
    over_http = service.daemon.post("/v1/rerank", body).json
    dumped = json.loads(answer.model_dump_json(exclude_none=True))
    for result in over_http["results"]:
        del result["document"]["multi_modal"]
    assert dumped["results"] == over_http["results"]
    labels = client.classify(model="m", input=TEXTS)
    over_http = service.daemon.post("/classify", {"model": "m", "input": TEXTS}).json
    assert labels.model_dump()["data"] == over_http["data"]
    assert set(labels.model_dump()) == set(over_http)


def test_classify(service: Service, client: sluice.Client) -> None:
    answer = client.classify(model="m", input=TEXTS, extra_body={"x": 1})
    assert [(r.index, r.label, r.num_classes) for r in answer] == [(0, "Ham", 2), (1, "Spam", 2)]
    assert answer.data[1].probs == [1 - 0.9, 0.9] and answer.data[1].score == 0.9
    assert answer.usage.prompt_tokens == 10 and answer.model == "m"
    assert service.openai.wait_request().json == {"model": "the-model", "input": TEXTS, "x": 1}
    one = client.classify(model="mock", input="hi")
    assert [r.label for r in one] == [MOCK_TEXT]


def test_entities(service: Service, client: sluice.Client) -> None:
    service.openai.next(whole(200, {"data": [{"entities": ENTITIES}, ENTITIES]}))
    answer = client.classify(model="m", input=["Ada", "Ada"])
    assert [r.label for r in answer] == [None, None]
    assert answer.data[0].raw == {"entities": ENTITIES} and answer.data[1].raw == ENTITIES
    assert answer.model_dump()["data"] == [{"entities": ENTITIES}, ENTITIES]


def test_async(service: Service) -> None:
    async def run() -> None:
        async with sluice.AsyncClient(service.path, timeout=20) as client:
            ranks, labels = await asyncio.gather(
                client.rerank(model="m", query=QUERY, documents=DOCUMENTS, top_n=1),
                client.classify(model="m", input=TEXTS),
            )
            assert [r.index for r in ranks] == [1]
            assert [r.label for r in labels] == ["Ham", "Spam"]

    asyncio.run(run())


BAD_RERANKS: Any = [
    ({"query": ""}, "query"),
    ({"documents": []}, "documents"),
    ({"documents": [{"text": "a", "title": "b"}]}, "documents[0]"),
    ({"documents": ["a", {"text": 7}]}, "documents[1]"),
    ({"documents": ["a"] * 2049}, "documents"),
    ({"top_n": -1}, "top_n"),
    ({"top_n": 1 << 31}, "top_n"),
]


@pytest.mark.parametrize("members,param", BAD_RERANKS)
def test_refused(service: Service, client: sluice.Client, members: Any, param: str) -> None:
    arguments = {"model": "m", "query": QUERY, "documents": DOCUMENTS, **members}
    with pytest.raises(sluice.BadRequestError) as caught:
        client.rerank(**arguments)
    assert caught.value.param == param
    assert service.openai.requests() == []


@pytest.mark.parametrize(
    "members",
    [{"query": 7}, {"documents": "a"}, {"documents": [7]}, {"top_n": "1"}, {"temperature": 1}],
)
def test_wrong_types(client: sluice.Client, members: Any) -> None:
    with pytest.raises(TypeError):
        client.rerank(**{"model": "m", "query": QUERY, "documents": DOCUMENTS, **members})


def test_classify_refuses(client: sluice.Client) -> None:
    for inputs in ([], [1, 2]):
        with pytest.raises(sluice.BadRequestError) as caught:
            client.classify(model="m", input=inputs)  # type: ignore[arg-type]
        assert caught.value.param == "input"
    with pytest.raises(TypeError, match="classify"):
        client.classify(model="m", input="a", top_n=1)  # type: ignore[call-arg]


def test_ollama_cannot(client: sluice.Client) -> None:
    with pytest.raises(sluice.APIStatusError) as caught:
        client.rerank(model="o", query=QUERY, documents=DOCUMENTS)
    assert caught.value.code == "not_implemented" and caught.value.status_code == 501


def test_hostile_answer(service: Service, client: sluice.Client) -> None:
    service.openai.next(whole(200, {"results": [{"index": 3, "relevance_score": 1}]}))
    with pytest.raises(sluice.InternalServerError) as caught:
        client.rerank(model="m", query=QUERY, documents=DOCUMENTS)
    assert caught.value.code == "upstream_garbage"

"""Classification over HTTP: vLLM's shape, and token classifiers whose results have members of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testenv.daemon import mock
from testenv.upstream import Upstream, whole

TEXTS = ["hi", "buy now, buy cheap, buy all"]
PATHS = ("/classify", "/v1/classify", "//classify/")


def body(**members: Any) -> dict[str, Any]:
    return {"model": "m", "input": TEXTS, **members}


@pytest.fixture
def server(env) -> Upstream:
    return env.openai()


def test_before_vllm(env, server: Upstream) -> None:
    """vLLM has it beside /v1; fields that only it knows reach it."""
    sluice = env.start({"m": server.deployment("up/model")})
    for path in PATHS:
        answer = sluice.post(path, body(truncate_prompt_tokens=-1, stream=True))
        assert answer.status == 200, answer
    got = answer.json
    assert got["id"].startswith("classify-") and got["object"] == "list" and got["model"] == "m"
    assert got["data"] == [
        {"index": 0, "label": "Ham", "probs": [0.9, 0.1], "num_classes": 2},
        {"index": 1, "label": "Spam", "probs": [1 - 0.9, 0.9], "num_classes": 2},
    ]
    assert got["usage"] == {"prompt_tokens": 10, "total_tokens": 10}
    sent = server.wait_request()
    assert sent.path == "/classify"
    assert sent.json == {"model": "up/model", "input": TEXTS, "truncate_prompt_tokens": -1}
    one = sluice.post("/classify", body(input="hi")).json
    assert [d["label"] for d in one["data"]] == ["Ham"]


def test_the_path_can_be_said(env, server: Upstream) -> None:
    """A server that has it below /v1: api_base says so."""
    base = server.api_base + "/classify"
    sluice = env.start({"m": server.deployment(api_base=base)})
    assert sluice.post("/classify", body()).status == 200
    assert server.wait_request().path == "/v1/classify"


def test_ids_and_messages_are_passed_on(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment()})
    for members in ({"input": [1, 2, 3]}, {"messages": [{"role": "user", "content": "x"}]}):
        server.next(whole(200, {"data": [{"index": 0, "label": "x"}]}))
        answer = sluice.post("/classify", {"model": "m", **members})
        assert answer.json["data"] == [{"index": 0, "label": "x"}]
        assert members.items() <= server.requests()[-1].json.items()


ENTITIES = [
    {"entity": "B-PER", "score": 0.99, "index": 1, "word": "Ada", "start": 0, "end": 3},
    {"entity": "B-LOC", "score": 0.98, "index": 3, "word": "Paris", "start": 7, "end": 12},
]


def test_token_classifiers(env, server: Upstream) -> None:
    """What their results hold passes as it is: entities in an object, as a list, or alone for one input."""
    sluice = env.start({"m": server.deployment()})
    for texts, data in (
        (["Ada in Paris", "x"], [{"index": 0, "entities": ENTITIES}, {"index": 1, "entities": []}]),
        (["Ada in Paris", "x"], [ENTITIES, []]),
        ("Ada in Paris", ENTITIES),
        (["Ada in Paris"], [ENTITIES]),
        ("x", []),
    ):
        server.next(whole(200, {"object": "list", "data": data, "model": "ner"}))
        answer = sluice.post("/v1/classify", body(input=texts))
        assert answer.status == 200 and answer.json["data"] == data


def test_numbers_are_carried(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment()})
    raw = b'{"index":0,"label":"x","probs":[0.100000000000000000001,1E-7],"n":12345678901234567890}'
    server.next(whole(200, b'{"data":[' + raw + b"]}"))
    assert raw in sluice.post("/classify", body(input="x")).body


HOSTILE = {
    "no data": {"model": "x"},
    "data an object": {"data": {}},
    "too few": {"data": [{"index": 0}]},
    "too many": {"data": [{}, {}, {}]},
    "an index twice": {"data": [{"index": 1}, {"index": 1}]},
    "an index too high": {"data": [{"index": 0}, {"index": 2}]},
    "an index below 0": {"data": [{"index": 0}, {"index": -1}]},
    "an index of text": {"data": [{"index": 0}, {"index": "1"}]},
    "numbers": {"data": [1, 2]},
    "NaN": b'{"data":[{"index":0,"probs":[NaN]},{"index":1}]}',
    "a million": b'{"data":[{}' + b",{}" * 1_000_000 + b"]}",
    "nested too deep": b'{"data":[' + b"[" * 100 + b"]" * 100 + b",{}]}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers(env, server: Upstream, name: str) -> None:
    sluice = env.start({"m": server.deployment()})
    server.next(whole(200, HOSTILE[name]))
    answer = sluice.post("/classify", body())
    assert answer.status == 502 and answer.error["code"] == "upstream_garbage", answer
    assert sluice.post("/classify", body()).status == 200
    sluice.expect_idle()


BAD = [
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": {}}, "input"),
    ({"input": ["a", None]}, "input[1]"),
    ({"input": ["a"] * 2049}, "input"),
    ({"model": None}, "model"),
]


@pytest.mark.parametrize("members,param", BAD, ids=[f"{i}-{p}" for i, (_, p) in enumerate(BAD)])
def test_bad_input(env, server: Upstream, members: dict[str, Any], param: str) -> None:
    sluice = env.start({"m": server.deployment()})
    answer = sluice.post("/v1/classify", body(**members))
    assert answer.status == 400 and answer.error["param"] == param, answer
    assert server.requests() == []


def test_ollama_says_no(env) -> None:
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()})
    answer = sluice.post("/classify", body())
    assert answer.status == 501 and answer.error["code"] == "not_implemented", answer
    assert upstream.requests() == []


def test_over_rpc(env, server: Upstream) -> None:
    sluice = env.start({"m": server.deployment()})
    with sluice.rpc() as rpc:
        request = rpc.schema.ClassifyRequest(model="m", inputs=TEXTS, extra_json='{"x":[1]}')
        events = list(rpc.events(rpc.stream("Classify", request)))
        found = [e.result for e in events if e.WhichOneof("kind") == "result"]
        assert [(r.index, r.score, json.loads(r.json)["label"]) for r in found] == [
            (0, 0.9, "Ham"),
            (1, 0.9, "Spam"),
        ]
        assert server.wait_request().json == {"model": "m1", "input": TEXTS, "x": [1]}
        server.next(whole(200, {"data": ENTITIES}))
        request = rpc.schema.ClassifyRequest(model="m", inputs=["Ada in Paris"])
        events = list(rpc.events(rpc.stream("Classify", request)))
        found = [e.result for e in events if e.WhichOneof("kind") == "result"]
        assert [(r.index, r.score) for r in found] == [(0, 0.99), (0, 0.98)]
        assert [json.loads(r.json) for r in found] == ENTITIES


def test_mock_and_log(env) -> None:
    sluice = env.start({"m": mock("toxic")})
    answer = sluice.post("/classify", body())
    assert [d["label"] for d in answer.json["data"]] == ["toxic", "toxic"]
    assert sluice.wait_call_records(1)[0]["SLUICE_KIND"] == "classify"

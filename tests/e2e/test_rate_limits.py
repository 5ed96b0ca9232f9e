"""What a key, or a uid, may use. Rates are so low that a test ends before anything comes back, or so high that nothing is missed."""

from __future__ import annotations

import os
import re
from typing import Any

import openai
import pytest
from test_keys import CHAT, ONE, PAST, TWO, bearer, key, reload
from testenv import ttrpc
from testenv.daemon import Daemon, mock
from testenv.http import Answer, chat_body
from testenv.ttrpc import RpcError, text_of
from testenv.upstream import Gate, Upstream, end, say, stall, text, wait_for, whole
from testenv.waiting import eventually

RESET = re.compile(r"^(\d+ms|(\d+h)?(\d+m)?\d+(\.\d+)?s)$")


def ask(sluice: Daemon, text: str = ONE, model: str = "m", **members: Any) -> Answer:
    return sluice.post(CHAT, {**chat_body(model), **members}, headers=bearer(text))


def check_refusal(answer: Answer, what: str) -> None:
    assert answer.status == 429, answer
    assert answer.error["code"] == "rate_limit_exceeded"
    assert answer.error["type"] == "rate_limit_error"
    assert what in answer.error["message"] and '"one"' in answer.error["message"]
    assert answer.header("x-should-retry") == "true"
    assert 1 <= int(answer.header("retry-after") or "0") <= 60
    assert 1000 <= int(answer.header("retry-after-ms") or "0") <= 60_000


def start(env, upstream: Upstream, **limits: Any) -> Daemon:
    keys = [key("one", ONE, **limits), key("two", TWO)]
    return env.start({"m": upstream.deployment()}, sluice={"keys": keys, "slots": 4})


@pytest.mark.parametrize("stream", [False, True])
def test_requests_a_minute(env, upstream: Upstream, stream: bool) -> None:
    sluice = start(env, upstream, rpm=1)
    first, second = ask(sluice, stream=stream), ask(sluice, stream=stream)
    assert first.status == 200
    check_refusal(second, "1 requests a minute; try again in ")
    for answer in (first, second):
        assert answer.header("x-ratelimit-limit-requests") == "1"
        assert answer.header("x-litellm-key-rpm-limit") == "1"
        assert answer.header("x-ratelimit-remaining-requests") == "0"
        assert RESET.match(answer.header("x-ratelimit-reset-requests") or "")
        assert answer.header("x-ratelimit-limit-tokens") is None
    assert len(upstream.requests()) == 1
    assert ask(sluice, TWO).status == 200, "keys do not share"
    records = sluice.wait_call_records(3)
    assert [r["SLUICE_OUTCOME"] for r in records] == ["completed", "rate_limit_exceeded", "completed"]
    metrics = sluice.get("/metrics", headers=bearer(TWO)).body.decode()
    assert 'sluice_errors_total{code="rate_limit_exceeded"} 1\n' in metrics


def test_answers_without_a_model_say_it_too(env) -> None:
    sluice = env.start(sluice={"keys": [key("one", ONE, rpm=60, tpm=1000, models=["m"])]})
    for answer in (
        sluice.get("/v1/models", headers=bearer(ONE)),
        sluice.get("/v1/nothing", headers=bearer(ONE)),
        ask(sluice, model="x"),
        ask(sluice, messages=7),
    ):
        assert answer.status in (200, 400, 403, 404)
        assert answer.header("x-ratelimit-remaining-requests") == "60", "none of them counts"
        assert answer.header("x-ratelimit-reset-requests") == "0s"
        assert answer.header("x-ratelimit-remaining-tokens") == "1000"
        assert answer.header("x-litellm-key-tpm-limit") == "1000"


def test_unknown_model_costs_nothing(env) -> None:
    sluice = env.start(sluice={"keys": [key("one", ONE, rpm=1)]})
    for _ in range(3):
        assert ask(sluice, model="x").status == 404
    assert ask(sluice).status == 200


def test_no_limits_no_headers(env, upstream: Upstream) -> None:
    sluice = start(env, upstream)
    for answer in (ask(sluice), ask(sluice, stream=True), ask(sluice, model="x")):
        assert not [n for n, _ in answer.headers if "ratelimit" in n or "key-" in n]


def test_guess_is_given_back(env, upstream: Upstream) -> None:
    """Each call may use 900 of the 1,000 tokens a minute, and uses 9: without that the second would wait."""
    sluice = start(env, upstream, tpm=1000)
    for stream in (False, True, False):
        answer = ask(sluice, max_tokens=900, stream=stream)
        assert answer.status == 200, answer
        assert int(answer.header("x-ratelimit-limit-tokens") or "0") == 1000
    assert len(upstream.requests()) == 3


def test_headers_count_the_guess(env, upstream: Upstream) -> None:
    """A stream's head leaves while its tokens are still a guess: 2 for the prompt, 900 for the answer."""
    sluice = start(env, upstream, tpm=1000)
    answer = ask(sluice, max_tokens=900, stream=True)
    left = int(answer.header("x-ratelimit-remaining-tokens") or "-1")
    assert 98 <= left < 600, "what flows back in a minute is 1,000"
    assert RESET.match(answer.header("x-ratelimit-reset-tokens") or "")


def test_what_was_used_counts(env, upstream: Upstream) -> None:
    upstream.always(text("long"), end(tokens_in=900, tokens_out=5100))
    sluice = start(env, upstream, tpm=1000)
    assert ask(sluice).status == 200
    check_refusal(ask(sluice), "1000 tokens a minute; try again in ")
    assert len(upstream.requests()) == 1


def test_failed_call_costs_no_tokens(env, upstream: Upstream) -> None:
    upstream.always(whole(400, upstream.dialect.error_body("no")))
    sluice = start(env, upstream, tpm=1000)
    for _ in range(3):
        assert ask(sluice, max_tokens=900).status == 400
    assert len(upstream.requests()) == 3


def test_request_that_can_never_fit(env, upstream: Upstream) -> None:
    sluice = start(env, upstream, tpm=1000)
    for members in ({"max_tokens": 2000}, {"max_tokens": 400, "n": 3}):
        answer = ask(sluice, **members)
        assert answer.status == 429
        assert (answer.error["code"], answer.error["type"]) == ("insufficient_quota",) * 2
        assert answer.header("x-should-retry") == "false"
        assert answer.header("retry-after") is None
    assert not upstream.requests()
    assert ask(sluice, max_tokens=900).status == 200, "that cost nothing"


def test_calls_at_a_time(env, upstream: Upstream) -> None:
    gate = Gate()
    upstream.next(text("a"), wait_for(gate), *say("b"))
    sluice = start(env, upstream, max_parallel=1)
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True), headers=bearer(ONE))
        http.read_head()
        check_refusal(ask(sluice), "1 calls at a time")
        assert ask(sluice, TWO).status == 200
        gate.open()
        http.read_until(b"[DONE]")
    assert ask(sluice).status == 200


def test_waiting_call_counts(env, upstream: Upstream) -> None:
    """Of two calls one has the only slot, the other waits: both are the key's."""
    keys = [key("one", ONE, max_parallel=1), key("two", TWO)]
    sluice = env.start({"m": upstream.deployment()}, sluice={"keys": keys, "slots": 1})
    gate = Gate()
    upstream.next(wait_for(gate), *say("first"))
    with sluice.http() as first, sluice.http() as second:
        first.send_request("POST", CHAT, chat_body(), headers=bearer(TWO))
        upstream.wait_request()
        second.send_request("POST", CHAT, chat_body(), headers=bearer(ONE))
        eventually(lambda: sluice.status().calls_queued == 1, "the second waits")
        check_refusal(ask(sluice), "1 calls at a time")
        gate.open()
        assert first.read_answer().status == 200
        assert second.read_answer().status == 200
    assert ask(sluice).status == 200


@pytest.mark.parametrize("when", ["waiting", "starting", "streaming"])
def test_client_that_leaves_gives_back(env, upstream: Upstream, when: str) -> None:
    """However a call ends, its place comes home; its request stays counted."""
    upstream.next(text("a") if when == "streaming" else stall(), stall())
    keys = [key("one", ONE, max_parallel=1, rpm=1000), key("two", TWO)]
    slots = 1 if when == "waiting" else 4
    sluice = env.start({"m": upstream.deployment()}, sluice={"keys": keys, "slots": slots})
    blocker = sluice.http()
    if when == "waiting":
        blocker.send_request("POST", CHAT, chat_body(), headers=bearer(TWO))
        upstream.wait_request()
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True), headers=bearer(ONE))
        if when == "waiting":
            eventually(lambda: sluice.status().calls_queued == 1, "it waits")
        elif when == "starting":
            upstream.wait_request()
        else:
            http.read_head()
        assert ask(sluice).status == 429, "it has the key's only place"
    blocker.close()
    eventually(lambda: ask(sluice).status == 200, "the place is free again")


def test_reload_keeps_the_account(env, upstream: Upstream) -> None:
    sluice = start(env, upstream, rpm=1)
    assert ask(sluice).status == 200
    models = {"m": upstream.deployment()}
    reload(sluice, env.config(models, {"keys": [key("one", ONE, rpm=1)]}))
    assert ask(sluice).status == 429, "a reload is no new minute"
    reload(sluice, env.config(models, {"keys": [key("one", TWO, rpm=1)]}))
    assert ask(sluice, TWO).status == 429, "nor is a new key under the old id"
    reload(sluice, env.config(models, {"keys": [key("one", TWO, rpm=1000)]}))
    assert ask(sluice, TWO).status == 200


def test_huge_limits(env) -> None:
    keys = [key("one", ONE, rpm=10**9, tpm=10**9, max_parallel=65536)]
    sluice = env.start({"m": mock()}, sluice={"keys": keys})
    for _ in range(20):
        assert ask(sluice, max_tokens=10**9 - 100).status == 200
    assert ask(sluice, max_tokens=2**31 - 1).error["code"] == "insufficient_quota"


# ---------------------------------------------------------------------------------------------- callers without a key


def me(**limits: Any) -> dict[str, Any]:
    return {"callers": [{"uid": os.getuid(), **limits}]}


def test_requests_a_minute_of_a_uid(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice=me(rpm=2))
    with sluice.rpc() as rpc:
        for _ in range(2):
            assert text_of(list(rpc.chat("m"))) == "Hello world"
        with pytest.raises(RpcError) as refused:
            list(rpc.chat("m"))
    assert refused.value.code == ttrpc.RESOURCE_EXHAUSTED
    detail = refused.value.detail
    assert detail.code == "rate_limit_exceeded" and 1_000_000 <= detail.retry_after_usec <= 30_000_000
    assert f"limit of uid {os.getuid()} reached: 2 requests a minute; try again in " in refused.value.message
    with sluice.http_unix() as http:
        answer = http.request("POST", CHAT, chat_body())
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded"), "another socket, the same uid"
    assert 1 <= int(answer.header("retry-after") or "0") <= 30
    assert answer.header("x-ratelimit-limit-requests") == "2" and answer.header("x-ratelimit-remaining-requests") == "0"
    assert answer.header("x-litellm-key-rpm-limit") is None, "it is no key"
    assert len(upstream.requests()) == 2
    for _ in range(3):
        answer = sluice.post(CHAT, chat_body())
        assert answer.status == 200, "who comes over TCP is another caller"
        assert answer.header("x-ratelimit-limit-requests") is None
    outcomes = [r["SLUICE_OUTCOME"] for r in sluice.wait_call_records(7)]
    assert outcomes == ["completed"] * 2 + ["rate_limit_exceeded"] * 2 + ["completed"] * 3


def test_other_limits_of_a_uid(env, upstream: Upstream) -> None:
    gate = Gate()
    upstream.next(text("a"), wait_for(gate), *say("b"))
    sluice = env.start({"m": upstream.deployment()}, sluice={**me(tpm=1000, max_parallel=1), "slots": 4})
    with sluice.rpc() as first, sluice.rpc() as second:
        events = first.chat("m")
        assert any(e.WhichOneof("kind") == "text" for e in events)
        with pytest.raises(RpcError) as refused:
            list(second.chat("m"))
        assert refused.value.detail.code == "rate_limit_exceeded" and "1 calls at a time" in refused.value.message
        gate.open()
        list(events)
        with pytest.raises(RpcError) as refused:
            list(second.chat("m", "x" * 8000))
        assert refused.value.code == ttrpc.RESOURCE_EXHAUSTED
        assert (refused.value.detail.code, refused.value.detail.retry_after_usec) == ("insufficient_quota", 0)
        assert text_of(list(second.chat("m"))) == "Hello world"


def test_reload_keeps_the_account_of_a_uid(env, upstream: Upstream) -> None:
    models = {"m": upstream.deployment()}
    sluice = env.start(models, sluice=me(rpm=1))

    def status() -> int:
        with sluice.http_unix() as http:
            return http.request("POST", CHAT, chat_body()).status

    assert status() == 200
    reload(sluice, env.config(models, me(rpm=1, weight=3)))
    assert status() == 429, "a reload is no new minute"
    reload(sluice, env.config(models, {}))
    assert [status(), status()] == [200, 200], "nobody has limits now"


# ---------------------------------------------------------------------------------------------- what OpenAI's package makes of it


def test_openai_package(env) -> None:
    """Each refusal is the exception that programs catch; and of all only what can succeed later is tried again."""
    keys = [
        key("one", ONE, rpm=1, tpm=1000, models=["m"]),
        key("old", TWO, expires=PAST),
    ]
    sluice = env.start(sluice={"keys": keys})

    def client(text: str, retries: int = 0) -> openai.OpenAI:
        return openai.OpenAI(api_key=text, base_url=f"{sluice.url}/v1", max_retries=retries)

    def chat(text: str, model: str = "m", retries: int = 0, **members: Any) -> Any:
        messages: Any = [{"role": "user", "content": "x"}]
        create = client(text, retries).chat.completions.with_raw_response.create
        return create(model=model, messages=messages, **members)

    for text in ("wrong", TWO):
        with pytest.raises(openai.AuthenticationError) as denied:
            chat(text, retries=2)
        assert denied.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError) as forbidden:
        chat(ONE, model="x", retries=2)
    assert forbidden.value.code == "key_model_access_denied" and forbidden.value.param == "model"
    with pytest.raises(openai.RateLimitError) as too_much:
        chat(ONE, retries=2, max_tokens=2000)
    assert (too_much.value.code, too_much.value.type) == ("insufficient_quota",) * 2
    assert chat(ONE).headers["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(openai.RateLimitError) as too_often:
        chat(ONE)
    assert too_often.value.code == "rate_limit_exceeded"
    assert too_often.value.response.headers["x-ratelimit-reset-requests"]
    assert [m.id for m in client(ONE).models.list()] == ["m"]
    outcomes = [r["SLUICE_OUTCOME"] for r in sluice.wait_call_records(3)]
    assert outcomes == ["insufficient_quota", "completed", "rate_limit_exceeded"], "not one repeated"

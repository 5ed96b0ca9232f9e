"""A model server fails before its first word: who is asked again, when, and what the client learns of it.

Nothing here waits for a time: pauses are asked for by the scripted server and last as long as it says.
"""

from __future__ import annotations

import signal
from typing import Any, Optional

import pytest
from testenv.daemon import Daemon
from testenv.http import Answer, chat_body
from testenv.ttrpc import RpcError
from testenv.upstream import RefusingPort, Upstream, fin, rst, say, stall, text, whole

CHAT = "/v1/chat/completions"
BROKEN = whole(500, {"error": {"message": "broken"}})


def limited(retry_after: Optional[str] = None) -> Any:
    headers = {"Retry-After": retry_after} if retry_after else {}
    return whole(429, {"error": {"message": "slow down"}}, headers)


def pair(env, **settings: Any) -> tuple[Upstream, Upstream, Daemon]:
    """A group of two, asked in this order."""
    first, second = env.openai(), env.openai()
    models = {"m": [first.deployment("one", order=1), second.deployment("two", order=2)]}
    return first, second, env.start(models, router={"num_retries": 2, **settings})


def ask(sluice: Daemon, headers: Optional[dict[str, str]] = None, **members: Any) -> Answer:
    return sluice.post(CHAT, chat_body(**members), headers=headers or {})


def check(answer: Answer, retries: int, fallbacks: int = 0) -> None:
    assert answer.status == 200, answer.body
    assert answer.header("x-litellm-attempted-retries") == str(retries)
    assert answer.header("x-litellm-attempted-fallbacks") == str(fallbacks)


def check_cut(sluice: Daemon) -> None:
    """A stream that began with a word, and ended with an error of its one attempt."""
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        seen = list(http.sse(http.read_head()))
    assert seen[-1].is_error and "upstream_cut" in seen[-1].data


def n_asked(*upstreams: Upstream) -> list[int]:
    return [len(u.requests()) for u in upstreams]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failure", [limited("60"), BROKEN, whole(401, {"error": {"message": "key"}}), fin(), rst()]
)
def test_another_deployment_answers(env, failure: Any, stream: bool) -> None:
    first, second, sluice = pair(env)
    first.always(failure)
    second.always(*say("Hello", " there"))
    answer = ask(sluice, stream=stream)
    check(answer, retries=1)
    assert b"there" in answer.body
    assert answer.header("x-litellm-model-id") == sluice.status().deployments[1].id
    assert answer.header("x-litellm-model-group") == "m"
    assert n_asked(first, second) == [1, 1]
    record = sluice.wait_call_records(1)[0]
    assert (record["SLUICE_ATTEMPTS"], record["SLUICE_FALLBACKS"]) == ("2", "0")
    assert record["SLUICE_OUTCOME"] == "completed"
    assert "sluice_retries_total 1\n" in sluice.get("/metrics").body.decode()
    sluice.expect_idle()


def test_the_retries_of_each_order(env) -> None:
    """The way to the next order costs none of those there (LiteLLM: 4 requests as well)."""
    both = env.openai()
    for _ in range(3):
        both.next(BROKEN)
    both.always(*say("Hello"))
    models = {"m": [both.deployment("one", order=1), both.deployment("two", order=2)]}
    sluice = env.start(models, router={"num_retries": 2})
    check(ask(sluice), retries=3)
    assert [r.json["model"] for r in both.requests()] == ["one", "two", "one", "two"]
    sluice.expect_idle()


@pytest.mark.parametrize("n", [0, 2])
def test_what_one_cannot_do_the_other_does(env, n: int) -> None:
    """Ollama ranks nothing; that it stands first in the group must not matter."""
    ollama, other = env.ollama(), env.openai()
    models = {"m": [ollama.deployment("one", order=1), other.deployment("two", order=2)]}
    sluice = env.start(models, router={"num_retries": n})
    body = {"model": "m", "query": "a", "documents": ["a b", "c"]}
    answer = sluice.post("/v1/rerank", body)
    assert (answer.status, answer.json["results"][0]["index"]) == (200, 0)
    assert n_asked(ollama, other) == [0, 1]
    sluice.expect_idle()


def test_a_refused_connection_is_no_answer(env) -> None:
    port = env.closing(RefusingPort())
    good = env.openai()
    good.always(*say("Hello"))
    bad = dict(good.deployment("one", order=1), api_base=port.url)
    models = {"m": [bad, good.deployment("two", order=2)]}
    sluice = env.start(models, router={"num_retries": 2})
    check(ask(sluice), retries=1)
    sluice.expect_idle()


def test_the_same_one_again(env, upstream: Upstream) -> None:
    """A group of one: twice, as num_retries says, and at once."""
    sluice = env.start({"m": upstream.deployment()}, router={"num_retries": 2})
    upstream.next(BROKEN)
    upstream.next(BROKEN)
    upstream.next(*say("third time"))
    check(ask(sluice), retries=2)
    for _ in range(3):
        upstream.next(BROKEN)
    answer = ask(sluice)
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert answer.header("x-litellm-attempted-retries") == "2"
    assert len([r for r in upstream.requests() if r.kind == "chat"]) == 6
    sluice.expect_idle()


def test_two_is_the_default(env) -> None:
    upstream = env.openai()
    upstream.always(BROKEN)
    sluice = env.start({"m": upstream.deployment()}, router={})
    assert ask(sluice).status == 502
    assert n_asked(upstream) == [3]


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_what_cannot_succeed_is_not_tried_again(env, status: int) -> None:
    upstream = env.openai()
    upstream.always(whole(status, {"error": {"message": "no"}}))
    sluice = env.start({"m": upstream.deployment()}, router={"num_retries": 2})
    assert ask(sluice).status in (400, 404, 502)
    assert n_asked(upstream) == [1]
    sluice.expect_idle()


def test_after_the_first_word_nothing_is_tried_again(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, router={"num_retries": 2})
    upstream.always(text("word"), fin())
    check_cut(sluice)
    assert len([r for r in upstream.requests() if r.kind == "chat"]) == 1
    sluice.expect_idle()


def test_a_time_out_is_tried_elsewhere_only(env) -> None:
    first, second = env.openai(), env.openai()
    first.always(stall())
    second.always(*say("Hello"))
    models = {
        "alone": first.deployment("one"),
        "m": [first.deployment("one", order=1), second.deployment("two", order=2)],
    }
    fast = {"timeouts": {"first_byte": "300ms"}}
    sluice = env.start(models, sluice=fast, router={"num_retries": 2, "disable_cooldowns": True})
    assert ask(sluice, model="alone").error["code"] == "upstream_timeout"
    assert n_asked(first) == [1]
    check(ask(sluice), retries=1)
    sluice.expect_idle()


def test_a_short_retry_after_is_waited_out_and_a_long_one_is_told(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, router={"num_retries": 2})
    upstream.next(limited("1"))
    upstream.next(*say("Hello"))
    check(ask(sluice), retries=1)
    first, second = upstream.requests()
    assert second.received_at - first.received_at >= 1.0  # never before the server wants it
    upstream.next(limited("30"))
    answer = ask(sluice)
    assert (answer.status, answer.header("retry-after")) == (429, "30")
    assert n_asked(upstream) == [3]
    sluice.expect_idle()


def test_who_leaves_in_a_pause_leaves_nothing_behind(env) -> None:
    upstream = env.openai()
    upstream.always(limited("5"))
    sluice = env.start({"m": upstream.deployment()}, router={"num_retries": 2})
    with sluice.rpc() as rpc:
        chat = rpc.chat("m")
        kinds = [next(chat).WhichOneof("kind") for _ in range(2)]
        assert kinds == ["started", "queued"]  # it waits for its turn again
        status = sluice.status()
        assert (status.calls_queued, status.calls_running) == (1, 0)
    sluice.expect_idle()
    assert n_asked(upstream) == [1]


def test_the_stop_ends_a_pause(env) -> None:
    upstream = env.openai()
    upstream.always(limited("5"))
    sluice = env.start({"m": upstream.deployment()}, router={"num_retries": 2})
    with sluice.rpc() as rpc:
        chat = rpc.chat("m")
        assert [next(chat).WhichOneof("kind") for _ in range(2)] == ["started", "queued"]
        sluice.signal(signal.SIGTERM)
        with pytest.raises(RpcError) as caught:
            list(chat)
        assert caught.value.detail.code == "draining"
    assert sluice.wait_exit() == 0


def test_the_policy_of_a_cause(env) -> None:
    upstream = env.openai()
    policy = {"RateLimitErrorRetries": 0, "InternalServerErrorRetries": 1}
    sluice = env.start(
        {"m": upstream.deployment()}, router={"num_retries": 3, "retry_policy": policy}
    )
    upstream.always(limited())
    assert ask(sluice).status == 429
    assert n_asked(upstream) == [1]
    upstream.always(BROKEN)
    assert ask(sluice).status == 502
    assert n_asked(upstream) == [3]


@pytest.mark.parametrize("way", ["body", "header"])
@pytest.mark.parametrize("n", [0, 1, 4])
def test_the_request_says_how_often(env, n: int, way: str) -> None:
    upstream = env.openai()
    upstream.always(BROKEN)
    sluice = env.start({"m": upstream.deployment()}, router={"num_retries": 2})
    if way == "body":
        answer = ask(sluice, num_retries=n)
    else:
        answer = ask(sluice, headers={"x-litellm-num-retries": str(n)})
    assert answer.status == 502
    assert n_asked(upstream) == [n + 1]
    assert all("num_retries" not in r.json for r in upstream.requests())


def test_a_hurried_client_closes_no_server(env) -> None:
    """Its own time-out says nothing about the server, and opens nobody's breaker."""
    upstream = env.openai()
    upstream.always(stall())
    sluice = env.start({"m": upstream.deployment()}, router={"num_retries": 2})
    for _ in range(4):
        assert ask(sluice, timeout=0.05).error["code"] == "upstream_timeout"
    assert sluice.status().deployments[0].available
    assert n_asked(upstream) == [4]
    sluice.expect_idle()


def test_a_timeout_is_one_for_all_attempts(env) -> None:
    """Nothing follows the attempt that used it up, and a pause that would end later is not made."""
    first, second, behind, slow = env.openai(), env.openai(), env.openai(), env.openai()
    first.always(BROKEN)
    second.always(stall())
    slow.always(limited("4"))
    models = {
        "m": [first.deployment("one", order=1), second.deployment("two", order=2)],
        "behind": behind.deployment(),
        "slow": slow.deployment(),
    }
    sluice = env.start(models, router={"num_retries": 2, "fallbacks": [{"m": ["behind"]}]})
    answer = ask(sluice, timeout=0.3)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert n_asked(first, second, behind) == [1, 1, 0]
    answer = ask(sluice, model="slow", headers={"x-litellm-timeout": "3"})
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert answer.header("retry-after") == "4"
    assert n_asked(slow) == [1]
    assert all(d.available for d in sluice.status().deployments)
    sluice.expect_idle()


def test_rpc_learns_who_answered(env) -> None:
    first, second, sluice = pair(env)
    first.always(BROKEN)
    second.always(*say("Hello"))
    with sluice.rpc() as rpc:
        started = [e.started for e in rpc.chat("m") if e.WhichOneof("kind") == "started"]
    assert [s.retries for s in started] == [0, 1]
    assert started[-1].deployment == sluice.status().deployments[1].id
    sluice.expect_idle()


def test_no_more_than_so_many_at_once(env) -> None:
    upstream = env.openai()
    upstream.always(stall())
    models = {"m": upstream.deployment("one"), "n": upstream.deployment("two")}
    general = {"global_max_parallel_requests": 1}
    sluice = env.start(models, general=general)
    with sluice.rpc() as rpc:
        one = rpc.chat("m")
        assert next(one).WhichOneof("kind") == "started"
        two = rpc.chat("n")
        assert next(two).WhichOneof("kind") == "queued"
        assert sluice.status().calls_running == 1
    sluice.expect_idle()

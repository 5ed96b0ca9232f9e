"""Another model group instead: after which failure which one, what the client is told, and where the chain ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_retries import BROKEN, ask, check, check_cut, limited, n_asked
from testenv.daemon import Daemon
from testenv.upstream import Upstream, fin, say, stall, text, whole

TOO_LONG = whole(
    400,
    {
        "error": {
            "message": "This model's maximum context length is 8 tokens. However, you asked for 9",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        }
    },
)
FILTERED = whole(400, {"error": {"message": "no", "code": "content_policy_violation"}})


def groups(env, names: str, **router: Any) -> tuple[dict[str, Upstream], Daemon]:
    """A model server for each letter; each says its name."""
    upstreams = {name: env.openai() for name in names}
    for name, upstream in upstreams.items():
        upstream.always(*say(f"I am {name}"))
    models = {name: u.deployment(f"{name}-up") for name, u in upstreams.items()}
    return upstreams, env.start(models, router={"num_retries": 0, **router})


def words(answer: Any) -> str:
    return answer.json["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failure", [BROKEN, limited("1"), limited(), fin(), whole(400, {"error": {"message": "no"}})]
)
def test_after_any_failure(env, failure: Any, stream: bool) -> None:
    ups, sluice = groups(env, "mn", fallbacks=[{"m": ["n"]}])
    ups["m"].always(failure)
    answer = ask(sluice, stream=stream)
    check(answer, retries=0, fallbacks=1)
    assert b"I am n" in answer.body
    assert answer.header("x-litellm-model-group") == "n"
    assert ups["n"].requests()[0].json["model"] == "n-up"
    assert n_asked(*ups.values()) == [1, 1]
    record = sluice.wait_call_records(1)[0]
    assert (record["SLUICE_ATTEMPTS"], record["SLUICE_FALLBACKS"]) == ("2", "1")
    assert "sluice_fallbacks_total 1\n" in sluice.get("/metrics").body.decode()
    sluice.expect_idle()


def test_not_after_the_first_word(env) -> None:
    ups, sluice = groups(env, "mn", fallbacks=[{"m": ["n"]}])
    ups["m"].always(text("word"), fin())
    check_cut(sluice)
    assert n_asked(ups["n"]) == [0]
    sluice.expect_idle()


@pytest.mark.parametrize("failure, to", [(TOO_LONG, "c"), (FILTERED, "p"), (BROKEN, "g")])
def test_each_kind_has_its_list(env, failure: Any, to: str) -> None:
    ups, sluice = groups(
        env,
        "mcpg",
        fallbacks=[{"m": ["g"]}],
        context_window_fallbacks=[{"m": ["c"]}],
        content_policy_fallbacks=[{"m": ["p"]}],
    )
    ups["m"].always(failure)
    answer = ask(sluice)
    check(answer, retries=0, fallbacks=1)
    assert words(answer) == f"I am {to}"
    sluice.expect_idle()


def test_without_a_list_of_its_own_the_general_one(env) -> None:
    ups, sluice = groups(env, "mn", fallbacks=[{"*": ["n"]}])
    ups["m"].always(TOO_LONG)
    check(ask(sluice), retries=0, fallbacks=1)


def test_default_fallbacks(env) -> None:
    ups, sluice = groups(env, "mn", default_fallbacks=["n"])
    ups["m"].always(BROKEN)
    check(ask(sluice), retries=0, fallbacks=1)


def test_a_chain_with_a_loop_ends(env) -> None:
    """Each is asked once; the client hears of the model that it asked for."""
    ups, sluice = groups(env, "mno", fallbacks=[{"m": ["n"]}, {"n": ["o", "m"]}, {"o": ["m", "n"]}])
    ups["m"].always(limited("20"))
    ups["n"].always(BROKEN)
    ups["o"].always(BROKEN)
    answer = ask(sluice)
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert answer.header("retry-after") == "20"
    assert "2 fallbacks did not help: upstream_error" in answer.error["message"]
    assert n_asked(*ups.values()) == [1, 1, 1]
    sluice.expect_idle()


def test_a_group_whose_breaker_is_open(env) -> None:
    ups = {"m": env.openai(), "n": env.openai()}
    ups["m"].always(stall())
    ups["n"].always(*say("I am n"))
    fast = {"timeouts": {"first_byte": "300ms"}}
    router = {"num_retries": 0, "fallbacks": [{"m": ["n"]}], "disable_cooldowns": True}
    models = {name: u.deployment() for name, u in ups.items()}
    sluice = env.start(models, sluice=fast, router=router)
    for _ in range(5):
        check(ask(sluice), retries=0, fallbacks=1)
    assert n_asked(ups["m"]) == [3]  # HEALTH_FAILURES of daemon/core/health.h
    sluice.expect_idle()


def test_the_request_has_a_list_of_its_own(env) -> None:
    ups, sluice = groups(env, "mno", fallbacks=[{"m": ["n"]}])
    ups["m"].always(BROKEN)
    answer = ask(sluice, fallbacks=["nowhere", "o"])
    check(answer, retries=0, fallbacks=1)
    assert words(answer) == "I am o"
    for members in ({"disable_fallbacks": True}, {"fallbacks": []}):
        assert ask(sluice, **members).status == 502
    assert n_asked(ups["n"]) == [0]
    assert all("fallbacks" not in r.json for u in ups.values() for r in u.requests())


def test_a_prompt_that_cannot_fit_is_not_sent(env) -> None:
    small, large = env.openai(), env.openai()
    large.always(*say("I am large"))
    config = env.config(
        {"m": small.deployment(), "n": large.deployment()},
        router={
            "num_retries": 0,
            "enable_pre_call_checks": True,
            "context_window_fallbacks": [{"m": ["n"]}],
        },
    )
    config["model_list"][0]["model_info"] = {"max_input_tokens": 3}
    config["model_list"].append({**config["model_list"][0], "model_name": "alone"})
    sluice = env.start(json.dumps(config))
    prompt = [{"role": "user", "content": "these are five words more"}]
    check(ask(sluice, messages=prompt), retries=0, fallbacks=1)
    answer = ask(sluice, model="alone", messages=prompt)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert "5 tokens" in answer.error["message"] and "takes 3" in answer.error["message"]
    assert n_asked(small) == [0]
    sluice.expect_idle()


LONG = {
    "an embedding": ("embeddings", {"input": ["a", "one two three four"]}, "4 tokens at least"),
    "token ids to embed": ("embeddings", {"input": [[1], [1, 2, 3, 4, 5]]}, "5 tokens, and"),
    "token ids to go on with": ("completions", {"prompt": [1, 2, 3, 4, 5]}, "5 tokens, and"),
    "the second prompt": ("completions", {"prompt": ["a", "one two three four"]}, "4 tokens at least"),
}


@pytest.mark.parametrize("what", LONG)
def test_what_cannot_fit_says_both_numbers(env, what: str) -> None:
    """Embeddings and token ids as well; but not what the client lets the server cut."""
    server = env.openai()
    config = env.config(
        {"m": server.deployment()}, router={"num_retries": 0, "enable_pre_call_checks": True}
    )
    config["model_list"][0]["model_info"] = {"max_input_tokens": 3}
    sluice = env.start(json.dumps(config))
    path, members, said = LONG[what]
    answer = sluice.post(f"/v1/{path}", {"model": "m", **members})
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert said in answer.error["message"] and "takes 3" in answer.error["message"]
    assert n_asked(server) == [0]
    answer = sluice.post(f"/v1/{path}", {"model": "m", **members, "truncate_prompt_tokens": 3})
    assert n_asked(server) == [1], answer


def test_ollamas_context_is_a_limit_too(env) -> None:
    ollama = env.ollama()
    models = {
        "m": ollama.deployment("um", num_ctx=3),
        "cuts": ollama.deployment("uc", num_ctx=3, truncate=True),
    }
    sluice = env.start(
        json.dumps(env.config(models, router={"num_retries": 0, "enable_pre_call_checks": True}))
    )
    answer = sluice.post("/v1/embeddings", {"model": "m", "input": "one two three four"})
    assert answer.error["code"] == "context_length_exceeded"
    assert "4 tokens at least" in answer.error["message"] and "takes 3" in answer.error["message"]
    assert not ollama.requests()
    assert sluice.post("/v1/embeddings", {"model": "cuts", "input": "a b c d"}).status == 200


def test_rpc_learns_of_it(env) -> None:
    ups, sluice = groups(env, "mn", fallbacks=[{"m": ["n"]}])
    ups["m"].always(BROKEN)
    with sluice.rpc() as rpc:
        started = [e.started for e in rpc.chat("m") if e.WhichOneof("kind") == "started"]
    assert [(s.model, s.fallbacks) for s in started] == [("m", 0), ("n", 1)]
    sluice.expect_idle()

"""Which deployment serves a call: names, order, weights, tags, the device, cooldowns; LiteLLM's words, scripted model servers.

No call is tried again here (num_retries: 0 in each request): an answer is the one of the deployment that was picked.
"""

from __future__ import annotations

import json
import signal
from typing import Any, Optional

import pytest
import test_config
from testenv import cli
from testenv.daemon import Daemon, model
from testenv.http import Answer, chat_body
from testenv.ttrpc import ENGINE, RpcError
from testenv.upstream import ELSEWHERE, Gate, Upstream, end, say, text, wait_for, whole
from testenv.waiting import eventually
from test_messages import check_entry, wait_event

CHAT = "/v1/chat/completions"
NEVER_SEC = 600  # a cooldown that no test outlives
RATE_LIMITED = whole(429, {"error": {"message": "slow down"}})
BROKEN = whole(500, {"error": {"message": "broken"}})


def start(env, entries: list[dict[str, Any]], **settings: Any) -> Daemon:
    """A daemon with these entries of model_list and router_settings."""
    config = env.config({})
    config["model_list"] = entries
    config["router_settings"] = {"num_retries": 0, **settings}
    return env.start(json.dumps(config))


def body(name: str = "m", **members: Any) -> dict[str, Any]:
    return chat_body(name, num_retries=0, **members)


def ask(sluice: Daemon, name: str = "m", **members: Any) -> Answer:
    return sluice.post(CHAT, body(name, **members))


def count(*upstreams: Upstream) -> list[int]:
    return [len(u.requests()) for u in upstreams]


def listed(sluice: Daemon) -> list[str]:
    return [m["id"] for m in sluice.get("/v1/models").json["data"]]


def row(sluice: Daemon, i: int) -> Any:
    return sluice.status().deployments[i]


def check_no_deployments(answer: Answer, most_sec: int = 60) -> None:
    assert (answer.status, answer.error["code"]) == (429, "no_deployments_available"), answer.body
    assert answer.error["type"] == "rate_limit_error"
    assert 1 <= int(answer.header("retry-after") or "") <= most_sec
    assert answer.header("x-should-retry") == "true"


# ---------------------------------------------------------------------------------------------- names


def test_a_wildcard_asks_for_what_its_star_took(env, upstream: Upstream) -> None:
    upstream.always(*say("hi"))
    sluice = start(env, [model("edge/*", upstream.deployment("*"))])
    for name in ("qwen3:0.6b", "org/model", "ümlaut", "a*b"):
        assert ask(sluice, f"edge/{name}").status == 200
        assert upstream.requests()[-1].json["model"] == name
    answer = ask(sluice, "other/qwen3")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert listed(sluice) == []  # a pattern is no model
    assert sluice.get("/v1/models/edge/qwen3").status == 200
    assert sluice.get("/v1/models/other").status == 404


def test_a_star_for_all_providers(env) -> None:
    """Who serves is what the name says: its prefix, or a vendor's name without one; nobody else is asked."""
    ollama, openai = env.ollama(), env.openai()
    openai.always(*say("hi"))
    config = env.config({})
    config["model_list"] = [model("*", {"model": "*"})]
    config["environment_variables"] = {
        "OLLAMA_API_BASE": ollama.url,
        "OPENAI_BASE_URL": openai.api_base,
        "OPENAI_API_KEY": "sk-of-openai",
    }
    sluice = env.start(json.dumps(config))
    for name in ("ollama/tiny", "ollama_chat/org/tiny"):
        assert ask(sluice, name).status == 200
    assert [ex.json["model"] for ex in ollama.requests("chat")] == ["tiny", "org/tiny"]
    for name in ("gpt-4o", "openai/any/thing"):
        assert ask(sluice, name).status == 200
    assert [ex.json["model"] for ex in openai.requests()] == ["gpt-4o", "any/thing"]
    assert openai.requests()[0].headers["authorization"] == "Bearer sk-of-openai"
    for name in ("tiny", "groq/llama", "nobody/x"):
        answer = ask(sluice, name)
        assert (answer.status, answer.error["code"]) == (404, "model_not_found"), name
    assert count(ollama, openai) == [2, 2]


def test_a_fallback_of_a_vendors_name_without_its_prefix(env) -> None:
    """gpt-4o is served by openai/*, and its fallbacks are those of the name that was asked for."""
    broken, local = env.openai(), env.openai()
    broken.always(BROKEN)
    local.always(*say("hi"))
    entries = [model("openai/*", broken.deployment("*")), model("local", local.deployment())]
    sluice = start(env, entries, fallbacks=[{"gpt-4o": ["local"]}])
    assert ask(sluice, "gpt-4o").status == 200
    assert ask(sluice, "gpt-5").status != 200
    assert count(broken, local) == [2, 1]


def test_each_organization_is_a_deployment(env) -> None:
    upstream = env.openai()
    upstream.always(*say("hi"))
    params = upstream.deployment(organization=["org-1", "org-2"])
    sluice = start(env, [model("m", params)], routing_strategy="least-busy")
    for _ in range(40):
        assert ask(sluice).status == 200
    assert {ex.headers["openai-organization"] for ex in upstream.requests()} == {"org-1", "org-2"}
    assert len({d.id for d in sluice.status().deployments}) == 2


def test_the_most_particular_name_wins(env) -> None:
    rest, family, one = env.openai(), env.openai(), env.openai()
    for server in (rest, family, one):
        server.always(*say("hi"))
    sluice = start(
        env,
        [
            model("*", rest.deployment("any/*")),
            model("qwen*", family.deployment("family-*")),
            model("qwen3", one.deployment("exactly")),
        ],
    )
    for name in ("qwen3", "qwen2.5", "llama3", "openai/x"):
        assert ask(sluice, name).status == 200
    assert [e.json["model"] for e in one.requests()] == ["exactly"]
    assert [e.json["model"] for e in family.requests()] == ["family-2.5"]
    assert [e.json["model"] for e in rest.requests()] == ["any/llama3", "any/openai/x"]
    assert listed(sluice) == ["qwen3"]


def test_a_bare_name_is_tried_with_its_provider(env) -> None:
    server = env.openai()
    server.always(*say("hi"))
    sluice = start(env, [model("openai/*", server.deployment("*"))])
    assert ask(sluice, "gpt-4o-mini").status == 200
    assert server.requests()[-1].json["model"] == "gpt-4o-mini"
    assert ask(sluice, "llama3").status == 404  # nobody's, as far as the name says


def test_a_deployment_of_a_wildcard_names_no_model(env) -> None:
    """Its id says which server, not which model: 404, and what to ask for instead."""
    server = env.openai()
    entry = model("w/*", server.deployment("*"))
    sluice = start(env, [{**entry, "model_info": {"id": "wild"}}])
    answer = ask(sluice, "wild")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert '"wild" is a deployment for all models "w/*"' in answer.error["message"]
    assert not server.requests()


def test_aliases_lead_on_and_the_hidden_ones_are_not_listed(env) -> None:
    server = env.openai()
    server.always(*say("hi"))
    sluice = start(
        env,
        [model("m", server.deployment("m1")), model("w/*", server.deployment("*"))],
        model_group_alias={
            "gpt-4": "m",
            "secret": {"model": "m", "hidden": True},
            "wild": "w/thing",
            "dangling": "nothing",
        },
    )
    assert listed(sluice) == ["m", "gpt-4", "wild"]
    for name, expected in (("gpt-4", "m1"), ("secret", "m1"), ("wild", "thing")):
        assert ask(sluice, name).status == 200, name
        assert server.requests()[-1].json["model"] == expected
    answer = ask(sluice, "dangling")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert '"secret"' not in ask(sluice, "secrets").error["message"]  # nor suggested
    with sluice.rpc() as rpc:
        request = rpc.schema.ListModelsRequest()
        models = rpc.unary(ENGINE, "ListModels", request, "ListModelsResponse").models
    assert [m.name for m in models] == ["m", "gpt-4", "wild"]


def test_a_deployment_can_be_asked_for_by_its_id(env) -> None:
    one, two = env.openai(), env.openai()
    for server in (one, two):
        server.always(*say("hi"))
    sluice = start(
        env,
        [model("m", one.deployment(), id="first"), model("m", two.deployment(), id="second")],
    )
    for _ in range(8):
        assert ask(sluice, "second").status == 200
    assert count(one, two) == [0, 8]
    assert listed(sluice) == ["m"]


# ---------------------------------------------------------------------------------------------- order and weight


def test_the_lowest_order_is_waited_for_and_the_next_serves_when_it_cannot(env) -> None:
    """Local first: a busy one is waited for, one that cools down is not."""
    local, cloud = env.ollama(), env.openai()
    gate = Gate()
    local.next(wait_for(gate), *say("first"))
    local.next(*say("second"))
    local.always(RATE_LIMITED)
    cloud.always(*say("cloud"))
    sluice = start(
        env,
        [
            model("m", cloud.deployment(order=2)),
            model("m", local.deployment(order=1, max_parallel_requests=1)),
        ],
        cooldown_time=NEVER_SEC,
    )
    running, waiting = sluice.http(), sluice.http()
    running.send_request("POST", CHAT, body())
    local.wait_request()
    waiting.send_request("POST", CHAT, body())
    eventually(lambda: sluice.status().calls_queued == 1, "the second call waits")
    gate.open()
    assert running.read_answer().status == waiting.read_answer().status == 200
    assert count(local, cloud) == [2, 0]

    answer = ask(sluice)
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    for _ in range(3):
        assert ask(sluice).status == 200
    assert count(local, cloud) == [3, 3]


def test_without_an_order_behind_all_that_have_one(env) -> None:
    ordered, other = env.openai(), env.openai()
    for server in (ordered, other):
        server.always(*say("hi"))
    sluice = start(env, [model("m", other.deployment()), model("m", ordered.deployment(order=7))])
    for _ in range(8):
        assert ask(sluice).status == 200
    assert count(ordered, other) == [8, 0]


def test_weights(env) -> None:
    """Some of the chances are nil, so that no count depends on luck."""
    heavy, light, none = env.openai(), env.openai(), env.openai()
    for server in (heavy, light, none):
        server.always(*say("hi"))
    sluice = start(
        env,
        [
            model("m", none.deployment()),
            model("m", heavy.deployment(weight=9)),
            model("m", light.deployment(weight=1)),
        ],
    )
    for _ in range(200):
        assert ask(sluice).status == 200
    n_heavy, n_light, n_none = count(heavy, light, none)
    assert n_none == 0
    assert n_heavy + n_light == 200
    # 180 expected; below 130 or above 199 once in 10^8 runs
    assert 130 < n_heavy < 200


def test_without_weights_nobody_is_left_out(env) -> None:
    servers = [env.openai() for _ in range(3)]
    for server in servers:
        server.always(*say("hi"))
    sluice = start(env, [model("m", s.deployment()) for s in servers])
    for _ in range(90):
        assert ask(sluice).status == 200
    assert min(count(*servers)) > 5  # 30 expected; fewer than 6 once in 10^8 runs


def test_least_busy(env) -> None:
    servers = [env.openai() for _ in range(4)]
    gate = Gate()
    for server in servers:
        server.always(wait_for(gate), *say("hi"))
    entries = [model("m", s.deployment(max_parallel_requests=4)) for s in servers]
    sluice = start(env, entries, routing_strategy="least-busy")
    calls = [sluice.http() for _ in range(8)]
    for n, call in enumerate(calls):
        call.send_request("POST", CHAT, body())
        eventually(lambda: sum(count(*servers)) == n + 1, "the call runs")
    assert count(*servers) == [2, 2, 2, 2]
    gate.open()
    assert {call.read_answer().status for call in calls} == {200}


def test_latency_based_routing_tries_the_unknown_first(env) -> None:
    """(That it then prefers the quick is a unit test's: no time here could be relied upon.)"""
    servers = [env.openai() for _ in range(4)]
    for server in servers:
        server.always(*say("hi"))
    entries = [model("m", s.deployment()) for s in servers]
    sluice = start(env, entries, routing_strategy="latency-based-routing")
    for _ in servers:
        assert ask(sluice).status == 200
    assert count(*servers) == [1, 1, 1, 1]


# ---------------------------------------------------------------------------------------------- tags and the device


def tagged(env, *tags: Optional[list[str]]) -> tuple[list[Upstream], list[dict[str, Any]]]:
    servers = [env.openai() for _ in tags]
    for server in servers:
        server.always(*say("hi"))
    entries = [
        model("m", s.deployment(**({"tags": t} if t else {}))) for s, t in zip(servers, tags)
    ]
    return servers, entries


def served_by(sluice: Daemon, servers: list[Upstream], n: int = 12, **members: Any) -> set[int]:
    """Which of the servers answered n calls."""
    before = count(*servers)
    for _ in range(n):
        answer = ask(sluice, **members)
        assert answer.status == 200, answer.body
    return {i for i, (a, b) in enumerate(zip(before, count(*servers))) if a != b}


def test_tags_choose(env) -> None:
    servers, entries = tagged(env, ["free", "eu"], ["paid"], ["default"])
    sluice = start(env, entries, enable_tag_filtering=True)
    assert served_by(sluice, servers, metadata={"tags": ["free"]}) == {0}
    assert served_by(sluice, servers, tags=["paid"]) == {1}
    assert served_by(sluice, servers) == {2}
    assert served_by(sluice, servers, tags=["nobody's"]) == {2}
    answer = sluice.post(CHAT, body(), headers={"x-litellm-tags": "paid"})
    assert (answer.status, count(servers[1])) == (200, [13])


def test_tags_that_nobody_has_are_refused(env) -> None:
    servers, entries = tagged(env, ["free", "eu"], ["paid", "eu"], ["paid"])
    sluice = start(env, entries, enable_tag_filtering=True, tag_filtering_match_any=False)
    assert served_by(sluice, servers, tags=["paid", "eu"]) == {1}
    for tags in (["nobody's"], ["paid", "free"]):
        answer = ask(sluice, tags=tags)
        assert (answer.status, answer.error["code"]) == (403, "no_matching_deployment")
        assert answer.header("x-should-retry") != "true"
        assert answer.header("retry-after") is None
    assert sum(count(*servers)) == 12


def test_without_the_filter_tags_say_nothing(env) -> None:
    servers, entries = tagged(env, ["free"])
    sluice = start(env, entries)
    assert served_by(sluice, servers, n=1, tags=["nobody's"]) == {0}


def far(server: Upstream, **params: Any) -> dict[str, Any]:
    """A deployment that sluice does not know to be at this machine."""
    params = {"api_base": server.api_base.replace("127.0.0.1", ELSEWHERE), **params}
    return server.deployment(**params)


STAY = {"x-sluice-local-only": "true"}


def test_a_call_may_forbid_leaving_the_device(env) -> None:
    local, cloud = env.ollama(), env.openai()
    for server in (local, cloud):
        server.always(*say("hi"))
    sluice = start(
        env,
        [
            model("m", far(cloud, order=1)),
            model("m", local.deployment(order=2)),
            model("cloud", far(cloud)),
        ],
    )
    assert ask(sluice).status == 200
    assert count(local, cloud) == [0, 1]
    assert sluice.post(CHAT, body(), headers=STAY).status == 200
    assert count(local, cloud) == [1, 1]
    answer = sluice.post(CHAT, body("cloud"), headers=STAY)
    assert answer.status in (403, 503) and answer.error["code"] != "upstream_unreachable"
    assert answer.header("x-should-retry") != "true"
    assert count(cloud) == [1]


def test_a_local_only_deployment_is_never_left(env) -> None:
    local, cloud = env.ollama(), env.openai()
    local.always(RATE_LIMITED)
    cloud.always(*say("hi"))
    sluice = start(
        env,
        [model("m", local.deployment(tags=["local_only"])), model("m", far(cloud))],
        cooldown_time=NEVER_SEC,
    )
    assert ask(sluice).error["code"] == "rate_limit_exceeded"
    check_no_deployments(ask(sluice))
    assert count(local, cloud) == [1, 0]


# ---------------------------------------------------------------------------------------------- cooldowns


def pair(first: Upstream, second: Upstream, **params: Any) -> list[dict[str, Any]]:
    """Two deployments, the second behind the first."""
    return [
        model("m", first.deployment(order=1, **params), id="first"),
        model("m", second.deployment(order=2), id="second"),
    ]


def test_a_rate_limit_cools_and_it_ends_by_itself(env, upstream: Upstream) -> None:
    other = env.openai()
    upstream.next(RATE_LIMITED)
    upstream.always(*say("back"))
    other.always(*say("other"))
    sluice = start(env, pair(upstream, other), cooldown_time=1)
    assert ask(sluice).status == 429
    assert row(sluice, 0).unavailable_reason == "cooling down for 1 s after: rate limit"
    assert ask(sluice).json["choices"][0]["message"]["content"] == "other"
    eventually(lambda: row(sluice, 0).available, "the cooldown is over")
    assert ask(sluice).json["choices"][0]["message"]["content"] == "back"


@pytest.mark.parametrize(
    "status, cause", [(401, "refused key"), (404, "missing model"), (429, "rate limit")]
)
def test_what_will_fail_again_cools_at_once(env, status: int, cause: str) -> None:
    bad, good = env.openai(), env.openai()
    bad.always(whole(status, {"error": {"message": "no"}}))
    good.always(*say("good"))
    sluice = start(env, pair(bad, good), cooldown_time=NEVER_SEC)
    assert ask(sluice).status >= 400
    assert row(sluice, 0).unavailable_reason.endswith(f"after: {cause}")
    assert [ask(sluice).status for _ in range(5)] == [200] * 5
    assert count(bad, good) == [1, 5]


def test_errors_cool_when_they_are_more_than_half_of_five(env, upstream: Upstream) -> None:
    good = env.openai()
    upstream.always(BROKEN)
    good.always(*say("good"))
    sluice = start(env, pair(upstream, good), cooldown_time=NEVER_SEC)
    assert [ask(sluice).status for _ in range(8)] == [502] * 5 + [200] * 3
    assert row(sluice, 0).unavailable_reason.endswith("after: server error")


def test_allowed_fails(env) -> None:
    bad, good = env.openai(), env.openai()
    bad.always(BROKEN)
    good.always(*say("good"))
    sluice = start(env, pair(bad, good), cooldown_time=NEVER_SEC, allowed_fails=1)
    assert [ask(sluice).status for _ in range(4)] == [502] * 2 + [200] * 2


def test_what_is_wrong_with_a_request_cools_nobody(env) -> None:
    picky, other = env.openai(), env.openai()
    picky.always(whole(400, {"error": {"message": "bad temperature"}}))
    sluice = start(env, pair(picky, other), cooldown_time=NEVER_SEC, allowed_fails=0)
    assert [ask(sluice).status for _ in range(8)] == [400] * 8
    assert count(other) == [0]


@pytest.mark.parametrize("where", ["deployment", "off"])
def test_cooldowns_can_be_forbidden(env, where: str) -> None:
    bad, other = env.openai(), env.openai()
    bad.always(RATE_LIMITED)
    params = {"cooldown_time": 0} if where == "deployment" else {}
    sluice = start(env, pair(bad, other, **params), disable_cooldowns=where == "off")
    assert [ask(sluice).error["code"] for _ in range(5)] == ["rate_limit_exceeded"] * 5
    assert count(bad, other) == [5, 0]


def test_who_is_alone_is_not_cooled(env) -> None:
    bad = env.openai()
    bad.always(RATE_LIMITED)
    sluice = start(env, [model("m", bad.deployment())], cooldown_time=NEVER_SEC)
    assert [ask(sluice).error["code"] for _ in range(5)] == ["rate_limit_exceeded"] * 5


def test_the_server_may_ask_for_longer(env) -> None:
    bad, good = env.openai(), env.openai()
    bad.always(whole(429, {"error": {"message": "slow down"}}, {"Retry-After": "300"}))
    good.always(*say("good"))
    sluice = start(env, pair(bad, good), cooldown_time=1)
    assert ask(sluice).status == 429
    seconds = int(row(sluice, 0).unavailable_reason.split()[3])
    assert 290 < seconds <= 300


def test_all_cool_down_and_nobody_waits(env) -> None:
    one, two = env.openai(), env.openai()
    gate = Gate()
    one.always(RATE_LIMITED)
    two.next(wait_for(gate), RATE_LIMITED)
    sluice = start(
        env,
        [
            model("m", one.deployment(order=1)),
            model("m", two.deployment(order=2, max_parallel_requests=1)),
        ],
        cooldown_time=NEVER_SEC,
    )
    assert ask(sluice).status == 429
    running, waiting = sluice.http(), sluice.http()
    running.send_request("POST", CHAT, body())
    two.wait_request()
    waiting.send_request("POST", CHAT, body())
    eventually(lambda: sluice.status().calls_queued == 1, "the call waits")
    gate.open()
    assert running.read_answer().error["code"] == "rate_limit_exceeded"
    check_no_deployments(waiting.read_answer())  # it learns at once
    check_no_deployments(ask(sluice))
    with sluice.rpc() as rpc, pytest.raises(RpcError) as caught:
        list(rpc.chat("m"))
    assert caught.value.detail.code == "no_deployments_available"
    assert caught.value.detail.retry_after_usec == 60e6  # what clients still take
    assert count(one, two) == [1, 1]
    sluice.expect_idle()


def test_a_call_that_waits_runs_when_a_cooldown_ends(env) -> None:
    """Of one order: the one that cools down is not waited for, and taken when it is back."""
    cooled, busy = env.openai(), env.openai()
    cooled.next(RATE_LIMITED)
    cooled.always(*say("back"))
    gate = Gate()
    busy.always(wait_for(gate), *say("busy"))
    sluice = start(
        env,
        [
            model("m", cooled.deployment(max_parallel_requests=1), id="cooled"),
            model("m", busy.deployment(max_parallel_requests=1), id="busy"),
        ],
        cooldown_time=1,
    )
    running = sluice.http()
    running.send_request("POST", CHAT, body("busy"))
    busy.wait_request()
    assert ask(sluice).status == 429
    assert ask(sluice).json["choices"][0]["message"]["content"] == "back"  # 1 s later
    assert count(cooled, busy) == [2, 1]
    gate.open()
    assert running.read_answer().status == 200


def test_a_reload_keeps_cooldowns_and_changes_the_rest(env) -> None:
    bad, good = env.openai(), env.openai()
    bad.next(RATE_LIMITED)
    bad.always(*say("bad"))
    good.always(*say("good"))
    entries = pair(bad, good)
    sluice = start(env, entries, cooldown_time=NEVER_SEC)
    assert ask(sluice).status == 429

    def reload(settings: dict[str, Any]) -> None:
        config = {**env.config({}), "model_list": entries, "router_settings": settings}
        test_config.reload(sluice, json.dumps(config))

    entries[0]["litellm_params"]["order"] = 5
    entries[0]["litellm_params"]["tags"] = ["slow"]
    reload({"num_retries": 0})
    assert "cooling down" in row(sluice, 0).unavailable_reason
    assert ask(sluice).status == 200
    entries[0]["litellm_params"].update(api_key="sk-other", order=1)
    reload({"num_retries": 0})  # another key: nothing is known of it
    assert row(sluice, 0).available
    assert ask(sluice).json["choices"][0]["message"]["content"] == "bad"


# ---------------------------------------------------------------------------------------------- rates


def test_rates_are_limits_where_they_are_enforced(env) -> None:
    limited, other = env.openai(), env.openai()
    for server in (limited, other):
        server.always(*say("hi"))
    checks = {"optional_pre_call_checks": ["enforce_model_rate_limits"]}
    sluice = start(env, pair(limited, other, rpm=2), **checks)
    for _ in range(4):
        assert ask(sluice).status == 200
    assert count(limited, other) == [2, 2]
    assert row(sluice, 0).unavailable_reason == "its rpm or tpm are used up"

    alone = start(env, [model("m", limited.deployment(rpm=2))], **checks)
    assert [ask(alone).status for _ in range(2)] == [200, 200]
    check_no_deployments(ask(alone), most_sec=30)

    weights = start(env, [model("m", limited.deployment(rpm=2))])
    assert [ask(weights).status for _ in range(5)] == [200] * 5


def test_tokens_are_limits_where_they_are_enforced(env) -> None:
    server = env.openai()
    server.always(text("hi"), end(tokens_in=50, tokens_out=50))
    sluice = start(
        env,
        [model("m", server.deployment(tpm=60))],
        optional_pre_call_checks=["enforce_model_rate_limits"],
    )
    assert ask(sluice).status == 200
    check_no_deployments(ask(sluice))


def test_operators_see_why(env) -> None:
    bad = env.openai()
    bad.always(RATE_LIMITED)
    sluice = start(env, pair(bad, env.openai()), cooldown_time=NEVER_SEC)
    assert ask(sluice).status == 429
    shown = cli.run(sluice, "show", "m").stdout.decode()
    assert "cooling down for" in shown and "rate limit" in shown
    with sluice.rpc() as rpc:
        request = rpc.schema.ListModelsRequest()
        listed = rpc.unary(ENGINE, "ListModels", request, "ListModelsResponse").models[0]
    assert (listed.deployments, listed.available_deployments) == (2, 1)
    sluice.signal(signal.SIGUSR1)
    cooled = wait_event(sluice, "cooldown")
    assert (cooled["SLUICE_DEPLOYMENT"], cooled["SLUICE_REASON"]) == ("first", "rate limit")
    assert cooled["SLUICE_COOLDOWN_USEC"] == str(NEVER_SEC * 1_000_000)
    check_entry(cooled)
    first = sluice.wait_record(lambda r: "state: deployment first " in str(r), "its state")
    assert "order=1" in str(first) and "cooling down for" in str(first)

"""Local first, the cloud behind it, and what never leaves the device.

Whether a deployment is local follows from its address. No test may call far away: where nobody is to be asked, the "cloud" is a name that
does not resolve (RFC 6761: .invalid), so a call that left the device would end as upstream_unreachable; where it is to answer, it is a scripted
server by an address of which sluice does not know that it is this machine's (testenv.upstream.ELSEWHERE).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_config import reload
from test_retries import BROKEN, CHAT, ask, check, n_asked
from testenv.http import chat_body
from testenv.ttrpc import text_of
from testenv.upstream import ELSEWHERE, RefusingPort, Upstream, rst, say, whole

LOCAL_ONLY = {"x-sluice-local-only": "true"}
CLOUD = {"model": "openai/big", "api_base": "https://cloud.invalid/v1", "api_key": "sk-x"}


def cloud_at(server: Upstream) -> dict[str, Any]:
    return server.deployment("big", api_base=f"http://{ELSEWHERE}:{server.port}/v1")


def start(env, models: dict[str, Any], **router: Any) -> Any:
    return env.start(models, router={"num_retries": 0, "disable_cooldowns": True, **router})


def test_local_first_then_the_cloud(env) -> None:
    """The failure is that of the local model; that the cloud was asked stands behind it."""
    local = env.openai()
    local.always(BROKEN)
    sluice = start(env, {"m": local.deployment(), "cloud": CLOUD}, fallbacks=[{"m": ["cloud"]}])
    answer = ask(sluice)
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert "1 fallback did not help: upstream_unreachable" in answer.error["message"]
    record = sluice.wait_call_records(1)[0]
    assert record["SLUICE_FALLBACKS"] == "1"
    sluice.expect_idle()


TOO_LONG = whole(400, {"error": {"message": "too long", "code": "context_length_exceeded"}})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failure, kind", [(BROKEN, "fallbacks"), (rst(), "fallbacks"), (TOO_LONG, "context_window_fallbacks")]
)
def test_the_cloud_answers(env, failure: Any, kind: str, stream: bool) -> None:
    """Another model behind the local one: who answered stands in the headers, in the body and in the record."""
    local, cloud = env.openai(), env.openai()
    local.always(failure)
    cloud.always(*say("From", " afar"))
    models = {"m": local.deployment(), "cloud": cloud_at(cloud)}
    sluice = start(env, models, **{kind: [{"m": ["cloud"]}]})
    answer = ask(sluice, stream=stream)
    check(answer, retries=0, fallbacks=1)
    assert b"afar" in answer.body
    assert answer.header("x-litellm-model-group") == "cloud"
    deployments = {d.model: d.id for d in sluice.status().deployments}
    assert answer.header("x-litellm-model-id") == deployments["cloud"]
    assert cloud.wait_request().json["model"] == "big"
    record = sluice.wait_call_records(1)[0]
    assert (record["SLUICE_OUTCOME"], record["SLUICE_DEPLOYMENT"]) == ("completed", deployments["cloud"])
    sluice.expect_idle()


@pytest.mark.parametrize("stream", [False, True])
def test_the_cloud_answers_in_the_same_group(env, stream: bool) -> None:
    """order: the local one that is down first, and the local one again as soon as it is there."""
    local, cloud, port = env.openai(), env.openai(), env.closing(RefusingPort())
    local.always(*say("From", " here"))
    cloud.always(*say("From", " afar"))
    gone = local.deployment("small", order=1, api_base=port.url)
    far = {**cloud_at(cloud), "order": 2}
    sluice = start(env, {"m": [gone, far]}, num_retries=1)
    answer = ask(sluice, stream=stream)
    check(answer, retries=1)
    assert b"afar" in answer.body
    assert answer.header("x-litellm-model-group") == "m"
    assert answer.header("x-litellm-model-id") == sluice.status().deployments[1].id
    back = env.config({"m": [local.deployment("small", order=1), far]})
    reload(sluice, json.dumps(back))
    answer = ask(sluice, stream=stream)
    check(answer, retries=0)
    assert b"here" in answer.body
    assert n_asked(local, cloud) == [1, 1]
    sluice.expect_idle()


def test_rpc_learns_that_the_cloud_answered(env) -> None:
    local, cloud = env.openai(), env.openai()
    local.always(BROKEN)
    cloud.always(*say("From", " afar"))
    models = {"m": local.deployment(), "cloud": cloud_at(cloud)}
    sluice = start(env, models, fallbacks=[{"m": ["cloud"]}])
    with sluice.rpc() as rpc:
        events = list(rpc.chat("m"))
    assert text_of(events) == "From afar"
    started = [e.started for e in events if e.WhichOneof("kind") == "started"]
    assert (started[-1].model, started[-1].fallbacks) == ("cloud", 1)
    sluice.expect_idle()


def test_the_cloud_that_would_answer_is_not_asked(env) -> None:
    """Nothing of a call that must stay reaches it, whoever wants that: the request or the deployment."""
    local, kept, cloud = env.openai(), env.openai(), env.openai()
    local.always(BROKEN)
    kept.always(BROKEN)
    models = {
        "m": local.deployment(),
        "kept": kept.deployment(tags=["local_only"]),
        "cloud": cloud_at(cloud),
    }
    sluice = start(env, models, fallbacks=[{"*": ["cloud"]}])
    assert ask(sluice, headers=LOCAL_ONLY).status == 502
    assert ask(sluice, model="kept").status == 502
    assert n_asked(local, kept, cloud) == [1, 1, 0]
    sluice.expect_idle()


def test_a_request_that_must_not_leave(env) -> None:
    local, other = env.openai(), env.openai()
    local.always(BROKEN)
    other.always(*say("still here"))
    models = {"m": [local.deployment(), CLOUD], "cloud": CLOUD, "n": other.deployment()}
    sluice = start(env, models, fallbacks=[{"m": ["cloud", "n"]}])
    for _ in range(4):
        check(ask(sluice, headers=LOCAL_ONLY), retries=0, fallbacks=1)
    answer = sluice.post(CHAT, chat_body(model="cloud"), headers=LOCAL_ONLY)
    assert (answer.status, answer.error["code"]) == (503, "local_only")
    assert answer.header("x-should-retry") == "false"
    assert answer.header("retry-after") is None
    assert n_asked(local, other) == [4, 4]
    outcomes = [r["SLUICE_ATTEMPTS"] for r in sluice.wait_call_records(5)]
    assert outcomes == ["2", "2", "2", "2", "0"]
    sluice.expect_idle()


def test_a_local_only_deployment_is_never_left(env) -> None:
    local = env.openai()
    local.always(BROKEN)
    models = {"m": local.deployment(tags=["local_only"]), "cloud": CLOUD}
    sluice = start(env, models, fallbacks=[{"m": ["cloud"]}])
    answer = ask(sluice)
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert "fallback" not in answer.error["message"]
    sluice.expect_idle()


def test_nothing_local_is_told_before_anything_is_asked(env) -> None:
    config = env.config({"m": CLOUD})
    sluice = env.start(json.dumps(config))
    answer = ask(sluice, headers=LOCAL_ONLY)
    assert (answer.status, answer.error["code"]) == (503, "local_only")
    assert sluice.wait_call_records(1)[0]["SLUICE_ATTEMPTS"] == "0"

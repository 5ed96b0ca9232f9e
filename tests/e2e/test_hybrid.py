"""Local first, the cloud behind it, and what never leaves the device.

Whether a deployment is local follows from its address. No test may call far away: the "cloud" is a name that does not resolve
(RFC 6761: .invalid), so a call that left the device would end as upstream_unreachable.
"""

from __future__ import annotations

import json
from typing import Any

from test_retries import BROKEN, CHAT, ask, check, n_asked
from testenv.http import chat_body
from testenv.upstream import say

LOCAL_ONLY = {"x-sluice-local-only": "true"}
CLOUD = {"model": "openai/big", "api_base": "https://cloud.invalid/v1", "api_key": "sk-x"}


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

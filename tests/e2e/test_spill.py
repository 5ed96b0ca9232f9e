"""sluice.spill: calls that leave the device under load, and those that must not.

"Elsewhere" is a scripted server by an address of which sluice does not know that it is this machine's (testenv.upstream.ELSEWHERE). Levels come from a kernel's file of our own (test_pressure.py).
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterator, Optional

import pytest
from test_cli_explain import explain
from test_config import reload
from test_hybrid import LOCAL_ONLY
from test_pressure import Kernel
from test_residency import Device
from test_residency import settings as memory_settings
from test_retries import BROKEN, CHAT, ask, n_asked
from testenv.cli import OK, run
from testenv.http import Answer, Http, chat_body, contents
from testenv.rules import check_complete
from testenv.ttrpc import text_of
from testenv.upstream import ELSEWHERE, Gate, RefusingPort, Upstream, say, wait_for
from testenv.waiting import eventually

BY_WAIT = {"predicted_wait": "1ms"}
BY_LEVEL = {"level": "elevated"}


def elsewhere(server: Upstream, **params: Any) -> dict[str, Any]:
    api_base = server.api_base.replace("127.0.0.1", ELSEWHERE)
    return server.deployment("big", **{"api_base": api_base, "max_parallel_requests": 4, **params})


def settings(env: Any, spill: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Calls wait for long, so that only what spills does not."""
    queue = {"patience": {"interactive": "60s"}, "wait": {"interactive": "60s"}}
    root = str(env.directory / "root")
    pressure = {"enabled": True, "kernel_root": root} if "level" in spill else {"enabled": False}
    return {"spill": spill, "queue": queue, "pressure": pressure, **more}


def routes(**more: Any) -> dict[str, Any]:
    return {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"m": ["cloud"]}], **more}


def start(env: Any, models: dict[str, Any], spill: dict[str, Any], **more: Any) -> Any:
    return env.start(models, sluice=settings(env, spill, **more), router=routes())


def spilled(answer: Answer) -> Optional[str]:
    return answer.header("x-sluice-spilled")


def n_spilled(sluice: Any) -> dict[str, int]:
    """As /metrics and the status have it, which are to say the same."""
    found = re.findall(r'sluice_spills_total\{reason="(\w+)"\} (\d+)', sluice.get("/metrics").body.decode())
    s = sluice.status()
    told = {"level": s.calls_spilled_level, "predicted_wait": s.calls_spilled_wait, "no_room": s.calls_spilled_room}
    assert told == {reason: int(n) for reason, n in found}
    return {reason: n for reason, n in told.items() if n}


def test_status_and_top_count_them(env) -> None:
    def page(*args: str) -> str:
        result = run(pair.sluice, *args)
        assert result.returncode == OK
        return result.stdout.decode()

    pair = Pair(env, env.openai(), env.openai(), BY_WAIT)
    assert "spilled" not in page("status") and "spilled" not in page("top", "-n", "1"), "nothing to tell"
    pair.wait_long()
    for _ in range(2):
        assert spilled(ask(pair.sluice)) == "predicted_wait"
    pair.finish()
    assert "\nspilled   since start 0 by level, 2 by predicted wait, 0 for want of memory\n" in page("status")
    looks = page("top", "-n", "2", "--interval", "100ms")
    assert looks.count("by level 0, by wait 2, for memory 0\n") == 2 and "spilled  0.0 calls/s; " in looks
    for command in (("status", "--json"), ("top", "--json", "-n", "1")):
        shown = json.loads(page(*command))
        assert [shown[f"calls_spilled_{x}"] for x in ("level", "wait", "room")] == [0, 2, 0]


class Pair:
    """A device with one slot, which a call holds, and a machine elsewhere."""

    def __init__(self, env: Any, here: Upstream, there: Upstream, spill: dict[str, Any], **models: Any):
        self.here, self.there, self.gate = here, there, Gate()
        there.always(*say("From", " afar"))
        here.next(*say("first"))
        here.next(wait_for(self.gate), *say("held"))
        here.always(*say("From", " here"))
        models = {"m": here.deployment(), "cloud": elsewhere(there), **models}
        limits = routes(optional_pre_call_checks=["enforce_model_rate_limits"])
        self.sluice = env.start(models, sluice=settings(env, spill), router=limits)
        assert contents_of(ask(self.sluice)) == "first"  # from now on it is known how long they take
        self.holder: Http = env.closing(self.sluice.http())
        self.holder.send_request("POST", CHAT, chat_body())
        here.wait_request(2)

    def wait_long(self) -> None:
        """Until the one that runs has run for so long that more is expected of it."""
        eventually(lambda: explain(self.sluice, "m")["verdict"] == "spilled", "the wait is too long")

    def finish(self) -> None:
        self.gate.open()
        assert self.holder.read_answer().status == 200
        self.sluice.expect_idle()


def contents_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return answer.json["choices"][0]["message"]["content"]


@pytest.fixture
def kernel(env) -> Iterator[Kernel]:
    k = Kernel(env.directory / "root")
    yield k
    k.close()


def raise_level(sluice: Any, kernel: Kernel, level: int) -> None:
    """Memory is looked at while calls come."""
    kernel.some_permille, kernel.full_permille = {1: (150, 0), 3: (600, 400)}[level]

    def is_raised() -> bool:
        sluice.post(CHAT, chat_body(model="look"))
        return sluice.status().pressure_level == level

    eventually(is_raised, f"level {level}", 20)


def fall(sluice: Any, kernel: Kernel) -> None:
    kernel.some_permille = kernel.full_permille = 0

    def has_fallen() -> bool:
        sluice.post(CHAT, chat_body(model="look"))
        return sluice.status().pressure_level == 0

    eventually(has_fallen, "level 0", 40)


LOOK = {"model": "openai/x", "mock_response": "hi"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialects", ["ollama openai", "openai openai", "openai ollama"])
def test_at_a_predicted_wait(env, dialects: str, stream: bool) -> None:
    here, there = (env.upstream(name) for name in dialects.split())
    pair = Pair(env, here, there, BY_WAIT)
    pair.wait_long()
    answer = ask(pair.sluice, stream=stream)
    assert answer.status == 200 and b"afar" in answer.body
    assert spilled(answer) == "predicted_wait"
    assert answer.header("x-litellm-model-group") == "cloud"
    assert answer.header("x-litellm-attempted-fallbacks") == "1"
    pair.finish()
    records = {r["SLUICE_OUTCOME"]: r for r in pair.sluice.wait_call_records(3) if "SLUICE_SPILLED" in r}
    assert records["completed"]["SLUICE_SPILLED"] == "predicted_wait"
    assert n_spilled(pair.sluice) == {"predicted_wait": 1}


def test_rpc_says_so(env) -> None:
    pair = Pair(env, env.openai(), env.openai(), BY_WAIT)
    pair.wait_long()
    with pair.sluice.rpc() as rpc:
        events = list(rpc.chat("m"))
    started = [e.started for e in events if e.WhichOneof("kind") == "started"]
    assert [(s.model, s.spilled) for s in started] == [("cloud", "predicted_wait")]
    assert text_of(events) == "From afar"
    pair.finish()


def test_what_must_stay_waits(env) -> None:
    pair = Pair(env, env.openai(), env.openai(), BY_WAIT)
    pair.wait_long()
    stays = env.closing(pair.sluice.http())
    stays.send_request("POST", CHAT, chat_body(), headers=LOCAL_ONLY)
    eventually(lambda: pair.sluice.status().calls_queued == 1, "it waits")
    pair.finish()
    answer = stays.read_answer()
    assert contents_of(answer) == "From here" and spilled(answer) is None
    assert n_asked(pair.there) == [0]


def test_explained(env) -> None:
    pair = Pair(env, env.openai(), env.openai(), BY_WAIT)
    pair.wait_long()
    said = explain(pair.sluice, "m")
    assert "would spill to cloud on another machine, because of the wait here" in said["text"]
    assert explain(pair.sluice, "cloud")["verdict"] == "admitted"
    assert n_spilled(pair.sluice) == {} and n_asked(pair.there) == [0], "nothing happened"
    pair.finish()


def test_not_unless_it_is_said(env) -> None:
    """Who waits, waits."""
    pair = Pair(env, env.openai(), env.openai(), {})
    waits = env.closing(pair.sluice.http())
    waits.send_request("POST", CHAT, chat_body())
    eventually(lambda: pair.sluice.status().calls_queued == 1, "it waits")
    assert explain(pair.sluice, "m")["verdict"] == "queued"
    pair.finish()
    assert contents_of(waits.read_answer()) == "From here"
    assert n_asked(pair.there) == [0]


def test_nobody_is_there(env) -> None:
    """Back to the queue of this device, and served by it."""
    there, port = env.openai(), env.closing(RefusingPort())
    down = there.deployment("big", api_base=port.url.replace("127.0.0.1", ELSEWHERE) + "/v1")
    pair = Pair(env, env.openai(), there, BY_WAIT, cloud=down)
    pair.wait_long()
    back = env.closing(pair.sluice.http())
    back.send_request("POST", CHAT, chat_body(), headers={"x-request-id": "traveller"})
    eventually(lambda: pair.sluice.status().calls_queued == 1, "it is back")
    said = explain(pair.sluice, "traveller")
    assert "spilled to another machine (predicted_wait), and came back" in said["text"]
    pair.finish()
    answer = back.read_answer()
    assert contents_of(answer) == "From here" and spilled(answer) is None
    record = [r for r in pair.sluice.wait_call_records(3) if "SLUICE_SPILLED" in r]
    assert [(r["SLUICE_OUTCOME"], r["SLUICE_ATTEMPTS"]) for r in record] == [("completed", "2")]
    assert n_spilled(pair.sluice) == {"predicted_wait": 1}


def test_its_own_limits(env) -> None:
    """rpm of the deployment elsewhere holds: the second one waits here."""
    there = env.openai()
    pair = Pair(env, env.openai(), there, BY_WAIT, cloud=elsewhere(there, rpm=1))
    pair.wait_long()
    assert spilled(ask(pair.sluice)) == "predicted_wait"
    waits = env.closing(pair.sluice.http())
    waits.send_request("POST", CHAT, chat_body())
    eventually(lambda: pair.sluice.status().calls_queued == 1, "it waits here")
    assert "nobody elsewhere takes it now" in explain(pair.sluice, "m")["text"]
    pair.finish()
    assert contents_of(waits.read_answer()) == "From here"
    assert n_asked(there) == [1]


def test_at_a_level_and_back(env, kernel: Kernel) -> None:
    here, there = env.ollama(), env.openai()
    here.always(*say("From", " here"))
    there.always(*say("From", " afar"))
    models = {"m": here.deployment(), "cloud": elsewhere(there), "look": LOOK}
    sluice = start(env, models, BY_LEVEL)
    assert spilled(ask(sluice)) is None
    raise_level(sluice, kernel, 1)
    for stream in (False, True):
        answer = ask(sluice, stream=stream)
        assert b"afar" in answer.body and spilled(answer) == "level"
    kept = ask(sluice, headers=LOCAL_ONLY)
    assert contents_of(kept) == "From here" and spilled(kept) is None
    assert "because of the level of memory" in explain(sluice, "m")["text"]
    fall(sluice, kernel)
    answer = ask(sluice)
    assert contents_of(answer) == "From here" and spilled(answer) is None
    assert n_spilled(sluice) == {"level": 2}
    sluice.expect_idle()


def test_in_the_same_group(env, kernel: Kernel) -> None:
    here, there = env.openai(), env.openai()
    here.always(*say("From", " here"))
    there.always(*say("From", " afar"))
    models = {"m": [here.deployment(order=1), elsewhere(there, order=2)], "look": LOOK}
    sluice = start(env, models, BY_LEVEL)
    assert contents_of(ask(sluice)) == "From here"
    raise_level(sluice, kernel, 1)
    answer = ask(sluice)
    assert contents_of(answer) == "From afar" and spilled(answer) == "level"
    assert answer.header("x-litellm-model-group") == "m"
    assert answer.header("x-litellm-attempted-fallbacks") == "0"
    sluice.expect_idle()


@pytest.mark.timeout(90)
def test_where_nothing_runs_any_more(env, kernel: Kernel) -> None:
    """L3: what may leave is served all the same, the rest is told why it is not."""
    here, there = env.openai(), env.openai()
    here.always(*say("From", " here"))
    there.always(*say("From", " afar"))
    kept = here.deployment(tags=["local_only"])
    models = {"m": here.deployment(), "kept": kept, "cloud": elsewhere(there), "look": LOOK}
    sluice = start(env, models, {"level": "critical"})
    raise_level(sluice, kernel, 3)
    batch = {"x-sluice-class": "batch"}
    assert spilled(ask(sluice, headers=batch)) == "level"
    for model, headers in (("m", {**LOCAL_ONLY, **batch}), ("kept", batch)):
        answer = sluice.post(CHAT, chat_body(model=model), headers=headers)
        assert (answer.status, answer.error["code"]) == (503, "memory_pressure")
        assert answer.error["message"].endswith("the call must not leave this device")
        assert answer.header("retry-after")
    with sluice.rpc() as rpc:
        assert text_of(list(rpc.chat("m"))) == "From afar"
    there.always(BROKEN)
    answer = ask(sluice, headers=batch)
    assert (answer.status, answer.error["code"]) == (503, "memory_pressure")
    assert "another machine was asked instead (level): upstream_error" in answer.error["message"]
    sluice.expect_idle()


@pytest.mark.parametrize("spill", [{"predicted_wait": "10s"}, {"level": "emergency"}])
def test_a_model_that_has_no_room(env, spill: dict[str, Any]) -> None:
    """It is no wait and no level: the model cannot be loaded here."""
    here, there = env.ollama(), env.openai()
    Device(env.directory / "root", here, huge=2300)
    there.always(*say("From", " afar"))
    models = {"m": here.deployment("huge"), "cloud": elsewhere(there)}
    memory = memory_settings(env)
    sluice = env.start(models, sluice={**memory, "spill": spill}, router=routes())
    answer = ask(sluice)
    assert contents_of(answer) == "From afar" and spilled(answer) == "no_room"
    assert "because of too little room for the model" in explain(sluice, "m")["text"]
    answer = ask(sluice, headers=LOCAL_ONLY)
    assert (answer.status, answer.error["code"]) == (422, "model_exceeds_device")
    assert answer.error["message"].endswith("the call must not leave this device")
    assert not here.requests("load") and n_spilled(sluice) == {"no_room": 1}
    sluice.expect_idle()


def test_a_reload_changes_it(env, kernel: Kernel) -> None:
    here, there = env.openai(), env.openai()
    here.always(*say("From", " here"))
    there.always(*say("From", " afar"))
    models = {"m": here.deployment(), "cloud": elsewhere(there), "look": LOOK}
    sluice = start(env, models, {"level": "off"})
    raise_level(sluice, kernel, 1)
    assert spilled(ask(sluice)) is None
    for level, want in (("elevated", "level"), ("high", None), ("elevated", "level"), ("off", None)):
        config = env.config(models, sluice=settings(env, {"level": level}), router=routes())
        reload(sluice, json.dumps(config))
        assert spilled(ask(sluice)) == want
    sluice.expect_idle()


def test_who_waits_follows(env, kernel: Kernel) -> None:
    """The head of its stream is out, with a comment on its place: another says that it has left."""
    here, there = env.openai(), env.openai()
    there.always(*say("From", " afar"))
    gate = Gate()
    here.next(wait_for(gate), *say("held"))
    models = {"m": here.deployment(), "cloud": elsewhere(there), "look": LOOK}
    sluice = start(env, models, BY_LEVEL, timeouts={"heartbeat": "100ms"})
    holder, waits = env.closing(sluice.http()), env.closing(sluice.http())
    holder.send_request("POST", CHAT, chat_body())
    here.wait_request()
    waits.send_request("POST", CHAT, chat_body(stream=True))
    head = waits.read_head()
    assert head.header("x-sluice-spilled") is None
    raise_level(sluice, kernel, 1)
    events = list(waits.sse(head))
    assert [": spilled, level"] in [e.lines for e in events]
    check_complete(events)
    assert contents(events) == "From afar"
    gate.open()
    assert contents_of(holder.read_answer()) == "held"
    sluice.expect_idle()

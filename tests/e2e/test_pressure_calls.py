"""Running calls that are ended for the memory of their model, on a device of 2000 MiB whose memory the models take.

At L3 (PSI) a model that serves only batch and background calls is emptied and unloaded. At L4 (hardly anything is left) calls
end by class down to one interactive call, and after 5 s that one too. Before them go those that wait: from L3 on who cannot be served.
"""

from __future__ import annotations

import os
import time
from typing import Any, Iterator

import pytest
from test_pressure import Kernel
from test_residency import Device, calls
from testenv import ttrpc
from testenv.daemon import Daemon
from testenv.http import Answer, Http, chat_body, contents
from testenv.rules import check_broken, check_complete
from testenv.ttrpc import RpcError, text_of
from testenv.upstream import Gate, Upstream, end, text, wait_for
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
CRITICAL_OTHERS, EMERGENCY_OTHERS = 800, 1170  # MiB, with a model of 800: short for PSI, and nearly nothing


class KeptDevice(Device):
    """Written in place and of constant length: what watches the pressure keeps the file open."""

    def write(self) -> None:
        with self.lock:
            left = max(self.available, 0) * 1024
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(fd, f"MemTotal: {2000 * 1024:8} kB\nMemAvailable: {left:8} kB\n".encode(), 0)
            os.close(fd)


class Place:
    """sluice, the device and its kernel, and an Ollama whose answers stop in the middle."""

    def __init__(self, env: Any, slots: int = 6, **takes: int):
        self.env = env
        self.upstream: Upstream = env.ollama()
        self.device = KeptDevice(env.directory / "root", self.upstream, **takes)
        self.kernel = Kernel(env.directory / "root")
        self.gate = Gate()
        self.n = 0
        settings = {
            "slots": slots,
            "memory": {"prompt_cache": "0B", "pin_threads": False},
            "pressure": {"enabled": True, "kernel_root": str(env.directory / "root")},
        }
        models = {name: self.upstream.deployment(name) for name in takes}
        self.sluice: Daemon = env.start(models, sluice=settings)

    def script(self, has_begun: bool) -> None:
        self.upstream.next(*([text("before")] if has_begun else []), wait_for(self.gate), text(" after"), end())
        self.n += 1

    def call(self, klass: str, model: str = "a", stream: bool = False, has_begun: bool = False) -> Http:
        """Granted, and at the model server."""
        self.script(has_begun)
        http = self.env.closing(self.sluice.http())
        http.send_request("POST", CHAT, chat_body(model, stream=stream), headers={"x-sluice-class": klass})
        self.upstream.wait_request(self.n, "chat")
        return http

    def relieved(self) -> int:
        metrics = self.sluice.get("/metrics").body.decode()
        return int(metrics.split("\nsluice_calls_relieved_total ")[1].split()[0])

    def level(self) -> int:
        return int(self.sluice.status().pressure_level)


@pytest.fixture
def places(env) -> Iterator[Any]:
    made: list[Place] = []

    def make(slots: int = 6, **takes: int) -> Place:
        made.append(Place(env, slots, **takes))
        return made[-1]

    yield make
    for place in made:
        place.gate.open()
        place.kernel.close()
        place.sluice.expect_idle()


def check_refused(http: Http, least_sec: int = 15) -> None:
    """Not begun: as if it had been refused."""
    answer = http.read_answer()
    assert answer.status == 503 and answer.error["code"] == "memory_pressure", answer
    assert "stopped" in answer.error["message"]
    assert least_sec <= float(answer.header("retry-after") or "0") <= 60


def test_critical_ends_what_keeps_a_model_for_batch(places) -> None:
    place = places(a=800)
    place.device.use(CRITICAL_OTHERS)
    stream = place.call("background", stream=True, has_begun=True)
    plain = place.call("batch")
    head = stream.read_head()
    assert head.status == 200
    with place.sluice.rpc() as rpc:
        place.script(True)
        batch = {"class": rpc.schema.value("Class", "CLASS_BATCH")}
        events = rpc.chat("a", **batch)
        got = [next(events), next(events)]
        place.upstream.wait_request(3, "chat")

        place.kernel.some_permille, place.kernel.full_permille = 600, 400
        check_broken(list(stream.sse(head)), "memory_pressure")
        check_refused(plain)
        with pytest.raises(RpcError) as e:
            got.extend(events)
        assert e.value.code == ttrpc.UNAVAILABLE and e.value.detail.code == "memory_pressure"
        assert e.value.detail.retry_after_usec >= 15_000_000
        assert text_of(got) == "before"
    eventually(lambda: calls(place.upstream, "unload") == ["a"], "its memory is back")
    assert place.relieved() == 3
    assert place.device.available == 1200
    outcomes = [r["SLUICE_OUTCOME"] for r in place.sluice.wait_call_records(3)]
    assert outcomes == ["memory_pressure"] * 3
    metrics = place.sluice.get("/metrics").body.decode()
    assert int(metrics.split('sluice_sheds_total{reason="memory_pressure"} ')[1].split()[0]) >= 3


def test_critical_leaves_a_model_that_somebody_waits_for(places) -> None:
    """One call of two is interactive: the end of the other would free nothing."""
    place = places(a=800)
    place.device.use(CRITICAL_OTHERS)
    batch, gate = place.call("batch"), place.gate
    place.gate = Gate()  # one each: were the person's answer over first, the other would be alone at the model, and end
    person = place.call("interactive")
    place.kernel.some_permille, place.kernel.full_permille = 600, 400
    eventually(lambda: place.level() == 3, "critical", 20)
    since = time.monotonic()
    eventually(lambda: time.monotonic() > since + 2 and place.level() == 3, "it stays so for more than a pace")
    gate.open()
    assert batch.read_answer().status == 200
    place.gate.open()
    assert person.read_answer().status == 200
    assert place.relieved() == 0


def told(http: Http) -> Answer:
    """Refused while it waited."""
    answer = http.read_answer()
    assert answer.status == 503 and answer.error["code"] == "memory_pressure", answer
    assert answer.error["message"] == "memory ran short while the call waited for a slot"
    return answer


def waiting(place: Place, klass: str, stream: bool = False) -> Http:
    n = place.sluice.status().calls_queued
    http: Http = place.env.closing(place.sluice.http())
    http.send_request("POST", CHAT, chat_body("a", stream=stream), headers={"x-sluice-class": klass})
    eventually(lambda: place.sluice.status().calls_queued == n + 1, "it waits")
    return http


def test_critical_refuses_those_that_wait(places) -> None:
    """Not at the end of their time (two and ten minutes), but at once, the lower class first; the person behind them is served."""
    place = places(slots=1, a=800)
    place.device.use(CRITICAL_OTHERS)
    holder = place.call("interactive")
    background, batch, person = waiting(place, "background"), waiting(place, "batch"), waiting(place, "interactive")
    place.kernel.some_permille, place.kernel.full_permille = 600, 400
    for http in (background, batch):
        assert 15 <= float(told(http).header("retry-after") or "0") <= 30
    outcomes = [(r["SLUICE_CLASS"], r["SLUICE_OUTCOME"]) for r in place.sluice.wait_call_records(2)]
    assert outcomes == [("background", "memory_pressure"), ("batch", "memory_pressure")]
    assert place.level() == 3 and place.relieved() == 0 and place.sluice.status().calls_queued == 1
    place.script(False)
    place.gate.open()
    assert holder.read_answer().status == person.read_answer().status == 200


def test_an_emergency_refuses_all_that_wait(places) -> None:
    place = places(slots=1, a=800)
    kept = place.call("interactive", stream=True, has_begun=True)
    head = kept.read_head()
    background, person = waiting(place, "background"), waiting(place, "interactive")
    with place.sluice.rpc() as rpc:
        events = rpc.chat("a", **{"class": rpc.schema.value("Class", "CLASS_BATCH")})
        assert next(events).WhichOneof("kind") == "queued"
        place.device.use(EMERGENCY_OTHERS)
        assert float(told(background).header("retry-after") or "0") >= 30
        with pytest.raises(RpcError) as e:
            list(events)
        assert e.value.code == ttrpc.UNAVAILABLE and e.value.detail.code == "memory_pressure"
    assert 10 <= float(told(person).header("retry-after") or "0") <= 30  # served as soon as memory is there
    place.gate.open()
    check_complete(list(kept.sse(head)))
    classes = [r["SLUICE_CLASS"] for r in place.sluice.wait_call_records(4)]
    assert classes[:3] == ["background", "batch", "interactive"]


@pytest.mark.timeout(90)
def test_emergency_ends_calls_by_class_and_the_last_one_after_a_while(places) -> None:
    place = places(a=800)
    low = place.call("background", stream=True, has_begun=True)
    batch = place.call("batch")
    kept = place.call("interactive", stream=True, has_begun=True)
    newer = place.call("interactive")
    low_head, kept_head = low.read_head(), kept.read_head()
    place.device.use(EMERGENCY_OTHERS)
    check_broken(list(low.sse(low_head)), "memory_pressure")
    check_refused(batch)
    check_refused(newer, 10)
    assert place.relieved() == 3 and not place.upstream.requests("unload")
    check_broken(list(kept.sse(kept_head)), "memory_pressure")
    eventually(lambda: calls(place.upstream, "unload") == ["a"], "everything is unloaded")
    records = place.sluice.wait_call_records(4)
    assert [r["SLUICE_CLASS"] for r in records] == ["background", "batch", "interactive", "interactive"]
    assert {r["SLUICE_OUTCOME"] for r in records} == {"memory_pressure"}
    left = [e.peer_left_at for e in place.upstream.requests("chat")]
    place.upstream.settle()
    assert all(x is not None for x in left)
    ends = [left[0], left[1], left[3], left[2]]
    gaps = [b - a for a, b in zip(ends, ends[1:])]
    assert all(gap > 0.9 for gap in gaps), "one at a time"
    assert gaps[2] > 4.5, "the last one is kept for a while"


@pytest.mark.timeout(90)
def test_an_emergency_that_passes_keeps_one(places) -> None:
    place = places(a=800)
    batch, person = place.call("batch"), place.call("interactive", stream=True, has_begun=True)
    head = person.read_head()
    place.device.use(EMERGENCY_OTHERS)
    check_refused(batch)
    place.gate.open()
    events = list(person.sse(head))
    check_complete(events)
    assert contents(events) == "before after"
    eventually(lambda: calls(place.upstream, "unload") == ["a"], "idle, it goes")
    assert place.relieved() == 1


def test_memory_that_others_take_costs_nobody_an_answer(places) -> None:
    """Of 2000 MiB the model has 150: its end would help nobody."""
    place = places(a=210)
    place.device.takes["a"] = 150
    place.upstream.sizes["a"] = 0
    background = place.call("background")
    place.device.use(2000 - 150 - 30)
    eventually(lambda: place.level() == 4, "an emergency", 20)
    since = time.monotonic()
    eventually(lambda: time.monotonic() > since + 2, "longer than a pace")
    assert place.relieved() == 0
    place.gate.open()
    assert background.read_answer().status == 200


def test_other_servers_are_left_alone(env, places) -> None:
    """A server whose models sluice does not unload frees nothing when its calls end."""
    place = places(a=800)
    other = env.openai()
    gate = Gate()
    other.next(text("before"), wait_for(gate), text(" after"), end())
    place.sluice.stop()
    models = {"a": place.upstream.deployment("a"), "o": other.deployment()}
    root = str(env.directory / "root")
    settings = {"memory": {"prompt_cache": "0B"}, "pressure": {"enabled": True, "kernel_root": root}}
    place.sluice = env.start(models, sluice=settings)
    with place.sluice.http() as stays:
        stays.send_request("POST", CHAT, chat_body("o", stream=True), headers={"x-sluice-class": "background"})
        other.wait_request()
        place.script(False)
        here = env.closing(place.sluice.http())
        here.send_request("POST", CHAT, chat_body("a"), headers={"x-sluice-class": "batch"})
        place.upstream.wait_request(1, "chat")
        place.device.use(EMERGENCY_OTHERS)
        check_refused(here)
        gate.open()
        events = list(stays.sse(stays.read_head()))
        check_complete(events)
        assert contents(events) == "before after"
    assert place.relieved() == 1

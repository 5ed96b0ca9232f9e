"""What may be in the memory of this device: a /proc/meminfo of our own, and an Ollama whose models take of it.

The device has 2000 MiB, of which 240 stay free after a load (12 %); others use 400. What a model needs is computed from the
size of its file (1.1 x it + 200 MiB), and asked is a quarter more.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any, Callable

import pytest
from test_messages import wait_event
from testenv.daemon import Daemon, mock
from testenv.http import Answer, chat_body
from testenv.kernel import Tree, meminfo
from testenv.ttrpc import CONTROL, Response
from testenv.upstream import Gate, Upstream, end, fin, text, wait_for, whole
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
MIB = 1 << 20
TOTAL, OTHERS, RESERVE = 2000, 400, 240


class Loaded(set):
    """The models in memory; the device looks on."""

    def __init__(self, on_change: Callable[[], None]):
        super().__init__()
        self.on_change = on_change

    def add(self, name: str) -> None:
        super().add(name)
        self.on_change()

    def discard(self, name: str) -> None:
        super().discard(name)
        self.on_change()

    def clear(self) -> None:
        super().clear()
        self.on_change()


class Device:
    """Memory that models take: MiB by name, beside what the server says of them."""

    def __init__(self, root: Path, upstream: Upstream, **takes: int):
        self.path = root / "proc" / "meminfo"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = threading.Lock()
        self.takes = takes
        self.others = OTHERS
        self.upstream = upstream
        self.least = TOTAL
        upstream.loaded = Loaded(self.write)
        upstream.has = list(takes)
        # what makes 1.1 x file + 200 MiB of it
        upstream.sizes = {n: int((t - 200) / 1.1) * MIB for n, t in takes.items()}
        self.write()

    @property
    def available(self) -> int:
        return TOTAL - self.others - sum(self.takes[m] for m in set(self.upstream.loaded))

    def write(self) -> None:
        with self.lock:
            self.least = min(self.least, self.available)
            new = self.path.with_suffix(".new")
            new.write_text(
                f"MemTotal:     {TOTAL * 1024:8} kB\nMemFree:      1 kB\nMemAvailable: {max(self.available, 0) * 1024:8} kB\n"
            )
            os.rename(new, self.path)

    def use(self, mib: int) -> None:
        self.others = mib
        self.write()


def settings(env: Any, **sluice: Any) -> dict[str, Any]:
    memory = {"prompt_cache": "0B", "pin_threads": False}
    root = str(env.directory / "root")
    return {"pressure": {"enabled": False, "kernel_root": root}, "memory": memory, **sluice}


def start(env: Any, takes: dict[str, int], **sluice: Any) -> tuple[Device, Upstream, Daemon]:
    upstream = env.ollama()
    device = Device(env.directory / "root", upstream, **takes)
    models = {n: upstream.deployment(n) for n in takes}
    return device, upstream, env.start(models, sluice=settings(env, **sluice))


def chat(sluice: Daemon, model: str) -> Answer:
    return sluice.post(CHAT, chat_body(model))


def calls(upstream: Upstream, *kinds: str) -> list[str]:
    return [e.json["model"] for e in upstream.requests(*kinds)]


# ---------------------------------------------------------------------------------------------- what fits


def test_a_model_that_fits_is_loaded_and_stays(env) -> None:
    device, upstream, sluice = start(env, {"a": 700, "b": 400})
    for model in ("a", "b", "a", "b"):
        assert chat(sluice, model).status == 200
    assert calls(upstream, "load") == ["a", "b"] and not upstream.requests("unload")
    assert device.least >= RESERVE


def test_two_that_do_not_fit_together_take_turns(env) -> None:
    device, upstream, sluice = start(env, {"a": 800, "b": 900})
    for model in ("a", "b", "a", "b"):
        answer = chat(sluice, model)
        assert answer.status == 200, answer
    assert calls(upstream, "load") == ["a", "b", "a", "b"]
    assert calls(upstream, "unload") == ["a", "b", "a"]
    assert device.least >= RESERVE, "they were in memory together"
    room = wait_event(sluice, "model_makes_room")
    assert (room["SLUICE_MODEL"], room["SLUICE_FOR_MODEL"]) == ("a", "b")


def test_two_clients_that_alternate(env) -> None:
    """Both are served, and never both are in memory."""
    device, upstream, sluice = start(env, {"a": 800, "b": 900}, queue={"wait": {"interactive": "25s"}})
    statuses: dict[str, list[int]] = {"a": [], "b": []}

    def client(model: str) -> None:
        for _ in range(4):
            statuses[model].append(chat(sluice, model).status)

    threads = [threading.Thread(target=client, args=(m,)) for m in statuses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == {"a": [200] * 4, "b": [200] * 4}
    assert device.least >= RESERVE
    assert len(upstream.requests("load")) <= 8


def test_a_model_in_use_is_not_unloaded(env) -> None:
    device, upstream, sluice = start(env, {"a": 800, "b": 900})
    gate = Gate()
    upstream.next(text("x"), wait_for(gate), end())
    busy = env.closing(sluice.http())
    busy.send_request("POST", CHAT, chat_body("a"))
    upstream.wait_request()
    other = env.closing(sluice.http())
    other.send_request("POST", CHAT, chat_body("b"))
    eventually(lambda: sluice.status().calls_queued == 1, "b waits for its turn")
    assert not upstream.requests("unload")
    gate.open()
    assert busy.read_answer().status == 200
    assert other.read_answer().status == 200
    assert calls(upstream, "unload") == ["a"] and device.least >= RESERVE


def test_what_ollama_holds_already_is_not_loaded_twice(env) -> None:
    """Loaded behind our back, or before a restart of sluice: there is no room for a second one."""
    device, upstream, sluice = start(env, {"a": 1200})
    upstream.loaded.add("a")
    assert device.available < 1200
    assert chat(sluice, "a").status == 200
    assert not upstream.requests("unload")


def test_a_server_that_was_restarted(env) -> None:
    device, upstream, sluice = start(env, {"a": 800, "b": 900})
    assert chat(sluice, "a").status == 200
    upstream.loaded.clear()  # by somebody else
    assert chat(sluice, "b").status == 200
    assert device.least >= RESERVE


# ---------------------------------------------------------------------------------------------- what does not


def test_a_model_that_can_never_fit(env) -> None:
    _, upstream, sluice = start(env, {"huge": 2300, "small": 300})
    assert chat(sluice, "huge").status == 422
    error = chat(sluice, "huge").error
    assert (error["type"], error["code"]) == ("invalid_request_error", "model_exceeds_device")
    for number in ("2299 MiB", "2000 MiB", "160 MiB"):
        assert number in error["message"], error
    assert not upstream.requests("load")
    assert chat(sluice, "small").status == 200


def test_a_model_that_exceeds_falls_back(env) -> None:
    upstream = env.ollama()
    Device(env.directory / "root", upstream, huge=2300)
    models = {"huge": upstream.deployment("huge"), "other": mock("from afar")}
    router = {"num_retries": 0, "fallbacks": [{"huge": ["other"]}]}
    sluice = env.start(models, sluice=settings(env), router=router)
    answer = chat(sluice, "huge")
    assert answer.json["choices"][0]["message"]["content"] == "from afar"
    assert not upstream.requests("load")


def test_no_room_whatever_is_unloaded(env) -> None:
    device, upstream, sluice = start(env, {"a": 800})
    device.use(1500)
    answer = chat(sluice, "a")
    assert (answer.status, answer.error["code"]) == (503, "model_loading_budget")
    assert answer.header("x-should-retry") == "true" and answer.header("retry-after")
    assert "240 MiB" in answer.error["message"]
    device.use(OTHERS)
    eventually(lambda: chat(sluice, "a").status == 200, "it is loaded")


def test_a_load_that_was_killed_is_not_repeated(env) -> None:
    _, upstream, sluice = start(env, {"a": 800})
    upstream.on_load(whole(500, {"error": "llama-server process has terminated: signal: killed"}))
    answer = chat(sluice, "a")
    assert (answer.status, answer.error["code"]) == (503, "model_load_killed")
    for _ in range(5):
        answer = chat(sluice, "a")
        assert (answer.status, answer.error["code"]) == (503, "model_quarantined")
    assert answer.header("retry-after") == "60"
    assert calls(upstream, "load") == ["a"]


def test_a_server_that_lies_about_sizes(env) -> None:
    """It says 300 MiB, and its load takes all there is: the load is stopped before the kernel does it."""
    device, upstream, sluice = start(env, {"a": 300})

    def grow(ex: Any) -> None:
        device.use(TOTAL - 50)
        ex.wait(timeout=20)

    upstream.on_load(grow)
    answer = chat(sluice, "a")
    assert (answer.status, answer.error["code"]) == (503, "model_load_killed"), answer
    stopped = wait_event(sluice, "model_load_stopped")
    assert stopped["SLUICE_MODEL"] == "a"
    assert upstream.requests("load")[0].peer_left.wait(10), "the load goes on"
    device.use(OTHERS)
    assert chat(sluice, "a").error["code"] == "model_quarantined"


def test_an_unload_that_is_never_confirmed(env) -> None:
    """The list has it for ever: who needs the room is refused in time, and nothing is stuck."""
    _, upstream, sluice = start(env, {"a": 800, "b": 900}, queue={"wait": {"interactive": "11s"}})
    assert chat(sluice, "a").status == 200
    upstream.on_unload(whole(200, {"done": True, "done_reason": "unload"}))
    answer = chat(sluice, "b")
    assert (answer.status, answer.error["code"]) == (503, "queue_timeout"), answer
    assert wait_event(sluice, "unload_stuck")["SLUICE_MODEL"] == "a"
    assert calls(upstream, "load") == ["a"]
    assert chat(sluice, "a").status == 200


def test_room_that_an_operator_makes(env) -> None:
    """Who waits for it waits for that unload; there is no second one beside it."""
    device, upstream, sluice = start(env, {"a": 800, "b": 900})
    assert chat(sluice, "a").status == 200
    gate = Gate()
    upstream.on_unload(wait_for(gate))
    operator = sluice.rpc()
    stream_id = operator.start(CONTROL, "Unload", operator.schema.UnloadRequest(model="a").SerializeToString())
    upstream.wait_request(1, "unload")
    states = {d.model: d.memory_state for d in sluice.status().deployments}
    assert states["a"] == "unloading"
    waiting = env.closing(sluice.http())
    waiting.send_request("POST", CHAT, chat_body("b"))
    eventually(lambda: sluice.status().calls_queued == 1, "b waits for room")
    late = env.closing(sluice.http())
    late.send_request("POST", CHAT, chat_body("a"))
    eventually(lambda: sluice.status().calls_queued == 2, "a is not begun while it goes")
    gate.open()
    assert Response.decode(operator.recv_on(stream_id).payload).code == 0
    assert waiting.read_answer().status == late.read_answer().status == 200
    assert calls(upstream, "unload")[0] == "a" and device.least >= RESERVE
    assert len(upstream.requests("unload")) == len(upstream.requests("load")) - 1 == 2


def test_a_server_that_dies_during_a_load(env) -> None:
    """Once may be chance; twice in ten minutes is not. No reservation stays behind."""
    _, upstream, sluice = start(env, {"a": 800})
    upstream.on_load(fin())
    codes = [chat(sluice, "a").error["code"] for _ in range(3)]
    assert codes[2] == "model_quarantined" and "model_quarantined" not in codes[:2], codes
    begun = len(upstream.requests("load"))
    assert chat(sluice, "a").error["code"] == "model_quarantined" and len(upstream.requests("load")) == begun
    sluice.expect_idle()
    upstream.on_load()
    assert sluice.status().quarantines == 1


def test_a_call_that_is_refused_before_its_load(env) -> None:
    """At a wildcard that is in use all the time: what was set aside for it is free again at once."""
    upstream = env.ollama()
    Device(env.directory / "root", upstream, a=300, b=300, c=300)
    sluice = env.start({"*": upstream.deployment("*", max_parallel_requests=2)}, sluice=settings(env))
    gate = Gate()
    upstream.next(text("x"), wait_for(gate), end())
    busy = env.closing(sluice.http())
    busy.send_request("POST", CHAT, chat_body("a"))
    upstream.wait_request()
    answer = sluice.post(CHAT, {**chat_body("b"), "logit_bias": {"1": 1}})
    assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter"), answer
    assert sluice.status().reservations == 0
    assert chat(sluice, "c").status == 200
    gate.open()
    assert busy.read_answer().status == 200
    assert calls(upstream, "load") == ["a", "c"]


def test_those_who_are_refused_do_not_come_back_together(env) -> None:
    device, upstream, sluice = start(env, {"a": 800})
    device.use(1500)
    told = {chat(sluice, "a").header("retry-after-ms") for _ in range(12)}
    assert len(told) > 6 and all(15_000 <= int(ms or 0) <= 21_000 for ms in told)


def test_a_daemon_that_stood_still_during_a_load(env) -> None:
    """A suspended device: the load is over, time has passed, memory is another. The call is answered, and nothing is stuck."""
    device, upstream, sluice = start(env, {"a": 800, "b": 900})
    gate = Gate()
    upstream.on_load(wait_for(gate))
    with sluice.http() as waiting:
        waiting.send_request("POST", CHAT, chat_body("a"))
        upstream.wait_request(1, "load")
        os.kill(sluice.pid, signal.SIGSTOP)
        gate.open()
        device.use(500)
        os.kill(sluice.pid, signal.SIGCONT)
        assert waiting.read_answer().status == 200
    upstream.on_load()
    device.use(OTHERS)
    assert chat(sluice, "b").status == 200 and device.least >= RESERVE
    sluice.expect_idle()


def test_a_model_that_somebody_else_loads_meanwhile(env) -> None:
    """Behind our back, into the room that b would have taken: b waits until that one has gone, and is not killed."""
    device, upstream, sluice = start(env, {"a": 1000, "b": 900})
    upstream.loaded.add("a")
    answer = chat(sluice, "b")
    assert (answer.status, answer.error["code"]) == (503, "model_loading_budget")
    assert not upstream.requests("load")
    upstream.loaded.discard("a")
    eventually(lambda: chat(sluice, "b").status == 200, "b is loaded")
    assert device.least >= RESERVE


def test_a_server_that_says_nothing_of_its_models(env) -> None:
    """Without a size nothing is held back."""
    _, upstream, sluice = start(env, {"a": 800})
    upstream.on_tags(whole(500, b"no"))
    assert chat(sluice, "a").status == 200


def test_a_client_that_leaves_while_its_model_loads(env) -> None:
    _, upstream, sluice = start(env, {"a": 800})
    gate = Gate()
    upstream.on_load(wait_for(gate))
    http = sluice.http()
    http.send_request("POST", CHAT, chat_body("a"))
    upstream.wait_request(1, "load")
    http.close()
    eventually(lambda: sluice.status().calls_running == 0, "its call is over")
    gate.open()
    upstream.on_load()
    assert chat(sluice, "a").status == 200
    assert calls(upstream, "load") == ["a"]


# ---------------------------------------------------------------------------------------------- limits of a group

GROUP = "system.slice/ollama.service"


def start_in_group(env: Any, tree: Tree, takes: dict[str, int]) -> tuple[Upstream, Daemon]:
    upstream = env.ollama()
    upstream.has, upstream.sizes = list(takes), {n: int((t - 200) / 1.1) * MIB for n, t in takes.items()}
    memory = {"prompt_cache": "0B", "pin_threads": False}
    pressure = {**tree.settings, "group": f"/{GROUP}"}
    return upstream, env.start({n: upstream.deployment(n) for n in takes}, sluice={"pressure": pressure, "memory": memory})


@pytest.mark.parametrize("is_v1", [False, True])
def test_a_limit_of_the_servers_group(env, is_v1: bool) -> None:
    """The device has room for all of it, the group of its server has not: Ollama does not look at that."""
    tree = Tree(env.directory)
    tree.put("proc/meminfo", meminfo(7500, 8000))
    tree.put_group(GROUP, 1000, 100, is_v1)
    upstream, sluice = start_in_group(env, tree, {"huge": 1300, "a": 1160, "b": 300})
    answer = chat(sluice, "huge")
    assert (answer.status, answer.error["code"]) == (422, "model_exceeds_device")
    assert "1000 MiB" in answer.error["message"]
    answer = chat(sluice, "a")
    assert (answer.status, answer.error["code"]) == (503, "model_loading_budget")
    assert "120 MiB" in answer.error["message"]
    assert not upstream.requests("load")
    assert chat(sluice, "b").status == 200


def test_a_limit_that_comes_later(env) -> None:
    """The unit is given a limit while the daemon runs: the next load heeds it."""
    tree = Tree(env.directory)
    tree.put_group(GROUP, 1900, 100)
    upstream, sluice = start_in_group(env, tree, {"a": 500, "b": 500})
    assert chat(sluice, "a").status == 200
    limit = lambda: tree.put_group(GROUP, 1200, 100 + 500 * len(set(upstream.loaded)))  # noqa: E731
    upstream.loaded = Loaded(limit)
    upstream.loaded.add("a")
    eventually(lambda: chat(sluice, "a").status == 200 and sluice.status().memory_bytes >> 20 == 1200, "the limit is seen")
    assert chat(sluice, "b").status == 200
    assert calls(upstream, "unload") == ["a"], "both were loaded"


@pytest.mark.slow
def test_an_idle_daemon_with_a_model_looks_now_and_then(env) -> None:
    """No trigger of the kernel, no calls: the level rises all the same, and the model goes. Without one nothing is read."""
    tree = Tree(env.directory)
    tree.remove("proc/pressure")
    upstream, sluice = start_in_group(env, tree, {"a": 500})
    assert chat(sluice, "a").status == 200
    sluice.expect_idle()
    tree.put("proc/meminfo", meminfo(100))
    eventually(lambda: calls(upstream, "unload") == ["a"], "the idle model is unloaded", timeout=60)


# ---------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"MemTotal: x kB\nMemAvailable: 1 kB\n",
        b"MemTotal: 2048000 kB\n",
        b"MemTotal: 99999999999999999999 kB\nMemAvailable: 1 kB\n",
        b"MemTotal: 2048000 kB\nMemAvail",
        b"\0" * 4096,
    ],
)
def test_a_kernel_that_says_nothing_usable(env, content: bytes | None) -> None:
    """Then there is no budget, and it is said once."""
    device, upstream, _ = start(env, {"a": 1900})
    device.path.unlink()
    if content is not None:
        device.path.write_bytes(content)
    device.write = lambda: None  # type: ignore[method-assign]
    upstream.loaded = set()
    sluice = env.start({"a": upstream.deployment("a")}, sluice=settings(env))
    assert chat(sluice, "a").status == 200
    eventually(lambda: sluice.log_text.count("models are loaded without a look at memory") == 1, "it is said once")


def test_what_was_learned_outlives_a_restart(env) -> None:
    state = env.directory / "state"
    state.mkdir()
    upstream = env.ollama()
    Device(env.directory / "root", upstream, a=800)
    models = {"a": upstream.deployment("a")}
    start_one = lambda: env.start(models, sluice=settings(env), env={"STATE_DIRECTORY": str(state)})  # noqa: E731
    sluice = start_one()
    assert chat(sluice, "a").status == 200
    sluice.stop()
    kept = (state / "footprints").read_text().splitlines()
    assert kept[0] == "sluice-footprints 2" and kept[1].startswith("a ")


@pytest.mark.parametrize("size", [0, -1, 1, 1 << 41, (1 << 63) - 1, 1 << 63, 1 << 70, 1e300, "5", None], ids=repr)
def test_a_server_that_lies_about_what_it_holds(env, size: Any) -> None:
    """What it says of a size in memory is no reason to refuse, and none to load too much."""
    device, upstream, sluice = start(env, {"a": 800, "b": 900})
    upstream.on_list(lambda ex: ex.whole(200, {"models": [{"name": f"{m}:latest", "size": size, "size_vram": 0} for m in upstream.loaded]}))
    for model in ("a", "b", "a", "b"):
        answer = chat(sluice, model)
        assert answer.status == 200, answer
    assert device.least >= RESERVE, "they were in memory together"
    needs = {d.upstream_model: d.need_bytes >> 20 for d in sluice.status().deployments}
    assert 790 <= needs["a"] <= 800 and 890 <= needs["b"] <= 900, needs


@pytest.mark.parametrize(("size", "status"), [(0, 200), (-1, 200), (1, 200), (1 << 62, 422), (1 << 70, 200), ("5", 200)], ids=repr)
def test_a_server_that_lies_about_its_files(env, size: Any, status: int) -> None:
    """Too much is refused with the numbers, by its own word; what is no number says nothing."""
    device, upstream, sluice = start(env, {"a": 800})
    upstream.on_tags(lambda ex: ex.whole(200, {"models": [{"name": "a:latest", "size": size}]}))
    answer = chat(sluice, "a")
    assert answer.status == status, answer
    if status == 422:
        assert answer.error["code"] == "model_exceeds_device"
    assert chat(sluice, "a").status == status


LINE = "a 4096 1 734003200 0 0 1000000 3 20000"  # 700 MiB


@pytest.mark.parametrize(
    "content",
    [
        b"\xff half a fi",
        b"",
        f"sluice-footprints 2\n{LINE} 2\n{LINE[:20]}".encode(),
        f"sluice-footprints 2\n{LINE}\n".encode(),
        f"sluice-footprints 2\n{LINE} 2\n".encode() * 2000,
        b"sluice-footprints 2\n" + b"a" * (1 << 20),
        f"sluice-footprints 2\n{LINE.replace('734003200', '9' * 19)} 2\n".encode(),
    ],
    ids=["garbage", "empty", "cut", "short line", "too many", "huge", "lie"],
)
def test_a_damaged_footprint_file(env, content: bytes) -> None:
    """It is left out as a whole, with a word, and written anew."""
    state = env.directory / "state"
    state.mkdir()
    (state / "footprints").write_bytes(content)
    upstream = env.ollama()
    Device(env.directory / "root", upstream, a=800)
    sluice = env.start({"a": upstream.deployment("a")}, sluice=settings(env), env={"STATE_DIRECTORY": str(state)})
    eventually(lambda: "the sizes of models are learned anew" in sluice.log_text, "it is said")
    assert chat(sluice, "a").status == 200
    kept = (state / "footprints").read_text().splitlines()
    assert kept[0] == "sluice-footprints 2" and len(kept) == 2


@pytest.mark.parametrize(("mib", "status"), [(300, 200), (1000, 200), (4000, 422)])
def test_a_footprint_file_of_another_machine(env, mib: int, status: int) -> None:
    """What was learned elsewhere holds here: at least the file; what needs more than there is, is told with the numbers."""
    state = env.directory / "state"
    state.mkdir()
    (state / "footprints").write_text(f"sluice-footprints 2\n{LINE.replace('734003200', str(mib * MIB))} 2\n")
    upstream = env.ollama()
    Device(env.directory / "root", upstream, a=800)
    sluice = env.start({"a": upstream.deployment("a", num_ctx=4096)}, sluice=settings(env), env={"STATE_DIRECTORY": str(state)})
    answer = chat(sluice, "a")
    assert answer.status == status, answer
    deployment = sluice.status().deployments[0]
    assert deployment.need_source == "learned" and deployment.need_bytes >> 20 == max(mib, int(600 / 1.1))
    if status == 422:
        assert "4000 MiB (learned)" in answer.error["message"]


# ---------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("says", [None, 3])
def test_threads_are_pinned_on_small_devices(env, says: int | None) -> None:
    """In the load and in each call the same number, also after a reload: another one makes Ollama load the model again."""
    cores = os.sysconf("SC_NPROCESSORS_ONLN")
    pinned = cores - 1 if 1 < cores <= 4 else None
    upstream = env.ollama()
    own = {} if says is None else {"num_thread": says}
    sluice = env.start({"m": upstream.deployment("a", **own)}, sluice={"memory": {"enabled": False, "pin_threads": True}})
    for _ in range(2):
        assert chat(sluice, "m").status == 200
    with sluice.rpc() as rpc:
        rpc.unary(CONTROL, "Reload", rpc.schema.ReloadRequest(), "ReloadResponse")
    assert chat(sluice, "m").status == 200
    seen = {e.json.get("options", {}).get("num_thread") for e in upstream.requests("load", "chat")}
    assert seen == {says or pinned} and len(upstream.requests("load")) == 1

"""What models take in truth: a /proc of our own with the processes that hold them, beside an Ollama that says something else.

As in test_residency.py the device has 2000 MiB, others use 400, and 240 stay free after a load.
"""

from __future__ import annotations

import shutil
from typing import Any

from test_messages import events, wait_event
from test_residency import CHAT, MIB, OTHERS, TOTAL, Device, calls, chat, settings
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.upstream import Gate, Upstream, end, text, wait_for
from testenv.waiting import eventually

PID = 4711


def digest(name: str) -> str:
    return name[0] * 64


class Processes(Device):
    """A device that shows a process for each model: what it takes is set by put()."""

    def put(self, name: str, anon_mib: int, file_mib: int = 10, pid: int = PID) -> None:
        folder = self.path.parent / str(pid)
        folder.mkdir(exist_ok=True)
        words = ["/usr/lib/ollama/llama-server", "--model", f"/models/blobs/sha256-{digest(name)}", "--port", "40761"]
        status = f"Name:\tllama-server\nRssAnon:\t{anon_mib * 1024} kB\nRssFile:\t{file_mib * 1024} kB\nVmSwap:\t       0 kB\n"
        for file, content in (("cmdline", "\0".join(words) + "\0"), ("status", status)):
            new = folder / f"{file}.new"
            new.write_text(content)
            new.rename(folder / file)

    def end(self, pid: int = PID) -> None:
        shutil.rmtree(self.path.parent / str(pid))


def start(env: Any, takes: dict[str, int], variables: dict[str, str] | None = None) -> tuple[Processes, Upstream, Daemon]:
    upstream = env.ollama()
    device = Processes(env.directory / "root", upstream, **takes)
    upstream.digests = {name: digest(name) for name in takes}
    models = {name: upstream.deployment(name) for name in takes}
    return device, upstream, env.start(models, sluice=settings(env), env=variables)


def state_of(sluice: Daemon, name: str) -> Any:
    return next(d for d in sluice.status().deployments if d.upstream_model == name)


def test_a_footprint_is_learned_and_kept(env) -> None:
    """One load, and the need is what its process took; after a restart as well."""
    state = env.directory / "state"
    state.mkdir()
    variables = {"STATE_DIRECTORY": str(state)}
    device, upstream, sluice = start(env, {"a": 640}, variables)
    device.put("a", 500, 20)
    assert chat(sluice, "a").status == 200
    eventually(lambda: state_of(sluice, "a").need_source == "learned", "it is learned")
    assert state_of(sluice, "a").need_bytes == 520 * MIB
    kept = (state / "footprints").read_text().splitlines()
    assert kept[1].startswith(f"sha256-{digest('a')} ") and f" {500 * MIB} {20 * MIB} " in kept[1]
    sluice.stop()
    device.end()
    sluice = env.start({"a": upstream.deployment("a")}, sluice=settings(env), env=variables)
    assert chat(sluice, "a").status == 200
    assert (state_of(sluice, "a").need_source, state_of(sluice, "a").need_bytes) == ("learned", 520 * MIB)


def test_what_grows_while_it_answers_is_seen(env) -> None:
    """The look after the last answer: the process may have grown by it."""
    device, _, sluice = start(env, {"a": 640})
    device.put("a", 500, 0)
    assert chat(sluice, "a").status == 200
    eventually(lambda: state_of(sluice, "a").need_source == "learned", "it is learned")
    device.put("a", 550, 0)
    assert chat(sluice, "a").status == 200
    eventually(lambda: state_of(sluice, "a").need_bytes == 550 * MIB, "it has grown", timeout=20)


def test_a_load_over_its_plan_is_stopped(env) -> None:
    """Its file says 300 MiB, so 375 are set aside; it takes 600 and there would be room for more. The numbers are told."""
    device, upstream, sluice = start(env, {"a": 300})

    def grow(ex: Any) -> None:
        device.put("a", 600)
        ex.wait(timeout=20)

    upstream.on_load(grow)
    answer = chat(sluice, "a")
    assert (answer.status, answer.error["code"]) == (503, "model_load_killed"), answer
    assert "600 MiB" in answer.error["message"]
    stopped = wait_event(sluice, "model_load_stopped")
    assert stopped["SLUICE_HELD_BYTES"] == str(600 * MIB) and int(stopped["SLUICE_RESERVED_BYTES"]) < 400 * MIB
    assert upstream.requests("load")[0].peer_left.wait(10), "the load goes on"
    assert chat(sluice, "a").error["code"] == "model_quarantined"
    need = state_of(sluice, "a")
    assert (need.need_source, need.need_bytes // MIB) == ("learned", 780), "1.3 times what was seen"


def test_a_runner_that_has_grown_goes_when_memory_is_short(env) -> None:
    device, upstream, sluice = start(env, {"a": 640})
    device.put("a", 500, 0)
    assert chat(sluice, "a").status == 200
    eventually(lambda: state_of(sluice, "a").need_source == "learned", "it is learned")
    device.put("a", 900, 0)  # more than 1.25 x 500 + 128
    assert chat(sluice, "a").status == 200
    eventually(lambda: state_of(sluice, "a").need_bytes == 900 * MIB, "it has grown", timeout=20)
    assert not upstream.requests("unload"), "there is room"
    gate = Gate()
    upstream.next(text("x"), wait_for(gate), end())
    with sluice.http() as busy:
        busy.send_request("POST", CHAT, chat_body("a"))
        upstream.wait_request(3)
        device.use(TOTAL - 640 - 200)
        assert not upstream.requests("unload"), "it answers"
        gate.open()
        assert busy.read_answer().status == 200
    eventually(lambda: chat(sluice, "a").status in (200, 503) and calls(upstream, "unload") == ["a"], "it is unloaded", timeout=20)
    assert wait_event(sluice, "model_makes_room")["SLUICE_REASON"] == "it has grown"
    device.use(OTHERS)


def test_processes_that_vanish_and_lie(env) -> None:
    """Nothing of it is learned, and every call is answered."""
    device, upstream, sluice = start(env, {"a": 640, "b": 300})
    device.put("a", 300)
    upstream.on_load(lambda ex: device.end())
    assert chat(sluice, "a").status == 200
    upstream.on_load()
    device.put("b", 1 << 40, 0)  # 2^60 bytes
    assert chat(sluice, "b").status == 200
    folder = device.path.parent / "12"
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"\xff" * 8192)
    (folder / "status").mkdir()
    assert [chat(sluice, name).status for name in "abab"] == [200] * 4
    assert {state_of(sluice, name).need_source for name in "ab"} <= {"computed", "reported"}
    assert not events(sluice, "model_load_stopped")


def test_another_process_with_the_old_number(env) -> None:
    """The runner was restarted behind our back: its number is another model's now, and is not taken for it."""
    device, _, sluice = start(env, {"a": 640, "b": 300})
    device.put("a", 500, 0)
    assert chat(sluice, "a").status == 200
    eventually(lambda: state_of(sluice, "a").need_source == "learned", "it is learned")
    device.put("b", 900, 0)
    device.put("a", 510, 0, PID + 1)
    assert chat(sluice, "a").status == 200
    eventually(lambda: state_of(sluice, "a").need_bytes == 510 * MIB, "the right one is looked at", timeout=20)

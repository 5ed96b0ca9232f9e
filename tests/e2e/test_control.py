"""Control over RPC: who may, Watch, Reload, Drain, and what malformed requests for them do."""

from __future__ import annotations

import os
import signal
import socket
import struct
from typing import Any, Callable, Iterator

import pytest
from testenv import nobody, paths, ttrpc
from testenv.daemon import Daemon, mock
from testenv.kernel import Tree, meminfo
from testenv.rules import check_complete
from testenv.http import chat_body
from testenv.ttrpc import CONTROL, DATA, REMOTE_CLOSED, Client, RpcError, kinds
from testenv.upstream import Gate, end, stall, text, wait_for
from testenv.waiting import eventually

PERMISSION_DENIED = 7
FAST = 100_000  # the shortest interval

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def watch(client: Client, interval_usec: int = FAST, request_id: str = "", **kwargs: Any) -> int:
    request = client.schema.WatchRequest(interval_usec=interval_usec, request_id=request_id)
    return client.start(CONTROL, "Watch", request.SerializeToString(), REMOTE_CLOSED, **kwargs)


def states(client: Client, stream_id: int) -> Iterator[Any]:
    """The states of a watch; RpcError at its end, which is never a good one."""
    while True:
        frame = client.recv_on(stream_id)
        if frame.type == ttrpc.RESPONSE:
            client.raise_status(ttrpc.Response.decode(frame.payload))
        assert (frame.type, frame.flags) == (DATA, 0)
        yield client.schema.StatusResponse.FromString(frame.payload)


def until(all_states: Iterator[Any], wanted: Callable[[Any], bool]) -> Any:
    for state in all_states:
        if wanted(state):
            return state
    raise AssertionError("the watch has ended")


def end_of(all_states: Iterator[Any]) -> RpcError:
    with pytest.raises(RpcError) as e:
        for _ in all_states:
            pass
    return e.value


def reload(client: Client) -> Any:
    return client.unary(CONTROL, "Reload", client.schema.ReloadRequest(), "ReloadResponse")


def drain(client: Client) -> Any:
    return client.unary(CONTROL, "Drain", client.schema.DrainRequest(), "DrainResponse")


def fails(action: Callable[[], Any]) -> RpcError:
    with pytest.raises(RpcError) as e:
        action()
    return e.value


def open_to_all(sluice: Daemon) -> None:
    for path in (sluice.directory.parent, sluice.directory):
        path.chmod(0o711)
    os.chmod(sluice.rpc_path, 0o666)


# ---------------------------------------------------------------------------------------------- watch


def test_watch_tells_now_and_changes(env) -> None:
    """The state at once; then nothing while nothing changes; then what a call does to it."""
    upstream = env.ollama()
    gate = Gate()
    upstream.next(text("a"), wait_for(gate), end())
    sluice = env.start({"m": upstream.deployment("um")})
    rpc = sluice.rpc()
    all_states = states(rpc, watch(rpc))
    first = next(all_states)
    assert first.version and first.uptime_usec > 0 and first.calls_running == 0
    assert [d.upstream_model for d in first.deployments] == ["um"]

    other = sluice.rpc()
    chat = other.chat("m")
    running = until(all_states, lambda s: s.calls_running == 1)
    assert running.deployments[0].slots_in_use == 1 and running.tickets == 1
    assert running.uptime_usec > first.uptime_usec
    gate.open()
    assert kinds(list(chat))[-1] == "done"
    done = until(all_states, lambda s: s.calls_completed == 1)
    assert done.calls_running == 0 and done.deployments[0].loaded


def test_watch_is_silent_while_nothing_changes(env) -> None:
    """Uptime and idle times pass by themselves and are no change: 5 s without a word (an interval is 0.1 s)."""
    sluice = env.start()
    rpc = sluice.rpc()
    assert kinds(list(rpc.chat("m")))[-1] == "done"  # it has an idle time now
    stream_id = watch(rpc)
    all_states = states(rpc, stream_id)
    assert next(all_states).deployments[0].slots_in_use == 0
    with pytest.raises(TimeoutError):
        rpc.recv_on(stream_id, timeout=5)
    # and then again, since a watch is never silent for more than 10 s
    again = next(all_states)
    assert again.calls_completed == 1 and again.deployments[0].idle_usec > 5_000_000


def test_watch_is_silent_while_headroom_moves(env) -> None:
    """With a call at work memory is looked at several times a second: its figures are no news, a level is."""
    tree, upstream, gate = Tree(env.directory), env.openai(), Gate()
    upstream.next(text("a"), wait_for(gate), end())
    sluice = env.start({"m": upstream.deployment()}, sluice={"pressure": tree.settings})
    rpc, other, asking = sluice.rpc(), sluice.rpc(), sluice.rpc()
    all_states = states(rpc, watch(rpc))
    next(all_states)
    chat = other.chat("m")
    running = until(all_states, lambda s: s.calls_running == 1)
    for available in range(1490, 1400, -10):
        before = asking.status().headroom_bytes
        tree.put("proc/meminfo", meminfo(available))
        eventually(lambda: asking.status().headroom_bytes != before, "the daemon has seen it")
    gate.open()
    assert kinds(list(chat))[-1] == "done"
    news = next(all_states)
    assert news.calls_completed == 1, "the headroom was told of"
    assert news.headroom_bytes < running.headroom_bytes
    tree.put("proc/meminfo", meminfo(60))
    upstream.next(text("a"), wait_for(gate), end())
    other.chat("m")  # so that memory is looked at
    raised = until(all_states, lambda s: s.pressure_level >= 2)
    assert " < " in raised.pressure_reason, "with the numbers that decided"


def test_watch_ends_by_cancel(env) -> None:
    sluice = env.start()
    rpc, other = sluice.rpc(), sluice.rpc()
    all_states = states(rpc, watch(rpc, request_id="mine"))
    next(all_states)
    assert other.cancel("mine") is True
    error = end_of(all_states)
    assert (error.code, error.detail.code) == (ttrpc.CANCELLED, "cancelled")
    assert error.detail.request_id == "mine"
    assert other.cancel("mine") is False
    assert rpc.status().connections == 2, "the connection goes on"


def test_watch_ends_with_its_connection(env) -> None:
    sluice = env.start()
    rpc = Client(sluice.rpc_path)
    next(states(rpc, watch(rpc, request_id="mine")))
    rpc.close()
    other = sluice.rpc()
    eventually(lambda: not other.cancel("mine"), "the watch has gone with its connection")


def test_watch_ends_at_its_deadline(env) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    all_states = states(rpc, watch(rpc, timeout_nano=300_000_000))
    next(all_states)
    assert end_of(all_states).code == ttrpc.DEADLINE_EXCEEDED
    late = fails(lambda: list(states(rpc, watch(rpc, timeout_nano=-1))))
    assert late.code == ttrpc.DEADLINE_EXCEEDED


@pytest.mark.parametrize("usec", [1, 99_999, 60_000_001, 2**64 - 1])
def test_watch_refuses_intervals(env, usec: int) -> None:
    rpc = env.start().rpc()
    error = fails(lambda: list(states(rpc, watch(rpc, usec))))
    assert (error.code, error.detail.param) == (ttrpc.INVALID_ARGUMENT, "interval_usec")


def test_watch_ids_are_checked(env) -> None:
    upstream = env.openai()
    upstream.always(text("x"), stall())
    sluice = env.start({"m": upstream.deployment()})
    rpc = sluice.rpc()
    bad = fails(lambda: list(states(rpc, watch(rpc, request_id="sp ace"))))
    assert (bad.code, bad.detail.param) == (ttrpc.INVALID_ARGUMENT, "request_id")
    next(states(rpc, watch(rpc, request_id="w")))
    assert fails(lambda: next(states(rpc, watch(rpc, request_id="w")))).code == 3
    assert fails(lambda: list(rpc.chat("m", request_id="w"))).code == 3
    rpc.stream("Chat", rpc.chat_request("m", request_id="c"))
    upstream.wait_request()
    assert fails(lambda: next(states(rpc, watch(rpc, request_id="c")))).code == 3
    assert rpc.cancel("c") and rpc.cancel("w")


def test_watches_count_as_calls(env) -> None:
    sluice = env.start(sluice={"limits": {"calls_per_connection": 3}})
    rpc = sluice.rpc()
    for i in range(3):
        next(states(rpc, watch(rpc, request_id=f"w{i}")))
    assert fails(lambda: next(states(rpc, watch(rpc)))).detail.code == "too_many_calls"
    assert fails(lambda: list(rpc.chat("m"))).detail.code == "too_many_calls"
    assert rpc.cancel("w1")
    assert kinds(list(rpc.chat("m")))[-1] == "done"


def test_watch_stream_id_is_in_use(env) -> None:
    """The id of an open watch cannot be used for another call; Data on it means nothing."""
    rpc = env.start().rpc()
    stream_id = watch(rpc)
    next(states(rpc, stream_id))
    rpc.send_frame(stream_id, DATA, 0, b"x")
    rpc.send_frame(
        stream_id, ttrpc.REQUEST, 0, ttrpc.request_envelope(CONTROL, "Status")
    )
    error = ttrpc.Response.decode(rpc.recv_on(stream_id).payload)
    assert error.code == ttrpc.INVALID_ARGUMENT and "in use" in error.message


def test_slow_watcher_misses_states_but_not_the_last(env) -> None:
    """Who does not read costs the daemon at most its high water; once it reads, what it gets last is what is."""
    names = {f"model-with-a-long-name-{i:04d}-{'x' * 80}": mock() for i in range(250)}
    sluice = env.start(names, sluice={"timeouts": {"stalled_reader": "60s"}})
    name = next(iter(names))
    slow = Client(sluice.rpc_path)
    sluice.clients.append(slow)
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.schema  # before the states
    all_states = states(slow, watch(slow))
    quick = sluice.rpc()
    mark = states(quick, watch(quick))
    n_calls = 0
    # each round is at least one change that was told to the quick one, and a state has about 50 KiB
    for _ in range(30):
        n_calls += 1
        assert kinds(list(quick.chat(name)))[-1] == "done"
        until(mark, lambda s: s.calls_completed == n_calls)
    seen = 0
    for state in all_states:
        seen += 1
        if state.calls_completed == n_calls:
            break
    assert seen < 20, "states were dropped while nobody read"


def test_a_hundred_watchers(env) -> None:
    """All are told of a change, and the daemon is quiet again once they have gone."""
    limits = {"connections": 256, "connections_per_uid": 256}
    sluice = env.start(sluice={"limits": limits})
    clients = [sluice.rpc() for _ in range(100)]
    watches = [states(c, watch(c)) for c in clients]
    for w in watches:
        next(w)
    assert kinds(list(clients[0].chat("m")))[-1] == "done"
    for w in watches:
        until(w, lambda s: s.calls_completed == 1)
    for c in clients:
        c.close()
    eventually(lambda: sluice.status().connections == 1, "only the one that asks is left")


def test_no_wakeups_once_nobody_watches(env) -> None:
    """The timer is off again: an idle daemon sleeps."""
    sluice = env.start()

    def n_switches() -> int:
        status = open(f"/proc/{sluice.pid}/status").read()
        return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])

    rpc = Client(sluice.rpc_path)
    all_states = states(rpc, watch(rpc))
    next(all_states)
    rpc.close()
    other = sluice.rpc()
    assert other.status().connections == 1
    before = n_switches()
    assert not select_for(2.0), "nothing to wait for"
    assert n_switches() - before <= 2, "sluiced wakes up although nobody watches"


def select_for(seconds: float) -> bool:
    """An interval in which nothing is done: what is measured is that nothing happens."""
    import select

    return bool(select.select([], [], [], seconds)[0])


# ---------------------------------------------------------------------------------------------- reload


def test_reload(env) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    all_states = states(rpc, watch(rpc))
    assert next(all_states).config_generation == 1
    sluice.write_config(env.config({"m": mock(), "n": mock()}))
    answer = reload(rpc)
    assert (answer.config_generation, answer.models) == (2, 2)
    state = until(all_states, lambda s: s.config_generation == 2)
    assert [d.model for d in state.deployments] == ["m", "n"]
    assert kinds(list(rpc.chat("n")))[-1] == "done"
    sluice.wait_record(lambda r: "reload asked for by uid" in r["message"], "who asked")


@pytest.mark.parametrize(
    "content, said",
    [
        ("model_list: [", "config.yaml"),
        ("model_list: 7\n", "model_list"),
        ("", "config.yaml"),
    ],
)
def test_reload_of_a_bad_file_changes_nothing(env, content: str, said: str) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    sluice.write_config(content)
    error = fails(lambda: reload(rpc))
    assert error.code == ttrpc.FAILED_PRECONDITION
    assert error.detail.code == "bad_configuration"
    assert said in error.message, error.message
    assert rpc.status().config_generation == 1
    assert kinds(list(rpc.chat("m")))[-1] == "done"


def test_reload_of_no_file(env) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    sluice.config_path.unlink()
    error = fails(lambda: reload(rpc))
    assert error.detail.code == "bad_configuration" and "cannot be read" in error.message


def test_reload_under_a_running_call(env) -> None:
    """A call whose model vanishes ends as it would have, on the connection that reloaded."""
    upstream = env.ollama()
    gate = Gate()
    upstream.next(text("a"), wait_for(gate), text("b"), end())
    sluice = env.start({"m": upstream.deployment()})
    rpc = sluice.rpc()
    chat = rpc.chat("m")
    assert next(chat).WhichOneof("kind") in ("queued", "started")
    upstream.wait_request()
    sluice.write_config(env.config({"n": mock()}))
    assert reload(rpc).models == 1
    gate.open()
    assert kinds(list(chat))[-1] == "done"
    assert fails(lambda: list(rpc.chat("m"))).code == ttrpc.NOT_FOUND


# ---------------------------------------------------------------------------------------------- drain


def test_drain_while_streaming(env) -> None:
    """The answer first; what runs finishes; watches end with their last state; then the daemon is gone."""
    upstream = env.ollama()
    gate = Gate()
    upstream.next(text("a"), wait_for(gate), text("b"), end())
    sluice = env.start({"m": upstream.deployment()})
    rpc, operator, watcher = sluice.rpc(), sluice.rpc(), sluice.rpc()
    chat = rpc.chat("m")
    upstream.wait_request()
    all_states = states(watcher, watch(watcher))
    next(all_states)
    assert drain(operator).calls_running == 1
    last = until(all_states, lambda s: s.draining)
    assert last.calls_running == 1
    error = end_of(all_states)
    assert (error.code, error.detail.code) == (ttrpc.UNAVAILABLE, "draining")
    gate.open()
    assert kinds(list(chat))[-1] == "done"
    assert sluice.wait_exit() == 0


def test_drain_twice_is_drain_once(env) -> None:
    """A second SIGTERM cuts; a second Drain only asks again."""
    upstream = env.ollama()
    gate = Gate()
    upstream.next(text("a"), wait_for(gate), text("b"), end())
    sluice = env.start({"m": upstream.deployment()})
    rpc = sluice.rpc()
    chat = rpc.chat("m")
    upstream.wait_request()
    assert drain(rpc).calls_running == 1
    assert drain(rpc).calls_running == 1
    assert fails(lambda: next(states(rpc, watch(rpc)))).detail.code == "draining"
    assert fails(lambda: reload(rpc)).detail.code == "draining"
    gate.open()
    assert kinds(list(chat))[-1] == "done"
    assert sluice.wait_exit() == 0


def test_drain_of_an_idle_daemon(env) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    assert drain(rpc).calls_running == 0
    assert sluice.wait_exit() == 0


def test_sigterm_ends_watches(env) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    all_states = states(rpc, watch(rpc))
    next(all_states)
    sluice.signal(signal.SIGTERM)
    assert until(all_states, lambda s: s.draining)
    assert end_of(all_states).detail.code == "draining"
    assert sluice.wait_exit() == 0


# ---------------------------------------------------------------------------------------------- who, and how badly


@needs_root
def test_others_may_look_but_not_touch(env) -> None:
    sluice = env.start()
    open_to_all(sluice)

    def try_all() -> None:
        with Client(sluice.rpc_path) as other:
            assert next(states(other, watch(other, request_id="theirs"))).version
            for action in (reload, drain):
                error = fails(lambda: action(other))
                assert (error.code, error.detail.code) == (PERMISSION_DENIED, "forbidden")
                assert "only root" in error.message and "uid 0" in error.message
            assert other.cancel("theirs") is True

    assert nobody.run(try_all) is None
    status = sluice.status()
    assert status.config_generation == 1 and not status.draining


@needs_root
def test_watches_belong_to_their_user(env) -> None:
    sluice = env.start()
    open_to_all(sluice)
    rpc = sluice.rpc()
    all_states = states(rpc, watch(rpc, request_id="mine"))
    next(all_states)

    def interfere() -> None:
        with Client(sluice.rpc_path) as other:
            assert other.cancel("mine") is False
            next(states(other, watch(other, request_id="mine")))  # an id of their own

    assert nobody.run(interfere) is None
    assert rpc.cancel("mine") is True


@needs_root
def test_the_user_that_sluiced_runs_as_may(env) -> None:
    from testenv.daemon import Daemon as _Daemon

    directory = env.directory / "nobody"
    directory.mkdir()
    env.directory.chmod(0o711)
    sluice = _Daemon(directory, env.config({"m": mock()}))
    env.daemons.append(sluice)
    os.chown(directory, nobody.UID, nobody.UID)
    os.chmod(sluice.config_path, 0o644)

    sluice.program = paths.copied(paths.SLUICED, env.directory)
    sluice.preexec = nobody.become
    sluice.start()

    def control() -> None:
        with Client(sluice.rpc_path) as own:
            assert reload(own).config_generation == 2

    assert nobody.run(control) is None
    assert reload(sluice.rpc()).config_generation == 3, "root may as well"


@pytest.mark.parametrize("method", ["Watch", "Reload", "Drain"])
@pytest.mark.parametrize(
    "payload",
    [
        b"\x08",  # a field without its value
        b"\x0f",  # a wire type that does not exist
        b"\x0a\xff\xff\xff\xff\x0f",  # a length over the end
        struct.pack("<B", 0x80) * 11,  # a varint without end
    ],
)
def test_malformed_requests(env, method: str, payload: bytes) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    error = fails(lambda: rpc.unary_bytes(CONTROL, method, payload))
    assert (error.code, error.detail.code) == (ttrpc.INVALID_ARGUMENT, "invalid_request")
    status = rpc.status()
    assert status.config_generation == 1 and not status.draining


def test_unknown_fields_are_ignored(env) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    unknown = ttrpc.number(99, 7) + ttrpc.blob(98, b"later")
    assert rpc.schema.ReloadResponse.FromString(
        rpc.unary_bytes(CONTROL, "Reload", unknown)
    ).models == 1
    stream_id = rpc.start(CONTROL, "Watch", unknown, REMOTE_CLOSED)
    assert next(states(rpc, stream_id)).config_generation == 2


def test_http_has_no_control(env) -> None:
    sluice = env.start()
    for path in ("/reload", "/v1/reload", "/sluice.v1.Control/Reload", "/drain"):
        assert sluice.post(path, {}).status == 404
    assert sluice.status().config_generation == 1


def test_http_streams_go_on_while_draining_by_rpc(env) -> None:
    upstream = env.ollama()
    gate = Gate()
    upstream.next(text("a"), wait_for(gate), text("b"), end())
    sluice = env.start({"m": upstream.deployment()})
    http = sluice.http()
    http.send_request("POST", "/v1/chat/completions", chat_body("m", stream=True))
    upstream.wait_request()
    assert drain(sluice.rpc()).calls_running == 1
    gate.open()
    answer = http.read_head()
    assert answer.status == 200
    check_complete(list(http.sse(answer)))
    assert sluice.wait_exit() == 0

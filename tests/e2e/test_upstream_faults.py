"""What a model server can do wrong, in both dialects, seen by three kinds of clients: HTTP, HTTP stream, RPC stream.

Before the first content a fault is an answer with the mapped status. After it, the stream ends with an error event: no [DONE], no
finish_reason, nothing that looks complete. Afterwards the slot is free and the deployment serves again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Callable, Optional

import pytest
from testenv.daemon import Daemon
from testenv.http import chat_body, contents
from testenv.rules import check_broken, check_complete
from testenv.ttrpc import RpcError, text_of
from testenv.upstream import (
    DeafPort,
    Exchange,
    Gate,
    RefusingPort,
    Step,
    UnverifiedServer,
    Upstream,
    begin,
    chunk,
    clean_end,
    cut_inside_chunk,
    drip,
    end,
    error_line,
    fin,
    raw,
    rst,
    stall,
    text,
    wait_for,
    whole,
)

CHAT = "/v1/chat/completions"
FAST = {"timeouts": {"connect": "300ms", "first_byte": "500ms", "gap": "400ms"}}
MODES = ("http", "stream", "rpc")
DIALECTS = ("ollama", "openai")


@dataclass
class Seen:
    """What a client got: text, and the error that ended it."""

    text: str
    code: Optional[str]
    status: Optional[int] = None  # None: the answer had begun with 200
    message: str = ""
    retry_after: Optional[float] = None


def ask(sluice: Daemon, mode: str, model: str = "m") -> Seen:
    if mode == "rpc":
        return ask_rpc(sluice, model)
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(model, stream=mode == "stream"))
        answer = http.read_head()
        if answer.status == 200 and mode == "stream":
            events = list(http.sse(answer))
            said = contents(events)
            if any("[DONE]" in e.lines[0] for e in events):
                check_complete(events)
                return Seen(said, None)
            error = check_broken(events)
            return Seen(said, error["code"], None, error["message"])
        answer.body = b"".join(http.body_parts(answer))
    if answer.status == 200:
        return Seen(answer.json["choices"][0]["message"]["content"], None)
    retry_after = answer.header("retry-after")
    return Seen(
        "",
        answer.error["code"],
        answer.status,
        answer.error["message"],
        float(retry_after) if retry_after else None,
    )


def ask_rpc(sluice: Daemon, model: str) -> Seen:
    events: list[Any] = []
    with sluice.rpc() as rpc:
        try:
            for event in rpc.chat(model):
                events.append(event)
        except RpcError as e:
            detail = e.detail
            retry_after = detail.retry_after_usec / 1e6 if detail.retry_after_usec else None
            status = None if text_of(events) else detail.http_status
            return Seen(text_of(events), detail.code, status, e.message, retry_after)
    return Seen(text_of(events), None)


def check_recovers(sluice: Daemon, mode: str) -> None:
    """The slot is home and the next request is served."""
    sluice.expect_idle()
    again = ask(sluice, mode)
    assert (again.text, again.code) == ("Hello world", None), again


# ---------------------------------------------------------------------------------------------- no server at all


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prefix", ["ollama_chat", "openai"])
def test_refused_connection(env, prefix: str, mode: str) -> None:
    port = env.closing(RefusingPort())
    sluice = env.start({"m": {"model": f"{prefix}/x", "api_base": port.url, "api_key": "k"}})
    seen = ask(sluice, mode)
    assert (seen.code, seen.status) == ("upstream_unreachable", 502)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prefix", ["ollama_chat", "openai"])
def test_connection_that_is_never_taken(env, prefix: str, mode: str) -> None:
    port = env.closing(DeafPort())
    params = {"model": f"{prefix}/x", "api_base": port.url, "api_key": "k"}
    sluice = env.start({"m": params}, sluice=FAST)
    started = time.monotonic()
    seen = ask(sluice, mode)
    assert (seen.code, seen.status) == ("upstream_timeout", 504)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("prefix", ["ollama_chat", "openai"])
def test_certificate_that_nobody_signed(env, prefix: str) -> None:
    """TLS is verified: neither prompt nor key goes to a server that cannot prove its name."""
    server = env.closing(UnverifiedServer(env.directory))
    sluice = env.start({"m": {"model": f"{prefix}/x", "api_base": server.url, "api_key": "k"}})
    seen = ask(sluice, "http")
    assert (seen.code, seen.status) == ("upstream_untrusted", 502), seen
    assert server.received == b""


@pytest.mark.parametrize("prefix", ["ollama_chat", "openai"])
def test_name_that_does_not_resolve(env, prefix: str) -> None:
    params = {"model": f"{prefix}/x", "api_base": "http://no-such-host.invalid:1", "api_key": "k"}
    sluice = env.start({"m": params})
    seen = ask(sluice, "http")
    assert (seen.code, seen.status) == ("upstream_unreachable", 502)


# ---------------------------------------------------------------------------------------------- answers that are none


def status(code: int, message: str = "sorry", **headers: str) -> Step:
    """An error answer in the dialect of the server."""

    def step(ex: Exchange) -> None:
        ex.whole(code, ex.server.dialect.error_body(message), headers)

    return step


def context_error(ex: Exchange) -> None:
    """llama-server's, which Ollama wraps as text (0.34)."""
    inner = {
        "code": 400,
        "message": "request (3419 tokens) exceeds the available context size (256 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 3419,
        "n_ctx": 256,
    }
    if ex.server.dialect.name == "openai":
        ex.whole(400, {"error": inner})
    else:
        ex.whole(400, {"error": json.dumps({"error": inner})})


@dataclass
class Fault:
    steps: list[Step]
    code: str
    status: int
    retry_after: Optional[float] = None
    only: str = ""  # a dialect


BEFORE: dict[str, Fault] = {
    "silence": Fault([stall()], "upstream_timeout", 504),
    "closed at once": Fault([fin()], "upstream_cut", 502),
    "reset at once": Fault([rst()], "upstream_cut", 502),
    "not HTTP": Fault([raw(b"\x00\x01garbage\r\n\r\n"), fin()], "upstream_garbage", 502),
    "half a head": Fault([raw(b"HTTP/1.1 200 OK\r\nContent-"), fin()], "upstream_cut", 502),
    "half a head, then silence": Fault(
        [raw(b"HTTP/1.1 200 OK\r\nContent-"), stall()], "upstream_timeout", 504
    ),
    "huge header": Fault(
        [raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 400_000 + b"\r\n\r\n"), fin()],
        "upstream_garbage",
        502,
    ),
    "endless headers": Fault(
        [raw(b"HTTP/1.1 200 OK\r\n" + b"X: yyyyyyyyyyyyyyyy\r\n" * 20_000), fin()],
        "upstream_garbage",
        502,
    ),
    "HTML with status 200": Fault(
        [whole(200, b"<html>Welcome to nginx</html>", {"Content-Type": "text/html"})],
        "upstream_garbage",
        502,
    ),
    "empty body": Fault([whole(200, b"")], "upstream_cut", 502),
    "another JSON": Fault([whole(200, {"hello": "world"})], "upstream_garbage", 502, only="openai"),
    "another object": Fault([whole(200, {"hello": "world"})], "upstream_cut", 502, only="ollama"),
    "redirect": Fault(
        [whole(302, b"", {"Location": "http://127.0.0.1:9/"})], "upstream_garbage", 502
    ),
    "400": Fault([status(400, "bad thing")], "upstream_rejected", 400),
    "401": Fault([status(401, "who are you")], "upstream_auth_failed", 502),
    "403": Fault([status(403, "go away")], "upstream_auth_failed", 502),
    "429": Fault([status(429, "slow down")], "rate_limit_exceeded", 429),
    "429 with Retry-After": Fault(
        [status(429, "slow down", **{"Retry-After": "7"})], "rate_limit_exceeded", 429, 7
    ),
    "429 with a long Retry-After": Fault(
        [status(429, "tomorrow", **{"Retry-After": "86400"})], "rate_limit_exceeded", 429, 600
    ),
    "500": Fault([status(500, "boom")], "upstream_error", 502),
    "502 from a proxy": Fault(
        [whole(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"})],
        "upstream_error",
        502,
    ),
    "503": Fault([status(503, "busy")], "upstream_overloaded", 503),
    "429 until a date": Fault(
        [status(429, "slow down", **{"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"})],
        "rate_limit_exceeded",
        429,
        600,
    ),
    "503 with Retry-After": Fault(
        [status(503, "busy", **{"Retry-After": "3"})], "upstream_overloaded", 503, 3
    ),
    "error with half a body": Fault(
        [raw(b'HTTP/1.1 500 E\r\nContent-Length: 100\r\n\r\n{"err'), fin()], "upstream_error", 502
    ),
    "error with an endless body": Fault(
        [raw(b"HTTP/1.1 500 E\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 200_000), stall()],
        "upstream_error",
        502,
    ),
    "context": Fault([context_error], "context_length_exceeded", 400),
    "runner killed while loading": Fault(
        [status(500, "llama-server process has terminated: signal: killed")],
        "model_load_killed",
        503,
        only="ollama",
    ),
    "server busy": Fault(
        [status(503, "server busy, please try again.  maximum pending requests exceeded")],
        "upstream_overloaded",
        503,
        only="ollama",
    ),
    "loading": Fault(
        [
            whole(
                503,
                {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}},
            )
        ],
        "upstream_overloaded",
        503,
        only="openai",
    ),
    "error before any word": Fault([error_line("it broke"), clean_end()], "upstream_error", 502),
    "head, then nothing": Fault([begin(), stall()], "upstream_timeout", 504),
    "head, then a clean end": Fault([begin(), clean_end()], "upstream_cut", 502),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "dialect, name",
    [(d, name) for name, fault in BEFORE.items() for d in DIALECTS if fault.only in ("", d)],
)
def test_before_the_first_word(env, dialect: str, name: str, mode: str) -> None:
    fault = BEFORE[name]
    upstream = env.upstream(dialect)
    sluice = env.start({"m": upstream.deployment()}, sluice=FAST)
    # On a connection that was used before, libcurl takes a close for an idle one's and asks again on a new one.
    upstream.keeps_load_connections = False
    upstream.next(*fault.steps)
    seen = ask(sluice, mode)
    assert seen.text == ""
    assert (seen.code, seen.status) == (fault.code, fault.status), seen
    if fault.retry_after is not None:
        assert seen.retry_after is not None
        assert min(seen.retry_after, 600) == fault.retry_after, seen
    assert len(upstream.requests()) == 1, "asked twice"
    check_recovers(sluice, mode)


def endless_line(ex: Exchange) -> None:
    """An event that never ends: 32 MiB of it, or until the peer has had enough."""
    ex.chunk(b"data: ")
    for _ in range(512):
        ex.chunk(b"x" * 65536)
    ex.wait()


MIDWAY: dict[str, Fault] = {
    "silence": Fault([stall()], "upstream_stalled", 504),
    "closed": Fault([fin()], "upstream_cut", 502),
    "reset": Fault([rst()], "upstream_cut", 502),
    "clean end without the end": Fault([clean_end()], "upstream_cut", 502),
    "cut inside a chunk": Fault([cut_inside_chunk()], "upstream_cut", 502),
    "error line": Fault([error_line("the runner died"), clean_end()], "upstream_error", 502),
    "error line, then open": Fault([error_line("the runner died"), stall()], "upstream_error", 502),
    "not JSON": Fault([chunk(b"data: {]\n\n{]\n"), clean_end()], "upstream_garbage", 502),
    "bad chunk size": Fault([raw(b"zz\r\nxx\r\n"), stall()], "upstream_cut", 502),
    "endless line": Fault([endless_line], "upstream_garbage", 502),
    "NUL bytes": Fault([chunk(b"data: \x00\x00\n\n"), clean_end()], "upstream_garbage", 502),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MIDWAY)
def test_in_mid_stream(env, upstream: Upstream, name: str, mode: str) -> None:
    fault = MIDWAY[name]
    sluice = env.start({"m": upstream.deployment()}, sluice=FAST)
    upstream.next(text("half", " an"), *fault.steps)
    seen = ask(sluice, mode)
    codes = {fault.code, "upstream_garbage"} if name == "bad chunk size" else {fault.code}
    assert seen.code in codes, seen
    if mode == "http":
        assert seen.status == fault.status and seen.text == ""
    else:
        assert seen.status is None and seen.text.startswith("half an")
    check_recovers(sluice, mode)
    records = sluice.wait_call_records(2)
    assert records[0]["SLUICE_OUTCOME"] == seen.code
    assert records[1]["SLUICE_OUTCOME"] == "completed"


def burst(n: int, tail: Callable[[Exchange], bytes]) -> Step:
    """n pieces and what tail() says in one write, then silence."""

    def step(ex: Exchange) -> None:
        piece = ex.server.dialect.piece(ex, "x" * 4000)
        ex.chunk(piece * n + tail(ex))
        ex.wait()

    return step


@pytest.mark.parametrize("mode", ("stream", "rpc"))
def test_error_behind_a_pause(env, upstream: Upstream, mode: str) -> None:
    """What libcurl held back during a pause is decoded when the reader comes back: an error in it ends the call then,
    not at the gap limit. Where in the burst the pause begins differs."""
    sluice = env.start({"m": upstream.deployment()})
    first = 14 if mode == "stream" else 60  # the high waters: 64 KiB, 256 KiB
    for n in range(first, first + 12):
        upstream.next(burst(n, lambda ex: ex.server.dialect.error_line("the runner died")))
        seen = ask(sluice, mode)
        assert seen.code == "upstream_error" and "runner" in seen.message, (n, seen)


# ---------------------------------------------------------------------------------------------- slow but right


@pytest.mark.parametrize("mode", MODES)
def test_slow_drip_is_no_fault(env, upstream: Upstream, mode: str) -> None:
    """Longer than every limit in sum, within each: bytes keep coming."""
    sluice = env.start({"m": upstream.deployment()}, sluice=FAST)

    def slowly(ex: Exchange) -> None:
        data = ex.server.dialect.piece(ex, "slow")
        drip(data[:12], 0.1)(ex)
        ex.chunk(data[12:])

    upstream.next(slowly, end())
    assert ask(sluice, mode) == Seen("slow", None)


def test_end_of_answer_needs_no_end_of_connection(env, upstream: Upstream) -> None:
    """The last word of the dialect is the end, also where the server then keeps the body open."""
    sluice = env.start({"m": upstream.deployment()})

    def last_word(ex: Exchange) -> None:
        ex.chunk(ex.server.dialect.end(ex, "stop", 7, 1))

    upstream.next(text("all"), last_word, stall())
    assert ask(sluice, "stream") == Seen("all", None)


def test_total_timeout_of_the_deployment(env, upstream: Upstream) -> None:
    """litellm_params.timeout bounds the whole answer, however alive it is."""
    sluice = env.start({"m": upstream.deployment(timeout=0.6)})
    upstream.next(lambda ex: drip(b" " * 10_000, 0.05)(ex))
    seen = ask(sluice, "http")
    assert (seen.code, seen.status) == ("upstream_timeout", 504)
    assert "within its timeout" in seen.message
    assert upstream.wait_request().peer_left.wait(10)


@pytest.mark.parametrize("mode", ["stream", "rpc"])
def test_total_timeout_in_mid_stream(env, upstream: Upstream, mode: str) -> None:
    """Words kept coming: it was not the server that stopped."""
    sluice = env.start({"m": upstream.deployment(timeout=0.6)})
    upstream.next(text("word"), lambda ex: drip(b"\n" * 10_000, 0.05)(ex))
    seen = ask(sluice, mode)
    assert (seen.text, seen.code) == ("word", "upstream_timeout")
    assert "within its timeout" in seen.message


def test_stream_timeout_of_the_deployment(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment(stream_timeout=0.3)})
    upstream.next(stall())
    seen = ask(sluice, "stream")
    assert (seen.code, seen.status) == ("upstream_timeout", 504)


# ---------------------------------------------------------------------------------------------- secrets, connections


def test_messages_of_the_upstream_are_kept_but_cleaned(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(
        status(500, "the disk is full \x1b[31m key sk-abcdefghijklmnopqrstuvwxyz0123456789")
    )
    seen = ask(sluice, "http")
    assert "the disk is full" in seen.message
    assert "\x1b" not in seen.message
    if upstream.dialect.name == "openai":  # Ollama has no keys
        assert "abcdefghijklmnop" not in seen.message


def test_idle_connection_that_was_closed_meanwhile(env, upstream: Upstream) -> None:
    """llama-server drops idle connections after 5 s: reuse must not turn that into an error."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("one"), end(), fin())
    assert ask(sluice, "http").text == "one"
    first = upstream.wait_request()
    assert first.connection.closed.wait(10)
    assert ask(sluice, "http") == Seen("Hello world", None)


def have_idle_connections(sluice: Daemon, upstream: Upstream, n: int) -> None:
    gate = Gate()
    upstream.always(wait_for(gate), text("ok"), end())
    rpc = sluice.rpc()
    ids = [rpc.stream("Chat", rpc.chat_request("m")) for _ in range(n)]
    upstream.wait_request(n)
    gate.open()
    for stream_id in ids:
        assert text_of(list(rpc.events(stream_id))) == "ok"


def test_idle_connections_that_are_all_dropped(env, upstream: Upstream) -> None:
    """A server that starts anew resets what is sent on an old connection: the second try goes out on a new one."""
    sluice = env.start({"m": upstream.deployment(max_parallel_requests=4)})
    have_idle_connections(sluice, upstream, 4)
    old = list(upstream.connections)

    def reset_if_old(ex: Exchange) -> None:
        if ex.connection in old:
            ex.reset()

    upstream.always(reset_if_old, text("Hello", " world"), end())
    assert ask(sluice, "http") == Seen("Hello world", None)
    assert [e.connection in old for e in upstream.requests()[4:]] == [True, False]


def test_idle_connections_do_not_multiply_a_request(env) -> None:
    """Each of them is lost as soon as the request is there: that is the request's doing, and a try for each would be too many."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment(max_parallel_requests=4)})
    have_idle_connections(sluice, upstream, 4)
    upstream.always(rst())
    answer = sluice.post(CHAT, chat_body(num_retries=0))
    assert (answer.status, answer.error["code"]) == (502, "upstream_cut")
    upstream.settle()
    assert 1 <= len(upstream.requests()) - 4 <= 2


def test_connections_are_reused(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    for _ in range(12):
        assert ask(sluice, "http").code is None
    # One may still be bringing the last chunk of an answer that is over for its client.
    assert len({id(e.connection) for e in upstream.requests()}) <= 4


def test_proxy_variables_are_ignored_for_local_servers(env, upstream: Upstream) -> None:
    trap = env.closing(RefusingPort())
    sluice = env.start(
        {"m": upstream.deployment()}, env={"http_proxy": trap.url, "ALL_PROXY": trap.url}
    )
    assert ask(sluice, "http").code is None


# ---------------------------------------------------------------------------------------------- loading (Ollama)


LOADS: dict[str, tuple[list[Step], str, int]] = {
    "killed": (
        [whole(500, {"error": "llama-server process has terminated: signal: killed"})],
        "model_load_killed",
        503,
    ),
    "unknown": ([whole(404, {"error": "model 'm1' not found"})], "model_not_found", 404),
    "corrupt": ([whole(500, {"error": "unsupported file type"})], "upstream_error", 502),
    "silence": ([stall()], "upstream_timeout", 504),
    "cut": ([fin()], "upstream_cut", 502),
    "busy": ([whole(503, {"error": "server busy, please try again."})], "upstream_overloaded", 503),
}


@pytest.mark.parametrize("name", LOADS)
def test_loads_that_fail(env, name: str) -> None:
    steps, code, http_status = LOADS[name]
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()}, sluice=FAST)
    upstream.on_load(*steps)
    seen = ask(sluice, "http")
    assert (seen.code, seen.status) == (code, http_status), seen
    assert not upstream.requests()
    upstream.on_load()
    if name != "killed":
        check_recovers(sluice, "http")
        return
    # What the kernel has killed once it would kill again: it is left alone for a while.
    again = ask(sluice, "http")
    assert (again.code, again.status, again.retry_after) == ("model_quarantined", 503, 60), again
    assert len(upstream.requests("load")) == 1
    assert sluice.expect_idle() is None


def test_one_load_for_all_who_wait(env) -> None:
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment(), "n": upstream.deployment("m2")}, {"slots": 4})
    gate = Gate()
    upstream.on_load(wait_for(gate))
    rpc = sluice.rpc()
    ids = [rpc.stream("Chat", rpc.chat_request("m")) for _ in range(3)]
    ids.append(rpc.stream("Chat", rpc.chat_request("n")))
    upstream.wait_request(1, "load")
    assert rpc.status().calls_running == 4
    assert len(upstream.requests("load")) == 1, "two loads at one server at a time"
    assert not upstream.requests()
    gate.open()
    for stream_id in ids:
        assert text_of(list(rpc.events(stream_id))) == "Hello world"
    assert sorted(e.json["model"] for e in upstream.requests("load")) == ["m1", "m2"]


def test_other_load_options_are_another_load(env) -> None:
    """Else the client's own request would make Ollama load, and abort the load when the client leaves."""
    upstream = env.ollama()
    sizes = {"small": 2048, "large": 8192}
    sluice = env.start({n: upstream.deployment(num_ctx=size) for n, size in sizes.items()})
    for name in ("small", "small", "large", "large", "small"):
        assert sluice.post(CHAT, chat_body(model=name)).status == 200
    loads = [e.json["options"]["num_ctx"] for e in upstream.requests("load")]
    assert loads == [2048, 8192, 2048]


def test_cloud_models_are_blocked(env) -> None:
    """A local gateway does not send prompts to somebody's cloud by accident of a name."""
    upstream = env.ollama()
    sluice = env.start(
        {"m": upstream.deployment("gpt-oss:120b-cloud"), "n": upstream.deployment("x:cloud")}
    )
    for name in ("m", "n"):
        seen = ask(sluice, "http", name)
        assert seen.code == "deployment_misconfigured" and seen.status == 503, seen
    assert not upstream.requests("chat", "load")

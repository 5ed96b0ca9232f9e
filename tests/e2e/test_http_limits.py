"""Limits of the HTTP port: each is reached, answered, costs that connection only, and bounds memory."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest
from testenv.daemon import Daemon
from testenv.http import Closed, Http, chat_body, contents
from testenv.rules import check_complete
from testenv.upstream import Gate, end, endless, text, wait_for
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
SMALL = {
    "limits": {"head": "4KiB", "body": "64KiB"},
    "timeouts": {"head": "400ms", "body": "600ms", "keep_alive": "400ms"},
}


class Bystander:
    """A stream that is open while something else goes wrong, and must come to its end all the same."""

    def __init__(self, sluice: Daemon, upstream: Any):
        self.gate = Gate()
        upstream.next(text("before"), wait_for(self.gate), text(" after"), end())
        self.http = sluice.http()
        self.http.send_request("POST", CHAT, chat_body(stream=True))
        self.events = self.http.sse(self.http.read_head())
        self.seen = [next(self.events)]
        while contents(self.seen) != "before":
            self.seen.append(next(self.events))

    def check(self) -> None:
        self.gate.open()
        self.seen += list(self.events)
        check_complete(self.seen)
        assert contents(self.seen) == "before after"


def say_head(http: Http, extra: str = "") -> None:
    http.send(
        f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{extra}"
    )


def body_by_length(http: Http) -> None:
    """413 from Content-Length alone: not one byte of the body is needed."""
    say_head(http, "Content-Length: 65537\r\n\r\n")


def body_by_chunks(http: Http) -> None:
    say_head(http, "Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):
        http.send(b"4000\r\n" + b" " * 0x4000 + b"\r\n")


def body_expected(http: Http) -> None:
    """Refused before 100 Continue: the client need not send it."""
    say_head(http, "Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n")


def body_sent_at_once(http: Http) -> None:
    """The client writes all of it before it reads: it must still see the answer, and not a reset."""
    say_head(http, "Content-Length: 200000\r\n\r\n")
    http.send(b" " * 200000)


def head_too_long(http: Http) -> None:
    http.send("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n")
    for i in range(40):
        http.send(f"X-{i}: {'x' * 200}\r\n")


def one_long_header(http: Http) -> None:
    http.send("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + "x" * 6000)


def slow_head(http: Http) -> None:
    http.send("GET /v1/models HTTP/1.1\r\nHost: loc")


def slow_body(http: Http) -> None:
    say_head(http, "Content-Length: 100\r\n\r\n{")


REFUSED: dict[str, tuple[Callable[[Http], None], int, str]] = {
    "body by its length": (body_by_length, 413, "payload_too_large"),
    "body by its chunks": (body_by_chunks, 413, "payload_too_large"),
    "body with Expect": (body_expected, 413, "payload_too_large"),
    "body sent at once": (body_sent_at_once, 413, "payload_too_large"),
    "head": (head_too_long, 431, "head_too_large"),
    "one header": (one_long_header, 431, "head_too_large"),
    "slow head": (slow_head, 408, "request_timeout"),
    "slow body": (slow_body, 408, "request_timeout"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_limit(env, name: str) -> None:
    say, status, code = REFUSED[name]
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice=SMALL)
    bystander = Bystander(sluice, upstream)
    with sluice.http() as http:
        say(http)
        answer = http.read_answer()
        assert answer.status == status and answer.error["code"] == code
        assert answer.header("connection") == "close"
        http.wait_closed()
    bystander.check()
    assert len(upstream.requests()) == 1


def test_just_below_the_limits(env) -> None:
    sluice = env.start(sluice=SMALL)
    body = json.dumps(chat_body()).encode()
    body += b" " * (65536 - len(body))
    answer = sluice.post(CHAT, body, headers={"X": "x" * 3500})
    assert answer.status == 200


def test_deadline_is_for_the_whole_head(env) -> None:
    """A byte now and then does not buy more time (slowloris)."""
    sluice = env.start(sluice=SMALL)
    with sluice.http() as http:
        dripped = 0

        def drip() -> bool:
            nonlocal dripped
            try:
                http.send(b"G" if dripped == 0 else b"x")
                dripped += 1
                http.sock.settimeout(0.05)
                http._fill()
                return True
            except TimeoutError:
                return False
            except (Closed, BrokenPipeError):
                return True

        eventually(drip, "an answer, or the end of the connection", 5)
        assert 1 < dripped < 60


def test_idle_connections_are_closed(env) -> None:
    sluice = env.start(sluice=SMALL)
    with sluice.http() as http:
        assert http.request("GET", "/v1/models").status == 200
        http.wait_closed(5)
    with sluice.http() as http:  # not one byte
        http.wait_closed(5)


def test_idle_time_is_not_for_running_calls(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice=SMALL)
    bystander = Bystander(sluice, upstream)
    with sluice.http() as http:
        assert http.request("GET", "/v1/models").status == 200
        http.wait_closed(5)  # longer than head, body and keep_alive took
    bystander.check()


def test_connection_limit(env, upstream) -> None:
    """What is over the limit waits in the kernel as long as all others are busy; when one leaves, the next is served."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 6, "limits": {"connections": 6}})
    gate = Gate()
    open_ones = [sluice.http() for _ in range(6)]
    for http in open_ones:
        upstream.next(wait_for(gate), text("done"), end())
        http.send_request("POST", CHAT, chat_body())
        upstream.wait_request()
    late = sluice.http(timeout=0.5)
    late.send_request("GET", "/v1/models")
    with pytest.raises(TimeoutError):
        late.read_answer("GET")
    open_ones[0].close()
    late.sock.settimeout(10)
    assert late.read_answer("GET").status == 200
    gate.open()
    for http in open_ones[1:]:
        assert http.read_answer().status == 200
        http.close()


def test_connections_between_requests_make_room(env) -> None:
    """At the limit the oldest of them is closed for who knocks; one that is about to ask is not."""
    sluice = env.start(sluice={"limits": {"connections": 6}})
    open_ones = [sluice.http() for _ in range(6)]
    for http in open_ones:
        assert http.request("GET", "/v1/models").status == 200
    open_ones[0].send("GET /v1/models HTTP/1.1\r\n")
    with sluice.http() as late:
        assert late.request("GET", "/v1/models").status == 200
    open_ones[1].wait_closed(5)
    open_ones[0].send("Host: localhost\r\n\r\n")
    assert open_ones[0].read_answer("GET").status == 200
    for http in open_ones:
        http.close()


def test_connection_limit_of_a_user(env) -> None:
    """One user cannot take all connections; the others (here: TCP, whose user nobody knows) go on."""
    sluice = env.start(sluice={"limits": {"connections": 16, "connections_per_uid": 4}})
    open_ones = [sluice.http_unix() for _ in range(4)]
    for http in open_ones:
        assert http.request("GET", "/v1/models").status == 200
    with sluice.http_unix() as late:
        late.wait_closed(5)
    assert sluice.get("/v1/models").status == 200
    for http in open_ones:
        assert http.request("GET", "/v1/models").status == 200
        http.close()
    eventually(lambda: sluice.status().connections <= 2, "room again")


def test_the_service_managers_limit_goes_before_ours(env) -> None:
    """With MemoryMax=64M the kernel would kill a sluiced that reads 32 MiB (limits.body); so it refuses them, and takes what fits."""
    group = env.directory / "sys/fs/cgroup/sluice.service"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{64 << 20}\n")
    (env.directory / "proc/self").mkdir(parents=True)
    (env.directory / "proc/self/cgroup").write_text("0::/sluice.service\n")
    sluice = env.start(sluice={"pressure": {"enabled": True, "kernel_root": str(env.directory)}})
    http = sluice.http()
    say_head(http, f"Content-Length: {(8 << 20) + 1}\r\n\r\n")
    assert http.read_answer().status == 413
    assert sluice.post(CHAT, chat_body(content="x" * (7 << 20))).status == 200


def test_calls_do_not_buffer_without_bound(env) -> None:
    """The sum of all bodies is bounded as well: sluice.limits.buffered."""
    sluice = env.start(sluice={"limits": {"body": "1MiB", "buffered": "2MiB"}})
    part = b"x" * 900_000
    held = []
    for _ in range(4):
        http = sluice.http()
        say_head(http, "Content-Length: 1000000\r\n\r\n")
        http.send(part)
        held.append(http)
    statuses = []
    for http in held:
        http.sock.settimeout(1)
        try:
            statuses.append(http.read_answer().status)
        except TimeoutError:
            statuses.append(0)  # still within the budget
        except Closed:
            statuses.append(-1)
    assert 0 in statuses, "nothing fits"
    assert any(s in (413, 429, 503) for s in statuses), statuses
    for http in held:
        http.close()
    eventually(lambda: sluice.post(CHAT, chat_body()).status == 200, "room again")


def test_large_answer_that_is_collected(env) -> None:
    """A non-stream answer is collected: more than the limit is an error, not memory."""
    upstream = env.openai()
    sluice = env.start(
        {"m": upstream.deployment()}, sluice={"limits": {"body": "1MiB", "buffered": "1MiB"}}
    )
    upstream.next(endless("x" * 10_000, 8 << 20), end())
    before = sluice.rss_at_work_bytes()
    sluice.reset_peak()
    answer = sluice.post(CHAT, chat_body())
    assert answer.status in (502, 503) and answer.error["code"]
    assert sluice.peak_rss_bytes() - before < 16 << 20
    assert sluice.post(CHAT, chat_body()).status == 200

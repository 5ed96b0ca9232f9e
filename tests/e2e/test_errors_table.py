"""proto/errors.def, row by row: each error that a client over HTTP can meet, made to happen, and answered as its row says.

A row that nobody here can reach is on a list with its reason, so that a new row needs one or the other.
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
from typing import Any, Callable

import pytest
from testenv.daemon import Daemon, mock
from testenv.http import Answer, Http, chat_body
from testenv.paths import SOURCE
from testenv.upstream import RefusingPort, clean_end, say, stall, text, whole
from testenv.waiting import eventually
from test_pressure import Kernel

CHAT = "/v1/chat/completions"
ROW = re.compile(r'^X\((\w+),\s*(\d+), "(\w+)",\s*"(\w+)",\s*(\d+), ([01]), "', re.M)
ROWS = {
    name: (int(status), type_, code, retry == "1")
    for name, status, type_, code, _, retry in ROW.findall(
        (SOURCE / "proto/errors.def").read_text()
    )
}
FAST = {"timeouts": {"connect": "300ms", "first_byte": "300ms", "gap": "300ms"}}
# One attempt, so that what it met is what is told.
ONCE = {"num_retries": 0, "disable_fallbacks": True}


def chat(sluice: Daemon, model: str = "m", **members: Any) -> Answer:
    return sluice.post(CHAT, chat_body(model, **ONCE, **members))


def served(env, script: Any, sluice: Any = None, **members: Any) -> Answer:
    """A call to a scripted server of the OpenAI dialect."""
    server = env.openai()
    server.always(script)
    return chat(env.start({"m": server.deployment()}, sluice=sluice), **members)


def said(status: int, **error: Any) -> Any:
    return whole(status, {"error": {"message": "as the server said", **error}})


def raw(env, line: bytes, headers: bytes = b"Host: localhost\r\n", **sluice: Any) -> Answer:
    with env.start(sluice=sluice).http() as http:
        http.send(line + b"\r\n" + headers + b"\r\n")
        return http.read_answer()


def with_key(env, answer: Callable[[Daemon], Answer], **members: Any) -> Answer:
    digest = hashlib.sha256(b"sk-one").hexdigest()
    keys = [{"id": "one", "sha256": digest, **members}]
    return answer(env.start({"m": mock(), "n": mock()}, sluice={"keys": keys}))


def keyed(sluice: Daemon, model: str = "m") -> Answer:
    headers: Any = {"authorization": "Bearer sk-one"}
    return sluice.post(CHAT, chat_body(model), headers=headers)


def second_key_call(sluice: Daemon) -> Answer:
    assert keyed(sluice).status == 200
    return keyed(sluice)


def queue_full(env, wait: str = "") -> Answer:
    server = env.openai()
    server.always(stall())
    queue: dict[str, Any] = {"length": 1}
    if wait:
        queue["wait"] = {"interactive": wait}
    sluice = env.start({"m": server.deployment()}, sluice={"queue": queue})
    busy = env.closing(sluice.http())
    busy.send_request("POST", CHAT, chat_body())
    server.wait_request()
    if wait:
        return chat(sluice)
    waiting = env.closing(sluice.http())
    waiting.send_request("POST", CHAT, chat_body())
    eventually(lambda: sluice.status().calls_queued == 1, "one waits")
    answer = chat(sluice)
    waiting.close()
    busy.close()
    return answer


def memory_pressure(env) -> Answer:
    kernel = env.closing(Kernel(env.directory / "kernel"))
    pressure = {"enabled": True, "kernel_root": str(env.directory / "kernel")}
    server = env.openai()
    server.always(text("x"), stall())
    sluice = env.start({"m": server.deployment()}, sluice={"pressure": pressure})
    busy = env.closing(sluice.http())  # the daemon looks while a call runs
    busy.send_request("POST", CHAT, chat_body(stream=True))
    kernel.full_permille = kernel.some_permille = 600
    eventually(lambda: sluice.status().pressure_level >= 3, "the pressure shows")
    answer = chat(sluice)
    busy.close()
    return answer


class Busy:
    """One slot that is held, behind it a queue of one place."""

    def __init__(self, env, **queue: Any):
        server = env.openai()
        server.always(stall())
        self.env = env
        self.sluice = env.start({"m": server.deployment()}, sluice={"queue": queue})
        self.send()
        server.wait_request()

    def send(self, class_: str = "interactive") -> Http:
        http = self.env.closing(self.sluice.http())
        http.send_request("POST", CHAT, chat_body(), headers={"x-sluice-class": class_})
        return http

    def add(self, class_: str = "interactive") -> Http:
        http = self.send(class_)
        eventually(lambda: self.sluice.status().calls_queued == 1, "one waits")
        return http


def client_queue_full(env) -> Answer:
    busy = Busy(env, per_caller=1)
    busy.add()
    return chat(busy.sluice)


def displaced(env) -> Answer:
    busy = Busy(env, length=1)
    background = busy.add("background")
    busy.send()
    return background.read_answer()


def predicted_wait(env) -> Answer:
    """An answer has shown how long they take; the next one takes longer, and longer still."""
    server = env.openai()
    server.next(*say("x"))
    server.always(stall())
    short = {"interactive": "100ms"}
    sluice = env.start({"m": server.deployment()}, sluice={"queue": {"patience": short, "wait": short}})
    assert chat(sluice).status == 200
    busy = env.closing(sluice.http())
    busy.send_request("POST", CHAT, chat_body())
    server.wait_request(2)
    for _ in range(50):
        answer = chat(sluice)
        if answer.error["code"] == "predicted_wait":
            break
    return answer


def draining(env) -> Answer:
    server = env.openai()
    server.always(text("x"), stall())
    sluice = env.start({"m": server.deployment()}, sluice={"timeouts": {"drain": "300ms"}})
    busy, waiting = env.closing(sluice.http()), env.closing(sluice.http())
    busy.send_request("POST", CHAT, chat_body())
    server.wait_request()
    waiting.send_request("POST", CHAT, chat_body())
    eventually(lambda: sluice.status().calls_queued == 1, "one waits")
    sluice.signal(signal.SIGTERM)
    answer = waiting.read_answer()
    assert sluice.wait_exit() == 0
    return answer


def breaker(env) -> Answer:
    server = env.openai()
    server.always(stall())
    sluice = env.start({"m": server.deployment()}, sluice=FAST)
    for _ in range(3):  # HEALTH_FAILURES
        assert chat(sluice).error["code"] == "upstream_timeout"
    return chat(sluice)


def misconfigured(env) -> Answer:
    off = {"model": "openai/x", "api_base": "os.environ/SLUICE_TEST_UNSET"}
    return chat(env.start({"off": off, "m": mock()}), "off")


def out_of_memory(env) -> Answer:
    sluice = env.start(sluice={"limits": {"body": "1MiB", "buffered": "1MiB"}})
    return chat(sluice, user="x" * 900_000)


def slow_request(env) -> Answer:
    sluice = env.start(sluice={"timeouts": {"body": "200ms"}})
    with sluice.http() as http:
        headers: Any = {"Content-Length": "5", "Content-Type": "application/json"}
        http.send_request("POST", CHAT, headers=headers)
        return http.read_answer()


def unsupported(env) -> Answer:
    server = env.ollama()
    return chat(env.start({"m": server.deployment()}), logit_bias={"5": 1})


def far_away(env) -> Answer:
    cloud = {"model": "openai/x", "api_key": "k", "api_base": "https://cloud.invalid/v1"}
    sluice = env.start({"m": cloud})
    return sluice.post(CHAT, chat_body(), headers={"x-sluice-local-only": "true"})


def all_cooled(env) -> Answer:
    """Two deployments, as a lone one is never left out."""
    server = env.openai()
    server.always(said(429))
    deployments = [server.deployment("a"), server.deployment("b")]
    config = env.config({"m": deployments})
    config["router_settings"] = {"cooldown_time": 60, "num_retries": 0}
    sluice = env.start(json.dumps(config))
    for _ in range(8):
        answer = chat(sluice)
        if answer.error["code"] == "no_deployments_available":
            break
    return answer


CAUSES: dict[str, Callable[[Any], Answer]] = {
    "INVALID_REQUEST": lambda env: chat(env.start(), messages=5),
    "UNSUPPORTED_PARAMETER": unsupported,
    "CONTEXT_LENGTH": lambda env: served(env, said(400, code="context_length_exceeded")),
    "CONTENT_FILTER": lambda env: served(env, said(400, code="content_filter")),
    "INVALID_API_KEY": lambda env: chat(env.start(general={"master_key": "sk-1"})),
    "KEY_EXPIRED": lambda env: with_key(env, keyed, expires="2020-01-01"),
    "KEY_MODEL_DENIED": lambda env: with_key(env, lambda s: keyed(s, "n"), models=["m"]),
    "KEY_RATE_LIMITED": lambda env: with_key(env, second_key_call, rpm=1),
    "INSUFFICIENT_QUOTA": lambda env: with_key(env, keyed, tpm=1),
    "FORBIDDEN": lambda env: env.start().post(
        CHAT, chat_body(), headers={"Origin": "https://evil.example"}
    ),
    "MODEL_NOT_FOUND": lambda env: chat(env.start(), "nobody"),
    "NOT_FOUND": lambda env: env.start().get("/nothing"),
    "METHOD_NOT_ALLOWED": lambda env: env.start().get(CHAT),
    "REQUEST_TIMEOUT": slow_request,
    "PAYLOAD_TOO_LARGE": lambda env: chat(
        env.start(sluice={"limits": {"body": "1KiB"}}), user="x" * 2000
    ),
    "URI_TOO_LONG": lambda env: raw(env, b"GET /" + b"x" * 5000 + b" HTTP/1.1"),
    "UNSUPPORTED_MEDIA_TYPE": lambda env: env.start().post(
        CHAT, chat_body(), headers={"Content-Type": "text/plain"}
    ),
    "EXPECTATION_FAILED": lambda env: env.start().post(
        CHAT, chat_body(), headers={"Expect": "a miracle"}
    ),
    "MISDIRECTED": lambda env: raw(
        env, b"GET /v1/models HTTP/1.1", b"Host: evil.example\r\n"
    ),
    "HEAD_TOO_LARGE": lambda env: raw(
        env, b"GET / HTTP/1.1", b"Host: localhost\r\n" + b"X: %s\r\n" % (b"x" * 3000) * 7
    ),
    "HTTP_VERSION": lambda env: raw(env, b"GET / HTTP/2.0"),
    "NOT_IMPLEMENTED": lambda env: env.start().get("/v1/responses"),
    "OUT_OF_MEMORY": out_of_memory,
    "MEMORY_PRESSURE": memory_pressure,
    "QUEUE_FULL": queue_full,
    "CLIENT_QUEUE_FULL": client_queue_full,
    "DISPLACED": displaced,
    "PREDICTED_WAIT": predicted_wait,
    "QUEUE_TIMEOUT": lambda env: queue_full(env, "100ms"),
    "DRAINING": draining,
    "MISCONFIGURED": misconfigured,
    "LOCAL_ONLY": far_away,
    "NO_DEPLOYMENTS": all_cooled,
    "UPSTREAM_UNREACHABLE": lambda env: chat(
        env.start(
            {
                "m": {
                    "model": "openai/x",
                    "api_key": "k",
                    "api_base": env.closing(RefusingPort()).url + "/v1",
                }
            }
        )
    ),
    "UPSTREAM_TIMEOUT": lambda env: served(env, stall(), FAST),
    "UPSTREAM_STALLED": lambda env: served(env, [text("x"), stall()], FAST),
    "UPSTREAM_BREAKER": breaker,
    "UPSTREAM_CUT": lambda env: served(env, [text("x"), clean_end()]),
    "UPSTREAM_GARBAGE": lambda env: served(env, whole(200, b"<html>")),
    "UPSTREAM_ERROR": lambda env: served(env, said(500)),
    "UPSTREAM_REJECTED": lambda env: served(env, said(422)),
    "UPSTREAM_AUTH": lambda env: served(env, said(401)),
    "UPSTREAM_RATE_LIMITED": lambda env: served(env, said(429)),
    "UPSTREAM_QUOTA": lambda env: served(env, said(429, code="insufficient_quota")),
    "UPSTREAM_OVERLOADED": lambda env: served(env, said(503)),
    "UPSTREAM_OUT_OF_MEMORY": lambda env: served(
        env, whole(500, {"error": "llama-server process has terminated: signal: killed"})
    ),
}

ELSEWHERE = {
    "MODEL_IN_USE": "Control.Unload, which is RPC's",
    "TOO_MANY_CALLS": "an HTTP connection has one call at a time",
    "CANCELLED": "who cancels over HTTP has left and reads nothing",
    "STALLED_READER": "who reads nothing reads no error: the connection is closed",
    "INTERNAL": "a bug in sluice, or memory that ends in an awkward place: unit tests",
    "BAD_CONFIGURATION": "Control.Reload, which is RPC's",
    "MODEL_EXCEEDS": "the tests of residency, as the next two",
    "MODEL_BUDGET": "there",
    "MODEL_QUARANTINED": "there",
    "PREEMPTED": "such a call waits again: only where memory became short meanwhile",
    "DEADLINE_EXCEEDED": "a deadline stands in RPC's requests only",
    "NO_MATCH": "routing by tags: the tests of the router",
    "UPSTREAM_UNTRUSTED": "the tests of TLS",
}


def test_every_row_is_here() -> None:
    assert set(CAUSES) | set(ELSEWHERE) == set(ROWS)
    assert not set(CAUSES) & set(ELSEWHERE)


@pytest.mark.parametrize("name", CAUSES)
def test_row(env, name: str) -> None:
    status, type_, code, is_retryable = ROWS[name]
    answer = CAUSES[name](env)
    assert answer.status == status, answer
    error = answer.error
    assert (error["type"], error["code"]) == (type_, code), answer
    assert error["param"] is None or isinstance(error["param"], str)
    assert answer.header("x-request-id")
    if status in (408, 409) or status >= 429:  # what the packages of OpenAI repeat by themselves
        assert answer.header("x-should-retry") == ("true" if is_retryable else "false")
        assert answer.header("x-sluice-level") in ("0", "1", "2", "3", "4")
    else:
        assert answer.header("x-should-retry") is None and answer.header("x-sluice-level") is None
    after, after_ms = answer.header("retry-after"), answer.header("retry-after-ms")
    assert (after is None) == (after_ms is None)
    if after is not None and after_ms is not None:
        assert is_retryable, "a time to come back, for what will not get better"
        assert 1 <= int(after) <= 60 and 0 <= int(after) * 1000 - int(after_ms) < 1000
    # Nothing is made up for a model server that does not say: the packages' own growing pauses are better.
    if type_ in ("overloaded_error", "rate_limit_error") and not name.startswith("UPSTREAM_"):
        assert after is not None, "shed without a time to come back"
    if status == 401:
        assert answer.header("www-authenticate") == "Bearer"

"""Unusual but legal: half-closed clients, pipelines, very large pieces, crowds, few descriptors, a log that nobody reads."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from testenv import paths
from testenv.daemon import SANITIZER_ENV, Daemon, mock
from testenv.http import Closed, Http, chat_body, contents
from testenv.rules import check_complete
from testenv.ttrpc import RpcError, text_of
from testenv.upstream import Gate, Upstream, end, say, stall, text, vector, wait_for
from testenv.waiting import eventually, is_listened_on

CHAT = "/v1/chat/completions"
MIB = 1 << 20


# ---------------------------------------------------------------------------------------------- connections


def test_half_closed_get(env) -> None:
    """`printf 'GET ...' | nc -N`: nothing runs for it, so it gets its answer."""
    sluice = env.start()
    with sluice.http() as http:
        http.send("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        http.sock.shutdown(socket.SHUT_WR)
        assert http.read_answer("GET").json["data"][0]["id"] == "m"
        http.wait_closed()


def test_half_closed_call_is_cancelled(env, upstream: Upstream) -> None:
    """A close and a half-close look alike; the work stops, as at Ollama itself."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(stall())
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body())
        exchange = upstream.wait_request()
        http.sock.shutdown(socket.SHUT_WR)
        assert exchange.peer_left.wait(10)
    sluice.expect_idle()


def test_pipelined_calls(env, upstream: Upstream) -> None:
    """Answered one after the other, in order; what came early is not lost."""
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(wait_for(gate), *say("one"))
    upstream.next(say("two"))
    with sluice.http() as http:
        for i in range(3):
            http.send_request("POST", CHAT, chat_body(stream=i == 1))
        http.send_request("GET", "/v1/models")
        upstream.wait_request()
        gate.open()
        assert http.read_answer().json["choices"][0]["message"]["content"] == "one"
        assert contents(list(http.sse(http.read_head()))) == "two"
        assert http.read_answer().json["choices"][0]["message"]["content"] == "Hello world"
        assert http.read_answer("GET").status == 200


def test_pipelining_client_leaves(env, upstream: Upstream) -> None:
    """The bytes of its next requests lie unread: it is gone all the same."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("x"), stall())
    http = sluice.http()
    for _ in range(3):
        http.send_request("POST", CHAT, chat_body(stream=True))
    exchange = upstream.wait_request()
    http.close()
    assert exchange.peer_left.wait(10)
    sluice.expect_idle()
    assert len(upstream.requests()) == 1


def test_endless_pipeline_is_not_kept(env, upstream: Upstream) -> None:
    """Somebody who sends megabytes behind a request that runs: bounded, whatever happens to him."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(stall())
    before = sluice.rss_at_work_bytes()
    http = sluice.http(timeout=1)
    http.send_request("POST", CHAT, chat_body())
    upstream.wait_request()
    with pytest.raises((TimeoutError, ConnectionError)):
        for _ in range(64):
            http.send(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4000)
    assert sluice.rss_bytes() - before < 4 * MIB
    http.close()
    sluice.expect_idle()


@pytest.mark.memory
def test_idle_daemon(env, upstream: Upstream) -> None:
    """One that has answered by HTTP and by RPC keeps to the budget: 12 MiB resident (LiteLLM: 320)."""
    sluice = env.start({"m": upstream.deployment()})
    assert sluice.post(CHAT, chat_body()).status == 200
    with sluice.rpc() as rpc:
        assert text_of(list(rpc.chat("m"))) == "Hello world"
    sluice.expect_idle()
    print(f"idle: {sluice.rss_bytes() / MIB:.1f} MiB resident")
    assert sluice.rss_bytes() < sluice.allowed_bytes(12 * MIB)


@pytest.mark.memory
def test_crowd_of_streams(env, upstream: Upstream) -> None:
    """200 streams at once, all complete; memory for each is small, and given back."""
    n = 200
    settings = {"slots": n, "limits": {"connections": 256, "connections_per_uid": 256}}
    sluice = env.start({"m": upstream.deployment()}, sluice=settings)
    gate = Gate()
    upstream.always(text("be"), wait_for(gate), text("gin"), end())
    before = sluice.rss_at_work_bytes()
    clients = []
    for _ in range(n):
        http = sluice.http(timeout=20)
        http.send_request("POST", CHAT, chat_body(stream=True))
        clients.append(http)
    upstream.wait_request(n)
    eventually(lambda: sluice.status().calls_running == n, "all run")
    each = (sluice.rss_bytes() - before) / n
    print(f"{each / 1024:.1f} KiB for each open stream")
    assert each < sluice.allowed_bytes(48 * 1024)
    gate.open()
    for http in clients:
        events = list(http.sse(http.read_head()))
        check_complete(events)
        assert contents(events) == "begin"
        http.close()


def test_few_descriptors(env) -> None:
    """accept() fails: the daemon waits for room instead of spinning or dying."""
    upstream = env.openai()
    config = env.config({"m": upstream.deployment()}, {"limits": {"connections": 512}})
    daemon = Daemon(env.directory, config)
    daemon.preexec = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    env.daemons.append(daemon)
    daemon.start()
    first = daemon.http()
    assert first.request("GET", "/v1/models").status == 200
    crowd = [daemon.http() for _ in range(60)]
    daemon.wait_record(lambda r: "not accepting" in r["message"], "that it has no room")
    assert first.request("GET", "/v1/models").status == 200
    cpu_before = cpu_ticks(daemon)
    crowd[0].send_request("GET", "/v1/models")
    crowd[0].read_answer("GET")
    for http in crowd[1:]:
        http.close()
    eventually(lambda: daemon.post(CHAT, chat_body()).status == 200, "room again")
    assert cpu_ticks(daemon) - cpu_before < 200, "it was spinning"


def cpu_ticks(sluice: Daemon) -> int:
    fields = Path(f"/proc/{sluice.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


# ---------------------------------------------------------------------------------------------- sizes


def test_large_prompt(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    prompt = 'line "with" quotes \\ and ünïcode\n' * 200_000
    answer = sluice.post(CHAT, chat_body(content=prompt))
    assert answer.status == 200, answer
    assert upstream.wait_request().json["messages"][0]["content"] == prompt


@pytest.mark.parametrize("n_bytes", [100_000, 300_000])
def test_large_pieces(env, upstream: Upstream, n_bytes: int) -> None:
    """A server that says a lot at once; no frame over 4 MiB, no character torn."""
    sluice = env.start({"m": upstream.deployment()})
    piece = "äöü€" * (n_bytes // 9)
    upstream.always(say(piece, "end"))
    assert sluice.post(CHAT, chat_body()).json["choices"][0]["message"]["content"] == piece + "end"
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        assert contents(list(http.sse(http.read_head()))) == piece + "end"
    with sluice.rpc() as rpc:
        assert text_of(list(rpc.chat("m"))) == piece + "end"


@pytest.mark.parametrize("n_bytes", [3 * MIB, 5 * MIB, 20 * MIB])
def test_piece_larger_than_a_frame(env, upstream: Upstream, n_bytes: int) -> None:
    """Either all of it arrives or an error says that it did not; the connection and its other calls live on."""
    sluice = env.start({"m": upstream.deployment(), "other": mock()})
    piece = "x" * n_bytes
    upstream.always(say(piece))
    with sluice.rpc() as rpc:
        gate_id = rpc.stream("Chat", rpc.chat_request("m"))
        try:
            assert text_of(list(rpc.events(gate_id))) == piece
        except RpcError as e:
            assert e.detail.code == "upstream_garbage", e
        assert text_of(list(rpc.chat("other"))) == "mocked"
    answer = sluice.post(CHAT, chat_body())
    assert answer.status == 200 or answer.error["code"] == "upstream_garbage"


def test_many_and_large_embeddings(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    inputs = [f"text {i}" for i in range(2048)]
    body = {"model": "m", "input": inputs, "encoding_format": "float"}
    data = sluice.post("/v1/embeddings", body).json["data"]
    assert [d["index"] for d in data] == list(range(2048))
    assert data[77]["embedding"] == vector("text 77")
    with sluice.rpc() as rpc:
        request = rpc.schema.EmbedRequest(model="m", inputs=inputs)
        events = list(rpc.events(rpc.stream("Embed", request)))
    assert sum(e.WhichOneof("kind") == "embedding" for e in events) == 2048


def test_embedding_of_many_numbers(env) -> None:
    upstream = env.ollama()
    numbers = [i / 7 - 300 for i in range(4096)]

    def embed(ex: Any) -> None:
        ex.whole(200, {"model": "m", "embeddings": [numbers] * 16, "prompt_eval_count": 5})

    upstream.always(embed)
    upstream.dialect.embed = embed
    sluice = env.start({"m": upstream.deployment()})
    body = {"model": "m", "input": ["x"] * 16, "encoding_format": "float"}
    data = sluice.post("/v1/embeddings", body).json["data"]
    assert len(data) == 16
    assert data[15]["embedding"] == pytest.approx(numbers, rel=1e-6)


def test_memory_stays_flat(env, upstream: Upstream) -> None:
    """A thousand calls more cost nothing that stays."""
    sluice = env.start({"m": upstream.deployment()})

    def many(n: int) -> None:
        with sluice.http() as http:
            for i in range(n):
                http.send_request("POST", CHAT, chat_body(stream=bool(i % 2)))
                b"".join(http.body_parts(http.read_head()))

    many(400)
    before = sluice.rss_at_work_bytes()
    many(1000)
    assert sluice.rss_bytes() - before < 3 * MIB


# ---------------------------------------------------------------------------------------------- the log


def test_log_that_nobody_reads(env) -> None:
    """A full pipe on standard error must not stop a single call; what was left out is counted."""
    path = env.directory / "config.yaml"
    path.write_text(
        "model_list:\n- {model_name: m, litellm_params: {model: openai/x, mock_response: hi}}\n"
    )
    http_path = str(env.directory / "http.sock")
    argv = [str(paths.SLUICED), "--config", str(path), "--log-format", "json"]
    argv += ["--listen", f"http=unix:{http_path}", "--listen", f"rpc=unix:{env.directory}/r.sock"]
    process = subprocess.Popen(
        argv, stderr=subprocess.PIPE, env={**os.environ, **SANITIZER_ENV}, bufsize=0
    )
    assert process.stderr
    try:
        eventually(lambda: is_listened_on(http_path), "it listens")
        with Http(http_path) as http:
            for _ in range(600):
                assert http.request("POST", CHAT, chat_body()).status == 200
        said = os.read(process.stderr.fileno(), 1 << 20)
        with Http(http_path) as http:
            for _ in range(3):
                assert http.request("POST", CHAT, chat_body()).status == 200
        process.terminate()
        said += process.stderr.read()
        assert process.wait(10) == 0
    finally:
        process.kill()
    assert b"SLUICE_DROPPED_RECORDS" in said
    for line in said.splitlines():
        assert line.startswith(b"{") and line.endswith(b"}"), "a record was cut"


# ---------------------------------------------------------------------------------------------- loads in turn


def test_load_that_nobody_wants_any_more(env) -> None:
    """Who waits for his model's turn and leaves takes his wish along."""
    upstream = env.ollama()
    sluice = env.start({"a": upstream.deployment("ma"), "b": upstream.deployment("mb")})
    gate = Gate()
    upstream.on_load(wait_for(gate))
    with sluice.http() as stays:
        stays.send_request("POST", CHAT, chat_body("a"))
        upstream.wait_request(1, "load")
        leaves = sluice.http()
        leaves.send_request("POST", CHAT, chat_body("b"))
        eventually(lambda: sluice.status().calls_running == 2, "both wait for a load")
        leaves.close()
        eventually(lambda: sluice.status().calls_running == 1, "one is gone")
        gate.open()
        assert stays.read_answer().status == 200
    sluice.expect_idle()
    assert [e.json["model"] for e in upstream.requests("load")] == ["ma"]


def test_failed_load_is_told_to_all(env) -> None:
    from testenv.upstream import whole

    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 3})
    gate = Gate()
    error = {"error": "llama-server process has terminated: signal: killed"}
    upstream.on_load(wait_for(gate), whole(500, error))
    clients = []
    for _ in range(3):
        http = sluice.http()
        http.send_request("POST", CHAT, chat_body())
        clients.append(http)
    eventually(lambda: sluice.status().calls_running == 3, "three wait")
    gate.open()
    assert [http.read_answer().error["code"] for http in clients] == ["model_load_killed"] * 3
    assert len(upstream.requests("load")) == 1


# ---------------------------------------------------------------------------------------------- the same from many threads


def test_parallel_clients(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 8, "queue": {"length": 256}})
    failures: list[Any] = []

    def work() -> None:
        try:
            with sluice.http() as http, sluice.rpc() as rpc:
                for _ in range(20):
                    assert http.request("POST", CHAT, chat_body()).status == 200
                    assert text_of(list(rpc.chat("m"))) == "Hello world"
        except (AssertionError, Closed, RpcError, OSError) as e:
            failures.append(e)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(25)
    assert not failures
    assert sluice.status().calls_completed == 320

"""Everything at once, in no order: clients that stay, leave, stall or lie before servers that answer, stall or break, with reloads in
between. Afterwards nothing may be left: no call, no slot, no descriptor, no report of a sanitizer.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from typing import Any

import pytest
from testenv.daemon import Daemon, mock, to_yaml
from testenv.http import Closed, chat_body
from testenv.ttrpc import ConnectionEnded, RpcError
from testenv.upstream import (
    Upstream,
    begin,
    clean_end,
    cut_inside_chunk,
    endless,
    error_line,
    fin,
    raw,
    rst,
    say,
    stall,
    text,
    whole,
)
from testenv.waiting import eventually

SLOTS = 3
N_THREADS = 6
N_CALLS = 60  # of each thread
N_SEEDS = int(os.environ.get("SLUICE_TEST_CHAOS_SEEDS", "2"))  # more for a long night


def random_script(rng: random.Random) -> list[Any]:
    scripts: list[list[Any]] = [
        say("Hello", " world"),
        say("Hello", " world"),
        say(*["word "] * 200),
        [stall()],
        [text("x"), stall()],
        [fin()],
        [rst()],
        [begin(), fin()],
        [text("half"), fin()],
        [text("half"), rst()],
        [text("half"), clean_end()],
        [text("half"), error_line("broken"), clean_end()],
        [cut_inside_chunk()],
        [whole(429, b"{}", {"Retry-After": "1"})],
        [whole(500, b"no")],
        [whole(200, b"<html>")],
        [raw(b"garbage\r\n\r\n"), fin()],
        [endless("x" * 300, 3 << 20), fin()],
    ]
    return rng.choice(scripts)


def http_call(sluice: Daemon, rng: random.Random) -> None:
    model = rng.choice(("ollama", "openai", "both", "mock", "nope"))
    body = chat_body(model, stream=rng.random() < 0.6)
    with sluice.http(timeout=15) as http:
        http.send_request("POST", "/v1/chat/completions", body)
        what = rng.random()
        if what < 0.15:
            return  # leaves at once
        http.sock.settimeout(0.02 if what < 0.3 else 15)
        try:
            answer = http.read_head()
            parts = http.body_parts(answer)
            if what < 0.45:
                next(parts, b"")  # leaves after the first piece
                return
            for _ in parts:
                pass
        except (Closed, TimeoutError, ConnectionError):
            pass


def rpc_call(sluice: Daemon, rng: random.Random) -> None:
    model = rng.choice(("ollama", "openai", "both", "mock", "nope"))
    options: dict[str, Any] = {}
    if rng.random() < 0.3:
        options["deadline_usec"] = rng.randrange(1, 300_000)
    with sluice.rpc(timeout=15) as rpc:
        ids = [rpc.stream("Chat", rpc.chat_request(model, **options)) for _ in range(3)]
        if rng.random() < 0.3:
            return
        if rng.random() < 0.3:
            rpc.send_raw(b"\x00\x00\x01\x00half a frame")
            return
        for stream_id in ids:
            try:
                for _ in rpc.events(stream_id):
                    if rng.random() < 0.05:
                        return
            except (RpcError, ConnectionEnded, TimeoutError):
                pass


def worker(sluice: Daemon, upstreams: list[Upstream], seed: int, failures: list[Any]) -> None:
    rng = random.Random(seed)
    try:
        for _ in range(N_CALLS):
            for upstream in upstreams:
                upstream.next(*random_script(rng))
            (http_call if rng.random() < 0.6 else rpc_call)(sluice, rng)
    except BaseException as e:
        failures.append(e)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(N_SEEDS))
def test_chaos(env, seed: int) -> None:
    ollama, openai = env.ollama(), env.openai()
    limits = {
        "slots": SLOTS,
        "limits": {"connections": 64, "connections_per_uid": 40},
        "queue": {"length": 8, "wait": {"interactive": "400ms"}},
        "timeouts": {
            "first_byte": "200ms",
            "gap": "200ms",
            "stalled_reader": "300ms",
            "heartbeat": "100ms",
        },
    }

    def config(i: int) -> dict[str, Any]:
        models: dict[str, Any] = {
            "ollama": ollama.deployment(),
            "openai": openai.deployment(temperature=i / 100),  # changes: a new deployment
            "both": [ollama.deployment("m2"), openai.deployment("m3")],
            "mock": mock("word " * 500),
        }
        if i % 3 == 2:
            del models["both"]
        return env.config(models, limits)

    sluice = env.start(to_yaml(config(0)))
    fds = sluice.n_fds()
    failures: list[Any] = []
    threads = [
        threading.Thread(target=worker, args=(sluice, [ollama, openai], seed * 100 + i, failures))
        for i in range(N_THREADS)
    ]
    for thread in threads:
        thread.start()
    i = 0
    while any(thread.is_alive() for thread in threads):
        i += 1
        sluice.write_config(to_yaml(config(i)) if i % 4 else "model_list: [")
        sluice.signal(signal.SIGHUP if i % 5 else signal.SIGUSR1)
        threads[i % N_THREADS].join(0.2)
    assert not failures, failures
    assert sluice.process is not None and sluice.process.poll() is None, sluice.log_text[-3000:]
    for upstream in (ollama, openai):
        upstream.scripts.clear()
    sluice.expect_idle()
    eventually(lambda: sluice.n_fds() <= fds + 24, f"descriptors: {sluice.n_fds()}, {fds} before")
    print(f"{len(sluice.call_records)} calls, {i} signals")

"""Clients that leave, and a daemon that is restarted: how long until the far side knows, and who is turned away.

The moment of leaving is taken here, the moment at which the model server sees its connection closed is taken there; both read
CLOCK_MONOTONIC of the same machine.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable

from processes import BenchError
from targets import CHAT, KEY, ONE_SLOT_MODEL, Sluice, Target, Upstream, ask_once

PATIENCE_SEC = 3.5  # an answer that nobody waits for runs this long: not noticed at all


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SEC
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"waited in vain for: {what}")
        time.sleep(0.0005)


def send_chat(target: Target, model: str, stream: bool) -> socket.socket:
    body = json.dumps({"model": model, "stream": stream, **CHAT})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {target.address}\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client = socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE_SEC)
    client.sendall((head + body).encode())
    return client


def read_tokens(client: socket.socket, n: int) -> None:
    received = b""
    while received.count(b'"content":" w') < n:
        data = client.recv(65536)
        if not data:
            raise BenchError("the stream ended while its client was reading")
        received += data


def seen_after_ms(upstream: Upstream, before: dict[str, int], left_at_nsec: int) -> float:
    """Milliseconds until the model server saw its client go."""
    eventually(lambda: upstream.stats()["aborted"] > before["aborted"], "the model server sees it")
    return max(0.0, (upstream.stats()["last_aborted_at_nsec"] - left_at_nsec) / 1e6)


def at_rest(upstream: Upstream) -> dict[str, int]:
    """Its counts, once it has forgotten the clients of earlier measurements."""
    eventually(lambda: upstream.stats()["busy"] == 0, "the model server rests")
    return upstream.stats()


def http_hangup(
    target: Target, upstream: Upstream, model: str, stream: bool, n_tokens: int
) -> float:
    before = at_rest(upstream)
    client = send_chat(target, model, stream)
    if n_tokens > 0:
        read_tokens(client, n_tokens)
    eventually(lambda: upstream.stats()["busy"] == 1, "the request arrives")
    left_at = time.monotonic_ns()
    client.close()
    return seen_after_ms(upstream, before, left_at)


def rpc_hangup(sluice: Sluice, upstream: Upstream, rpc_load: Path, model: str) -> float:
    before = at_rest(upstream)
    argv = [str(rpc_load), "--socket", str(sluice.rpc_path), "--model", model, "-n", "1"]
    result = subprocess.run(
        [*argv, "--leave-after-ms", "300"], capture_output=True, text=True, timeout=30, check=False
    )
    if result.returncode != 0:
        raise BenchError(f"rpc_load: {result.stderr or result.stdout}")
    return seen_after_ms(upstream, before, json.loads(result.stdout)["left_at_nsec"])


def queued_hangup(sluice: Sluice, upstream: Upstream) -> float:
    """One call holds the only slot, a second waits for it and leaves: how long until sluice's own count says so."""
    at_rest(upstream)
    running = send_chat(sluice, ONE_SLOT_MODEL, True)
    try:
        eventually(lambda: upstream.stats()["busy"] == 1, "the first call runs")
        waiting = send_chat(sluice, ONE_SLOT_MODEL, True)
        eventually(lambda: sluice.calls_queued() == 1, "the second call waits")
        left_at = time.monotonic_ns()
        waiting.close()
        eventually(lambda: sluice.calls_queued() == 0, "the second call leaves the queue")
        return (time.monotonic_ns() - left_at) / 1e6
    finally:
        running.close()
        eventually(lambda: upstream.stats()["busy"] == 0, "the first call ends")


def restart_failures(sluice: Sluice, seconds: float) -> tuple[int, int]:
    """Restarts sluiced behind listening sockets that stay, as under systemd, with clients asking all the time: (asked, failed)."""
    outcome: list[bool] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            outcome.append(ask_once(sluice.port))

    sockets = sluice.open_sockets()
    try:
        sluice.spawn_activated(sockets)
        eventually(lambda: ask_once(sluice.port), "the activated daemon answers")
        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(seconds / 2)
        sluice.stop()
        sluice.spawn_activated(sockets)
        time.sleep(seconds / 2)
        is_over.set()
        for client in clients:
            client.join(30)
    finally:
        is_over.set()
        sluice.stop()
        sluice.close_sockets(sockets)
    return len(outcome), outcome.count(False)


def all_hangups(target: Target, upstream: Upstream, n: int) -> dict[str, list[float]]:
    """By situation; PATIENCE_SEC in milliseconds where it was never noticed."""
    situations: dict[str, Any] = {
        "in a stream": ("bench-64-100ms", True, 3),
        "before the first byte": ("bench-16-wait3000ms", True, 0),
        "not streaming": ("bench-16-wait3000ms", False, 0),
    }
    found: dict[str, list[float]] = {}
    for name, (model, stream, n_tokens) in situations.items():
        found[name] = [http_hangup(target, upstream, model, stream, n_tokens) for _ in range(n)]
    return found

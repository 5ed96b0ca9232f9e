"""sluiced as a service: the watchdog, the status line, and what a stop announces. The test is the service manager."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

from testenv.bare import Bare, Supervisor
from testenv.http import Http, chat_body
from testenv.upstream import Gate, end, text, wait_for
from testenv.waiting import eventually, is_readable

CHAT = "/v1/chat/completions"
MOCK = "model_list:\n- {model_name: m, litellm_params: {model: openai/x, mock_response: hi}}\n"
WATCHDOG_SEC = 0.4


class Service:
    """A daemon with an HTTP socket of its own, and the manager that hears it."""

    def __init__(self, env: Any, config: str = MOCK, *args: str, **variables: str):
        self.directory: Path = env.directory
        self.config = env.directory / "config.yaml"
        self.config.write_text(config)
        self.http_path = str(env.directory / "http.sock")
        self.manager = env.closing(Supervisor(env.directory))
        self.daemon = env.closing(
            Bare(
                env.directory,
                "--config",
                str(self.config),
                "--listen",
                f"http=unix:{self.http_path}",
                *args,
                RUNTIME_DIRECTORY=str(env.directory),
                NOTIFY_SOCKET=self.manager.path,
                **variables,
            )
        )
        self.ready = self.manager.wait_for("READY=1")

    def http(self) -> Http:
        return Http(self.http_path)

    def signal(self, number: int) -> None:
        self.daemon.process.send_signal(number)


def is_stopped(pid: int) -> bool:
    return bool(re.search(r"^State:\s+T", Path(f"/proc/{pid}/status").read_text(), re.M))


def test_watchdog_pings(env) -> None:
    service = Service(env, WATCHDOG_USEC=str(int(WATCHDOG_SEC * 1e6)))
    for _ in range(3):
        service.manager.wait_for("WATCHDOG=1")


def test_hung_daemon_does_not_ping(env) -> None:
    service = Service(env, WATCHDOG_USEC=str(int(WATCHDOG_SEC * 1e6)))
    service.manager.wait_for("WATCHDOG=1")
    service.signal(signal.SIGSTOP)
    eventually(lambda: is_stopped(service.daemon.process.pid), "it stands still")
    service.manager.drain()
    assert not is_readable(service.manager.sock, 3 * WATCHDOG_SEC), "who pings for it?"
    service.signal(signal.SIGCONT)
    service.manager.wait_for("WATCHDOG=1")


def test_no_pings_where_nobody_asked(env) -> None:
    service = Service(env)
    assert not is_readable(service.manager.sock, 1), "an idle daemon has nothing to say"


def test_watchdog_of_another_process(env) -> None:
    service = Service(env, WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    assert not is_readable(service.manager.sock, 0.5)


def test_status_follows_what_runs(env) -> None:
    """The last change is told also when many came at once, and the daemon sleeps afterwards."""
    upstream = env.openai()
    entry = {"model_name": "m", "litellm_params": upstream.deployment()}
    gate = Gate()
    upstream.next(text("x"), wait_for(gate), end())
    service = Service(env, json.dumps({"model_list": [entry], "sluice": {"slots": 1}}))
    assert "STATUS=1 model: 0 calls running" in service.ready
    with service.http() as first, service.http() as second:
        first.send_request("POST", CHAT, chat_body())
        upstream.wait_request()
        upstream.next(text("y"), end())
        second.send_request("POST", CHAT, chat_body())
        service.manager.wait_for("1 call running, 1 queued")
        gate.open()
        assert first.read_answer().status == 200 and second.read_answer().status == 200
        service.manager.wait_for("0 calls running, 0 queued")
    assert not is_readable(service.manager.sock, 1.5), "told once"


def test_stop_announces_how_long_it_takes(env) -> None:
    service = Service(env, MOCK + "sluice: {timeouts: {drain: 7m}}\n")
    service.signal(signal.SIGTERM)
    told = service.manager.wait_for("STOPPING=1")
    extend = re.search(r"EXTEND_TIMEOUT_USEC=(\d+)", told)
    assert extend and 420e6 < int(extend[1]) < 440e6, told
    service.daemon.stop()


def test_reload_is_announced(env) -> None:
    service = Service(env)
    second = "- {model_name: n, litellm_params: {model: openai/x, mock_response: hi}}\n"
    service.config.write_text(MOCK + second)
    service.signal(signal.SIGHUP)
    assert re.search(r"MONOTONIC_USEC=\d+", service.manager.wait_for("RELOADING=1"))
    assert "STATUS=2 models" in service.manager.wait_for("READY=1")

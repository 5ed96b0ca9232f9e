"""sluiced as a service: the watchdog, the status line, and what a stop announces. The test is the service manager."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from testenv.bare import Activated, Bare, Supervisor
from testenv.http import Http, chat_body
from testenv.ttrpc import ENGINE, Client, RpcError
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


# ---------------------------------------------------------------------------------------------- leaving when idle


def ask(path: str, keep: bool = False) -> int:
    with Http(path) as http:
        headers = {} if keep else {"connection": "close"}
        return http.request("GET", "/v1/models", headers=headers).status


def config_file(env: Any, text_: str) -> str:
    path = env.directory / "config.yaml"
    path.write_text(text_)
    return str(path)


def test_leaves_when_idle_and_comes_back(env) -> None:
    config = config_file(env, MOCK + "sluice: {idle_exit: 50ms}\n")
    manager = env.closing(Supervisor(env.directory))
    variables = {"NOTIFY_SOCKET": manager.path}
    service = env.closing(Activated(env.directory, "--config", config, **variables))
    for _ in range(2):
        assert ask(service.path) == 200
        manager.wait_for("STOPPING=1")
    eventually(lambda: len(service.statuses) >= 2, "it has left twice")
    assert service.statuses[:2] == [0, 0], service.log
    assert "leaving: idle for 50ms" in service.log


def test_nobody_is_lost_while_it_leaves(env) -> None:
    """Arrivals as near to the exit as chance brings them: none is refused, none is closed without an answer."""
    config = config_file(env, MOCK)
    manager = env.closing(Supervisor(env.directory))
    args = ("--config", config, "--idle-exit", "20ms")
    service = env.closing(Activated(env.directory, *args, NOTIFY_SOCKET=manager.path))
    chance = random.Random(1)
    n_at_the_exit = 0
    for _ in range(80):
        assert ask(service.path, keep=chance.random() < 0.5) == 200
        # the next one comes with the words "I am leaving", or by chance a little earlier
        n_at_the_exit += manager.hear("STOPPING=1", chance.uniform(0, 0.06)) is not None
    print(f"{len(service.statuses)} exits, {n_at_the_exit} of 80 connections at the very moment")
    assert len(service.statuses) >= 5, "it hardly ever left in between: nothing was tested"
    assert set(service.statuses) == {0}, service.log


def test_does_not_leave_while_somebody_is_there(env) -> None:
    config = config_file(env, MOCK + "sluice: {idle_exit: 100ms}\n")
    service = env.closing(Activated(env.directory, "--config", config))
    with Http(service.path) as http:
        for _ in range(3):
            assert http.request("GET", "/v1/models").status == 200
            assert not is_readable(http.sock, 0.3), "the connection was closed"
    assert service.statuses == []
    eventually(lambda: service.statuses == [0], "it leaves once the client has")


def test_idle_exit_without_passed_sockets(env) -> None:
    """Nobody would start it again: it stays, and says so once."""
    service = Service(env, MOCK + "sluice: {idle_exit: 20ms}\n")
    service.signal(signal.SIGHUP)
    service.manager.wait_for("RELOADING=1")
    service.manager.wait_for("READY=1")
    assert not is_readable(service.manager.sock, 0.5)
    assert service.daemon.log.count("idle_exit has no effect") == 1
    assert ask(service.http_path) == 200


def test_reload_changes_the_idle_exit(env) -> None:
    config = config_file(env, MOCK)
    service = env.closing(Activated(env.directory, "--config", config))
    assert ask(service.path) == 200
    assert service.current and service.statuses == []
    config_file(env, MOCK + "sluice: {idle_exit: 20ms}\n")
    service.current.process.send_signal(signal.SIGHUP)
    eventually(lambda: service.statuses == [0], "it leaves")


def test_passed_sockets_of_no_known_name(env) -> None:
    """Running without listening would look well to the service manager and serve nobody."""
    config = config_file(env, MOCK)
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        daemon = Bare(env.directory, "--config", config, fds=(tcp.fileno(),), names="web")
        assert daemon.process.wait(10) == 1, daemon.log
        assert "web" in daemon.log and "none of the 1 sockets" in daemon.log


# ---------------------------------------------------------------------------------------------- a file that cannot be used

BAD = MOCK + "sluice: {slots: 0}\n"


class Passed:
    """A daemon with an RPC and an HTTP socket from the test, as systemd passes them."""

    def __init__(self, env: Any, config: str):
        self.paths = {name: str(env.directory / f"{name}.sock") for name in ("rpc", "http-unix")}
        self.listeners = []
        for path in self.paths.values():
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(path)
            listener.listen(16)
            self.listeners.append(env.closing(listener))
        self.manager = env.closing(Supervisor(env.directory))
        fds = tuple(listener.fileno() for listener in self.listeners)
        names = ":".join(self.paths)
        args = ("--config", config, "--log-format", "json")
        variables = {"NOTIFY_SOCKET": self.manager.path}
        self.daemon = env.closing(Bare(env.directory, *args, fds=fds, names=names, **variables))
        self.ready = self.manager.wait_for("READY=1")

    def http(self) -> Http:
        return Http(self.paths["http-unix"])

    def rpc(self) -> Client:
        return Client(self.paths["rpc"])

    def reload(self) -> str:
        self.manager.drain()
        self.daemon.process.send_signal(signal.SIGHUP)
        self.manager.wait_for("RELOADING=1")
        return self.manager.wait_for("READY=1")


def test_degraded_until_the_file_is_good(env) -> None:
    config = config_file(env, BAD)
    service = Passed(env, config)
    assert "STATUS=Degraded" in service.ready and "config.yaml:3:17" in service.ready
    with service.http() as http:
        for path in (CHAT, "/v1/completions", "/v1/embeddings"):
            bodies = {"/v1/embeddings": {"model": "m", "input": "x"}}
            bodies["/v1/completions"] = {"model": "m", "prompt": "x"}
            answer = http.request("POST", path, bodies.get(path, chat_body()))
            assert answer.status == 503 and answer.error["code"] == "deployment_misconfigured"
            for word in ("config.yaml:3:17", "sluice.slots", "--check-config"):
                assert word in answer.error["message"], answer.error
        models = http.request("GET", "/v1/models")
        assert models.status == 200 and models.json["data"] == []
        assert http.request("GET", "/health/liveliness").status == 200
        ready = http.request("GET", "/health/readiness")
        assert ready.status == 503 and "sluice.slots" in ready.error["message"]
    with service.rpc() as rpc:
        with pytest.raises(RpcError) as e:
            list(rpc.chat("m"))
        assert e.value.detail.code == "deployment_misconfigured"
        assert "sluice.slots" in e.value.message
        listed = rpc.unary(ENGINE, "ListModels", rpc.schema.ListModelsRequest(), "ListModelsResponse")
        assert not listed.models
    records = [json.loads(line) for line in service.daemon.log.splitlines() if line[:1] == "{"]
    told = [r for r in records if r.get("SLUICE_EVENT") == "degraded"]
    assert len(told) == 1 and told[0]["MESSAGE_ID"], records

    config_file(env, MOCK + "sluice: {slots: many}\n")
    assert "Degraded" in service.reload() and "config.yaml" in service.daemon.log
    with service.http() as http:
        answer = http.request("POST", CHAT, chat_body())
        assert answer.status == 503 and "whole number" in answer.error["message"]

    config_file(env, MOCK)
    assert "STATUS=1 model" in service.reload()
    with service.http() as http:
        assert http.request("POST", CHAT, chat_body()).status == 200
        assert http.request("GET", "/health/readiness").status == 200
    config_file(env, BAD)
    assert "STATUS=1 model" in service.reload(), "a bad file changes nothing"
    with service.http() as http:
        assert http.request("POST", CHAT, chat_body()).status == 200


def test_degraded_without_a_file(env) -> None:
    service = Passed(env, str(env.directory / "none.yaml"))
    assert "none.yaml: cannot be read" in service.ready
    with service.http() as http:
        assert http.request("POST", CHAT, chat_body()).status == 503


def test_degraded_on_a_socket_that_is_open_to_the_network(env) -> None:
    """Nothing is served, so nothing needs the key; a file without one is still refused."""
    config = config_file(env, BAD)
    with socket.create_server(("0.0.0.0", 0)) as tcp:
        address = ("127.0.0.1", tcp.getsockname()[1])
        args = ("--config", config)
        daemon = env.closing(Bare(env.directory, *args, fds=(tcp.fileno(),), names="http"))

        def status() -> int:
            with Http(address) as http:
                return http.request("POST", CHAT, chat_body()).status

        daemon.wait_for(lambda: status() == 503, "it answers")
        config_file(env, MOCK)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for(lambda: "not taken" in daemon.log, "the file is refused")
        assert status() == 503
        config_file(env, MOCK + "general_settings: {master_key: sk-1}\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for(lambda: status() == 401, "it asks for the key")


def test_own_sockets_and_a_bad_file(env) -> None:
    """Without socket activation whoever starts it should see at once that it does not work."""
    args = ("--config", config_file(env, BAD), "--port", str(env.port()))
    daemon = Bare(env.directory, *args, RUNTIME_DIRECTORY=str(env.directory))
    assert daemon.process.wait(10) == 1 and "not started" in daemon.log


# ---------------------------------------------------------------------------------------------- credentials

ASKS_FOR_A_KEY = MOCK + "general_settings: {master_key: os.environ/THE_KEY}\n"


def credentials_dir(env: Any, **values: str) -> str:
    directory = env.directory / "credentials"
    directory.mkdir(exist_ok=True)
    for name, value in values.items():
        (directory / name).write_text(value)
    return str(directory)


def status_with(port: int, key: str) -> int:
    with Http(("127.0.0.1", port)) as http:
        headers = {"authorization": f"Bearer {key}"}
        return http.request("POST", CHAT, chat_body(), headers=headers).status


@pytest.mark.parametrize("how", ["systemd", "option"])
def test_credentials_go_before_the_environment(env, how: str) -> None:
    directory = credentials_dir(env, THE_KEY="sk-of-the-file\n")
    port = env.port()
    args = ["--config", config_file(env, ASKS_FOR_A_KEY), "--port", str(port)]
    variables = {"RUNTIME_DIRECTORY": str(env.directory), "THE_KEY": "sk-of-the-environment"}
    if how == "systemd":
        variables["CREDENTIALS_DIRECTORY"] = directory
    else:
        args += ["--credentials-dir", directory]
    daemon = env.closing(Bare(env.directory, *args, **variables))
    daemon.wait_for(lambda: status_with(port, "sk-of-the-file") == 200, "it takes the key")
    assert status_with(port, "sk-of-the-environment") == 401
    credentials_dir(env, THE_KEY="sk-the-next")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for(lambda: status_with(port, "sk-the-next") == 200, "the reload reads it again")
    credentials_dir(env, THE_KEY="sk-the\0last")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for(lambda: "not taken" in daemon.log, "one that cannot be used")
    assert status_with(port, "sk-the-next") == 200
    assert "THE_KEY cannot be used" in daemon.log and "sk-" not in daemon.log


def test_no_directory_of_credentials(env) -> None:
    args = ("--config", config_file(env, MOCK), "--credentials-dir", str(env.directory / "none"))
    daemon = Bare(env.directory, *args)
    assert daemon.process.wait(10) == 2 and "none" in daemon.log

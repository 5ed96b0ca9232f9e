"""How the daemon starts: options, sockets of its own, sockets that systemd passes, what it tells its supervisor."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
from testenv import nobody, paths
from testenv.bare import Bare, Supervisor
from testenv.daemon import SANITIZER_ENV
from testenv.http import Http, chat_body
from testenv.ttrpc import Client, text_of
from testenv.upstream import Gate, end, stall, text, wait_for
from testenv.waiting import eventually

CONFIG = "model_list:\n- {model_name: m, litellm_params: {model: openai/x, mock_response: hi}}\n"


@pytest.fixture
def config(env) -> Iterator[str]:
    path = env.directory / "config.yaml"
    path.write_text(CONFIG)
    yield str(path)


def get(address: Any) -> int:
    with Http(address) as http:
        return http.request("GET", "/v1/models").status


def run(*args: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(paths.SLUICED), *args],
        capture_output=True,
        text=True,
        timeout=10,
        env={**os.environ, **SANITIZER_ENV, **variables},
    )


# ---------------------------------------------------------------------------------------------- options


def test_help_and_version(env) -> None:
    help_ = run("--help")
    assert help_.returncode == 0
    for option in ("--config", "--check-config", "--listen", "--host", "--port", "--log-format"):
        assert option in help_.stdout
    version = run("--version")
    assert version.returncode == 0 and re.match(r"sluiced \d+\.\d+\.\d+\n", version.stdout)


def test_closed_standard_descriptors(env, config: str) -> None:
    """A client must never become descriptor 2: the log would be written to it."""
    path = str(env.directory / "http.sock")
    script = 'exec "$@" 0<&- 1>&- 2>&-'
    argv = [str(paths.SLUICED), "--config", config, "--listen", f"http=unix:{path}"]
    environment = {**os.environ, **SANITIZER_ENV, "RUNTIME_DIRECTORY": str(env.directory)}
    with subprocess.Popen(["sh", "-c", script, "sh", *argv], env=environment) as process:
        try:
            eventually(lambda: os.path.exists(path), "the socket")
            with Http(path) as http:
                assert http.request("POST", "/v1/chat/completions", chat_body()).status == 200
                for fd in (0, 1, 2):
                    assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == "/dev/null"
            process.terminate()
            assert process.wait(10) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    "args",
    [
        ("--nope",),
        ("extra",),
        ("--listen",),
        ("--listen", "rpc"),
        ("--log-format", "xml"),
        ("--log-level", "loud"),
    ],
)
def test_wrong_command_line(env, args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.returncode == 2 and result.stderr, result


@pytest.mark.parametrize(
    "args",
    [
        ("--listen", "rpc=tcp:127.0.0.1:0"),
        ("--listen", "gopher=unix:/tmp/x.sock"),
        ("--listen", "http=tcp:127.0.0.1:notaport"),
        ("--listen", "http=tcp:127.0.0.1:99999"),
        ("--listen", "http=unix:" + "/tmp/" + "x" * 200),
        ("--listen", "http=unix:relative.sock"),
        ("--port", "0x50"),
        ("--port", "70000"),
    ],
)
def test_addresses_that_cannot_be(env, config: str, args: tuple[str, ...]) -> None:
    result = run("--config", config, *args, RUNTIME_DIRECTORY=str(env.directory))
    assert result.returncode in (1, 2), result
    assert args[1] in result.stderr, "another reason than the one that is tested"


def test_missing_configuration(env) -> None:
    path = str(env.directory / "nope.yaml")
    result = run("--config", path, RUNTIME_DIRECTORY=str(env.directory))
    assert result.returncode == 1 and path in result.stderr


def test_port_in_use(env, config: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = f"http=tcp:127.0.0.1:{port}"
        result = run("--config", config, "--listen", listen, RUNTIME_DIRECTORY=str(env.directory))
    assert result.returncode == 1 and str(port) in result.stderr


def test_host_and_port(env, config: str) -> None:
    """As LiteLLM has them."""
    port = env.port()
    args = ("--config", config, "--host", "127.0.0.1", "--port", str(port))
    daemon = env.closing(Bare(env.directory, *args, RUNTIME_DIRECTORY=str(env.directory)))
    daemon.wait_for(lambda: get(("127.0.0.1", port)) == 200, "the port answers")


def test_configuration_from_the_environment(env, config: str) -> None:
    """LiteLLM's CONFIG_FILE_PATH."""
    port = env.port()
    variables = {"CONFIG_FILE_PATH": config, "RUNTIME_DIRECTORY": str(env.directory)}
    daemon = env.closing(Bare(env.directory, "--port", str(port), **variables))
    daemon.wait_for(lambda: get(("127.0.0.1", port)) == 200, "the port answers")


def test_default_rpc_socket(env, config: str) -> None:
    args = ("--config", config, "--port", str(env.port()))
    daemon = env.closing(Bare(env.directory, *args, RUNTIME_DIRECTORY=str(env.directory)))
    path = str(env.directory / "rpc.sock")

    def answers() -> bool:
        with Client(path) as rpc:
            return text_of(list(rpc.chat("m"))) == "hi"

    daemon.wait_for(answers, "the default socket answers")
    mode = os.stat(path).st_mode & 0o777
    assert mode & 0o007 == 0, f"everybody may connect: {mode:o}"


def test_sockets_from_the_file(env) -> None:
    port = env.port()
    path = env.directory / "config.yaml"
    listens = [f"rpc=unix:{env.directory}/r/rpc.sock", f"http=tcp:127.0.0.1:{port}"]
    path.write_text(CONFIG + "sluice:\n  listen:\n" + "".join(f"  - {x}\n" for x in listens))
    daemon = env.closing(Bare(env.directory, "--config", str(path)))
    daemon.wait_for(lambda: get(("127.0.0.1", port)) == 200, "the port answers")
    with Client(f"{env.directory}/r/rpc.sock") as rpc:
        assert text_of(list(rpc.chat("m"))) == "hi"


def test_a_file_in_the_way_is_left_alone(env, config: str) -> None:
    path = env.directory / "precious"
    path.write_text("kept")
    result = run("--config", config, "--listen", f"rpc=unix:{path}")
    assert result.returncode == 1 and str(path) in result.stderr
    assert path.read_text() == "kept"


def test_successor_keeps_its_socket(env) -> None:
    """A daemon that still drains when the next one has opened the same path must not remove it at its end."""
    upstream = env.openai()
    first = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("x"), wait_for(gate), end())
    with first.rpc() as rpc:
        stream = rpc.stream("Chat", rpc.chat_request("m"))
        upstream.wait_request()
        first.signal(signal.SIGTERM)
        eventually(lambda: not Path(first.rpc_path).exists(), "it gave the path back")
        listen = f"rpc=unix:{first.rpc_path}"
        path = env.directory / "config.yaml"
        path.write_text(CONFIG)
        second = env.closing(
            Bare(env.directory, "--config", str(path), "--listen", listen, "--port", str(env.port()))
        )
        second.wait_for(lambda: Client(first.rpc_path).close() is None, "the next one answers")
        gate.open()
        assert text_of(list(rpc.events(stream))) == "x"
    assert first.wait_exit() == 0
    with Client(first.rpc_path) as other:
        assert text_of(list(other.chat("m"))) == "hi"


# ---------------------------------------------------------------------------------------------- systemd


def test_passed_sockets(env, config: str) -> None:
    """By their names, in any order; nothing else is opened."""
    rpc_path, http_path = str(env.directory / "rpc.sock"), str(env.directory / "http.sock")
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = []
    for path in (http_path, rpc_path):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.bind(path)
        s.listen(16)
        unix.append(s)
    fds = (unix[0].fileno(), tcp.fileno(), unix[1].fileno())
    daemon = env.closing(
        Bare(env.directory, "--config", config, fds=fds, names="http-unix:http:rpc")
    )
    daemon.wait_for(lambda: get(http_path) == 200, "the passed sockets answer")
    assert get(tcp.getsockname()) == 200
    with Client(rpc_path) as rpc:
        assert text_of(list(rpc.chat("m"))) == "hi"
    own = [
        line
        for line in Path(f"/proc/{daemon.process.pid}/net/unix").read_text().splitlines()
        if str(env.directory) in line and "00010000" in line
    ]
    assert len(own) == 2, "a socket that nobody passed"
    daemon.stop()
    assert Path(rpc_path).exists(), "systemd's socket is not ours to remove"
    for s in (tcp, *unix):
        s.close()


@pytest.mark.parametrize("name", ["http", "rpc"])
def test_passed_socket_that_is_open_to_the_network(env, config: str, name: str) -> None:
    """ListenStream=4000 of a unit binds all addresses: as with --listen, not without a key. RPC never."""
    with socket.create_server(("0.0.0.0", 0)) as tcp:
        daemon = Bare(env.directory, "--config", config, fds=(tcp.fileno(),), names=name)
        assert daemon.process.wait(10) == 1, daemon.log
        assert ("master_key" if name == "http" else "Unix") in daemon.log


def test_passed_socket_that_is_open_to_the_network_with_a_key(env, config: str) -> None:
    path = Path(config)
    path.write_text(CONFIG + "general_settings: {master_key: sk-1}\n")
    with socket.create_server(("0.0.0.0", 0)) as tcp:
        address = ("127.0.0.1", tcp.getsockname()[1])
        daemon = env.closing(
            Bare(env.directory, "--config", config, fds=(tcp.fileno(),), names="http")
        )
        daemon.wait_for(lambda: get(address) == 401, "it asks for the key")
        path.write_text(CONFIG)  # a reload must not open what a start would not
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for(lambda: "not taken" in daemon.log, "the file is refused")
        assert get(address) == 401


def test_requests_before_the_start_are_served(env, config: str) -> None:
    """Socket activation: who connects first waits in the backlog and is answered."""
    path = str(env.directory / "http.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(16)
        with Http(path) as early:
            early.send_request("POST", "/v1/chat/completions", chat_body())
            args = ("--config", config)
            variables = {"RUNTIME_DIRECTORY": str(env.directory)}
            daemon = env.closing(
                Bare(env.directory, *args, fds=(listener.fileno(),), names="http-unix", **variables)
            )
            assert early.read_answer().status == 200
        daemon.stop()


def test_what_the_supervisor_hears(env, config: str) -> None:
    supervisor = env.closing(Supervisor(env.directory))
    args = ("--config", config, "--port", str(env.port()))
    variables = {"RUNTIME_DIRECTORY": str(env.directory), "NOTIFY_SOCKET": supervisor.path}
    daemon = env.closing(Bare(env.directory, *args, **variables))
    supervisor.wait_for("READY=1")
    daemon.process.send_signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in supervisor.wait_for("RELOADING=1")
    supervisor.wait_for("READY=1")
    daemon.process.terminate()
    supervisor.wait_for("STOPPING=1")
    daemon.stop()


# ---------------------------------------------------------------------------------------------- other users


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_calls_belong_to_their_user(env) -> None:
    """Another user cannot cancel a call, cannot see it, and may use its id for one of his own."""
    upstream = env.openai()
    upstream.always(text("x"), stall())
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 4})
    for path in (sluice.directory.parent, sluice.directory):
        path.chmod(0o711)
    os.chmod(sluice.rpc_path, 0o666)
    rpc = sluice.rpc()
    rpc.stream("Chat", rpc.chat_request("m", request_id="mine"))
    upstream.wait_request()

    def interfere() -> None:
        with Client(sluice.rpc_path) as other:
            assert other.cancel("mine") is False
            events = other.chat("m", request_id="mine")
            next(events)
            assert other.cancel("mine") is True

    assert nobody.run(interfere) is None
    assert sluice.status().calls_running == 1
    uids = {r["SLUICE_UID"] for r in sluice.wait_call_records(1)}
    assert uids == {"65534"}

    def leave_one_running() -> None:
        with Client(sluice.rpc_path) as other:
            next(other.chat("m", request_id="theirs"))
            os.read(pause, 1)

    pause, go_on = os.pipe()
    pid = os.fork()
    if pid == 0:
        nobody.become()
        leave_one_running()
        os._exit(0)
    eventually(lambda: sluice.status().calls_running == 2, "the other one runs")
    assert rpc.cancel("theirs") is True, "root may cancel any call"
    os.write(go_on, b"x")
    os.waitpid(pid, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_socket_keeps_others_out(env) -> None:
    sluice = env.start()
    for path in (sluice.directory.parent, sluice.directory):
        path.chmod(0o711)

    def connect() -> None:
        for path in (sluice.rpc_path, sluice.http_path):
            with pytest.raises(PermissionError):
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                    s.connect(path)

    assert nobody.run(connect) is None

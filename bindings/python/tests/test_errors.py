"""What is raised: openai's names by status, the connection's fate, and that a client lives on after it."""

from __future__ import annotations

import copy
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
import sluice
from conftest import Service
from sluice._errors import make_error
from testenv.daemon import mock
from testenv.upstream import Gate, end, text, wait_for, whole

USER = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    "status, name",
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (408, "APIStatusError"),
        (409, "ConflictError"),
        (413, "APIStatusError"),
        (422, "UnprocessableEntityError"),
        (429, "RateLimitError"),
        (499, "APIStatusError"),
        (500, "InternalServerError"),
        (503, "InternalServerError"),
    ],
)
def test_classes(status: int, name: str) -> None:
    error = make_error("said", status=status, code="some_code", request_id="id", retry_after=1.5)
    assert type(error).__name__ == name and isinstance(error, sluice.APIStatusError)
    assert isinstance(error, sluice.APIError) and str(error) == error.message == "said"
    assert (error.status_code, error.code) == (status, "some_code")
    assert (error.request_id, error.retry_after, error.param) == ("id", 1.5, None)


def test_codes_that_are_not_statuses() -> None:
    lost = make_error("x", status=503, code="connection_lost")
    assert type(lost) is sluice.APIConnectionError
    late = make_error("x", status=504, code="deadline_exceeded")
    assert type(late) is sluice.APITimeoutError and isinstance(late, sluice.APIConnectionError)


@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize("status, code", [(404, "model_not_found"), (503, "connection_lost")])
def test_errors_travel(again: Any, status: int, code: str) -> None:
    """Out of the processes of a pool; one that cannot be unpickled breaks the whole pool."""
    error = make_error("said", status=status, code=code, request_id="id", retry_after=1.5)
    other = again(error)
    assert type(other) is type(error) and str(other) == "said" and other.args == error.args
    assert vars(other) == vars(error)


def test_clients_do_not_travel(service: Service, client: sluice.Client) -> None:
    stream = client.chat.completions.create(model="mock", messages=USER, stream=True)
    for thing in (client, stream, sluice.AsyncClient(service.path)):
        for way in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be copied"):
                way(thing)
    stream.close()


def test_unknown_model(client: sluice.Client) -> None:
    calls: Any = [
        lambda: client.chat.completions.create(model="nope", messages=USER),
        lambda: client.chat.completions.create(model="nope", messages=USER, stream=True),
        lambda: client.completions.create(model="nope", prompt="x"),
        lambda: client.embeddings.create(model="nope", input="x"),
    ]
    for call in calls:
        with pytest.raises(sluice.NotFoundError) as e:
            call()
        assert e.value.code == "model_not_found" and e.value.param == "model"
        assert e.value.request_id and '"nope"' in e.value.message


def test_what_the_model_server_says(service: Service, client: sluice.Client) -> None:
    service.openai.next(whole(400, {"error": {"message": "no such thing", "param": "x"}}))
    with pytest.raises(sluice.BadRequestError) as e:
        client.chat.completions.create(model="m", messages=USER)
    assert e.value.code == "upstream_rejected" and "no such thing" in e.value.message


def test_no_daemon(tmp_path: Path) -> None:
    """Making a client connects to nothing; the first call does, and says what to do."""
    path = str(tmp_path / "rpc.sock")
    client = sluice.Client(path)
    for _ in range(2):
        with pytest.raises(sluice.APIConnectionError) as e:
            client.status()
        assert path in e.value.message and "sluice.socket" in e.value.message
        assert e.value.code == "no_connection"


def test_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_SOCKET", service.path)
    with sluice.Client() as client:
        assert client.status().version


def test_no_permission(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    client = sluice.Client(str(closed / "rpc.sock"))
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(65534)  # root may connect anywhere
    try:
        with pytest.raises(sluice.PermissionDeniedError, match="group sluice"):
            client.status()
    finally:
        os.seteuid(uid)


def test_daemon_dies_and_comes_back(env: Any) -> None:
    upstream = env.openai()
    daemon = env.start({"m": upstream.deployment(), "mock": mock()})
    client = sluice.Client(daemon.rpc_path, timeout=20)
    upstream.next(text("a"), wait_for(Gate()), end())
    stream = client.chat.completions.create(model="m", messages=USER, stream=True)
    daemon.signal(signal.SIGKILL)
    daemon.wait_exit()
    with pytest.raises(sluice.APIConnectionError) as e:
        list(stream)
    assert e.value.code == "connection_lost" and e.value.is_retryable
    with pytest.raises(sluice.APIConnectionError):
        client.chat.completions.create(model="mock", messages=USER)
    daemon.start()  # on the same socket
    answer = client.chat.completions.create(model="mock", messages=USER)
    assert answer.choices[0].message.content == "mocked"
    client.close()


def test_daemon_restarts_between_calls(env: Any) -> None:
    """The first call on a connection that was closed meanwhile is made on a new one."""
    daemon = env.start()
    with sluice.Client(daemon.rpc_path, timeout=20) as client:
        client.status()
        daemon.stop()
        daemon.start()
        assert client.chat.completions.create(model="m", messages=USER).choices


def test_daemon_restarts_under_an_open_stream(env: Any) -> None:
    """A stream that nobody has read on since does not keep new calls on the lost connection."""
    upstream = env.openai()
    daemon = env.start({"m": upstream.deployment(), "mock": mock()})
    with sluice.Client(daemon.rpc_path, timeout=20) as client:
        upstream.next(text("a"), wait_for(Gate()), end())
        stream = client.chat.completions.create(model="m", messages=USER, stream=True)
        daemon.signal(signal.SIGKILL)
        daemon.wait_exit()
        daemon.start()
        assert client.chat.completions.create(model="mock", messages=USER).choices
        with pytest.raises(sluice.APIConnectionError):
            list(stream)


def test_closed_client(service: Service) -> None:
    client = sluice.Client(service.path)
    client.status()
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.status()


def test_more_calls_than_a_connection_carries(service: Service, client: sluice.Client) -> None:
    gate = Gate()
    for _ in range(20):
        service.openai.next(text("a"), wait_for(gate), end())
    streams = [
        client.chat.completions.create(model="m", messages=USER, stream=True) for _ in range(20)
    ]
    gate.open()
    for stream in streams:
        assert [c.choices[0].finish_reason for c in stream][-1] == "stop"

"""sluicectl's verbs about the daemon: models, status, version, cancel."""

from __future__ import annotations

import json
import subprocess

from testenv import paths
from testenv.cli import FAILED, OK, USAGE, document, environment, run, said
from testenv.daemon import mock
from testenv.upstream import stall, text
from testenv.waiting import eventually


def test_models(env) -> None:
    upstream = env.ollama()
    off = upstream.deployment(api_key="os.environ/SLUICE_TEST_NOT_SET")
    sluice = env.start({"a/b:c": mock(), "two": [upstream.deployment(), off]})
    table = run(sluice, "models")
    assert table.returncode == OK
    lines = table.stdout.decode().splitlines()
    assert lines[0].split()[0] == "MODEL"
    assert [line.split()[0] for line in lines[1:]] == ["a/b:c", "two"]
    assert "1 of 2" in lines[2]
    models = document(run(sluice, "models", "--json"))["models"]
    assert [m["name"] for m in models] == ["a/b:c", "two"]
    assert models[1]["available_deployments"] == 1 and models[1]["deployments"] == 2
    for alias in ("list", "ls"):
        assert run(sluice, alias).stdout == table.stdout
        assert document(run(sluice, "--json", alias))["models"] == models
    assert run(sluice, "models", "--names").stdout == b"a/b:c\ntwo\n"
    assert run(sluice, "ls", "-q").stdout == b"a/b:c\ntwo\n"


def test_status(env) -> None:
    upstream = env.openai()
    upstream.always(text("x"), stall())
    sluice = env.start({"m": upstream.deployment()})
    with sluice.rpc() as rpc:
        rpc.stream("Chat", rpc.chat_request("m"))
        rpc.stream("Chat", rpc.chat_request("m"))
        upstream.wait_request()
        eventually(lambda: sluice.status().calls_queued == 1, "one waits")
        people = run(sluice, "status")
        assert people.returncode == OK
        assert "1 running, 1 waiting" in people.stdout.decode()
        status = document(run(sluice, "status", "--json"))
    assert status["calls_running"] == 1 and status["calls_queued"] == 1
    assert status["tickets"] == 1 and status["config_generation"] == 1
    assert status["deployments"][0]["slots_in_use"] == 1


def test_version(env) -> None:
    sluice = env.start()
    version = document(run(sluice, "version", "--json"))
    assert version["sluiced"] == version["sluicectl"] == sluice.status().version
    people = run(sluice, "version").stdout.decode()
    assert people.splitlines()[-1].split() == ["sluiced", version["sluiced"]]
    alone = run(None, "version", SLUICE_SOCKET="/nobody.sock")
    assert alone.returncode == OK and b"not reachable" in alone.stdout
    alone = run(None, "version", "--json", SLUICE_SOCKET="/nobody.sock")
    assert alone.returncode == OK and "sluiced" not in document(alone)


# ---------------------------------------------------------------------------------------------- cancel


def test_cancel(env) -> None:
    """By the id that chat --json tells; the call ends as a cancelled one does, and its upstream is free."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.always(text("x"), stall())
    for as_json in (False, True):
        with subprocess.Popen(
            [str(paths.SLUICECTL), "chat", "-m", "m", "--json", "x"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(sluice),
        ) as process:
            assert process.stdout and process.stderr
            started = json.loads(process.stdout.readline())
            while started["event"] != "started":
                started = json.loads(process.stdout.readline())
            request_id = started["request_id"]
            if as_json:
                told = document(run(sluice, "cancel", "--json", request_id))
                assert told == {"request_id": request_id, "cancelled": True}
            else:
                told = run(sluice, "cancel", request_id)
                assert (told.returncode, told.stdout.decode()) == (OK, f"cancelled {request_id}\n")
            last = json.loads(process.stdout.read().splitlines()[-1])
            assert last["event"] == "failed" and last["error"]["code"] == "cancelled"
            assert b"cancelled" in process.stderr.read()
        assert process.returncode == FAILED, "nobody pressed Ctrl-C here"
        assert upstream.wait_request(1 + as_json).peer_left.wait(10)
    eventually(lambda: sluice.status().calls_cancelled == 2, "both count as cancelled")


def test_cancel_of_nothing(env) -> None:
    sluice = env.start()
    unknown = run(sluice, "cancel", "--json", "no-such-call")
    assert unknown.returncode == FAILED and "no-such-call" in said(unknown)
    assert document(unknown)["error"]["code"] == "not_found"
    for args in ((), ("a", "b"), ("not an id",), ("x" * 65,), ("",)):
        wrong = run(sluice, "cancel", *args)
        assert wrong.returncode == USAGE and said(wrong)

"""sluicectl's verbs about the daemon: models, show, ps, status and its watch, version, cancel."""

from __future__ import annotations

import json
import re
import signal
import subprocess

from testenv import paths
from testenv.cli import (
    FAILED,
    INTERRUPTED,
    OK,
    TRY_LATER,
    UNREACHABLE,
    USAGE,
    document,
    environment,
    run,
    said,
)
from testenv.daemon import Daemon, mock
from testenv.upstream import stall, text, whole
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


# ---------------------------------------------------------------------------------------------- ps, show


def test_ps_lists_what_works(env) -> None:
    upstream = env.openai()
    upstream.always(text("x"), stall())
    sluice = env.start({"busy": upstream.deployment(), "quiet": mock()}, sluice={"slots": 2})
    nothing = run(sluice, "ps")
    assert nothing.returncode == OK and len(nothing.stdout.splitlines()) == 1, "the titles alone"
    assert document(run(sluice, "ps", "--json")) == {"deployments": []}
    with sluice.rpc() as rpc:
        rpc.stream("Chat", rpc.chat_request("busy"))
        upstream.wait_request()
        people = run(sluice, "ps").stdout.decode().splitlines()
        assert people[0].split() == ["MODEL", "DEPLOYMENT", "PROVIDER", "SLOTS", "LOADED", "IDLE"]
        assert len(people) == 2 and people[1].split()[0] == "busy"
        assert "1/2" in people[1] and people[1].endswith("in use")
        (one,) = document(run(sluice, "ps", "--json"))["deployments"]
    assert (one["model"], one["slots_in_use"], one["slots"]) == ("busy", 1, 2)
    assert one["provider"] == "openai" and one["api_base"] == upstream.deployment()["api_base"]


def test_ps_lists_what_is_loaded(env) -> None:
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment(), "n": mock()})
    assert run(sluice, "run", "m", "hello").returncode == OK
    eventually(lambda: not sluice.status().calls_running, "the call is over")
    (one,) = document(run(sluice, "ps", "--json"))["deployments"]
    assert one["model"] == "m" and one["loaded"] is True and one["slots_in_use"] == 0
    line = run(sluice, "ps").stdout.decode().splitlines()[1].split()
    assert line[0] == "m" and "yes" in line and line[-1] == "s", "idle for some seconds"
    assert "in memory" in run(sluice, "status").stdout.decode()


def test_show(env) -> None:
    upstream = env.ollama()
    off = {"model": "openai/far", "api_base": "http://gpu.invalid:8000/v1", "api_key": "os.environ/SLUICE_TEST_NOT_SET"}
    sluice = env.start({"two": [upstream.deployment(), off], "other": mock()})
    people = run(sluice, "show", "two")
    assert people.returncode == OK, people.stderr
    shown = people.stdout.decode()
    assert shown.startswith("two, 2 deployments\n") and "other" not in shown
    assert upstream.deployment()["api_base"] in shown and "http://gpu.invalid:8000/v1" in shown
    assert "far" in shown and "off: " in shown and "SLUICE_TEST_NOT_SET" in shown
    assert "0 of 1 in use" in shown and "never" in shown
    told = document(run(sluice, "show", "--json", "two"))
    assert told["model"] == "two" and len(told["deployments"]) == 2
    near, far = told["deployments"]
    assert near["available"] is True and near["provider"] == "ollama"
    assert far["available"] is False and "SLUICE_TEST_NOT_SET" in far["unavailable_reason"]
    assert far["upstream_model"] == "far"
    assert "1 deployment\n" in run(sluice, "show", "other").stdout.decode()
    unknown = run(sluice, "show", "--json", "tw")
    assert unknown.returncode == FAILED and "sluicectl models" in said(unknown)
    assert document(unknown)["error"]["code"] == "model_not_found"
    for args in ((), ("a", "b")):
        assert run(sluice, "show", *args).returncode == USAGE


def test_show_tells_the_terms_and_the_aliases(env) -> None:
    upstream = env.openai()
    terms = {"order": 2, "weight": 0.5, "tags": ["fast", "local_only"]}
    sluice = env.start(
        {"m": [upstream.deployment(**terms), mock()], "n": mock()},
        router={"model_group_alias": {"mm": "m", "hidden": {"model": "m", "hidden": True}, "nn": "n"}},
    )
    people = run(sluice, "show", "mm").stdout.decode()
    assert people.startswith("mm, another name for m, 2 deployments\n")
    for words in ("order      2", "weight     0.5", "tags       fast, local_only", "aliases    mm, hidden"):
        assert people.count("    " + words + "\n") == (2 if "aliases" in words else 1), (words, people)
    assert run(sluice, "show", "hidden").stdout.decode().startswith("hidden, another name for m,")
    told = document(run(sluice, "show", "--json", "mm"))
    first, second = told["deployments"]
    assert told["model"] == first["model"] == "m"
    assert (first["order"], first["weight_permille"], first["local_only"]) == (2, 500, True)
    assert first["tags"] == ["fast", "local_only"] and first["aliases"] == second["aliases"] == ["mm", "hidden"]
    assert (second["order"], second["weight_permille"], second["tags"], second["paused_usec"]) == (0, 0, [], 0)
    assert run(sluice, "show", "m").stdout.decode().startswith("m, 2 deployments\n")


def test_show_tells_of_a_pause(env) -> None:
    upstream = env.openai()
    upstream.always(whole(429, {"error": {"message": "slow down"}}))
    sluice = env.start(
        {"m": [upstream.deployment(cooldown_time=300), upstream.deployment(cooldown_time=300)]},
        router={"num_retries": 0},
    )
    assert run(sluice, "run", "m", "hello").returncode == TRY_LATER
    paused = [d for d in document(run(sluice, "show", "--json", "m"))["deployments"] if d["paused_usec"]]
    assert len(paused) == 1, "the other one was not asked"
    assert all(d["paused_usec"] <= 300_000_000 and "rate limit" in d["unavailable_reason"] for d in paused)
    assert "state      paused: cooling down for" in run(sluice, "show", "m").stdout.decode()


# ---------------------------------------------------------------------------------------------- watch


class Watching:
    """sluicectl status --watch in a pipe."""

    def __init__(self, sluice: Daemon, *args: str):
        self.process = subprocess.Popen(
            [str(paths.SLUICECTL), "status", "--interval", "100ms", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(sluice),
        )

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().decode()

    def end(self, signal_number: int) -> tuple[int, bytes, bytes]:
        self.process.send_signal(signal_number)
        return self.wait()

    def wait(self) -> tuple[int, bytes, bytes]:
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


def test_watch_in_a_pipe(env) -> None:
    """A title, then a line for each change; Ctrl-C ends it without a word."""
    sluice = env.start()
    watching = Watching(sluice)
    titles = watching.line().split()
    assert titles[:3] == ["TIME", "RUNNING", "WAITING"] and "COMPLETED" in titles
    first = watching.line().split()
    assert len(first) == len(titles) and re.fullmatch(r"\d\d:\d\d:\d\d", first[0])
    assert first[titles.index("COMPLETED")] == "0" and first[titles.index("MEMORY")] == "L0"
    assert run(sluice, "chat", "-m", "m", "x").returncode == OK
    while watching.line().split()[titles.index("COMPLETED")] != "1":
        pass
    assert watching.end(signal.SIGINT) == (INTERRUPTED, b"", b"")


def test_watch_json(env) -> None:
    """Each line is what `status --json` prints; the end is an error like any other."""
    sluice = env.start()
    once = document(run(sluice, "status", "--json"))
    watching = Watching(sluice, "--json")
    first = json.loads(watching.line())
    assert set(first) == set(once) and first["deployments"] == once["deployments"]
    assert run(sluice, "chat", "-m", "m", "x").returncode == OK
    while json.loads(watching.line())["calls_completed"] != 1:
        pass
    status, out, err = watching.end(signal.SIGINT)
    assert (status, err) == (INTERRUPTED, b"")
    assert json.loads(out.splitlines()[-1])["error"]["code"] == "cancelled"


def test_watch_ends_with_the_daemon(env) -> None:
    sluice = env.start()
    watching = Watching(sluice)
    assert watching.line() and watching.line()
    sluice.signal(signal.SIGTERM)
    status, _, err = watching.wait()
    assert status == TRY_LATER and b"draining" in err
    assert sluice.wait_exit() == 0
    sluice = env.start()
    watching = Watching(sluice)
    assert watching.line() and watching.line()
    sluice.kill()
    env.daemons.remove(sluice)
    status, _, err = watching.wait()
    assert status == UNREACHABLE and b"connection" in err


def test_watch_ends_with_its_reader(env) -> None:
    sluice = env.start()
    watching = Watching(sluice)
    assert watching.line() and watching.process.stdout
    watching.process.stdout.close()
    assert run(sluice, "chat", "-m", "m", "x").returncode == OK
    assert watching.process.wait(10) == -signal.SIGPIPE
    assert watching.process.stderr and watching.process.stderr.read() == b""
    watching.process.stderr.close()


def test_watch_interval(env) -> None:
    sluice = env.start()
    for interval in ("99ms", "61s", "5", "-1s"):
        wrong = run(sluice, "status", "--watch", f"--interval={interval}")
        assert wrong.returncode == USAGE and said(wrong)

"""sluicectl's verbs for the administrator: reload, drain, unload (stop), and who may not."""

from __future__ import annotations

import os

import pytest
from testenv.cli import FAILED, OK, TRY_LATER, UNREACHABLE, USAGE, Elsewhere, document, run, said
from testenv.daemon import mock, to_yaml
from testenv.upstream import Gate, end, stall, text, wait_for
from testenv.waiting import eventually

# ---------------------------------------------------------------------------------------------- reload


def test_reload(env) -> None:
    sluice = env.start({"one": mock()})
    sluice.write_config(to_yaml(env.config({"one": mock(), "two": mock()})))
    people = run(sluice, "reload")
    assert people.returncode == OK, people.stderr
    assert people.stdout == b"configuration 2 is in force, with 2 models\n"
    assert run(sluice, "models", "--names").stdout == b"one\ntwo\n"
    sluice.write_config(to_yaml(env.config({"two": mock()})))
    assert document(run(sluice, "reload", "--json")) == {"config_generation": 3, "models": 1}


def test_reload_of_a_bad_file_changes_nothing(env) -> None:
    sluice = env.start({"one": mock()})
    sluice.write_config("model_list: 5\n")
    for args in ((), ("--json",)):
        refused = run(sluice, "reload", *args)
        assert refused.returncode == FAILED and "check-config" in said(refused)
        assert "model_list" in said(refused)
    assert document(refused)["error"]["code"] == "bad_configuration"
    assert run(sluice, "models", "--names").stdout == b"one\n"
    assert sluice.status().config_generation == 1


# ---------------------------------------------------------------------------------------------- drain


@pytest.mark.parametrize("as_json", [False, True])
def test_drain_of_an_idle_daemon(env, as_json: bool) -> None:
    sluice = env.start()
    drained = run(sluice, "drain", *(["--json"] if as_json else []))
    assert drained.returncode == OK
    if as_json:
        assert document(drained) == {"calls_running": 0}
    else:
        assert b"none runs" in drained.stdout
    assert sluice.wait_exit() == 0
    assert run(sluice, "status").returncode == UNREACHABLE


def test_drain_lets_running_calls_finish(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("first"), wait_for(gate), text(" second"), end())
    rpc = sluice.rpc()
    call = rpc.stream("Chat", rpc.chat_request("m"))
    upstream.wait_request()
    drained = run(sluice, "drain")
    assert drained.returncode == OK and b"1 running call has ended" in drained.stdout
    gate.open()
    assert call is not None
    assert sluice.wait_exit() == 0
    (record,) = sluice.call_records
    assert record["SLUICE_OUTCOME"] == "completed"


# ---------------------------------------------------------------------------------------------- who may not


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_others_may_look_but_not_manage(env) -> None:
    sluice = env.start()
    elsewhere = Elsewhere(env.directory)
    sluice.directory.chmod(0o755)
    os.chmod(sluice.rpc_path, 0o666)
    assert elsewhere.run(sluice.rpc_path, "status").returncode == OK
    for args in (("reload",), ("drain",), ("unload", "m"), ("stop", "m")):
        refused = elsewhere.run(sluice.rpc_path, *args, "--json")
        assert refused.returncode == FAILED and "root" in said(refused), args
        assert document(refused)["error"]["code"] == "forbidden"
    assert sluice.status().config_generation == 1 and not sluice.status().draining


def test_one_word_and_no_more(env) -> None:
    for args in (("reload", "x"), ("drain", "x"), ("unload",), ("unload", "a", "b"), ("stop",)):
        wrong = run(None, *args)
        assert wrong.returncode == USAGE and said(wrong)


# ---------------------------------------------------------------------------------------------- unload


@pytest.mark.parametrize("verb", ["unload", "stop"])
def test_unload(env, verb: str) -> None:
    """What is loaded leaves the memory of its server, and is no longer what ps lists."""
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment(), "n": mock()})
    nothing = run(sluice, verb, "m")
    assert nothing.returncode == OK and b"nothing to unload" in nothing.stdout
    assert run(sluice, "run", "m", "hello").returncode == OK
    eventually(lambda: document(run(sluice, "ps", "--json"))["deployments"], "m is loaded")
    people = run(sluice, verb, "m")
    assert (people.returncode, people.stdout) == (OK, b"m: unloaded from 1 deployment\n")
    assert document(run(sluice, "ps", "--json"))["deployments"] == []
    assert run(sluice, "run", "m", "hello").returncode == OK
    told = document(run(sluice, verb, "--json", "m"))
    assert told == {"model": "m", "unloaded": 1, "unchanged": 0}
    assert document(run(sluice, verb, "--json", "n")) == {"model": "n", "unloaded": 0, "unchanged": 1}


def test_unload_of_what_is_in_use_or_unknown(env) -> None:
    upstream = env.ollama()
    upstream.always(text("x"), stall())
    sluice = env.start({"m": upstream.deployment()})
    with sluice.rpc() as rpc:
        rpc.stream("Chat", rpc.chat_request("m"))
        upstream.wait_request()
        for args in ((), ("--json",)):
            busy = run(sluice, "stop", "m", *args)
            assert busy.returncode == TRY_LATER and said(busy)
        assert document(busy)["error"]["code"] == "model_in_use"
    unknown = run(sluice, "stop", "--json", "mm")
    assert unknown.returncode == FAILED and "sluicectl models" in said(unknown)
    assert document(unknown)["error"]["code"] == "model_not_found"

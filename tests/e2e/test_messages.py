"""What operators are told: one record for each fact, with its MESSAGE_ID, and no flood of them."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from testenv.daemon import Daemon, mock
from testenv.http import chat_body
from testenv.ttrpc import CONTROL
from testenv.upstream import Gate, Ollama, OpenAI, Upstream, say, stall, wait_for, whole
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
KEY = "sk-master-0123456789abcdef"
TABLE = Path(__file__).parents[2] / "daemon" / "messages.def"
IDS = dict(re.findall(r'^X\(\w+, *"(\w+)", *"([0-9a-f]{32})"\)', TABLE.read_text(), re.M))
CATALOG = (Path(__file__).parents[2] / "systemd" / "sluice.catalog").read_text()
ENTRIES = {e[:32]: set(re.findall(r"@(\w+)@", e)) for e in CATALOG.split("\n-- ")[1:]}


def events(sluice: Daemon, event: str) -> list[dict[str, str]]:
    return [r for r in sluice.records if r.get("SLUICE_EVENT") == event]


def check_entry(record: dict[str, str]) -> None:
    """Each field that the catalogue's text shows is in the record, or journalctl -x would show a gap."""
    missing = ENTRIES[record["MESSAGE_ID"]] - set(record)
    assert not missing, (missing, record)


def wait_event(sluice: Daemon, event: str, n: int = 1, timeout: float = 10) -> dict[str, str]:
    """The n-th record of this event; it has the id of the table."""
    records = eventually(
        lambda: events(sluice, event)[n - 1 :], f"{event}; the log: {sluice.log_text}", timeout
    )
    assert records[0]["MESSAGE_ID"] == IDS[event]
    check_entry(records[0])
    return records[0]


def server_at(port: int, dialect: str) -> Upstream:
    return Upstream({"ollama": Ollama, "openai": OpenAI}[dialect](), port=port)


def test_life(env) -> None:
    sluice = env.start()
    assert wait_event(sluice, "started")["SLUICE_CONFIG"] == str(sluice.config_path)
    assert wait_event(sluice, "ready")["SLUICE_MODELS"] == "1"
    sluice.signal(signal.SIGHUP)
    assert wait_event(sluice, "reloaded")["SLUICE_GENERATION"] == "2"
    sluice.write_config("model_list: 7\n")
    sluice.signal(signal.SIGHUP)
    assert wait_event(sluice, "reload_refused")["level"] == "error"
    sluice.signal(signal.SIGTERM)
    assert sluice.wait_exit() == 0
    assert wait_event(sluice, "draining")["SLUICE_CALLS"] == "0"


def test_drain_cut(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(stall())
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body())
        upstream.wait_request()
        sluice.signal(signal.SIGTERM)
        wait_event(sluice, "draining")
        sluice.signal(signal.SIGTERM)
        assert wait_event(sluice, "drain_cut")["SLUICE_CALLS"] == "1"
        assert http.read_answer().status == 503
    assert sluice.wait_exit() == 0


def test_a_match_for_all_calls(env) -> None:
    """Whatever became of it, and whatever MESSAGE_ID its error has."""
    port = env.port()
    deployment = {"model": "openai/x", "api_base": f"http://127.0.0.1:{port}/v1", "api_key": "k"}
    sluice = env.start({"m": mock(), "down": deployment})
    assert sluice.post(CHAT, chat_body()).status == 200
    assert sluice.post(CHAT, chat_body("nope")).status == 404
    assert sluice.post(CHAT, chat_body("down")).status == 502
    records = sluice.wait_call_records(3)
    assert [r["SLUICE_EVENT"] for r in records] == ["call"] * 3
    for record in records:
        check_entry(record)
    ids = [r["MESSAGE_ID"] for r in records]
    assert ids[:2] == [IDS["call"]] * 2
    assert ids[2] not in IDS.values()  # of UPSTREAM_UNREACHABLE in errors.def


@pytest.mark.parametrize("dialect", ["ollama", "openai"])
def test_server_down_and_up(env, dialect: str) -> None:
    port = env.port()
    upstream = server_at(port, dialect)
    deployment = upstream.deployment()
    upstream.close()
    sluice = env.start({"m": deployment})
    for _ in range(3):
        assert sluice.post(CHAT, chat_body()).status == 502
    down = wait_event(sluice, "upstream_down")
    assert down["SLUICE_SERVER"] == upstream.api_base
    assert down["SLUICE_CODE"] == "upstream_unreachable"
    assert down["SLUICE_REASON"]
    assert down["level"] == "warning"

    upstream = env.closing(server_at(port, dialect))
    assert sluice.post(CHAT, chat_body()).status == 200
    up = wait_event(sluice, "upstream_up")
    assert up["SLUICE_FAILURES"] == "3"
    assert int(up["SLUICE_DOWN_USEC"]) > 0
    assert sluice.post(CHAT, chat_body()).status == 200
    sluice.wait_call_records(5)
    assert len(events(sluice, "upstream_down")) == len(events(sluice, "upstream_up")) == 1
    assert not events(sluice, "model_load_refused")  # told once, as what it is


def test_server_that_hangs(env, upstream: Upstream) -> None:
    """Accepts and says nothing: down as well. An error is an answer."""
    sluice = env.start(
        {"m": upstream.deployment()}, sluice={"timeouts": {"first_byte": "300ms"}}
    )
    upstream.next(whole(500, upstream.dialect.error_body("boom")))
    assert sluice.post(CHAT, chat_body()).status == 502
    upstream.next(stall())
    assert sluice.post(CHAT, chat_body()).status == 504
    assert wait_event(sluice, "upstream_down")["SLUICE_CODE"] == "upstream_timeout"
    assert len(events(sluice, "upstream_down")) == 1
    upstream.next(whole(500, upstream.dialect.error_body("boom")))
    assert sluice.post(CHAT, chat_body()).status == 502
    wait_event(sluice, "upstream_up")


def test_loads(env) -> None:
    upstream = env.ollama()
    models = {"m": upstream.deployment("big:7b"), "n": upstream.deployment("small:1b")}
    sluice = env.start(models, args=("--log-level", "debug"))
    text = "model requires more system memory (5.6 GiB) than is available (3.2 GiB)"
    upstream.on_load(whole(500, {"error": text}))
    assert sluice.post(CHAT, chat_body()).status >= 500
    refused = wait_event(sluice, "model_load_refused")
    assert refused["SLUICE_MODEL"] == "big:7b" and refused["SLUICE_SERVER"] == upstream.url
    assert text in refused["SLUICE_REASON"] and refused["SLUICE_CODE"]
    assert refused["level"] == "warning"
    quarantined = wait_event(sluice, "model_quarantined")
    assert quarantined["SLUICE_MODEL"] == "big:7b" and text in quarantined["SLUICE_REASON"]
    assert quarantined["SLUICE_QUARANTINE_USEC"] == "60000000"
    upstream.on_load()
    assert sluice.post(CHAT, chat_body("n")).status == 200
    loaded = wait_event(sluice, "model_loaded")
    assert loaded["SLUICE_MODEL"] == "small:1b"
    assert int(loaded["SLUICE_LOAD_USEC"]) > 0
    rpc = sluice.rpc()
    request = rpc.schema.UnloadRequest(model="n")
    assert rpc.unary(CONTROL, "Unload", request, "UnloadResponse").unloaded == 1
    evicted = wait_event(sluice, "model_evicted")
    assert evicted["SLUICE_MODEL"] == "small:1b" and evicted["SLUICE_SERVER"] == upstream.url
    assert int(evicted["SLUICE_UNLOAD_USEC"]) > 0
    assert not events(sluice, "upstream_down")


def fill_queue(sluice: Daemon, upstream: Upstream) -> tuple[Gate, list[Any]]:
    gate = Gate()
    upstream.next(wait_for(gate), *say("first"))
    clients = [sluice.http(), sluice.http()]
    clients[0].send_request("POST", CHAT, chat_body())
    upstream.wait_request()
    clients[1].send_request("POST", CHAT, chat_body())
    eventually(lambda: sluice.status().calls_queued == 1, "the queue is full")
    return gate, clients


def test_refused_calls_are_told_in_numbers(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()}, sluice={"queue": {"length": 1}})
    gate, clients = fill_queue(sluice, upstream)
    for _ in range(25):
        assert sluice.post(CHAT, chat_body()).status == 503
    begun = wait_event(sluice, "shed_begun")
    assert begun["SLUICE_REFUSED"] == begun["SLUICE_QUEUE_FULL"] == "10"
    assert begun["SLUICE_MEMORY_PRESSURE"] == "0"
    gate.open()
    for client in clients:
        assert client.read_answer().status == 200
    assert len(events(sluice, "shed_begun")) == 1


@pytest.mark.slow
def test_refusals_are_over(env, upstream: Upstream) -> None:
    """After ten seconds without one."""
    sluice = env.start({"m": upstream.deployment()}, sluice={"queue": {"length": 1}})
    gate, clients = fill_queue(sluice, upstream)
    for _ in range(12):
        assert sluice.post(CHAT, chat_body()).status == 503
    wait_event(sluice, "shed_begun")
    gate.open()
    for client in clients:
        assert client.read_answer().status == 200
    assert wait_event(sluice, "shed_over", timeout=25)["SLUICE_REFUSED"] == "12"


def test_wrong_keys(env) -> None:
    sluice = env.start(general={"master_key": KEY})
    for i in range(9):
        headers = {"Authorization": f"Bearer wrong-{i}"}
        assert sluice.post(CHAT, chat_body(), headers=headers).status == 401
    record = wait_event(sluice, "auth_failures")
    assert record["SLUICE_FAILURES"] == "5"
    assert record["SLUICE_SOURCE"] == "TCP"
    assert "SLUICE_UID" not in record
    assert len(events(sluice, "auth_failures")) == 1
    assert "wrong-" not in sluice.log_text and KEY not in sluice.log_text


def test_every_id_is_one_of_the_table(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    assert sluice.post(CHAT, chat_body()).status == 200
    sluice.wait_call_records(1)
    for record in sluice.records:
        if "SLUICE_EVENT" in record:
            assert record["MESSAGE_ID"] == IDS[record["SLUICE_EVENT"]]
        else:
            assert "MESSAGE_ID" not in record

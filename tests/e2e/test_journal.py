"""A journal that is slow or gone never delays a call."""

from __future__ import annotations

import signal
from typing import Any, Iterator

import pytest
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.journald import Journald
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
N_CALLS = 1200  # of about 600 bytes each: more than the socket and the 256 KiB behind it hold


@pytest.fixture
def journald(env) -> Iterator[Journald]:
    # env closes it after the daemon has stopped
    yield env.closing(Journald(env.directory))


def start(env: Any, journald: Journald, level: str = "info") -> Daemon:
    return env.start(
        env={"SLUICE_JOURNAL_SOCKET": journald.path},
        args=("--log-format", "journal", "--log-level", level),
    )


def call(sluice: Daemon, n: int) -> None:
    with sluice.http() as http:
        for _ in range(n):
            assert http.request("POST", CHAT, chat_body()).status == 200


def is_call(record: dict[str, bytes]) -> bool:
    return "SLUICE_OUTCOME" in record


def test_record_in_the_journal(env, journald: Journald) -> None:
    sluice = start(env, journald)
    with sluice.http() as http:
        headers = {"X-Request-Id": "one"}
        assert http.request("POST", CHAT, chat_body(), headers=headers).status == 200
    record = journald.wait("SLUICE_REQUEST_ID", b"one")
    assert record["MESSAGE"] == b"chat m: completed"
    assert record["PRIORITY"] == b"6"
    assert record["SYSLOG_IDENTIFIER"] == b"sluiced"
    assert record["SLUICE_OUTCOME"] == b"completed"
    assert not sluice.lines  # nothing twice


def test_nobody_reads(env, journald: Journald) -> None:
    """All calls are served; then each record is there, or counted, without another call."""
    sluice = start(env, journald)
    call(sluice, N_CALLS)
    sluice.expect_idle()
    record = journald.wait("MESSAGE", b"the journal was too slow: log records were dropped")
    n_dropped = int(record["SLUICE_DROPPED_RECORDS"])
    n_calls = sum(map(is_call, journald.read()))
    print(f"{n_calls} records kept, {n_dropped} dropped")
    assert n_dropped > 0
    assert n_calls + n_dropped == N_CALLS


def test_idle_while_records_wait(env, journald: Journald) -> None:
    """A journal that does not read costs no time: the loop sleeps until it does. One that spins never sleeps."""
    sluice = start(env, journald)
    call(sluice, N_CALLS)
    sluice.expect_idle()
    eventually(lambda: sluice.state() == "S", "the daemon sleeps")
    journald.wait("MESSAGE", b"the journal was too slow: log records were dropped")
    eventually(lambda: sluice.state() == "S", "the daemon sleeps")


def test_journald_is_made_anew(env, journald: Journald) -> None:
    """While it is away standard error has the records; then the new one."""
    sluice = start(env, journald)
    call(sluice, 1)
    journald.wait("SLUICE_OUTCOME", b"completed")
    journald.close()
    call(sluice, 2)
    with sluice.changed:
        assert sluice.changed.wait_for(
            lambda: sum("SLUICE_OUTCOME=completed" in x for x in sluice.lines) == 2, 10
        )
    journald.open()
    call(sluice, 1)
    assert sum(map(is_call, journald.read())) == 2


def test_last_words(env, journald: Journald) -> None:
    """What is logged while the daemon ends is sent as well."""
    sluice = start(env, journald)
    sluice.signal(signal.SIGTERM)
    assert sluice.wait_exit() == 0
    assert any(b"stopping" in r["MESSAGE"] for r in journald.read())

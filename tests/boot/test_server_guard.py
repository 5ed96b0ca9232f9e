"""A model server that hangs, as a unit of the booted system: sluiced has systemd restart it where it may, and says so where it may not."""
from __future__ import annotations

import json

import pytest

from installation import CONFIGURATION
from machine import CONFIG, GUEST, Machine, eventually_in

UNIT = "ollama.service"
PORT = 11434
HANGS = f"""\
  - model_name: stuck
    litellm_params:
      model: ollama_chat/stuck
      api_base: http://127.0.0.1:{PORT}
sluice:
  timeouts: {{connect: 1s, first_byte: 500ms, gap: 500ms}}
  upstreams:
    http://127.0.0.1:{PORT}: {{restart_unit: {UNIT}}}
"""
AS_ROOT = "[Service]\nDynamicUser=no\nUser=root\n"


def pid(machine: Machine) -> int:
    fetch = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{PORT}/pid').read().decode())"
    return json.loads(machine.run(f'python3 -c "{fetch}"'))["pid"]


@pytest.fixture
def hung(machine: Machine):
    """The machine with a model server that hangs, and a configuration that names its unit."""
    machine.write(f"/run/systemd/system/{UNIT}", f"[Service]\nType=notify\nNotifyAccess=all\nExecStart=python3 {GUEST}/hang.py {PORT}\n")
    machine.run(f"systemctl daemon-reload; systemctl start {UNIT}")
    machine.write(CONFIG, CONFIGURATION + HANGS)
    yield machine
    machine.run(f"systemctl stop {UNIT}; rm -f /run/systemd/system/{UNIT}; systemctl daemon-reload")


def let_it_hang(machine: Machine) -> None:
    for _ in range(3):
        assert machine.status("sluicectl chat --model stuck hello </dev/null", user="alice") != 0


def check_restarted(machine: Machine, cursor: str, old: int) -> None:
    told = machine.record(cursor, SLUICE_EVENT="unit_restarted")
    assert told["SLUICE_UNIT"] == UNIT and told["SLUICE_RESTARTS"] == "1", told
    assert pid(machine) != old and int(told["SLUICE_NOT_BEFORE_USEC"]) > 290_000_000
    assert len(machine.records(cursor, SLUICE_EVENT="upstream_hung")) == 1
    assert machine.show("NRestarts", UNIT) == "0" and machine.show("ActiveState", UNIT) == "active"


def test_root_restarts_it(hung: Machine) -> None:
    with hung.drop_in(AS_ROOT):
        cursor, old = hung.cursor(), pid(hung)
        let_it_hang(hung)
        check_restarted(hung, cursor, old)


def test_as_installed_it_is_told_that_it_may_not(hung: Machine) -> None:
    """Sandboxed, under a user that exists while it runs, and without a rule of polkit."""
    cursor, old = hung.cursor(), pid(hung)
    let_it_hang(hung)
    assert hung.record(cursor, SLUICE_EVENT="unit_not_restarted")["SLUICE_REASON"]
    assert pid(hung) == old
    assert eventually_in("it serves others", lambda: hung.knock("http")["is_good"])

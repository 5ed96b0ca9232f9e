"""A model server that hangs, as a unit of the booted system: sluiced has systemd restart it where it may, and says so where it may not."""
from __future__ import annotations

import json
from typing import Any, Iterator

import pytest

from installation import CONFIGURATION
from machine import CONFIG, GUEST, Machine, eventually_in

UNIT, OTHER = "ollama.service", "llama@one.service"
PORT = 11434
SERVER = f"[Service]\nType=notify\nNotifyAccess=all\nExecStart=python3 {GUEST}/hang.py {{port}}\n"
HANGS = """\
  - model_name: stuck
    litellm_params:
      model: ollama_chat/stuck
      api_base: http://127.0.0.1:{port}
sluice:
  timeouts: {{connect: 1s, first_byte: 500ms, gap: 500ms}}
"""
RESTARTS = """\
  upstreams:
    http://127.0.0.1:{port}: {{restart_unit: {unit}}}
"""
AS_ROOT = "[Service]\nUser=root\n"
INSTALLED = "/usr/local/share/polkit-1/rules.d/50-sluice.rules"
RULES = "/etc/polkit-1/rules.d"
BUS_OF_POLKIT = "org.freedesktop.PolicyKit1.service"


def pid(machine: Machine, port: int = PORT) -> int:
    fetch = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/pid').read().decode())"
    return json.loads(machine.run(f'python3 -c "{fetch}"'))["pid"]


def configure(machine: Machine, unit: str) -> None:
    """From its next start on, which the next request brings."""
    restarts = RESTARTS.format(port=PORT, unit=unit) if unit else ""
    machine.write(CONFIG, CONFIGURATION + HANGS.format(port=PORT) + restarts)
    machine.stop_service()


@pytest.fixture
def hung(machine: Machine) -> Iterator[Machine]:
    """The machine with a model server that hangs, as a unit of two names, and a configuration that names one. No rule but the installed."""
    machine.write(f"/run/systemd/system/{UNIT}", SERVER.format(port=PORT))
    machine.write(f"/run/systemd/system/{OTHER}", SERVER.format(port=PORT))
    machine.run(f"systemctl daemon-reload; systemctl start {UNIT}")
    configure(machine, UNIT)
    yield machine
    machine.run(f"systemctl stop {UNIT} {OTHER}; rm -f /run/systemd/system/{UNIT} /run/systemd/system/{OTHER} {RULES}/*; systemctl daemon-reload")


@pytest.fixture
def allowed(hung: Machine) -> Machine:
    """The same, and polkit reads the installed rule: not Debian 12's below /usr/local (sluice.yaml(5)), and there doctor's advice helps."""
    finding = may_restart(hung)
    assert finding["state"] == ("finding" if hung.suite == "bookworm" else "fine"), finding
    follow(hung, finding["fix"])
    return hung


def may_restart(machine: Machine) -> dict[str, Any]:
    """What sluicectl doctor says of it."""
    checks = json.loads(machine.run("sluicectl doctor --json", check=False))["checks"]
    return next(c for c in checks if c["check"] == "restart")


def follow(machine: Machine, fix: str) -> None:
    """Runs what doctor advises, until it is content: polkit sees a new rule by itself."""
    machine.run(fix.replace("sudo ", "") or "true")
    eventually_in("doctor is content", lambda: may_restart(machine)["state"] == "fine")


def let_it_hang(machine: Machine) -> None:
    for _ in range(3):
        assert machine.status("sluicectl chat --model stuck hello </dev/null", user="alice") != 0


def check_restarted(machine: Machine, cursor: str, old: int, unit: str = UNIT) -> None:
    told = machine.record(cursor, SLUICE_EVENT="unit_restarted")
    assert told["SLUICE_UNIT"] == unit and told["SLUICE_RESTARTS"] == "1", told
    assert pid(machine) != old and int(told["SLUICE_NOT_BEFORE_USEC"]) > 290_000_000
    assert len(machine.records(cursor, SLUICE_EVENT="upstream_hung")) == 1
    assert machine.show("NRestarts", unit) == "0" and machine.show("ActiveState", unit) == "active"


def check_refused(machine: Machine, cursor: str, old: int, why: str) -> None:
    told = machine.record(cursor, SLUICE_EVENT="unit_not_restarted")
    assert why in told["SLUICE_REASON"] and why in told["MESSAGE"], told
    assert pid(machine) == old
    assert not machine.records(cursor, SLUICE_EVENT="unit_restarted")
    assert eventually_in("it serves others", lambda: machine.knock("http")["is_good"])


def test_root_restarts_it(hung: Machine) -> None:
    with hung.drop_in(AS_ROOT):
        assert "is root" in may_restart(hung)["text"]
        cursor, old = hung.cursor(), pid(hung)
        let_it_hang(hung)
        check_restarted(hung, cursor, old)


def test_the_rule_lets_the_service_restart_it_and_not_soon_again(allowed: Machine) -> None:
    """As it is installed: sandboxed, under its own user."""
    assert allowed.show("User") == "sluice"
    cursor, old = allowed.cursor(), pid(allowed)
    let_it_hang(allowed)
    check_restarted(allowed, cursor, old)
    old = pid(allowed)

    def hangs_again() -> list[Any]:
        allowed.status("sluicectl chat --model stuck hello </dev/null", user="alice")
        return allowed.records(cursor, SLUICE_EVENT="unit_not_restarted")

    eventually_in("it hangs again", hangs_again)
    assert hangs_again()[0]["SLUICE_REASON"] == "it was restarted lately"
    assert pid(allowed) == old and len(allowed.records(cursor, SLUICE_EVENT="unit_restarted")) == 1


def test_the_rule_is_for_one_unit(allowed: Machine) -> None:
    """Another needs a rule of its own, which doctor says; that of Ollama does not help, and the service may do nothing else to it."""
    allowed.run(f"systemctl stop {UNIT}; systemctl start {OTHER}")
    configure(allowed, OTHER)
    finding = may_restart(allowed)
    assert finding["state"] == "finding" and OTHER in finding["text"], finding
    follow(allowed, finding["fix"])
    ask = "pkcheck --action-id org.freedesktop.systemd1.manage-units --process {} --detail unit {} --detail verb {}"
    service = allowed.show("MainPID")
    assert allowed.status(ask.format(service, OTHER, "restart")) == 0
    for unit, verb in ((OTHER, "stop"), (OTHER, "start"), ("dbus.service", "restart"), ("sluice.service", "restart")):
        assert allowed.status(ask.format(service, unit, verb)) != 0, (unit, verb)
    cursor, old = allowed.cursor(), pid(allowed)
    let_it_hang(allowed)
    check_restarted(allowed, cursor, old, OTHER)


def test_without_the_rule_it_is_told(hung: Machine) -> None:
    hung.run(f"mv {INSTALLED} /root/; systemctl restart polkit")
    try:
        finding = may_restart(hung)
        assert finding["state"] == "finding" and "user sluice" in finding["text"], finding
        cursor, old = hung.cursor(), pid(hung)
        let_it_hang(hung)
        check_refused(hung, cursor, old, "polkit does not let this user do it")
    finally:
        hung.run(f"mv /root/50-sluice.rules {INSTALLED}; systemctl restart polkit")


def test_without_polkit_it_is_told(hung: Machine) -> None:
    """The rule alone is nothing: who should read it is not on the bus."""
    at = f"/usr/share/dbus-1/system-services/{BUS_OF_POLKIT}"
    hung.run(f"systemctl stop polkit; mv {at} /root/; systemctl reload dbus")
    try:
        cursor, old = hung.cursor(), pid(hung)
        let_it_hang(hung)
        check_refused(hung, cursor, old, "polkit does not let this user do it")
    finally:
        hung.run(f"mv /root/{BUS_OF_POLKIT} {at}; systemctl reload dbus")


def test_nothing_is_restarted_unless_named(allowed: Machine) -> None:
    """It may, and is not told to: out of rotation, asked to unload, and into rotation again."""
    configure(allowed, "")
    cursor, old = allowed.cursor(), pid(allowed)
    let_it_hang(allowed)
    allowed.record(cursor, SLUICE_EVENT="upstream_hung")
    assert "being unloaded" in allowed.run("sluicectl --json status")  # for seconds, as this one never does
    eventually_in("it is let go", lambda: "being unloaded" not in allowed.run("sluicectl --json status"))
    assert "being restarted" not in allowed.run("sluicectl --json status")
    assert pid(allowed) == old
    for event in ("unit_restarted", "unit_not_restarted"):
        assert not allowed.records(cursor, SLUICE_EVENT=event)


# ---------------------------------------------------------------- a user's own manager


def test_a_users_own_service_restarts_the_users_unit(machine: Machine) -> None:
    """Over the user's bus, where no polkit is asked."""
    port = PORT + 1
    uid = machine.run("id -u alice").strip()
    environment = f"export XDG_RUNTIME_DIR=/run/user/{uid}; "
    machine.run("loginctl enable-linger alice")
    try:
        eventually_in("alice's manager runs", lambda: machine.status(environment + "systemctl --user is-active default.target", user="alice") == 0)
        machine.write(f"/home/alice/.config/systemd/user/{UNIT}", SERVER.format(port=port))
        machine.write("/home/alice/.config/sluice/sluice.yaml",
                      CONFIGURATION + HANGS.format(port=port) + RESTARTS.format(port=port, unit=UNIT))
        machine.run("chown -R alice: /home/alice/.config")
        machine.run(environment + f"systemctl --user daemon-reload; systemctl --user start {UNIT} sluice.socket", user="alice")
        cursor, old = machine.cursor(), pid(machine, port)
        for _ in range(3):
            assert machine.status(environment + "sluicectl chat --model stuck hello </dev/null", user="alice") != 0

        def told() -> list[Any]:
            records = map(json.loads, machine.run(f"journalctl -q -o json --after-cursor='{cursor}'").splitlines())
            return [r for r in records if r.get("SLUICE_EVENT", "").startswith("unit_")]

        record = eventually_in("it is restarted", told)[0]
        assert (record["SLUICE_EVENT"], record["_UID"]) == ("unit_restarted", uid), record
        assert pid(machine, port) != old
    finally:
        machine.run("loginctl disable-linger alice; loginctl terminate-user alice; rm -r /home/alice/.config", check=False)

"""Restarts, kills and hangs: whoever connects meanwhile waits a moment and is served."""
from __future__ import annotations

from typing import Any

from machine import GUEST, SERVICE, Machine, eventually_in

ROUNDS = 4


def main_pid(machine: Machine) -> int:
    return int(machine.show("MainPID"))


def test_restart_under_load(running: Machine, figure) -> None:
    """Nothing is refused, nothing is cut, nothing is answered with an error."""
    report: dict[str, Any] = {}
    with running.load(report):
        for _ in range(ROUNDS):
            before = main_pid(running)
            running.run(f"systemctl restart {SERVICE}")
            assert main_pid(running) != before
            assert running.knock("rpc")["is_good"]
    figure(f"{ROUNDS} restarts under load: {report['done']} requests, {report['refused']} refused, {report['cut']} cut, "
           f"worst {report['worst_usec'] / 1000:.0f} ms")
    assert (report["refused"], report["cut"], report["not_good"]) == (0, 0, 0), report
    assert report["done"] > 100


def test_kill_under_load(running: Machine, figure) -> None:
    """Nothing is refused; only those whose request was being served lose it."""
    report: dict[str, Any] = {}
    with running.load(report):
        for _ in range(ROUNDS):
            before = main_pid(running)
            running.run(f"systemctl kill -s KILL --kill-who=main {SERVICE}")
            eventually_in("another daemon runs", lambda: main_pid(running) not in (0, before))
            assert running.knock("http")["is_good"]
    figure(f"{ROUNDS} SIGKILLs under load: {report['done']} requests, {report['refused']} refused, {report['cut']} cut, "
           f"worst {report['worst_usec'] / 1000:.0f} ms")
    assert (report["refused"], report["not_good"]) == (0, 0), report
    assert report["done"] > 100


def test_restart_lets_a_running_call_finish(running: Machine) -> None:
    """The old daemon finishes its stream while the next client already waits for the new one."""
    talk = running.start("sluicectl chat --model gated hello </dev/null", user="alice")
    assert talk.stdout
    assert talk.stdout.read(len("first half, ")) == "first half, "
    before = main_pid(running)
    running.run(f"systemctl restart --no-block {SERVICE}")
    eventually_in("the service is stopping", lambda: running.show("ActiveState") == "deactivating")
    waiting = running.start(f"python3 {GUEST}/knock.py rpc canned")
    running.run("python3 -c 'import urllib.request as u; u.urlopen(\"http://models.test:8001/open\")'")
    rest, _ = talk.communicate(timeout=60)
    assert "second half" in rest and talk.returncode == 0, (rest, talk.returncode)
    said, _ = waiting.communicate(timeout=60)
    assert '"is_good": true' in said, said
    assert main_pid(running) not in (0, before)


def test_hung_daemon_is_restarted(machine: Machine) -> None:
    """A loop that does not turn is noticed by the watchdog, and the next request is served by another process."""
    assert machine.show("WatchdogUSec") == "30s"
    with machine.drop_in("[Service]\nWatchdogSec=1s\n"):
        assert machine.knock("rpc")["is_good"]
        before = main_pid(machine)
        cursor = machine.cursor()
        machine.run(f"kill -STOP {before}")
        assert machine.knock("rpc")["is_good"]
        eventually_in("another daemon runs", lambda: main_pid(machine) not in (0, before))
        assert "watchdog" in machine.run(f"journalctl -q --after-cursor='{cursor}' -u {SERVICE}").lower()


def test_watchdog_leaves_a_working_daemon_alone(machine: Machine) -> None:
    """Idle or not, a loop that turns is not killed: many times the limit passes, measured by the watchdog's own pings."""
    with machine.drop_in("[Service]\nWatchdogSec=200ms\n"):
        assert machine.knock("rpc")["is_good"]
        before = main_pid(machine)
        seen = {machine.show("WatchdogTimestampMonotonic")}

        def pinged() -> bool:
            seen.add(machine.show("WatchdogTimestampMonotonic"))
            return len(seen) > 10

        eventually_in("ten pings", pinged)
        assert main_pid(machine) == before

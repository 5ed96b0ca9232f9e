"""What the daemon does between first start and last stop: it leaves when idle, it stays with a bad file, it gets its keys."""
from __future__ import annotations

import json

from installation import CONFIGURATION
from machine import CONFIG, GUEST, SERVICE, Machine, eventually_in

IDLE_MSEC = 50
ARRIVALS = 160
KEY = "a-key-for-nobody"
KEYED = """\
  - model_name: keyed
    litellm_params:
      model: openai/keyed
      api_base: http://models.test:8001/v1
      api_key: os.environ/TEST_KEY
"""
BROKEN = "model_list: [\n"


def test_idle_exit_loses_nobody(machine: Machine, figure) -> None:
    """Requests arrive around the moment of leaving: all are served, by one daemon after the other."""
    machine.write(CONFIG, CONFIGURATION + f"sluice: {{idle_exit: {IDLE_MSEC}ms}}\n")
    cursor = machine.cursor()
    report = json.loads(machine.run(f"python3 {GUEST}/arrivals.py canned {ARRIVALS} {IDLE_MSEC}"))
    eventually_in("it has left", lambda: machine.show("ActiveState") == "inactive")
    assert machine.show("Result") == "success"
    starts = len({r["_PID"] for r in machine.records(cursor, _COMM="sluiced")})
    figure(f"idle exit of {IDLE_MSEC} ms, {ARRIVALS} arrivals around it: {starts} starts, {report['refused']} refused, {report['cut']} cut, "
           f"worst {report['worst_usec'] / 1000:.0f} ms")
    assert (report["refused"], report["cut"], report["not_good"]) == (0, 0, 0), report
    assert report["done"] == ARRIVALS
    assert starts > ARRIVALS / 10, starts


def test_bad_file_at_start_is_told_to_callers(machine: Machine) -> None:
    """With a file that cannot be used the daemon runs and says so, instead of dying with each connection; a reload heals it."""
    machine.write(CONFIG, BROKEN)
    knock = machine.knock("http")
    assert knock["answer"].startswith("HTTP/1.1 503 "), knock
    assert CONFIG in knock["answer"]
    assert machine.show("ActiveState") == "active" and machine.show("NRestarts") == "0"
    pid = machine.show("MainPID")
    machine.write(CONFIG, CONFIGURATION)
    machine.run(f"systemctl reload {SERVICE}")
    eventually_in("it serves", lambda: machine.knock("http")["is_good"])
    assert machine.show("MainPID") == pid


def test_credential_arrives_at_the_model_server(machine: Machine) -> None:
    """The key is root's alone; the daemon has it from systemd, the model server gets it, and nothing else tells it."""
    machine.write("/root/test.key", KEY + "\n")
    machine.run("chmod 600 /root/test.key")
    machine.write(CONFIG, CONFIGURATION + KEYED)
    with machine.drop_in("[Service]\nLoadCredential=TEST_KEY:/root/test.key\n"):
        cursor = machine.cursor()
        assert "second half" in machine.run("sluicectl chat --model keyed hello </dev/null", user="alice")
        fetch = "import urllib.request as u; print(u.urlopen('http://models.test:8001/seen').read().decode())"
        assert json.loads(machine.run(f'python3 -c "{fetch}"'))[-1] == f"Bearer {KEY}"
        pid = machine.show("MainPID")
        assert KEY not in machine.run(f"cat /proc/{pid}/environ /proc/{pid}/cmdline")
        assert KEY not in machine.run(f"journalctl -q -o export --after-cursor='{cursor}'")
        assert KEY not in machine.run("sluicectl --json status; sluicectl --json models", user="alice")


def test_missing_credential_switches_its_deployment_off(machine: Machine) -> None:
    machine.write(CONFIG, CONFIGURATION + KEYED)
    assert machine.status("sluicectl chat --model keyed hello </dev/null", user="alice") != 0
    assert "said by nobody" in machine.run("sluicectl chat --model canned hello </dev/null", user="alice")

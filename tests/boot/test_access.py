"""Who may connect: members of the group, and nobody else; and the daemon knows who it was."""
from __future__ import annotations

from machine import Machine

REFUSED = "import socket; socket.socket(socket.AF_UNIX).connect('{}')"


def test_outsider_is_refused_at_the_socket(running: Machine) -> None:
    for path in ("/run/sluice/rpc.sock", "/run/sluice/http.sock"):
        said = running.run(f"python3 -c \"{REFUSED.format(path)}\"", user="bob", check=False)
        assert "PermissionError" in said, said
        assert running.status(f"python3 -c \"{REFUSED.format(path)}\"", user="alice") == 0


def test_outsider_is_told_why(running: Machine) -> None:
    assert running.status("sluicectl models", user="bob") != 0
    said = running.run("sluicectl models", user="bob", check=False)
    assert "ermission" in said, said


def test_caller_is_known_by_uid(running: Machine) -> None:
    """The uid is the caller's own and not nobody's, as it would be with PrivateUsers=."""
    cursor = running.cursor()
    assert "said by nobody" in running.run("sluicectl chat --model canned hello </dev/null", user="alice")
    uid = running.run("id -u alice").strip()
    record = running.record(cursor, SLUICE_MODEL="canned")
    assert record["SLUICE_UID"] == uid


def test_sockets_stand_as_the_units_say(machine: Machine) -> None:
    listing = machine.run("stat -c '%n %a %U %G' /run/sluice /run/sluice/*").splitlines()
    assert listing == ["/run/sluice 755 root root", "/run/sluice/http.sock 660 root sluice", "/run/sluice/rpc.sock 660 root sluice"]

"""Sockets that systemd holds: the first connection to any of them starts the daemon, however often that happens."""
from __future__ import annotations

import pytest

from machine import CONFIG, SERVICE, SOCKETS, SOURCE, Machine

# systemd's own limits are 5 starts in 10 s and 20 activations in 2 s.
MANY_STARTS = 30


def test_default_configuration_starts(machine: Machine) -> None:
    """What is installed works before anybody has edited anything: no model server is needed to answer."""
    assert machine.installed_configuration == (SOURCE / "config/sluice.yaml").read_text()
    machine.write(CONFIG, machine.installed_configuration)
    for unit in SOCKETS:
        assert machine.run(f"systemctl is-enabled {unit}").strip() == "enabled"
    assert machine.knock("rpc")["is_good"]
    assert "tinyllama" in machine.run("sluicectl models", user="alice")
    assert machine.show("ActiveState") == "active"


@pytest.mark.parametrize("name", ["rpc", "http", "http6", "http-unix"])
def test_first_connection_starts_the_daemon(machine: Machine, name: str, figure) -> None:
    assert machine.show("ActiveState") == "inactive"
    knock = machine.knock(name)
    assert knock["is_good"], knock
    assert machine.show("ActiveState") == "active"
    figure(f"{name}: first byte {knock['first_byte_usec'] / 1000:.0f} ms after connecting to a stopped service")


def test_no_number_of_starts_closes_a_socket(machine: Machine) -> None:
    for _ in range(MANY_STARTS):
        assert machine.knock("http-unix")["is_good"]
        machine.run(f"systemctl kill -s KILL --kill-who=main {SERVICE}")
    for unit in SOCKETS:
        assert machine.show("ActiveState", unit) == "active"
    assert machine.knock("rpc")["is_good"]


def test_status_line(running: Machine) -> None:
    """READY only with something to say; `systemctl status` shows it."""
    assert running.show("Type").startswith("notify")
    assert running.show("StatusText")


def test_user_units(installed: Machine, figure) -> None:
    """The same for one user's own service manager, with the configuration in the home folder."""
    text = "model_list: [{model_name: mine, litellm_params: {model: openai/mine, mock_response: said at home}}]\n"
    installed.write("/home/alice/.config/sluice/sluice.yaml", text)
    installed.run("chown -R alice: /home/alice/.config")
    uid = installed.run("id -u alice").strip()
    home = f"cd /home/alice; export HOME=/home/alice XDG_RUNTIME_DIR=/run/user/{uid}; "
    installed.run(f"systemctl start user@{uid}.service")
    try:
        installed.run(home + "systemctl --user enable --now sluice.socket", user="alice")
        assert "said at home" in installed.run(home + "sluicectl chat --model mine hello </dev/null", user="alice")
        assert installed.run(home + f"systemctl --user is-active {SERVICE}", user="alice").strip() == "active"
    finally:
        installed.run(f"systemctl stop user@{uid}.service")

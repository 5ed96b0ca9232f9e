"""Last, as it ends what all others need: the README's way back leaves the configuration and nothing else."""
from __future__ import annotations

from installation import readme_commands
from machine import Machine, eventually_in


def test_uninstall(installed: Machine) -> None:
    assert installed.knock("rpc")["is_good"]
    for command in readme_commands("Uninstall"):
        installed.run(command)
    eventually_in("no process is left", lambda: installed.status("grep -qx sluiced /proc/[0-9]*/comm") != 0)
    left = installed.run("find /etc /usr /var/lib /run -xdev -name '*sluice*' -not -type d -not -path '/etc/sluice/*'").split()
    assert left == [], left
    assert installed.run("ls /etc/sluice").split() == ["sluice.yaml"]
    assert installed.run("systemctl list-unit-files --no-legend 'sluice*'", check=False) == ""

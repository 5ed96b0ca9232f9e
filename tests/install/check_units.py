"""The installed units say nothing that systemd does not understand, and the service's sandbox scores 1.3 or better.

`systemd-analyze verify` reads the units as they were installed but for the program's path, which must exist.
"""
import os
import subprocess
import tempfile
from pathlib import Path

from installed import Installed, arguments, run

# Of ten; systemd-analyze takes and prints it times ten. PrivateUsers= and ProcSubset= are left out on purpose, see the unit.
MOST_EXPOSED = 13


def verify(i, folder, scope):
    """Any word of systemd-analyze about our units is a finding."""
    units = i.path(i.prefix / f"lib/systemd/{folder}")
    for service in units.glob("*.service"):
        program = str(i.prefix / "sbin/sluiced")
        service.write_text(service.read_text().replace(f"ExecStart={program} ", f"ExecStart={i.path(program)} "))
        assert str(i.path(program)) in service.read_text(), service
    environment = dict(os.environ, SYSTEMD_UNIT_PATH=f"{units}:", XDG_RUNTIME_DIR=str(i.root))
    done = subprocess.run(["systemd-analyze", scope, "verify", "--man=no", *sorted(units.iterdir())],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    ours = [line for line in done.stdout.splitlines() if "sluice" in line]
    if done.returncode != 0 or ours:
        raise SystemExit(f"systemd-analyze {scope} verify: exit status {done.returncode}\n{done.stdout}")
    return units / "sluice.service"


def verify_drop_in(i, folder):
    """The drop-in for Ollama's unit beside such a unit."""
    drop_in = i.path(i.prefix / "share/doc/sluice/examples/ollama.service.d/sluice.conf")
    (folder / "ollama.service.d").mkdir(parents=True)
    (folder / "ollama.service.d/sluice.conf").write_text(drop_in.read_text())
    unit = folder / "ollama.service"
    unit.write_text("[Service]\nExecStart=/bin/true serve\n")
    done = subprocess.run(["systemd-analyze", "--system", "verify", "--man=no", unit], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env=dict(os.environ, SYSTEMD_UNIT_PATH=f"{folder}:"))
    if done.returncode != 0 or "sluice.conf" in done.stdout:
        raise SystemExit(f"systemd-analyze verify of the drop-in: exit status {done.returncode}\n{done.stdout}")


def main():
    args = arguments(__doc__)
    with tempfile.TemporaryDirectory(prefix="sluice-units-") as scratch:
        i = Installed(args.build, Path(scratch) / "root")
        i.install()
        verify(i, "user", "--user")
        service = verify(i, "system", "--system")
        verify_drop_in(i, Path(scratch) / "ollama")
        report = run(["systemd-analyze", "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", "--no-pager", service])
        print(report.strip().splitlines()[-1])


if __name__ == "__main__":
    main()

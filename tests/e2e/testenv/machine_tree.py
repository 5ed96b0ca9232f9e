"""A machine as a tree of files, for `sluicectl doctor --root`: /proc, /sys, a boot loader, systemctl as a script."""

from __future__ import annotations

import os
from pathlib import Path

OLLAMA_PID, INODE = 4711, 90210
GOOD_ENVIRONMENT = {
    "LLAMA_ARG_CACHE_RAM": "0",
    "OLLAMA_NUM_PARALLEL": "1",
    "OLLAMA_MAX_LOADED_MODELS": "1",
    "OLLAMA_MAX_QUEUE": "8",
}
GOOD_OLLAMA_UNIT = {
    "LoadState": "loaded",
    "MainPID": str(OLLAMA_PID),
    "Environment": "",
    "DropInPaths": "/etc/systemd/system/ollama.service.d/sluice.conf",
    "OOMPolicy": "continue",
    "OOMScoreAdjust": "300",
    "MemoryHigh": "1610612736",
    "MemoryMax": "1717986918",
    "MemorySwapMax": "0",
}
GOOD_SLUICE_UNIT = {"LoadState": "loaded", "OOMScoreAdjust": "-900", "MemoryMax": "67108864", "LimitNOFILE": "65536"}


class Machine:
    """Where nothing is to be mended; a test spoils one thing."""

    def __init__(self, root: Path, memory_kib: int = 4 << 20):
        self.root = root
        self.write("/proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
        self.write("/proc/meminfo", f"MemTotal:  {memory_kib} kB\nMemFree: 1 kB\nMemAvailable:  {memory_kib // 2} kB\n")
        self.write("/proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 2000000 0 100\n")
        self.write("/proc/cmdline", "root=/dev/mmcblk0p2 quiet\n")
        self.write("/proc/sys/kernel/osrelease", "6.12.0-test\n")
        self.write("/proc/1/comm", "systemd\n")
        self.write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
        self.units = {"ollama.service": dict(GOOD_OLLAMA_UNIT), "sluice.service": dict(GOOD_SLUICE_UNIT)}
        self.write_units()

    def write(self, path: str, text: str) -> Path:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def remove(self, path: str) -> None:
        (self.root / path.lstrip("/")).unlink()

    def write_units(self) -> None:
        """A systemctl that says what self.units has."""
        rows = []
        for unit, properties in self.units.items():
            lines = "\n".join(f"{name}={value}" for name, value in properties.items())
            rows.append(f"{unit}) cat <<'END'\n{lines}\nEND\n;;")
        script = "#!/bin/sh\nfor unit; do :; done\ncase $unit in\n" + "\n".join(rows) + "\n*) echo LoadState=not-found ;;\nesac\n"
        self.write("/usr/bin/systemctl", script).chmod(0o755)

    def ollama(self, port: int, environment: dict[str, str] | None = None, comm: str = "ollama") -> None:
        """A process that listens on that port. environment None: nobody may see whose the socket is."""
        self.write("/proc/net/tcp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                   f"   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0 100 0 0 10 0\n"
                   f"   1: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 {INODE} 1 0 100 0 0 10 0\n")
        if environment is None:
            return
        folder = f"/proc/{OLLAMA_PID}"
        self.write(f"{folder}/comm", comm + "\n")
        self.write(f"{folder}/environ", "".join(f"{name}={value}\0" for name, value in environment.items()))
        (self.root / folder.lstrip("/") / "fd").mkdir()
        os.symlink(f"socket:[{INODE}]", self.root / folder.lstrip("/") / "fd" / "3")

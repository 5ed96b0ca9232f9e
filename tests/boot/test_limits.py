"""What holds of the limits in the units: sluice's own, and those of the drop-in for Ollama, as systemd has taken them."""
from __future__ import annotations

from typing import Iterator

import pytest

from machine import SERVICE, SOURCE, Machine

MIB = 1 << 20
OLLAMA = "ollama.service"
SLEEPS = "[Service]\nExecStart=/bin/sleep infinity\nEnvironment=OLLAMA_HOST=0.0.0.0\n"


@pytest.fixture
def ollama(machine: Machine) -> Iterator[Machine]:
    """The machine with a unit of Ollama's name under the shipped drop-in."""
    machine.write(f"/run/systemd/system/{OLLAMA}", SLEEPS)
    machine.write(f"/etc/systemd/system/{OLLAMA}.d/sluice.conf", (SOURCE / "systemd/ollama.service.d/sluice.conf").read_text())
    machine.run(f"systemctl daemon-reload; systemctl start {OLLAMA}")
    yield machine
    machine.run(f"systemctl stop {OLLAMA}; rm -r /run/systemd/system/{OLLAMA} /etc/systemd/system/{OLLAMA}.d; systemctl daemon-reload")


def test_sluice(machine: Machine) -> None:
    wanted = {"MemoryHigh": str(48 * MIB), "MemoryMax": str(64 * MIB), "OOMScoreAdjust": "-900", "ManagedOOMPreference": "avoid",
              "LimitMEMLOCK": "infinity", "LimitNOFILE": "65536", "TasksMax": "64", "LimitCORE": "0"}
    assert {name: machine.show(name) for name in wanted} == wanted


def in_memory(machine: Machine) -> dict[str, int]:
    """Of the running daemon, in KiB: VmLck, VmRSS, ..."""
    lines = machine.run(f"grep ^Vm /proc/{machine.show('MainPID')}/status").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def test_program_stays_in_memory(machine: Machine, figure) -> None:
    """Locked where it may be, and what is in memory is no more for it. With the right itself where the container may not raise the limit."""
    assert machine.knock("rpc")["is_good"]
    before = in_memory(machine)
    if before["VmLck"] == 0:
        assert machine.run(f"grep 'Max locked' /proc/{machine.show('MainPID')}/limits").split()[3] != "unlimited"
        figure("LimitMEMLOCK=infinity not applied: the container may not raise the limit")
    with machine.drop_in("[Service]\nUser=root\nCapabilityBoundingSet=CAP_IPC_LOCK\n"):
        assert machine.knock("rpc")["is_good"]
        locked = in_memory(machine)
        rest = machine.run(f"grep -A30 -F '[heap]' /proc/{machine.show('MainPID')}/smaps | grep ^Size").split()
    figure(f"locked: {locked['VmLck']} of {locked['VmSize']} KiB mapped, {locked['VmRSS']} resident; not locked: {before['VmRSS']} resident; heap {rest[1]} KiB")
    assert 0 < locked["VmLck"] < locked["VmSize"]
    assert locked["VmRSS"] < before["VmRSS"] * 1.1


def test_pressure_of_its_own_group_is_told(running: Machine) -> None:
    """MemoryPressureWatch= is systemd's default where it has it, so that the unit need not say it (Debian 12 would warn)."""
    environment = running.run(f"tr '\\0' '\\n' </proc/{running.show('MainPID')}/environ").split()
    has_it = any(word.startswith("MEMORY_PRESSURE_WATCH=") for word in environment)
    assert has_it == (running.suite != "bookworm"), environment


def test_drop_in_of_ollama(ollama: Machine, figure) -> None:
    assert ollama.run(f"systemd-analyze verify --man=no {OLLAMA}") == ""
    wanted = {"OOMScoreAdjust": "300", "OOMPolicy": "continue", "DropInPaths": f"/etc/systemd/system/{OLLAMA}.d/sluice.conf"}
    assert {name: ollama.show(name, OLLAMA) for name in wanted} == wanted
    total = int(ollama.run("grep MemTotal /proc/meminfo").split()[1]) << 10
    for name, share in (("MemoryHigh", 0.75), ("MemoryMax", 0.80)):
        said = ollama.show(name, OLLAMA)
        figure(f"{OLLAMA} {name}={said} of {total}")
        assert abs(int(said) / total - share) < 0.01, said
    pid = ollama.show("MainPID", OLLAMA)
    assert ollama.run(f"cat /proc/{pid}/oom_score_adj").strip() == "300"
    environment = set(ollama.run(f"tr '\\0' '\\n' </proc/{pid}/environ").split())
    assert environment >= {"OLLAMA_HOST=0.0.0.0", "LLAMA_ARG_CACHE_RAM=0", "OLLAMA_NUM_PARALLEL=1", "OLLAMA_MAX_LOADED_MODELS=1",
                           "OLLAMA_MAX_QUEUE=8", "OLLAMA_KEEP_ALIVE=30m"}, environment


def test_kernel_holds_them(running: Machine, figure) -> None:
    """Where the memory controller is in this hierarchy; on a machine that keeps it in v1 the container has none, which is said."""
    group = f"/sys/fs/cgroup/system.slice/{SERVICE}"
    if running.status(f"test -e {group}/memory.max") != 0:
        figure("MemoryMax= not seen in the kernel: this container has no memory controller")
        return
    assert running.run(f"cat {group}/memory.max").strip() == str(64 * MIB)

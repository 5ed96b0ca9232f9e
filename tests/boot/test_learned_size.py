"""The installed service learns what a model takes although the model server is another user's: /proc shows it no process of that."""
from __future__ import annotations

import json
from typing import Any, Iterator

import pytest

from installation import CONFIGURATION
from machine import CONFIG, GUEST, Machine, eventually_in

MIB = 1 << 20
HELD_MIB = 120
UNIT = "ollama.service"
GROUP = f"system.slice/{UNIT}"
V2, V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"
SERVER = f"[Service]\nType=notify\nNotifyAccess=all\nUser=bob\nExecStart=python3 {GUEST}/holds.py 11434 {HELD_MIB}\n"
HELD = """\
  - model_name: held
    litellm_params:
      model: ollama_chat/held
      api_base: http://127.0.0.1:11434
"""


def count_memory(machine: Machine) -> None:
    """Where the host gives memory to the hierarchies of v1, and so none to the container's own: the server's group there, as on a hybrid system."""
    if machine.status(f"test -e {V2}/{GROUP}/memory.stat") == 0:
        return
    if machine.status(f"mkdir -p {V1} && mount -t cgroup -o memory cgroup {V1} && mkdir -p {V1}/{GROUP}") != 0:
        pytest.skip("nobody counts the memory of control groups in this container")
    machine.run(f"echo {machine.show('MainPID', UNIT)} >{V1}/{GROUP}/cgroup.procs")


@pytest.fixture
def server(machine: Machine) -> Iterator[Machine]:
    """The machine with a model server of bob's as ollama.service, whose memory is counted, and a configuration that has its model."""
    machine.write(f"/run/systemd/system/{UNIT}", SERVER)
    machine.run(f"systemctl daemon-reload; systemctl start {UNIT}")
    try:
        count_memory(machine)
        machine.write(CONFIG, CONFIGURATION + HELD)
        machine.stop_service()
        yield machine
    finally:
        machine.run(f"systemctl stop {UNIT}; rm /run/systemd/system/{UNIT}; systemctl daemon-reload")
        machine.run(f"rmdir {V1}/{GROUP} {V1}/system.slice && umount {V1} && rmdir {V1}", check=False)


def held(machine: Machine) -> Any:
    models = json.loads(machine.run("sluicectl models --json", user="alice"))["models"]
    return next(m for m in models if m["name"] == "held")


def test_a_size_is_learned_behind_the_sandbox(server: Machine, figure) -> None:
    assert "here" in server.run("sluicectl chat --model held hello </dev/null", user="alice")
    assert server.show("User") == "sluice" and server.show("ProtectProc") == "invisible"
    eventually_in("it is learned", lambda: held(server)["need_source"] == "learned-group")
    need = held(server)["need_bytes"] / MIB
    figure(f"a model server of another user: {need:.0f} MiB learned of a process that takes {HELD_MIB} and a little")
    assert HELD_MIB - 2 <= need <= HELD_MIB + 24
    kept = server.run("cat /var/lib/sluice/footprints")
    assert kept.startswith("sluice-footprints 2\n") and "held" in kept

"""Fixtures of the booted tests: one machine for each root below $SLUICE_BOOT_ROOTS (dev.d/boot.sh sets it), installed as the README says."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from installation import CONFIGURATION, prepare
from machine import CONFIG, Machine, eventually_in

ROOTS = sorted(p for p in Path(os.environ["SLUICE_BOOT_ROOTS"]).iterdir() if p.is_dir())
FIGURES: list[str] = []


@pytest.fixture(scope="session", params=ROOTS, ids=lambda root: root.name)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with sluice installed and its default configuration."""
    machine = Machine(request.param, tmp_path_factory.mktemp("boot"))
    try:
        prepare(machine)
        yield machine
    finally:
        machine.stop()


@pytest.fixture
def machine(installed: Machine) -> Iterator[Machine]:
    """The machine with the tests' configuration; sockets listen, the service is not running. Afterwards the same must be true."""
    installed.write(CONFIG, CONFIGURATION)
    installed.stop_service()
    yield installed
    installed.stop_service()


@pytest.fixture
def running(machine: Machine) -> Machine:
    """The same, with the service running."""
    assert machine.knock("rpc")["is_good"]
    eventually_in("the service is active", lambda: machine.show("ActiveState") == "active")
    return machine


@pytest.fixture
def figure(installed: Machine):
    """figure(text): a line for the end of the run."""
    return lambda text: FIGURES.append(f"{installed.suite}: {text}")


def pytest_terminal_summary(terminalreporter) -> None:
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.line(line)

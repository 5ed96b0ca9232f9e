"""A client made of nothing but the stock Go ttrpc library and generated code: clients/examples/go, every test of it."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from testenv import fetched, stock
from testenv.paths import SOURCE

# The first test waits for the build.
pytestmark = [
    pytest.mark.timeout(stock.BUILD_TIMEOUT_SEC),
    pytest.mark.xdist_group("stock_go"),
]


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removeprefix("Test")).lower()


@pytest.fixture(scope="session")
def go_tests() -> dict[str, list[str]]:
    """Scenario -> how to run its test."""
    go = fetched.tool("go", "the Go client")
    fetched.tool("protoc", "the Go client")
    environment = {
        "GOMODCACHE": str(stock.CACHE / "go/mod"),
        "GOCACHE": str(stock.CACHE / "go/build"),
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
        "GOTOOLCHAIN": "local",
    }
    with fetched.one_at_a_time(stock.BUILD) as worker:
        directory = stock.source_copy("go")
        stock.fetch([go, "mod", "download"], directory, environment)
        proto = str(SOURCE / "proto/sluice.proto")
        stock.build(["./generate.sh", proto], directory, environment)
        stock.build([go, "vet", "."], directory, environment)
        stock.build([go, "build", "-o", f"ask-{worker}", "."], directory, environment)
        program = str(directory / f"ask-{worker}.test")
        stock.build([go, "test", "-c", "-o", program, "."], directory, environment)
    listed = subprocess.run([program, "-test.list", "."], capture_output=True, text=True, check=True)
    return {
        snake(name): [program, "-test.v", "-test.run", f"^{name}$"]
        for name in listed.stdout.split()
    }


def test_every_test_has_its_scenario(go_tests: dict[str, list[str]]) -> None:
    assert set(go_tests) == set(stock.SCENARIOS)


@pytest.mark.parametrize("name", stock.SCENARIOS)
def test_go(env: Any, go_tests: dict[str, list[str]], name: str) -> None:
    output = stock.play(env, name, go_tests[name], "--- PASS: ", reads_ahead=False)
    assert output.count("--- PASS: ") == 1 and "--- SKIP" not in output


def test_the_example_itself(env: Any, go_tests: dict[str, list[str]]) -> None:
    """What a person would type."""
    stock.try_example(env, go_tests["chat"][0].removesuffix(".test"), "0 [3 ")

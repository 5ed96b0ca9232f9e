"""A client made of nothing but the stock ttrpc crate and generated code: clients/examples/rust, every test of it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from testenv import fetched, stock
from testenv.paths import SOURCE

# The first test waits for the build.
pytestmark = [
    pytest.mark.timeout(stock.BUILD_TIMEOUT_SEC),
    pytest.mark.xdist_group("stock_rust"),
]

OLDEST_RUST = (1, 85)  # rust-version in Cargo.toml


def executables(messages: str) -> dict[str, str]:
    """Target -> program, out of what cargo says as JSON."""
    found = {}
    for line in messages.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["executable"]:
            kind = message["target"]["kind"][0]
            found["unit" if message["profile"]["test"] and kind != "test" else kind] = message[
                "executable"
            ]
    return found


@pytest.fixture(scope="session")
def programs() -> dict[str, str]:
    """bin: the example, test: its tests."""
    cargo = fetched.tool("cargo", "the Rust client")
    version = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(int(n) for n in version.split()[1].split(".")[:2]) < OLDEST_RUST:
        pytest.skip(f"the Rust client: {version.strip()} is too old for its crates")
    environment = {
        # The crates themselves stay where cargo is set up to have them: CARGO_HOME says which registry is used.
        "CARGO_TARGET_DIR": str(stock.CACHE / "rust"),
        "SLUICE_PROTO": str(SOURCE / "proto/sluice.proto"),
    }
    with fetched.one_at_a_time(stock.BUILD):  # cargo leaves alone what is up to date
        directory = stock.source_copy("rust")
        stock.fetch([cargo, "fetch", "--locked"], directory, environment)
        offline = ["--locked", "--offline", "--message-format=json"]
        found = executables(stock.build([cargo, "build", *offline], directory, environment))
        tests = [cargo, "test", "--no-run", "--test", "ask", *offline]
        return {**found, "test": executables(stock.build(tests, directory, environment))["test"]}


def test_every_test_has_its_scenario(programs: dict[str, str]) -> None:
    listed = subprocess.run(
        [programs["test"], "--list", "--format", "terse"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.removesuffix(": test") for line in listed.stdout.split("\n") if line}
    assert names == set(stock.SCENARIOS)


@pytest.mark.parametrize("name", stock.SCENARIOS)
def test_rust(env: Any, programs: dict[str, str], name: str) -> None:
    argv = [programs["test"], "--exact", name, "--ignored", "--nocapture", "--test-threads=1"]
    stock.play(env, name, argv, "test result: ok. 1 passed; 0 failed", reads_ahead=True)


def test_the_example_itself(env: Any, programs: dict[str, str]) -> None:
    """What a person would type."""
    stock.try_example(env, programs["bin"], "0 [3.0, ")

"""What a type checker says to programs that use the package."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import sluice

pytestmark = pytest.mark.once

PROGRAM = """
import sluice

client = sluice.Client()
whole = client.chat.completions.create(model="m", messages=[], temperature=0.5, deadline=3)
reveal_type(whole)
stream = client.chat.completions.create(model="m", messages=[], stream=True)
reveal_type(stream)
reveal_type(client.chat.completions.create(model="m", messages=[], stream=bool(whole)))
client.chat.completions.create(model="m", messages=[], temprature=1)


async def main() -> None:
    async with sluice.AsyncClient() as other:
        reveal_type(await other.chat.completions.create(model="m", messages=[], stream=True))
        reveal_type(await other.status())
"""


def test_a_program(tmp_path: Path) -> None:
    build = os.environ.get("SLUICE_TEST_BUILD_PYTHON")
    if not build:
        pytest.skip("no mypy: SLUICE_TEST_BUILD_PYTHON is not set (./dev test python sets it)")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    env = {**os.environ, "MYPYPATH": str(Path(sluice.__file__).parents[1])}
    argv = [
        build,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    result = subprocess.run(
        [*argv, str(program)],
        env=env,
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = result.stdout.splitlines()
    types = [line.split('"')[1] for line in lines if "Revealed type" in line]
    assert types == [
        "sluice._types.ChatCompletion",
        "sluice._client.Stream[sluice._types.ChatCompletionChunk]",
        "sluice._types.ChatCompletion | sluice._client.Stream[sluice._types.ChatCompletionChunk]",
        "sluice._aio.AsyncStream[sluice._types.ChatCompletionChunk]",
        "sluice._types.Status",
    ], result.stdout
    errors = [line for line in lines if ": error: " in line]
    assert errors and all("program.py:10: " in line for line in errors), result.stdout
    assert any("temprature" in line for line in errors)

"""The official openai package for Node, installed once into the cache; tests that need it are skipped, and say why, where there is no
Node or no registry.

No lock file: it would hold the address of a registry. The version is pinned, and the package's bytes by their digest instead.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .fetched import one_at_a_time, tool
from .paths import SOURCE

# The last major version that runs with the Node of Debian 12; it depends on nothing.
VERSION = "6.49.0"
SHA512 = "aYCc0C6L864eR6WSYIwQGyXriw/nIyZx0ObvhzOEVuk0zoBDpynjSbrionWI7q65B5H8jJX0DXR9snEzM6bfPg=="

PROGRAM = SOURCE / "tests/e2e/node/openai_client.mjs"
CACHE = Path(os.environ.get("SLUICE_DEV_CACHE") or Path.home() / ".cache/sluice-dev") / "node"
INSTALL_TIMEOUT_SEC = 300
WHAT_FOR = "the openai package for Node"
NO_NETWORK = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH")


def _npm(directory: Path, *args: str) -> None:
    done = subprocess.run(
        [tool("npm", WHAT_FOR), "--cache", str(CACHE / "npm"), *args],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_SEC,
        check=False,
    )
    if done.returncode != 0 and NO_NETWORK.search(done.stderr):
        pytest.skip(f"npm cannot fetch the openai package: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr


def _install(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "package.json").write_text('{"private": true}\n')
    _npm(directory, "pack", f"openai@{VERSION}")
    package = directory / f"openai-{VERSION}.tgz"
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    assert digest == SHA512, f"not the package that was pinned: {digest}"
    _npm(
        directory,
        *("install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"),
        *("--legacy-peer-deps", f"./{package.name}"),  # its optional peers are of no use here
    )


def program() -> list[str]:
    """The command that runs openai_client.mjs beside the package."""
    node = tool("node", WHAT_FOR)
    directory = CACHE / VERSION
    with one_at_a_time(CACHE):
        if not (directory / "node_modules/openai/package.json").exists():
            _install(directory)
        copy = directory / PROGRAM.name
        if not copy.exists() or copy.read_bytes() != PROGRAM.read_bytes():
            shutil.copy(PROGRAM, copy)
    return [node, str(copy)]


def run(base_url: str, check: str) -> None:
    """One check of the program; its own words where it fails."""
    done = subprocess.run(
        [*program(), base_url, check], capture_output=True, text=True, timeout=25, check=False
    )
    assert done.returncode == 0 and done.stdout == "ok\n", done.stdout + done.stderr

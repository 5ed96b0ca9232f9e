"""The packages of ./dev wheel in fresh environments: each is installed and makes a call."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Dict, List

import pytest
from conftest import MOCK_TEXT, Service, library

pytestmark = pytest.mark.once

CALL = (
    "import sys, sluice, sluice._native\n"
    "assert sys.prefix in sluice.__file__, sluice.__file__\n"
    "client = sluice.Client(sys.argv[1], timeout=20)\n"
    "answer = client.chat.completions.create(model='mock', messages=[{'role': 'user', 'content': 'x'}])\n"
    "print(sluice._native.lib._name)\n"
    "print(answer.choices[0].message.content)\n"
)


def dist() -> Path:
    if not os.environ.get("SLUICE_TEST_DIST"):
        pytest.skip("no packages: SLUICE_TEST_DIST is not set (./dev test python sets it)")
    return Path(os.environ["SLUICE_TEST_DIST"])


def package(pattern: str) -> Path:
    found = list(dist().glob(pattern))
    assert len(found) == 1, (pattern, found)
    return found[0]


def clean() -> Dict[str, str]:
    names = ("SLUICE_", "PYTHON", "LD_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(names)}
    return {**env, "PYTHONIOENCODING": "utf-8"}


def installed(path: Path, directory: Path) -> Path:
    """The Python of a new environment that holds the package and nothing else."""
    python = directory / "venv" / "bin" / "python"
    run([sys.executable, "-m", "venv", "--without-pip", str(directory / "venv")])
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run([*pip, "install", "-q", "--no-index", "--no-deps", "--no-cache-dir", str(path)])
    return python


def run(argv: List[str], **env: str) -> "subprocess.CompletedProcess[str]":
    result = subprocess.run(
        argv, env={**clean(), **env}, cwd="/", capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result


def test_the_wheel_with_the_library(service: Service, tmp_path: Path) -> None:
    wheel = package("*linux*.whl")
    assert re.fullmatch(r"sluice-[0-9.]+-py3-none-(many)?linux_\w+\.whl", wheel.name)
    python = installed(wheel, tmp_path)
    name, said = run([str(python), "-c", CALL, service.path]).stdout.splitlines()
    assert name.startswith(str(tmp_path)) and name.endswith("/sluice/_lib/libsluice.so.0")
    assert said == MOCK_TEXT
    needed = run(["readelf", "-d", name]).stdout
    found = set(re.findall(r"\(NEEDED\).*\[(.*)\]", needed))
    assert {n for n in found if not n.startswith(("libc.so", "ld-linux"))} == set()


def test_the_pure_wheel(service: Service, tmp_path: Path) -> None:
    python = installed(package("*-py3-none-any.whl"), tmp_path)
    path = str(Path(library()).parent)
    name, said = run(
        [str(python), "-c", CALL, service.path], LD_LIBRARY_PATH=path
    ).stdout.splitlines()
    assert (name, said) == ("libsluice.so.0", MOCK_TEXT)


def test_what_is_in_them() -> None:
    pure = set(zipfile.ZipFile(package("*-py3-none-any.whl")).namelist())
    bundled = set(zipfile.ZipFile(package("*linux*.whl")).namelist())
    assert bundled - pure == {"sluice/_lib/libsluice.so.0"} and not pure - bundled
    assert "sluice/py.typed" in pure and not any("test" in name for name in pure)
    assert any(name.endswith("LICENSE") for name in pure)
    with tarfile.open(package("*.tar.gz")) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
        license_ = next(m for m in archive.getmembers() if m.name.endswith("/LICENSE"))
        assert license_.isfile() and license_.size > 500
    assert {
        "sluice/_native.py",
        "sluice/py.typed",
        "pyproject.toml",
        "setup.py",
        "README.md",
    } <= names
    assert not any(name.endswith(".so.0") for name in names)


def test_an_installation_from_source(service: Service, tmp_path: Path) -> None:
    """pip install of the sdist, with the setuptools that built it."""
    build = os.environ.get("SLUICE_TEST_BUILD_PYTHON")
    if not build:
        pytest.skip("no build environment: SLUICE_TEST_BUILD_PYTHON is not set")
    pip = [build, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    run([*pip, "--no-cache-dir", "-w", str(tmp_path), str(package("*.tar.gz"))])
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == package("*-py3-none-any.whl").name
    python = installed(wheel, tmp_path)
    path = library()
    assert run([str(python), "-c", CALL, service.path], SLUICE_LIBRARY=path).stdout.startswith(path)

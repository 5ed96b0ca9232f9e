"""Finding libsluice: the order, what an ImportError tells, the check of the binary interface."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sluice
from conftest import library

PACKAGE = Path(sluice.__file__).parent
SHOW = "import sluice._native as n; print(n.lib._name)"


def run(directory: Path, script: str = SHOW, **env: str) -> "subprocess.CompletedProcess[str]":
    """A Python of its own that finds the package in directory only."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLUICE_", "LD_", "PYTHON"))}
    clean.update(env, PYTHONPATH=str(directory), PYTHONDONTWRITEBYTECODE="1")
    argv = [sys.executable, "-c", script]
    return subprocess.run(
        argv, env=clean, cwd=str(directory), capture_output=True, text=True, timeout=30
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of the package without a library in it."""
    ignored = shutil.ignore_patterns("_lib", "__pycache__")
    shutil.copytree(str(PACKAGE), str(tmp_path / "site" / "sluice"), ignore=ignored)
    return tmp_path / "site"


def bundle(site: Path, content: str) -> Path:
    path = site / "sluice" / "_lib" / "libsluice.so.0"
    path.parent.mkdir()
    shutil.copy(content, str(path))
    return path


def make_library(directory: Path, name: str, code: str) -> str:
    path = directory / name
    argv = ["gcc", "-shared", "-fPIC", "-x", "c", "-o", str(path), "-"]
    subprocess.run(argv, input=code.encode(), check=True, timeout=60)
    return str(path)


needs_plain_library = pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="this libsluice loads in this process only"
)


@needs_plain_library
def test_the_named_file_comes_first(bare: Path) -> None:
    bundle(bare, library())
    result = run(bare, SLUICE_LIBRARY=library())
    assert result.stdout.strip() == library(), result.stderr


@needs_plain_library
def test_the_copy_in_the_package_comes_before_the_systems(bare: Path, tmp_path: Path) -> None:
    path = bundle(bare, library())
    result = run(bare, LD_LIBRARY_PATH=str(Path(library()).parent))
    assert result.stdout.strip() == str(path), result.stderr


@needs_plain_library
def test_the_loader_finds_the_systems(bare: Path) -> None:
    result = run(bare, LD_LIBRARY_PATH=str(Path(library()).parent))
    assert result.stdout.strip() == "libsluice.so.0", result.stderr


def test_the_named_file_is_the_only_one(bare: Path) -> None:
    bundle(bare, library())
    result = run(bare, SLUICE_LIBRARY="/nonexistent/libsluice.so.0")
    assert result.returncode == 1
    assert "ImportError: cannot load libsluice" in result.stderr
    assert "/nonexistent/libsluice.so.0 (SLUICE_LIBRARY)" in result.stderr
    assert "No such file" in result.stderr and "the copy in this package" not in result.stderr


def test_everything_that_was_tried_is_told(bare: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("not a library")
    path = bundle(bare, str(broken))
    result = run(bare, "import sys; sys.path.append('.')\nimport sluice")
    if "libsluice.so.0 (the dynamic loader)" not in result.stderr:
        pytest.skip("a libsluice is installed in this system")
    assert f"{path} (the copy in this package): " in result.stderr
    assert "SLUICE_LIBRARY" in result.stderr  # what to do


@pytest.mark.once
def test_something_else_under_that_name(bare: Path, tmp_path: Path) -> None:
    other = make_library(tmp_path, "other.so", "int other;")
    result = run(bare, SLUICE_LIBRARY=other)
    assert f"ImportError: {other} is not libsluice" in result.stderr


@pytest.mark.once
@pytest.mark.parametrize("version", ["0x10001", "0x0"])
def test_the_wrong_binary_interface(bare: Path, tmp_path: Path, version: str) -> None:
    code = f"unsigned sluice_abi(void) {{ return {version}; }}"
    other = make_library(tmp_path, "other.so", code)
    result = run(bare, SLUICE_LIBRARY=other)
    found = f"{int(version, 16) >> 16}.{int(version, 16) & 0xFFFF}"
    assert (
        f"ImportError: {other} has the binary interface {found}, and this package needs 0."
        in result.stderr
    )


@pytest.mark.once
def test_a_library_that_lacks_a_function(bare: Path, tmp_path: Path) -> None:
    code = (
        "unsigned sluice_abi(void) { return 0xffff; } unsigned sluice_version(void) { return 0; }"
    )
    other = make_library(tmp_path, "other.so", code)
    result = run(bare, SLUICE_LIBRARY=other)
    assert f"ImportError: {other} has no sluice_version_string" in result.stderr

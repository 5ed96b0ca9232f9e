#!/usr/bin/env python3
"""The formatter's verdict: clang-format 19.1.7 with .clang-format leaves every C file as it is.

Other releases lay code out differently, so exactly that one counts. ./dev installs it (from PyPI, below its cache folder)
and names it in $SLUICE_CLANG_FORMAT; a machine without it fails this test, it does not skip it.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import source_tree

WANTED = "19.1.7"


def candidates():
    cache = os.environ.get("SLUICE_DEV_CACHE") or Path.home() / ".cache/sluice-dev"
    yield os.environ.get("SLUICE_CLANG_FORMAT")
    yield str(Path(cache) / "py/bin/clang-format")
    yield shutil.which("clang-format")


def formatter():
    for tool in candidates():
        if tool and os.access(tool, os.X_OK):
            version = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout
            if f" {WANTED}" in version:
                return tool
    sys.exit(f"clang-format {WANTED} is not there: ./dev format --check installs it")


def main():
    root = source_tree.arguments(__doc__).source
    files = [str(root / p) for p in source_tree.c_files(root)]
    run = subprocess.run(
        [formatter(), "--dry-run", "-Werror", "--ferror-limit=3", *files], capture_output=True, text=True, check=False
    )
    findings = [line.replace(f"{root}/", "") for line in run.stderr.splitlines() if "[-Wclang-format-violations]" in line]
    if run.returncode and not findings:
        sys.exit(run.stderr)
    source_tree.finish(findings)


if __name__ == "__main__":
    main()

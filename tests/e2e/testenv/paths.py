"""Where the binaries are: SLUICED and SLUICECTL, else the sanitizer build, else the release build."""

from __future__ import annotations

import os
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3]


def _find(variable: str, name: str) -> Path:
    if os.environ.get(variable):
        return Path(os.environ[variable]).resolve()
    for build in ("dev", "release"):
        path = SOURCE / "build" / build / "bin" / name
        if path.exists():
            return path
    return SOURCE / "build" / "dev" / "bin" / name


SLUICED = _find("SLUICED", "sluiced")
SLUICECTL = _find("SLUICECTL", "sluicectl")

"""Where the binaries are: SLUICED and SLUICECTL, else the sanitizer build, else the release build."""

from __future__ import annotations

import os
import shutil
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


def copied(program: Path, directory: Path) -> Path:
    """program and its library where every user can run them: a checkout may lie in somebody's home."""
    library = program.parent.parent / "lib" / "libsluice.so.0"
    directory.chmod(0o755)
    for source, folder in ((program, "bin"), (library, "lib")):
        if source.exists():
            (directory / folder).mkdir(mode=0o755, exist_ok=True)
            shutil.copy(source, directory / folder / source.name)
            (directory / folder / source.name).chmod(0o755)
    return directory / "bin" / program.name

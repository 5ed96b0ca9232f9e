"""Finds libsluice and checks that it is one that this package can talk to.

Order: the file that SLUICE_LIBRARY names, and then nothing else; a copy inside this package (wheels for virtual environments have
one); the soname, which leaves the search to the dynamic loader; ctypes.util.find_library() last, because it needs ldconfig or a
compiler and fails on small systems. What fails is told with every name tried and the loader's own words.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from pathlib import Path
from typing import Iterator, List, Tuple

SONAME = "libsluice.so.0"
BUNDLED = Path(__file__).parent / "_lib" / SONAME


def candidates() -> Iterator[Tuple[str, str]]:
    """(name for dlopen, where it comes from), in order."""
    named = os.environ.get("SLUICE_LIBRARY")
    if named:
        yield named, "SLUICE_LIBRARY"
        return
    if BUNDLED.exists():
        yield str(BUNDLED), "the copy in this package"
    yield SONAME, "the dynamic loader"
    found = ctypes.util.find_library("sluice")
    if found and found != SONAME:
        yield found, "ctypes.util.find_library"


def load(major: int, minor: int) -> ctypes.CDLL:
    """The library, with its binary interface checked; ImportError with the whole story otherwise."""
    failed: List[str] = []
    for name, origin in candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError as e:
            failed.append(f"  {name} ({origin}): {e}")
            continue
        check(library, name, major, minor)
        return library
    raise ImportError(
        "cannot load libsluice, the C library of sluice. Tried:\n"
        + "\n".join(failed)
        + "\nInstall libsluice (Debian: libsluice0), or set SLUICE_LIBRARY to the file libsluice.so.0."
    )


def check(library: ctypes.CDLL, name: str, major: int, minor: int) -> None:
    """Same major number, no smaller minor number."""
    try:
        function = library.sluice_abi
    except AttributeError:
        raise ImportError(f"{name} is not libsluice: it has no function sluice_abi") from None
    function.restype, function.argtypes = ctypes.c_uint32, []
    found = function()
    if found >> 16 != major or found & 0xFFFF < minor:
        raise ImportError(
            f"{name} has the binary interface {found >> 16}.{found & 0xFFFF}, and this package needs "
            f"{major}.{minor} or a later {major}.x: install the libsluice and the Python package of one release"
        )

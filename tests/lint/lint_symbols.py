#!/usr/bin/env python3
"""libsluice exports what sluice.h declares and libsluice.map lists: the three are the same set, and the library says so itself.

The library is build/lib/libsluice.so; where it has not been built the map and the header are compared with each other.
"""
import re
import shutil
import subprocess

import source_tree

HEADER = "clients/c/sluice.h"
MAP = "clients/c/libsluice.map"
LIBRARY = "lib/libsluice.so"


def declared(root):
    code = source_tree.without_comments((root / HEADER).read_text(encoding="utf-8"))
    code = re.sub(r"^[ \t]*#.*(?:\\\n.*)*$", "", code, flags=re.M)
    return set(re.findall(r"\b(sluice_\w+)\s*\(", code))


def listed(root):
    """Global symbols of every version node."""
    code = source_tree.without_comments((root / MAP).read_text(encoding="utf-8"))
    names = set()
    for body in re.findall(r"\{(.*?)\}", code, re.S):
        for part in re.split(r"\b(?=global:|local:)", body):
            if part.strip().startswith("global:"):
                names |= set(re.findall(r"(\S+?)\s*;", part.split(":", 1)[1]))
    return names


def exported(library):
    """Dynamic symbols that the library defines, without the names of the version nodes."""
    run = subprocess.run(
        [shutil.which("nm") or "nm", "-D", "--defined-only", str(library)],
        capture_output=True, text=True, timeout=60, check=True,
    )
    names = set()
    for line in run.stdout.splitlines():
        address, kind, name = line.split()[-3:]
        if kind != "A":
            names.add(name.split("@")[0])
    return names


def differences(where, left, left_name, right, right_name):
    for name in sorted(left - right):
        yield f"{where}:1: {name} is in {left_name} but not in {right_name}"
    for name in sorted(right - left):
        yield f"{where}:1: {name} is in {right_name} but not in {left_name}"


def main():
    arguments = source_tree.arguments(__doc__)
    in_header, in_map = declared(arguments.source), listed(arguments.source)
    findings = [f"{HEADER}:1: declares no function"] if not in_header else []
    findings += differences(MAP, in_map, MAP, in_header, HEADER)
    library = arguments.build / LIBRARY if arguments.build else None
    if library and library.exists():
        findings += differences(MAP, exported(library), "libsluice.so", in_map, MAP)
    elif library:
        print(f"{library} has not been built: only {HEADER} and {MAP} are compared")
    source_tree.finish(findings)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""clients/c/sluice.h compiles alone, as C99 and as C++, without a warning; it shows no struct, no varargs, no callback.

Bindings of other languages are made from this header by hand: what they cannot express has no place in it.
"""
import re
import shutil
import subprocess

import source_tree

HEADER = "clients/c/sluice.h"
WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Wstrict-prototypes", "-Wundef", "-Werror", "-fsyntax-only"]
CXX_WARNINGS = [w for w in WARNINGS if w != "-Wstrict-prototypes"]
COMPILERS = (
    # (candidates, arguments): the first that is there is taken
    (("gcc", "cc", "clang"), ["-x", "c", "-std=c99", *WARNINGS]),
    (("clang", "cc", "gcc"), ["-x", "c", "-std=c17", *WARNINGS]),
    (("g++", "c++", "clang++"), ["-x", "c++", "-std=c++11", *CXX_WARNINGS]),
)


def compile_alone(root, candidates, arguments):
    """What the compiler says about a file that includes the header only, and twice."""
    compiler = next((path for path in map(shutil.which, candidates) if path), None)
    if not compiler:
        yield f"{HEADER}:1: no compiler found out of {', '.join(candidates)}"
        return
    run = subprocess.run(
        [compiler, *arguments, "-I", str(root / HEADER.rsplit("/", 1)[0]), "-"],
        input='#include "sluice.h"\n#include "sluice.h"\nint main(void) { return sluice_abi() == 0; }\n',
        capture_output=True, text=True, timeout=60, check=False,
    )
    if run.returncode != 0:
        yield f"{HEADER}:1: does not compile with {compiler} {' '.join(arguments)}:\n{run.stderr.strip()}"


def forbidden(text):
    """Constructs that a foreign-function interface cannot use."""
    code = source_tree.without_comments(text)
    for pattern, what in (
        (r"\bstruct\s+\w+\s*\{", "a struct with visible members"),
        (r"\(\s*\*\s*\w*\s*\)\s*\(", "a function pointer"),
        (r",\s*\.\.\.\s*\)", "a function with variable arguments"),
        (r"\binline\b", "an inline function"),
        (r"\bsize_t\s+\w+\s*:|\bint\s+\w+\s*:", "a bit field"),
        (r"\bbool\b|\blong\b|\bunsigned\s+int\b", "a type without a fixed width"),
    ):
        for match in re.finditer(pattern, code):
            yield f"{HEADER}:{code.count(chr(10), 0, match.start()) + 1}: {what}: {match.group(0).strip()}"


def main():
    root = source_tree.arguments(__doc__).source
    findings = list(forbidden((root / HEADER).read_text(encoding="utf-8")))
    for candidates, arguments in COMPILERS:
        findings += compile_alone(root, candidates, arguments)
    source_tree.finish(findings)


if __name__ == "__main__":
    main()

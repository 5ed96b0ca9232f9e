"""What the lint tests share: the command line, the C files of the tree, comments blanked out, the verdict.

A lint is run as `lint_NAME.py --source DIR --build DIR` (ctest does), prints one line `file:line: what is wrong` for
each finding and exits 1 when there was one. It reads the tree and changes nothing.
"""
import argparse
import re
import sys
from pathlib import Path

# Folders that hold our own C; anything else (build/, a virtual environment) is not ours to judge.
C_FOLDERS = ("proto", "daemon", "clients", "tests")

_COMMENT_OR_TEXT = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.S | re.X
)


def arguments(doc):
    """The parsed command line; .source is the root of the tree, .build a build folder (may not exist)."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--source", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--build", type=Path, default=None)
    return parser.parse_args()


def c_files(root, suffixes=(".c", ".h")):
    """Paths relative to root of our C files, sorted."""
    found = []
    for folder in C_FOLDERS:
        found += [p.relative_to(root) for p in (root / folder).rglob("*") if p.suffix in suffixes]
    return sorted(found)


def without_comments(text, keep_strings=False):
    """text with comments (and string contents) blanked out; line numbers and columns stay."""

    def blank(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token if keep_strings else token[0] + " " * (len(token) - 2) + token[-1]
        return re.sub(r"[^\n]", " ", token)

    return _COMMENT_OR_TEXT.sub(blank, text)


def finish(findings):
    """Prints the findings and ends the program with the verdict."""
    for finding in findings:
        print(finding)
    print(f"{len(findings)} finding(s)")
    sys.exit(1 if findings else 0)

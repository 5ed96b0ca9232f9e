#!/usr/bin/env python3
"""./dev shape: the style outliers of the C sources, for the author to look at once more. Never fails.

Functions over 60 lines, files over 600, nesting over 4, more than 5 parameters. Found by their layout, which the formatter
guarantees: a definition starts in column 0 and its braces stand alone there.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/lint"))
import source_tree  # noqa: E402 (beside the lints, which it was made for)

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 600
MAX_NESTING = 4
MAX_PARAMETERS = 5

FUNCTION = re.compile(r"^(?P<head>[a-z_][^;{}()=#]*?\b(?P<name>\w+)\((?P<params>[^{};]*)\)\s*\n)\{\n", re.M)

# PRINTF_LIKE(2, 3), CLEANUP(freep): no functions of ours
ATTRIBUTE = re.compile(r"\b[A-Z][A-Z_]+\([^()\n]*\)")


def parameters(text):
    """How many parameters stand between the outermost parentheses."""
    if text.strip() in ("", "void"):
        return 0
    depth, count = 0, 1
    for char in text:
        depth += (char == "(") - (char == ")")
        count += char == "," and depth == 0
    return count


def nesting(body):
    """The deepest block of a function's body, the body itself being 0 (switch labels do not count)."""
    depth = deepest = 0
    for char in body:
        depth += (char == "{") - (char == "}")
        deepest = max(deepest, depth)
    return deepest


def outliers(path):
    text = source_tree.without_comments((ROOT / path).read_text(encoding="utf-8"))
    text = ATTRIBUTE.sub(lambda m: " " * len(m.group()), text)
    n_lines = text.count("\n")
    if n_lines > MAX_FILE_LINES:
        yield n_lines / MAX_FILE_LINES, f"{path}: {n_lines} lines"
    for match in FUNCTION.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        end = text.find("\n}\n", match.end())
        body = text[match.end(): end]
        place = f"{path}:{line}: {match['name']}()"
        for value, limit, what in (
            (text.count("\n", match.start(), end) + 2, MAX_FUNCTION_LINES, "lines"),
            (nesting(body), MAX_NESTING, "levels of nesting"),
            (parameters(match["params"]), MAX_PARAMETERS, "parameters"),
        ):
            if value > limit:
                yield value / limit, f"{place}: {value} {what}"


def main():
    files = [p for p in source_tree.c_files(ROOT) if p.parts[0] != "tests" or "--tests" in sys.argv]
    found = sorted((o for p in files for o in outliers(p)), reverse=True)
    for _, text in found:
        print(text)
    print(f"{len(found)} outlier(s) in {len(files)} files (./dev shape --tests looks at the tests too)")


if __name__ == "__main__":
    main()

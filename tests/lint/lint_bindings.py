#!/usr/bin/env python3
"""bindings/python knows every function and every constant of sluice.h, and no others.

By name and value only, from the text of the module's table, so that who changes the header hears of it without Python packages being
built. The types of arguments and results are compared by the package's own tests, which load the library.
"""
import ast
import re

import source_tree

HEADER = "clients/c/sluice.h"
TABLE = "bindings/python/sluice/_native.py"


def header_constants(code):
    """{enum: {name: value}} without the prefixes."""
    found = {}
    for enum, body in re.findall(r"enum sluice_(\w+) \{(.*?)\}", code, re.S):
        pattern = rf"SLUICE_{enum.upper()}_(\w+)\s*=\s*(\d+)"
        found[enum] = {name: int(value) for name, value in re.findall(pattern, body)}
    return found


def table_functions(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "PROTOTYPES":
            return {key.value for key in node.value.keys}
    return set()


def table_constants(tree):
    """The same out of the classes that the dictionary ENUMS names; their values are literals and range()."""
    classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    enums = next(n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "ENUMS")
    found = {}
    for key, value in zip(enums.keys, enums.values):
        names = {}
        for line in classes[value.id].body:
            if isinstance(line, ast.Assign):
                wanted = [n.id for n in line.targets[0].elts]
                source = ast.unparse(line.value)
                numbers = eval(source, {"__builtins__": {}, "range": range})  # of our own tree
                names.update(zip(wanted, numbers, strict=True))
        found[key.value] = names
    return found


def differences(left, left_name, right, right_name):
    for name in sorted(left - right):
        yield f"{TABLE}:1: {name} is in {left_name} but not in {right_name}"
    for name in sorted(right - left):
        yield f"{TABLE}:1: {name} is in {right_name} but not in {left_name}"


def main():
    root = source_tree.arguments(__doc__).source
    code = source_tree.without_comments((root / HEADER).read_text(encoding="utf-8"))
    tree = ast.parse((root / TABLE).read_text(encoding="utf-8"))
    functions = set(re.findall(r"\b(sluice_\w+)\s*\(", code))
    findings = list(differences(functions, HEADER, table_functions(tree), "PROTOTYPES"))
    wanted, ours = header_constants(code), table_constants(tree)
    pairs = {f"{enum}.{name} = {value}" for enum, names in wanted.items() for name, value in names.items()}
    known = {f"{enum}.{name} = {value}" for enum, names in ours.items() for name, value in names.items()}
    findings += differences(pairs, HEADER, known, "the constants")
    source_tree.finish(findings)


if __name__ == "__main__":
    main()

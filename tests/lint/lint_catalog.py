#!/usr/bin/env python3
"""systemd/sluice.catalog: an entry for each MESSAGE_ID, none for anything else, and no field that is never sent.

The ids are those of daemon/messages.def and proto/errors.def; C files have none of their own. journalctl compiles the
catalogue where it is installed, as it does when the package is. (That each record has the fields that its entry shows is
tested with real records: tests/e2e/test_messages.py.)
"""
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import source_tree

CATALOG = "systemd/sluice.catalog"
TABLES = ("daemon/messages.def", "proto/errors.def")
MAX_COLUMNS = 76
HEADERS = ["Subject", "Defined-By", "Support", "Documentation"]
ID = re.compile(r'"([0-9a-fA-F]{32})"')
MESSAGE_ROW = re.compile(r'^X\(([A-Z][A-Z0-9_]*), *"([a-z][a-z0-9_]*)", *"([0-9a-f]{32})"\)$')
FIELD = re.compile(r"@([A-Z0-9_]+)@")
SENT = re.compile(r'"(SLUICE_[A-Z0-9_]+)"')


def ids_of_tables(root):
    """id -> where it stands."""
    places = {}
    for table in TABLES:
        for number, line in enumerate((root / table).read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("X("):
                for found in ID.findall(line):
                    places.setdefault(found, []).append(f"{table}:{number}")
    return places


def check_rows(root):
    for number, line in enumerate((root / TABLES[0]).read_text(encoding="utf-8").splitlines(), 1):
        row = MESSAGE_ROW.match(line)
        if line.startswith("X(") and not row:
            yield f"{TABLES[0]}:{number}: not X(NAME, \"event\", \"32 lower-case hex digits\")"
        elif row and row[1].lower() != row[2]:
            yield f"{TABLES[0]}:{number}: the event of {row[1]} is {row[2]}"


def check_c_files(root):
    """An id in a C file would have no row, and no entry."""
    for path in source_tree.c_files(root):
        if path.parts[0] == "tests":
            continue
        for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
            if ID.search(line):
                yield f"{path}:{number}: a MESSAGE_ID belongs into {' or '.join(TABLES)}"


def entries(text):
    """(line, id, lines of the entry) of each entry; comments are blank."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("-- "):
            found.append((number, line[3:].strip(), []))
        elif found:
            found[-1][2].append("" if line.startswith("#") else line)
    return found


def check_entry(number, lines, sent):
    place = f"{CATALOG}:{number}"
    headers, body = [], []
    for at, line in enumerate(lines):
        if not line:
            body = lines[at:]
            break
        headers.append(line.partition(":")[0])
    if headers != HEADERS:
        yield f"{place}: the headers are {headers}, not {HEADERS}"
    if not "".join(body).strip():
        yield f"{place}: explains nothing"
    for at, line in enumerate(lines, number + 1):
        if len(line) > MAX_COLUMNS:
            yield f"{CATALOG}:{at}: {len(line)} columns; terminals are narrower than that with the journal's indentation"
        for field in FIELD.findall(line):
            if field not in sent:
                yield f"{CATALOG}:{at}: nothing in daemon/ sends {field}"


def compile_catalogue(root):
    """What journalctl has to say of it."""
    if not shutil.which("journalctl"):
        print("journalctl is not installed: the catalogue was not compiled")
        return
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "usr/lib/systemd/catalog"), Path(folder, "var/lib/systemd/catalog")
        source.mkdir(parents=True)
        target.mkdir(parents=True)
        shutil.copy(root / CATALOG, source)
        done = subprocess.run(["journalctl", f"--root={folder}", "--update-catalog"], capture_output=True, text=True)
        listed = subprocess.run(["journalctl", f"--root={folder}", "--list-catalog"], capture_output=True, text=True)
    if done.returncode != 0 or done.stderr.strip():
        yield f"{CATALOG}:1: journalctl --update-catalog: {done.stderr.strip() or done.returncode}"
    n_wanted = len(entries((root / CATALOG).read_text(encoding="utf-8")))
    n_listed = len(listed.stdout.splitlines())
    if n_listed != n_wanted:
        yield f"{CATALOG}:1: journalctl finds {n_listed} entries instead of {n_wanted}"


def main():
    root = source_tree.arguments(__doc__).source
    text = (root / CATALOG).read_text(encoding="utf-8")
    places, seen = ids_of_tables(root), {}
    sent = set()
    for path in source_tree.c_files(root):
        if path.parts[0] == "daemon":
            sent.update(SENT.findall((root / path).read_text(encoding="utf-8")))
    findings = [*check_rows(root), *check_c_files(root)]
    findings += [f"{where[1]}: {found} also stands at {where[0]}" for found, where in places.items() if len(where) > 1]
    for number, found, lines in entries(text):
        if found not in places:
            findings.append(f"{CATALOG}:{number}: {found} is in neither table")
        if found in seen:
            findings.append(f"{CATALOG}:{number}: {found} has an entry at line {seen[found]}")
        seen[found] = number
        findings += check_entry(number, lines, sent)
    findings += [f"{where[0]}: {found} has no entry in {CATALOG}" for found, where in places.items() if found not in seen]
    findings += compile_catalogue(root)
    source_tree.finish(findings)


if __name__ == "__main__":
    main()

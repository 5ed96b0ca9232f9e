#!/usr/bin/env python3
"""proto/errors.def: each row well formed, names and message ids unique, every row used.

A MESSAGE_ID is a promise to operators' scripts: 32 lower-case hex digits, one fact each, in the tree once. (That each has an
entry in the journal's catalogue: lint_catalog.py.) The table of errors in docs/protocol.md is made from the rows; --write makes
it again.
"""
import re
import sys

import source_tree

ROW = re.compile(r"^X\((?P<row>.*)\)\s*$")
FIELD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([A-Z0-9_]+))\s*(?:,|$)')
MESSAGE_ID = re.compile(r'"([0-9a-fA-F]{32})"')

TYPES = {
    "invalid_request_error", "permission_error", "rate_limit_error", "overloaded_error", "timeout_error", "api_error",
    "upstream_error", "cancelled",
    # LiteLLM's and OpenAI's own words for these two, which scripts look for
    "expired_key", "insufficient_quota",
}
DOC = "docs/protocol.md"
DOC_TABLE = re.compile(r"(?<=<!-- generated: errors -->\n).*?(?=<!-- end -->)", re.S)
# google.rpc.Code: the words that a ttrpc status can carry
TTRPC_CODES = range(1, 17)


def rows(path):
    """(line, fields) of each X(...) row."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = ROW.match(line)
        if match:
            yield number, [text or word for text, word in FIELD.findall(match.group("row"))]


def check_row(fields):
    """What is wrong with one row."""
    if len(fields) != 8:
        yield f"{len(fields)} fields instead of 8"
        return
    name, http, kind, code, ttrpc, retry, message_id, text = fields
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        yield f"{name}: the name is not in upper case"
    if not (http.isdigit() and 400 <= int(http) <= 599):
        yield f"{name}: {http} is no HTTP error status"
    if kind not in TYPES:
        yield f"{name}: {kind} is not one of our error types"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", code):
        yield f"{name}: the code {code!r} is not in snake_case"
    if not (ttrpc.isdigit() and int(ttrpc) in TTRPC_CODES):
        yield f"{name}: {ttrpc} is no google.rpc.Code of an error"
    if retry not in ("0", "1"):
        yield f"{name}: retry is {retry}, not 0 or 1"
    if http in ("429", "503") and kind == "overloaded_error" and retry != "1":
        yield f"{name}: an overloaded error is retryable"
    if message_id and not re.fullmatch(r"[0-9a-f]{32}", message_id):
        yield f"{name}: MESSAGE_ID {message_id!r} is not 32 lower-case hex digits"
    if not text or text.endswith(".") or not (text[0].islower() or text.startswith(("HTTP", "Expect"))):
        yield f"{name}: the text is a sentence without capital and full stop"


def message_ids(root):
    """Each 128-bit hex literal of the product's sources: id -> [places]."""
    places = {}
    files = [p for p in source_tree.c_files(root) if p.parts[0] != "tests"]
    for path in [*files, (root / "proto/errors.def").relative_to(root)]:
        for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
            for found in MESSAGE_ID.findall(line):
                places.setdefault(found.lower(), []).append(f"{path}:{number}")
    return places


def check_doc(root, write):
    """The table for who writes a client says what errors.def says."""
    table = "| word | status | HTTP | again? | meaning |\n|---|---|---|---|---|\n"
    for _, (_, http, _, code, ttrpc, retry, _, text) in rows(root / "proto/errors.def"):
        table += f"| `{code}` | {ttrpc} | {http} | {'yes' if retry == '1' else ''} | {text} |\n"
    page = (root / DOC).read_text(encoding="utf-8")
    fresh, n = DOC_TABLE.subn(lambda _: table, page)
    if n != 1:
        yield f"{DOC}:1: the marks of the table of errors stand there {n} times"
    elif write:
        (root / DOC).write_text(fresh, encoding="utf-8")
    elif fresh != page:
        yield f"{DOC}:1: its table of errors is not proto/errors.def; run tests/lint/lint_errors.py --write"


def main():
    write = "--write" in sys.argv
    sys.argv = [a for a in sys.argv if a != "--write"]
    root = source_tree.arguments(__doc__).source
    table = root / "proto/errors.def"
    findings, names = [], {}
    for number, fields in rows(table):
        findings += [f"proto/errors.def:{number}: {wrong}" for wrong in check_row(fields)]
        if names.setdefault(fields[0], number) != number:
            findings.append(f"proto/errors.def:{number}: {fields[0]} stands there twice")
    if not names:
        findings.append("proto/errors.def:1: no row found")
    text = "\n".join((root / p).read_text(encoding="utf-8") for p in source_tree.c_files(root) if p.parts[0] == "daemon")
    findings += [
        f"proto/errors.def:{number}: nothing in daemon/ uses ERRCODE_{name}"
        for name, number in names.items()
        if not re.search(rf"\bERRCODE_{name}\b", text)
    ]
    if not findings:
        findings += check_doc(root, write)
    known = message_ids(root)
    findings += [f"{places[1]}: MESSAGE_ID {found} also stands at {places[0]}"
                 for found, places in known.items() if len(places) > 1]
    source_tree.finish(findings)


if __name__ == "__main__":
    main()

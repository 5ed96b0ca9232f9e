#!/usr/bin/env python3
"""The manual is whole: every key of the configuration in sluice.yaml(5), every function in libsluice(3), every page sound.

sluice.yaml(5)  The blocks between "; generated from" and "; end of generated" are made from the tables of the sources, and
                `lint_man.py --write` makes them again. Keys whose row has no text have an entry by hand, with the type
                that the row says; the keys of sluice: have one with type, default and bounds.
sluiced(8)      Has an entry for each option, and names each variable that the daemon reads.
libsluice(3)    Shows each prototype as the header has it, names each function in its text and each enumerator, and its
                programs compile.
all pages       scdoc takes them, and mandoc has nothing worse to say than what scdoc's output always makes it say.

Programs that are not there are named; what only they can check is not checked then.
"""
import re
import shutil
import subprocess
import sys

import lint_symbols
import source_tree

PAGES = "docs/man"
CONFIG_PAGE = "docs/man/sluice.yaml.5.scd"
DAEMON_PAGE = "docs/man/sluiced.8.scd"
LIBRARY_PAGE = "docs/man/libsluice.3.scd"
HEADER = "clients/c/sluice.h"
SECTIONS = ("ROOT", "ENTRY", "PARAMS", "INFO", "ROUTER", "LITELLM", "GENERAL")
WIDTH = 110

ROW = re.compile(r'^(?P<macro>[SP])\((?P<rest>.*)\)\s*$')
FIELD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([A-Z_]+))\s*(?:,|$)')
BLOCK = re.compile(r"(?P<begin>^; generated from \S+: (?P<name>\w+)\n)(?P<body>.*?)(?P<end>^; end of generated$)", re.M | re.S)
ENTRY = re.compile(r"^\*(?P<key>[^*\s]+)\* \((?P<what>.*)\)$", re.M)
LITERAL = re.compile(r"^```\n(.*?)^```$", re.M | re.S)

# how the page names what a row of litellm_params says about the type
USE_TYPES = {
    "NUMBER": "number", "INTEGER": "whole number", "STOP": "string or list of strings", "ANY": "any", "BODY": "map",
    "OLLAMA_INTEGER": "whole number", "OLLAMA_ANY": "any", "TOTAL": "seconds", "FIRST_BYTE": "seconds", "GAP": "seconds",
    "SLOTS": "whole number", "ORDER": "whole number", "WEIGHT": "number", "RPM": "whole number", "TPM": "whole number",
    "TAGS": "list of at most 64", "RETRIES": "whole number", "COOLDOWN": "seconds", "DROP": "boolean", "DROPPED": "list of at most 64", "HEADERS": "map",
    "ORGANIZATION": "string", "CA": "true or path",
}


# ---------------------------------------------------------------- what the sources say


def c_text(literals):
    """The text of adjacent C string literals."""
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals)).replace('\\"', '"')


def litellm_rows(root):
    """(section, name, status, use, text) of each row of config_keys.def."""
    for line in (root / "daemon/config/config_keys.def").read_text(encoding="utf-8").splitlines():
        match = ROW.match(line)
        if not match:
            continue
        fields = [text or word for text, word in FIELD.findall(match.group("rest"))]
        if match.group("macro") == "P":
            name, status, use, text = fields if len(fields) == 4 else [*fields, ""]
            yield "PARAMS", name, status, use, text
        else:
            section, name, status, text = fields if len(fields) == 4 else [*fields, ""]
            yield section, name, status, "REPORT", text


def is_by_hand(row):
    _, _, status, use, text = row
    return (status == "EXACT" and not text) or use not in ("REPORT", "OFF")


def providers(root):
    """(prefix, is_served, base, base variables, key variables, text) of each row of config_provider.c."""
    source = source_tree.without_comments((root / "daemon/config/config_provider.c").read_text(encoding="utf-8"), keep_strings=True)
    ollama = re.search(r'#define OLLAMA_BASE\s+("[^"]*")', source).group(1)
    table = re.search(r"providers\[\] = \{(.*?)\n\};", source, re.S).group(1).replace("OLLAMA_BASE", ollama)
    literal = r'((?:"(?:[^"\\]|\\.)*"\s*)+|NULL)'
    for row in re.finditer(
        r"\{\s*" + r"\s*,\s*".join([literal] * 5) + r"\s*,\s*(?:true|false)\s*,\s*" + literal + r"\s*\}", table
    ):
        prefix, provider, base, variables, keys, text = row.groups()
        yield c_text(prefix), provider != "NULL", c_text(base), c_text(variables), c_text(keys), c_text(text)


def own_keys(root):
    """name -> (type, minimum, maximum) as C text of each key of sluice:."""
    source = (root / "daemon/config/config_sluice.c").read_text(encoding="utf-8")
    table = source_tree.without_comments(re.search(r"struct key keys\[\] = \{(.*?)\n\};", source, re.S).group(1), True)
    rows = re.findall(r'\{\s*"([^"]+)",\s*TYPE_(\w+),\s*(?:AT\(.*?\)|0),\s*([^,]+),\s*([^,}]+?)\s*\}', table, re.S)
    return {name: (kind, least, most) for name, kind, least, most in rows}


# ---------------------------------------------------------------- the generated blocks


def escaped(text):
    """text as scdoc takes it."""
    return re.sub(r"([\\*_`])", r"\\\1", text)


def folded(text):
    """Indented lines of a paragraph; none begins with what scdoc would take for markup."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > WIDTH and word[0] not in "#;.-[|]":
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "".join(f"\t{part}\n" for part in [*lines, line] if part)


def key_block(rows):
    """What becomes of the keys of one section, those with the same fate together."""
    fates = {}
    for _, name, status, _, text in rows:
        fates.setdefault((status, text), []).append(name)
    for (status, text), names in fates.items():
        word = "refused without *general\\_settings.master\\_key*" if status == "REFUSED" else status.lower()
        keys = ", ".join(f"*{escaped(name)}*" for name in names)
        yield f"\n{keys}\n{folded(f'{word}: {escaped(text)}' if text else word)}"


def provider_block(rows):
    for prefix, is_served, base, variables, keys, text in rows:
        parts = [base or "no default"] if is_served else [f"not served: {text}"]
        parts += [f"or {word}" for word in variables.split()]
        if keys:
            parts.append("key: " + ", ".join(keys.split()))
        if is_served and text:
            parts.append(text)
        yield f"\n*{escaped(prefix)}/*\n{folded(escaped('; '.join(parts)))}"


def generated(root, name):
    if name == "PROVIDERS":
        return "".join(provider_block(providers(root))) + "\n"
    return "".join(key_block(row for row in litellm_rows(root) if row[0] == name and not is_by_hand(row))) + "\n"


# ---------------------------------------------------------------- sluiced(8)

# set by libsystemd's callers, or for tests: not for people
READ_ELSEWHERE = ("LISTEN_FDS", "WATCHDOG_USEC", "NOTIFY_SOCKET")
FOR_TESTS = ("SLUICE_JOURNAL_SOCKET",)
GETENV = re.compile(r'getenv\((?:"(\w+)"|([A-Z_]+))\)')


def check_daemon_page(root):
    page = root / DAEMON_PAGE
    text = page.read_text(encoding="utf-8")
    main = (root / "daemon/main.c").read_text(encoding="utf-8")
    options = re.findall(r'\{"([a-z-]+)", (?:no|required|optional)_argument', main)
    if not options:
        yield "daemon/main.c:1: no option found"
    shown = {name for line in text.splitlines() if line.startswith("*-") for name in re.findall(r"\*--([a-z-]+)\*", line)}
    for name in sorted(set(options) ^ shown):
        yield f"{DAEMON_PAGE}:1: --{name} is in daemon/main.c or here, and not in both"
    names = set(READ_ELSEWHERE)
    for path in sorted((root / "daemon").rglob("*.c")):
        source = path.read_text(encoding="utf-8")
        names.update(name or source_constant(root, constant) for name, constant in GETENV.findall(source))
    for name in sorted(names - set(FOR_TESTS) - {""}):
        if not re.search(rf"\*\$?{re.escape(name)}\*", text):
            yield f"{DAEMON_PAGE}:1: the variable {name} is read and not named"


def source_constant(root, constant):
    """The text of a #define of daemon/, "" when there is none."""
    for path in sorted((root / "daemon").rglob("*.h")):
        found = re.search(rf'#define {constant}\s+"(\w+)"', path.read_text(encoding="utf-8"))
        if found:
            return found.group(1)
    return ""


# ---------------------------------------------------------------- sluice.yaml(5)


def check_blocks(root, page, write):
    text = page.read_text(encoding="utf-8")
    found = [match.group("name") for match in BLOCK.finditer(text)]
    for missing in sorted({*SECTIONS, "PROVIDERS"} - set(found)):
        yield f"{CONFIG_PAGE}:1: there is no generated block {missing}"
    fresh = BLOCK.sub(lambda m: m.group("begin") + generated(root, m.group("name")) + m.group("end"), text)
    if fresh == text:
        return
    if write:
        page.write_text(fresh, encoding="utf-8")
    else:
        line = next(i for i, (a, b) in enumerate(zip(text.splitlines(), fresh.splitlines()), 1) if a != b)
        yield f"{CONFIG_PAGE}:{line}: not what the sources say; run tests/lint/lint_man.py --write"


def check_litellm_entries(root, entries):
    for section, name, status, use, text in litellm_rows(root):
        if not is_by_hand((section, name, status, use, text)):
            continue
        kinds = entries.get(name, set())
        wanted = USE_TYPES.get(use)
        if not kinds:
            yield f"{CONFIG_PAGE}:1: no entry *{name}* (TYPE, ...)"
        elif wanted and not any(kind == wanted or kind.startswith(wanted + ",") for kind in kinds):
            yield f"{CONFIG_PAGE}:1: {name} is a {wanted} in config_keys.def, and here {', '.join(sorted(kinds))}"


def c_value(text):
    """The value of a bound such as 10 * MINUTE."""
    units = {"SECOND": 10**6, "MINUTE": 60 * 10**6, "HOUR": 3600 * 10**6, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30,
             "CONFIG_MAX_LISTENS": 16, "CONFIG_MAX_HOSTS": 32, "CONFIG_MAX_KEYS": 256, "CONFIG_MAX_CALLERS": 256}
    value = re.sub(r"[A-Z_]+", lambda m: str(units[m.group(0)]), text).replace("/", "//")
    if not re.fullmatch(r"[0-9*/+ ]+", value):
        raise ValueError(text)
    return eval(value, {"__builtins__": {}})  # digits and operators only, as just checked


def unit_value(text):
    """The value of "100ms", "64KiB", "5"."""
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", text).groups()
    factors = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "ms": 10**3, "s": 10**6, "m": 60 * 10**6,
               "h": 3600 * 10**6, "d": 86400 * 10**6}
    return int(number) * factors[unit]


def shown_defaults(root):
    """name -> default of each scalar under sluice: as config/sluice.yaml shows it (a unit test holds that to the code)."""
    defaults, path, inside = {}, [], False
    for line in (root / "config/sluice.yaml").read_text(encoding="utf-8").splitlines():
        match = re.match(r"^( *)(\w+):\s*(\S*)", line)
        if not match or (not inside and match.group(2) != "sluice"):
            continue
        inside = True
        depth = len(match.group(1)) // 2
        path[depth:] = [match.group(2)]
        if match.group(3) and not match.group(3).startswith("#"):
            defaults[".".join(path)] = match.group(3)
    return defaults


def check_own_entry(kind, least, most, default, shown):
    """What is wrong with the words of an entry under sluice:."""
    words = {"COUNT": "whole number", "UNSIGNED": "whole number", "SIZE": "size", "SIZE_OR_AUTO": "size or auto", "DURATION": "duration",
             "DURATION_OR_OFF": "duration", "LEVEL_OR_OFF": "level", "BOOL": "boolean",
             "DIRECTORY": "path", "GROUP": "text", "LISTENS": "list", "HOSTS": "list", "ORIGINS": "list", "KEYS": "list", "KEYS_FILE": "path",
             "CALLERS": "list", "UPSTREAMS": "map"}
    word = words.get(kind)
    if not word:
        yield f"tests/lint/lint_man.py knows no word for TYPE_{kind}"
    elif word == "list":
        if not shown.startswith(f"list of at most {c_value(most)}, default empty"):
            yield f"should be (list of at most {c_value(most)}, default empty)"
    elif not shown.startswith(f"{word}, default {default}"):
        yield f"should begin ({word}, default {default}"
    elif word in ("whole number", "size", "duration"):
        bounds = re.search(r"(\w+) to (\w+)$", shown)
        if not bounds or (unit_value(bounds.group(1)), unit_value(bounds.group(2))) != (c_value(least), c_value(most)):
            yield f"the bounds are not those of config_sluice.c: {least} to {most}"


def check_own_entries(root, entries):
    keys, defaults = own_keys(root), shown_defaults(root)
    if not keys:
        yield "daemon/config/config_sluice.c:1: no key found"
    for name, (kind, least, most) in keys.items():
        shown = entries.get(f"sluice.{name}")
        if not shown:
            yield f"{CONFIG_PAGE}:1: no entry *sluice.{name}* (TYPE, default X, MIN to MAX)"
            continue
        for wrong in check_own_entry(kind, least, most, defaults.get(f"sluice.{name}", ""), next(iter(shown))):
            yield f"{CONFIG_PAGE}:1: sluice.{name}: {wrong}"
    for stale in sorted(key for key in entries if key.startswith("sluice.") and key[7:] not in keys):
        yield f"{CONFIG_PAGE}:1: {stale} is no key of config_sluice.c"


def check_config_page(root, write):
    page = root / CONFIG_PAGE
    yield from check_blocks(root, page, write)
    entries = {}
    for match in ENTRY.finditer(page.read_text(encoding="utf-8")):
        entries.setdefault(match.group("key").replace("\\", ""), set()).add(match.group("what").replace("*", ""))
    yield from check_litellm_entries(root, entries)
    yield from check_own_entries(root, entries)


# ---------------------------------------------------------------- libsluice(3)


def prototypes(code):
    """name -> prototype, on one line and without attributes."""
    code = re.sub(r"^[ \t]*#.*(?:\\\n.*)*$", "", source_tree.without_comments(code), flags=re.M).replace("SLUICE_MUST_USE", "")
    found = {}
    for statement in code.split(";"):
        match = re.search(r"((?:const )?\w+ \**(sluice_\w+)\([^{}]*\))\s*$", statement)
        if match:
            found[match.group(2)] = re.sub(r"\s+", " ", match.group(1)).strip()
    return found


def check_library_page(root):
    header = (root / HEADER).read_text(encoding="utf-8")
    page = (root / LIBRARY_PAGE).read_text(encoding="utf-8")
    literals = [re.sub(r"\\(.)", r"\1", literal) for literal in LITERAL.findall(page)]  # scdoc's escapes
    shown = {}
    for literal in literals:
        if "{" not in literal:
            shown.update(prototypes(literal))
    text = LITERAL.sub("", page)
    declared = prototypes(header)
    for missing in sorted(lint_symbols.listed(root) - set(declared)):
        yield f"{HEADER}:1: no prototype of {missing} found"
    for name, prototype in declared.items():
        if shown.get(name) != prototype:
            yield f"{LIBRARY_PAGE}:1: does not show `{prototype};`"
        if not re.search(rf"\*{name}\*\(\)", text):
            yield f"{LIBRARY_PAGE}:1: the text does not say what *{name}*() does"
    for stale in sorted(set(shown) - set(declared)):
        yield f"{LIBRARY_PAGE}:1: {stale} is not in the header"
    enumerators = re.findall(r"^\s*(SLUICE_[A-Z0-9_]+)\s*=", source_tree.without_comments(header), re.M)
    for name in enumerators:
        if not re.search(rf"\b{name}\b", page):
            yield f"{LIBRARY_PAGE}:1: does not name {name}"
    for literal in literals:
        if literal.startswith("#include") and "{" in literal:
            yield from compile_example(root, literal)


def compile_example(root, code):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        print("no C compiler: the examples of libsluice(3) are not compiled")
        return
    run = subprocess.run(
        [compiler, "-x", "c", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", str(root / "clients/c"), "-"],
        input=code, capture_output=True, text=True, timeout=60, check=False,
    )
    if run.returncode != 0:
        yield f"{LIBRARY_PAGE}:1: an example does not compile:\n{run.stderr.strip()}"


# ---------------------------------------------------------------- every page

# What mandoc says about anything that scdoc writes: its date form, its way of breaking lines.
USUAL = re.compile(r"STYLE:|skipping paragraph macro|unterminated quoted|fill mode already|line scope broken|missing date")


def check_page(root, path):
    """Takes scdoc the page, and mandoc what scdoc makes of it?"""
    name = path.relative_to(root)
    title = re.match(r"(\S+)\((\d)\)", path.read_text(encoding="utf-8"))
    if not title or f"{title.group(1)}.{title.group(2)}.scd" != path.name:
        yield f"{name}:1: the first line is not the name of the page"
    if not shutil.which("scdoc"):
        return
    run = subprocess.run(["scdoc"], input=path.read_bytes(), capture_output=True, timeout=60, check=False)
    if run.returncode != 0:
        yield f"{name}: scdoc: {run.stderr.decode().strip()}"
    elif shutil.which("mandoc"):
        said = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=run.stdout, capture_output=True, timeout=60,
                              check=False).stdout.decode()
        for line in said.splitlines():
            if not USUAL.search(line):
                yield f"{name}: mandoc: {line}"


def main():
    write = "--write" in sys.argv
    sys.argv = [a for a in sys.argv if a != "--write"]
    root = source_tree.arguments(__doc__).source
    findings = [*check_config_page(root, write), *check_daemon_page(root), *check_library_page(root)]
    for program in ("scdoc", "mandoc"):
        if not shutil.which(program):
            print(f"no {program}: what it would find in the pages is not found")
    for path in sorted((root / PAGES).glob("*.scd")):
        findings += check_page(root, path)
    source_tree.finish(findings)


if __name__ == "__main__":
    main()

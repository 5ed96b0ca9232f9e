#!/usr/bin/env python3
"""Every verb and flag of `sluicectl --help` is in sluicectl(1) and in each shell's completion, and they have no others.

--help is made from the tables that the program parses with, so it is what the others are compared with. bash's completion is
asked in a real bash; zsh's and fish's are read: zsh's as `case $verb in` rows, fish's as `complete` lines. The manual has a
"## VERB" section for each verb; one that "has the options of" another says so with *those of *VERB* but *--flag* and *--flag**.
"""
import re
import subprocess

import source_tree

PROGRAM = "bin/sluicectl"
PAGE = "docs/man/sluicectl.1.scd"
BASH = "clients/cli/completions/sluicectl.bash"
ZSH = "clients/cli/completions/_sluicectl"
FISH = "clients/cli/completions/sluicectl.fish"
COMMON = {"--json", "--socket", "--help"}

HELP_VERB = re.compile(r"^  ([a-z-]+)\s{2,}", re.M)
HELP_FLAG = re.compile(r"^  (?:-(\w), |    )--([a-z-]+)", re.M)


# ---------------------------------------------------------------- what there is


def help_of(program, *words):
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=20, check=True).stdout


def flags_of(program):
    """verb -> {"--long": letter or ""}"""
    overview = help_of(program, "help").split("Commands:\n")[1].split("\n\n")[0]
    verbs = HELP_VERB.findall(overview)
    return {
        verb: {f"--{long}": letter for letter, long in HELP_FLAG.findall(help_of(program, "help", verb))}
        for verb in verbs if verb != "help"
    } | {"help": {}}


def differences(where, verb, wanted, found):
    for flag in sorted(set(wanted) - set(found)):
        yield f"{where}:1: {verb} has no {flag}"
    for flag in sorted(set(found) - set(wanted)):
        yield f"{where}:1: {verb} has a {flag} that sluicectl does not know"


# ---------------------------------------------------------------- the manual


def sections(page):
    """verb -> text, a section for several verbs under each of them."""
    found = {}
    for title, body in re.findall(r"^## ([^\n]*)\n(.*?)(?=^#|\Z)", page, re.M | re.S):
        first, *others = title.split(",")
        for verb in (first.split()[0], *(o.strip() for o in others)):
            found[verb] = body
    return found


def page_flags(body, of):
    """The flags that a section describes or takes from another."""
    found = dict(re.findall(r"^(?:\*-(?:\w)\*, )?\*(--[a-z-]+)\*()", body, re.M))
    for verb, but in re.findall(r"those of \*([a-z-]+)\*((?: but \*--[a-z-]+\*(?: and \*--[a-z-]+\*)*)?)", body):
        found |= {f: "" for f in page_flags(of[verb], of) if f not in re.findall(r"--[a-z-]+", but)}
    return found


def check_page(root, flags):
    page = (root / PAGE).read_text(encoding="utf-8").replace("\\", "")
    found = sections(page)
    yield from (f"{PAGE}:1: no section for {verb}" for verb in sorted(set(flags) - set(found)))
    yield from (f"{PAGE}:1: a section for {verb}, which is no command" for verb in sorted(set(found) - set(flags)))
    for verb in set(flags) & set(found):
        yield from differences(PAGE, verb, set(flags[verb]) - COMMON, page_flags(found[verb], found))
    for verb, known in flags.items():
        for long, letter in known.items():
            if letter and f"*-{letter}*, *{long}*" not in page:
                yield f"{PAGE}:1: does not say that -{letter} is {long} ({verb})"


# ---------------------------------------------------------------- bash


def bash_completes(root, line):
    script = 'source "$1"; COMP_LINE=$2 COMP_POINT=${#2}; _sluicectl; printf "%s\\n" "${COMPREPLY[@]}"'
    run = subprocess.run(["bash", "--norc", "-c", script, "bash", str(root / BASH), line], capture_output=True, text=True,
                         timeout=20, check=False)
    if run.stderr:
        return {run.stderr.strip()}
    return set(run.stdout.split())


def check_bash(root, flags):
    yield from differences(BASH, "the line", flags, bash_completes(root, "sluicectl "))
    for verb in flags:
        wanted = set(flags[verb]) or {"--json", "--help", "--socket"}
        yield from differences(BASH, verb, wanted, bash_completes(root, f"sluicectl {verb} --"))


# ---------------------------------------------------------------- zsh


def zsh_flags(text, verbs):
    """verb -> {long: letter}: the rows of each `case $verb in`, * being all verbs that no row before it names."""
    found = {verb: {} for verb in verbs}
    for block in re.findall(r"^    case \$verb in\n(.*?)^    esac", text, re.M | re.S):
        seen = set()
        for names, body in re.findall(r"^    ([a-z*][a-z| -]*|\*)\)(.*?);;", block, re.M | re.S):
            row = set(verbs) - seen if names == "*" else set(re.split(r" \| ", names))
            seen |= row
            for verb in row & set(verbs):
                found[verb] |= zsh_specs(body)
    everywhere = zsh_specs(text.split("    options=(")[1].split("    case $verb")[0])
    return {verb: known | everywhere for verb, known in found.items()}


def zsh_specs(text):
    """{long: letter} of '(-x --long)'{-x,--long}... and '--long...'."""
    return dict(
        (long, letter) for letter, long in re.findall(r"\{-(\w),(--[a-z-]+)=?\}", text)
    ) | dict.fromkeys(re.findall(r"""['"](--[a-z-]+)=?\[""", text), "")


def check_zsh(root, flags):
    text = (root / ZSH).read_text(encoding="utf-8")
    verbs = re.findall(r"^        '([a-z-]+):", text, re.M)
    yield from differences(ZSH, "the line", flags, verbs)
    found = zsh_flags(text, flags)
    for verb in flags:
        if verb != "help":
            yield from differences(ZSH, verb, pairs(flags[verb]), pairs(found[verb]))


def pairs(known):
    """With its letter, so that a wrong one is a difference."""
    return {f"{long}" + (f" (-{letter})" if letter else "") for long, letter in known.items()}


# ---------------------------------------------------------------- fish


def fish_flags(text, verbs):
    found = {verb: {} for verb in verbs}
    for line in re.findall(r"^complete -c sluicectl (.*)$", text, re.M):
        flag = re.search(r"(?:-s (\w) )?-l ([a-z-]+)", line)
        condition = re.search(r"-n '(.*?)'", line)
        names = condition.group(1).split() if condition else []
        if not flag or names[:2] == ["not", "__sluicectl_verb"]:
            continue
        if names[:1] == ["__sluicectl_is"]:
            row = set(names[1:])
        else:
            row = set(verbs) - set(names[2:])
        for verb in row & set(verbs):
            found[verb][f"--{flag.group(2)}"] = flag.group(1) or ""
    return found


def check_fish(root, flags):
    text = (root / FISH).read_text(encoding="utf-8")
    listed = re.search(r"set -g __sluicectl_verbs ((?:.|\\\n)*?)\n\n", text).group(1).replace("\\\n", " ").split()
    yield from differences(FISH, "__sluicectl_verbs", flags, listed)
    offered = re.findall(r"-n 'not __sluicectl_verb' -a ([a-z-]+)", text)
    yield from differences(FISH, "the line", flags, offered)
    found = fish_flags(text, flags)
    for verb in flags:
        if verb != "help":
            yield from differences(FISH, verb, pairs(flags[verb]), pairs(found[verb]))


def main():
    arguments = source_tree.arguments(__doc__)
    build = arguments.build or arguments.source / "build/dev"
    flags = flags_of(str(build / PROGRAM))
    findings = []
    for check in (check_page, check_bash, check_zsh, check_fish):
        findings += check(arguments.source, flags)
    source_tree.finish(findings)


if __name__ == "__main__":
    main()

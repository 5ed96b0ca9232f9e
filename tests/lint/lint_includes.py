#!/usr/bin/env python3
"""Who may include whom: the layer table of docs/ARCHITECTURE.md, no include cycles, a header comment on each .c file.

The table below is that table in code; change both together. A layer is a folder, except that the files directly in
daemon/ are the composition, which may include everything.
"""
import re
from fnmatch import fnmatchcase

import source_tree

# Layer of a file: the first pattern that matches its path.
LAYERS = (
    ("proto", "proto/*"),
    ("base", "daemon/base/*"),
    ("core", "daemon/core/*"),
    ("wire", "daemon/wire/*"),
    ("frontend", "daemon/frontend/*"),
    ("upstream", "daemon/upstream/*"),
    ("kernel", "daemon/kernel/*"),
    ("config", "daemon/config/*"),
    ("composition", "daemon/*"),
    ("library", "clients/c/*"),
    ("cli", "clients/cli/*"),
    ("examples", "clients/examples/c/*"),
    ("tests", "tests/*"),
)

# Own headers that a layer may include beside its own; "gen" is what protoc-c makes out of proto/sluice.proto.
MAY_INCLUDE = {
    "proto": (),
    "base": (),
    "core": ("daemon/base/*", "proto/errcode.h"),
    # ports.h is the sink that the stream decoders deliver to
    "wire": ("daemon/base/*", "proto/*", "daemon/core/request.h", "daemon/core/event.h", "daemon/core/ports.h", "gen/*"),
    "frontend": ("daemon/base/*", "proto/*", "daemon/core/*", "daemon/wire/*"),
    "upstream": (
        "daemon/base/*", "proto/*", "daemon/wire/*", "daemon/core/request.h", "daemon/core/event.h",
        "daemon/core/ports.h",
    ),
    "kernel": ("daemon/base/*", "daemon/core/memory_sample.h"),
    "config": ("daemon/base/*", "proto/*", "daemon/core/*", "daemon/wire/*", "daemon/credentials.h", "daemon/listen.h"),
    "composition": ("*",),
    "library": ("proto/*", "gen/*"),
    "cli": ("clients/c/sluice.h", "daemon/base/sha256.h"),
    # as programs outside of this tree do
    "examples": ("clients/c/sluice.h",),
    "tests": ("*",),
}

# Headers that belong to one place, whatever the layer table says.
ONLY_FOR = {
    "gen/sluice.pb-c.h": ("daemon/wire/rpc_msg*", "clients/c/*", "tests/*"),
    "daemon/config/config.h": ("daemon/config/*", "daemon/*", "tests/*"),
    "daemon/server.h": ("daemon/*", "tests/*"),
    "daemon/server_internal.h": ("daemon/server.c", "daemon/server_config.c"),
}

# Headers of other projects, and the files that may include them.
FOREIGN = (
    ("systemd/sd-journal.h", ("clients/cli/log*",)), # reads it; the daemon writes it by base/journal.c
    ("systemd/sd-daemon.h", ("daemon/frontend/*", "daemon/*.c")),
    ("systemd/sd-bus.h", ("daemon/unit_restart.c",)),
    ("systemd/sd-login.h", ("daemon/unit_restart.c",)),
    (
        "systemd/sd-event.h",
        ("daemon/frontend/*", "daemon/upstream/curl_loop.*", "daemon/upstream/model_group.*", "daemon/upstream/upstreams.h", "daemon/*",
         "clients/examples/c/chat_sdevent.c"),
    ),
    ("cjson/*", ("clients/cli/*", "tests/fuzz/fuzz_json.c")),
    ("llhttp.h", ("daemon/wire/http1.*",)),
    ("protobuf-c/*", ("daemon/wire/rpc_msg*", "clients/c/*")),
    ("curl/*", ("daemon/upstream/curl_loop.*", "daemon/upstream/transfer.*")),
    ("yaml.h", ("daemon/config/config_yaml.c",)),
    ("openssl/*", ("daemon/base/sha256.c",)),
    ("check.h", ("tests/unit/*",)),
)

# The C library and the kernel's headers: any layer may use them, core only those of ISO C without clocks.
LIBC = """assert ctype dirent endian errno fcntl float fnmatch getopt glob grp ifaddrs inttypes limits link locale malloc math netdb poll pthread pwd sched
    setjmp signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings syslog
    termios time uchar unistd wchar""".split()
LIBC_FOLDERS = ("sys/*", "linux/*", "netinet/*", "arpa/*", "net/*", "asm/*", "sanitizer/*")
CORE_LIBC = """assert ctype errno inttypes limits math stdarg stdbool stddef stdint stdio stdlib string strings
    sys/types""".split()

# core/ never reads a clock, a file or a socket (comments and strings apart).
CORE_NEVER_CALLS = re.compile(
    r"\b(fopen|fdopen|openat?|fread|fwrite|fprintf|printf|puts|socket|connect|accept4?|recv|send|recvmsg|sendmsg|poll|select|"
    r"clock_gettime|clock_now_usec|clock_wall_usec|gettimeofday|time|nanosleep|usleep|sleep|getenv)\s*\("
)

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)


def matches(path, patterns):
    """fnmatch on a path where * stays within one folder, except as the last part of a layer's pattern."""
    return any(
        fnmatchcase(path, p) and (p == "*" or path.count("/") == p.count("/") or p.startswith("tests/"))
        for p in patterns
    )


def layer_of(path):
    return next((name for name, pattern in LAYERS if matches(path, (pattern,))), None)


class Tree:
    """All C files with their includes resolved to paths of the tree (or gen/...)."""

    def __init__(self, root):
        self.root = root
        self.findings = []
        self.files = [p.as_posix() for p in source_tree.c_files(root)]
        known = set(self.files)
        self.texts = {p: (root / p).read_text(encoding="utf-8") for p in self.files}
        self.own = {}      # file -> [(line, target)]
        self.foreign = {}  # file -> [(line, header)]
        for path in self.files:
            self.own[path], self.foreign[path] = [], []
            text = source_tree.without_comments(self.texts[path], keep_strings=True)
            for match in INCLUDE.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                self._resolve(path, line, match.group(1) == '"', match.group(2), known)

    def _resolve(self, path, line, is_quoted, name, known):
        folder = path.rpartition("/")[0]
        places = [f"daemon/{name}", name, f"clients/c/{name}"]
        if layer_of(path) in ("library", "cli", "tests"):
            places.insert(0, f"{folder}/{name}")
        target = next((p for p in places if p in known or (p.endswith(".def") and (self.root / p).exists())), None)
        if name in ("sluice.pb-c.h", "sluice_fds.h"):
            target = f"gen/{name}"
        if name == "sluice.h" or (is_quoted and target):
            self.own[path].append((line, target or name))
        elif is_quoted:
            self.findings.append(f'{path}:{line}: "{name}" is no header of this tree (full path from daemon/)')
        else:
            self.foreign[path].append((line, name))


def check_own(tree, path, layer):
    for line, target in tree.own[path]:
        if target in ONLY_FOR and not matches(path, ONLY_FOR[target]):
            yield f"{path}:{line}: {target} is only for {', '.join(ONLY_FOR[target])}"
        if layer_of(target) != layer and not matches(target, MAY_INCLUDE[layer]):
            yield f"{path}:{line}: {layer} may not include {target}"


def check_foreign(tree, path, layer):
    for line, header in tree.foreign[path]:
        stem = header.removesuffix(".h")
        if stem in LIBC or matches(header, LIBC_FOLDERS):
            if layer == "core" and stem not in CORE_LIBC:
                yield f"{path}:{line}: core may not include <{header}>: no sockets, files or clocks there"
            continue
        owners = next((who for pattern, who in FOREIGN if fnmatchcase(header, pattern)), None)
        if owners is None:
            yield f"{path}:{line}: <{header}> is not in the table of foreign headers"
        elif not matches(path, owners):
            yield f"{path}:{line}: <{header}> is only for {', '.join(owners)}"


def check_core_calls(tree, path):
    text = source_tree.without_comments(tree.texts[path])
    for match in CORE_NEVER_CALLS.finditer(text):
        # a member of a table of functions (ops->send(...)) is the caller's business
        if not re.search(r"(->|\.)\s*$", text[: match.start()]):
            yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: core may not call {match.group(1)}()"


def cycles(graph):
    """Each cycle of the graph once, as the list of its nodes (depth-first; a grey node met again closes a cycle)."""
    state, path = {}, []

    def visit(node):
        state[node] = "open"
        path.append(node)
        for following in graph.get(node, ()):
            if state.get(following) == "open":
                yield path[path.index(following):] + [following]
            elif following not in state:
                yield from visit(following)
        path.pop()
        state[node] = "done"

    for node in sorted(graph):
        if node not in state:
            yield from visit(node)


def main():
    tree = Tree(source_tree.arguments(__doc__).source)
    findings = tree.findings
    for path in tree.files:
        layer = layer_of(path)
        if layer is None:
            findings.append(f"{path}:1: belongs to no layer of the table")
            continue
        findings += check_own(tree, path, layer)
        if layer != "tests":
            findings += check_foreign(tree, path, layer)
        if layer == "core":
            findings += check_core_calls(tree, path)
        if path.endswith(".c") and not tree.texts[path].startswith("/*"):
            findings.append(f"{path}:1: a .c file opens with a comment: what it is, owns, keeps true, must not do")
        # the public header is also for compilers that do not know the pragma
        if path.endswith(".h") and path != "clients/c/sluice.h" and "#pragma once" not in tree.texts[path]:
            findings.append(f"{path}:1: a header starts with #pragma once")
    graph = {p: [target for _, target in tree.own[p]] for p in tree.files}
    findings += ["include cycle: " + " -> ".join(c) for c in cycles(graph)]
    source_tree.finish(findings)


if __name__ == "__main__":
    main()

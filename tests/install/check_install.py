"""`cmake --install` puts every file where it belongs and nothing else, an edited configuration stays, and what is installed works: a program
built by pkg-config and one built by CMake talk to the installed daemon, and so does the installed sluicectl.
"""
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

from installed import Installed, arguments, run

MOCK = """\
model_list:
  - model_name: echo
    litellm_params:
      model: openai/echo
      mock_response: said by the installed daemon
"""
UNITS = ["sluice.service", "sluice.socket", "sluice-http.socket", "sluice-http-unix.socket"]
PROGRAMS = ("/sbin/sluiced", "/bin/sluicectl")
SANITIZERS = ["-fsanitize=address,undefined"]


def expected_files(source, i):
    """All files of an installation into the build's prefix, as absolute paths."""
    share, doc, systemd = i.prefix / "share", i.prefix / "share/doc/sluice", i.prefix / "lib/systemd"
    build_type = i.cache["CMAKE_BUILD_TYPE"].lower()
    files = [i.prefix / "sbin/sluiced", i.prefix / "bin/sluicectl", i.prefix / "include/sluice.h"]
    files += [i.libdir / name for name in ("libsluice.so", "libsluice.so.0", "libsluice.so.0.1.0", "pkgconfig/libsluice.pc")]
    files += [i.libdir / "cmake/sluice" / name for name in (
        "sluiceConfig.cmake", "sluiceConfigVersion.cmake", "sluiceTargets.cmake", f"sluiceTargets-{build_type}.cmake")]
    files += [systemd / where / unit for where in ("system", "user") for unit in UNITS]
    files += [i.prefix / "lib/sysusers.d/sluice.conf", share / "polkit-1/rules.d/50-sluice.rules", Path("/etc/sluice/sluice.yaml")]
    files += [doc / name for name in ("LICENSE", "README.md", "sluice.yaml", "examples/ollama.service.d/sluice.conf")]
    files += [doc / "examples/config" / p.name for p in (source / "config/examples").glob("*.yaml")]
    files += [doc / "examples/c" / p.name for p in (source / "clients/examples/c").iterdir()]
    if (source / "systemd/sluice.catalog").exists():
        files.append(systemd / "catalog/sluice.catalog")
    if shutil.which("scdoc"):
        pages = [p.name[:-len(".scd")] for p in (source / "docs/man").glob("*.scd")]
        functions = re.findall(r"^ +(sluice_\w+);", (source / "clients/c/libsluice.map").read_text(), re.M)
        pages += [f"{function}.3" for function in functions]
        files += [share / f"man/man{page.rpartition('.')[2]}" / page for page in pages]
    completions = {"sluicectl.bash": "bash-completion/completions/sluicectl", "_sluicectl": "zsh/site-functions/_sluicectl",
                   "sluicectl.fish": "fish/vendor_completions.d/sluicectl.fish"}
    files += [share / to for name, to in completions.items() if (source / "clients/cli/completions" / name).exists()]
    return {str(f) for f in files}


def check_files(source, i):
    """The list and the modes."""
    there = {"/" + str(p.relative_to(i.root)) for p in i.root.rglob("*") if p.is_symlink() or not p.is_dir()}
    wanted = expected_files(source, i)
    wrong = [f"not installed: {f}" for f in sorted(wanted - there)] + [f"not expected: {f}" for f in sorted(there - wanted)]
    for name in sorted(wanted & there):
        mode = stat.S_IMODE(i.path(name).stat().st_mode)
        if mode != (0o755 if name.endswith(PROGRAMS) else 0o644) and ".so" not in name:
            wrong.append(f"mode {mode:o}: {name}")
    links = {name: os.readlink(i.path(i.libdir / name)) for name in ("libsluice.so", "libsluice.so.0")}
    if links != {"libsluice.so": "libsluice.so.0", "libsluice.so.0": "libsluice.so.0.1.0"}:
        wrong.append(f"links of the library: {links}")
    if wrong:
        raise SystemExit("\n".join(wrong))
    return len(there)


def check_edited_stays(i):
    """Installing over an installation keeps the configuration, and refreshes its copy among the documents."""
    config, copy = i.path("/etc/sluice/sluice.yaml"), i.path(i.prefix / "share/doc/sluice/sluice.yaml")
    before = config.read_text()
    config.write_text("# edited\n")
    copy.write_text("")
    said = i.install()
    assert "Kept: /etc/sluice/sluice.yaml" in said, said
    assert config.read_text() == "# edited\n" and copy.read_text() == before


def build_by_pkg_config(i, source, program):
    """Compiles one C file with nothing but what pkg-config says."""
    environment = dict(os.environ, PKG_CONFIG_PATH=str(i.path(i.libdir / "pkgconfig")), PKG_CONFIG_SYSROOT_DIR=str(i.root))
    version = run(["pkg-config", "--modversion", "libsluice"], env=environment).strip()
    assert version == i.cache["CMAKE_PROJECT_VERSION"], version
    flags = run(["pkg-config", "--cflags", "--libs", "libsluice"], env=environment).split()
    if "<systemd/" in source.read_text():
        flags += run(["pkg-config", "--cflags", "--libs", "libsystemd"]).split()
    run([i.cache["CMAKE_C_COMPILER"], "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
         *(SANITIZERS if i.is_sanitized else []), source, *flags, "-o", program])


def build_by_cmake(i, source, consumer, folder):
    """Builds the same by find_package(sluice)."""
    flags = " ".join(SANITIZERS) if i.is_sanitized else ""
    run(["cmake", "-G", "Ninja", "-S", consumer, "-B", folder, f"-DCMAKE_PREFIX_PATH={i.path(i.prefix)}", f"-DSOURCE={source}",
         f"-DCMAKE_C_COMPILER={i.cache['CMAKE_C_COMPILER']}", f"-DCMAKE_C_FLAGS={flags}"])
    run(["cmake", "--build", folder])
    return folder / "consumer"


def build_examples(i, folder, scratch):
    """The examples with the two build files that lie beside them."""
    flags = " ".join(SANITIZERS) if i.is_sanitized else ""
    compiler = i.cache["CMAKE_C_COMPILER"]
    run(["cmake", "-G", "Ninja", "-S", folder, "-B", scratch / "by-cmake", f"-DCMAKE_PREFIX_PATH={i.path(i.prefix)}",
         f"-DCMAKE_C_COMPILER={compiler}", f"-DCMAKE_C_FLAGS={flags}"])
    run(["cmake", "--build", scratch / "by-cmake"])
    shutil.copytree(folder, scratch / "by-make")
    wrapper = scratch / "pkg-config"  # the system's packages are not below the root where sluice was installed
    wrapper.write_text(f"""#!/bin/sh
case "$*" in
*libsluice*) PKG_CONFIG_PATH={i.path(i.libdir / 'pkgconfig')} PKG_CONFIG_SYSROOT_DIR={i.root} exec {shutil.which('pkg-config')} "$@" ;;
*) exec {shutil.which('pkg-config')} "$@" ;;
esac
""")
    wrapper.chmod(0o755)
    run(["make", "-C", scratch / "by-make", f"CC={compiler}", f"CFLAGS=-O1 -Wall -Wextra -Werror {flags}"],
        env=dict(os.environ, PATH=f"{scratch}:{os.environ['PATH']}"))
    return [scratch / "by-cmake/examples/chat_poll", scratch / "by-cmake/examples/chat_sdevent", scratch / "by-make/chat_poll"]


def check_programs(i, tree, scratch):
    """Programs built both ways, and the installed CLI, get the installed daemon's answer."""
    (scratch / "mock.yaml").write_text(MOCK)
    examples = sorted((tree / "clients/examples/c").glob("*.c"))
    for example in examples:
        build_by_pkg_config(i, example, scratch / example.stem)
    by_cmake = build_by_cmake(i, tree / "clients/examples/c/chat.c", tree / "tests/install/consumer", scratch / "cmake")
    examples_built = build_examples(i, tree / "clients/examples/c", scratch)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(scratch / "notify"))
    notify.settimeout(30)
    environment = dict(os.environ, LD_LIBRARY_PATH=str(i.path(i.libdir)), SLUICE_SOCKET=str(scratch / "rpc.sock"),
                       NOTIFY_SOCKET=str(scratch / "notify"))
    daemon = subprocess.Popen(
        [i.path(i.prefix / "sbin/sluiced"), "--config", scratch / "mock.yaml", "--listen", f"rpc=unix:{scratch}/rpc.sock",
         "--listen", f"http=unix:{scratch}/http.sock"], env=environment)
    try:
        while b"READY=1" not in notify.recv(4096):
            pass
        cli = [i.path(i.prefix / "bin/sluicectl"), "chat", "--model", "echo", "hello"]
        by_users = [[program, "echo", "hello"] for program in (scratch / "chat", by_cmake, *examples_built)]
        for command in (*by_users, cli):
            answer = run(command, env=environment)
            assert "said by the installed daemon" in answer, f"{command}: {answer}"
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)
        notify.close()
    assert daemon.returncode == 0, daemon.returncode
    return len(examples)


def main():
    args = arguments(__doc__)
    with tempfile.TemporaryDirectory(prefix="sluice-install-") as scratch:
        i = Installed(args.build, Path(scratch) / "root")
        i.install()
        n_files = check_files(args.source, i)
        n_examples = check_programs(i, args.source, Path(scratch))
        check_edited_stays(i)
    print(f"{n_files} files, {n_examples} examples by pkg-config, and by their own build files")


if __name__ == "__main__":
    main()

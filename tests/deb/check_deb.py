#!/usr/bin/env python3
"""The Debian packages, on a bare Debian 12 and a bare Debian 13: built twice (two versions) by ./dev deb with lintian, then installed,
activated, upgraded under load, removed and purged in a booted container.

    check_deb.py [--suite bookworm|trixie]... [--built] --work DIR      --built: with the packages of the call before

Run as root. DIR keeps between calls what costs time and does not depend on sluice (some 3 GB): a bare root for each suite (debootstrap), a
layer above it with the packages that building needs, and fetched packages. The container (systemd-nspawn) is made anew, with a
network of its own that has only `lo`; scenario.sh, run by its systemd, says what happens in there.

Exit status: 0: all passed; 1: something did not, and the end of its log is printed.
"""
from __future__ import annotations

import argparse
import datetime
import email.utils
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SUITES = ("bookworm", "trixie")
PACKAGES = ("sluiced", "sluicectl", "libsluice0", "libsluice-dev", "python3-sluice")
# What debian/tests and scenario.sh need beside the packages; systemd-sysv boots it.
TOOLS = ("systemd-sysv", "curl", "cmake", "gcc", "libc6-dev", "libsystemd-dev", "make", "pkgconf", "man-db", "procps", "python3")
BOOT_LIMIT_SEC = 600
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCENARIO_UNIT = """\
[Unit]
Description=tests/deb/scenario.sh
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/sh -c '/test/scenario.sh >/test/log 2>&1; echo $? >/test/status; sync'
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""


class Failed(Exception):
    """A step went wrong; the text says what, with the end of its output."""


def say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


def tail(path: Path, lines: int = 60) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def logged(log: Path, command: list[str], limit_sec: float = 1800, **options: object) -> None:
    """Runs a command with its output in a file, and fails with the end of it."""
    with log.open("ab") as out:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=limit_sec,
                              check=False, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)[:200]}: exit status {done.returncode}; the end of {log}:\n{tail(log)}")


# ---------------------------------------------------------------- roots


def mirror() -> str:
    """Where this machine's packages come from."""
    run = subprocess.run(
        ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"],
        capture_output=True, text=True, check=True)
    if not run.stdout.split():
        raise Failed("apt's configuration names no mirror of Debian")
    return run.stdout.split()[0]


def bare_root(suite: str, work: Path) -> Path:
    """A Debian with nothing but its essential packages, made once."""
    root, fresh = work / suite, work / f"{suite}.new"
    if not root.exists():
        say(f"{suite}: a bare root by debootstrap")
        shutil.rmtree(fresh, ignore_errors=True)
        logged(work / f"{suite}.debootstrap.log", ["debootstrap", "--variant=minbase", suite, str(fresh), mirror()])
        fresh.rename(root)
    for name in ("resolv.conf", "hosts"):
        shutil.copyfile(f"/etc/{name}", root / "etc" / name)
    return root


class Layer:
    """A root above another: what is written lies in `upper`, the lower one stays as it is. A context."""

    def __init__(self, lower: Path, folder: Path, archives: Path):
        self.root, self.folder, self._lower, self._archives = folder / "root", folder, lower, archives

    def __enter__(self) -> Layer:
        for name in ("root", "upper", "overlay"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={self._lower},upperdir={self.folder / 'upper'},workdir={self.folder / 'overlay'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.root)], check=True)

    def run(self, log: Path, command: str) -> None:
        """A shell command in there, as root, with this machine's network, in mount and process namespaces of its own."""
        keep = {k: v for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy", "no_proxy")}
        mounts = " && ".join([
            'for d in proc sys dev dev/pts; do mkdir -p "$0/$d" || exit; done',
            'mount -t proc proc "$0/proc"',
            'mount --rbind /sys "$0/sys"',
            'mount --rbind /dev "$0/dev"',
            'mkdir -p "$0/var/cache/apt/archives"',
            f'mount --bind "{self._archives}" "$0/var/cache/apt/archives"',
            'exec chroot "$0" sh -ec "$1"',
        ])
        logged(log, ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", mounts, str(self.root),
                     command],
               env={"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", "TERM": "dumb", "DEBIAN_FRONTEND": "noninteractive", **keep})


# ---------------------------------------------------------------- building


def copy_sources(to: Path) -> None:
    """What git knows and does not ignore, as ./dev deb takes it."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    names = subprocess.run(["git", "-C", str(SOURCE), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           capture_output=True, check=True).stdout.split(b"\0")
    there = b"\0".join(n for n in names if n and os.path.lexists(os.path.join(os.fsencode(SOURCE), n)))
    tar = subprocess.run(["tar", "-C", str(SOURCE), "--null", "--files-from", "-", "--create"], input=there, capture_output=True,
                         check=True).stdout
    subprocess.run(["tar", "-C", str(to), "--extract", "--no-same-owner"], input=tar, check=True)


def next_version(tree: Path) -> None:
    """The next version of the package, as an entry in its changelog says it."""
    changelog = tree / "debian/changelog"
    text = changelog.read_text()
    head, entry = text.splitlines()[0], "\n\n  * The next version, for the upgrade.\n\n"
    version = head.split("(")[1].split(")")[0]
    author, _, date = next(line for line in text.splitlines() if line.startswith(" -- ")).partition("  ")
    date = email.utils.format_datetime(email.utils.parsedate_to_datetime(date) + datetime.timedelta(seconds=1))
    changelog.write_text(head.replace(f"({version})", f"({version}+next)") + entry + f"{author}  {date}\n\n" + text)


def build(suite: str, layer: Layer, out: Path, log: Path) -> None:
    """Two versions of the packages, into out/first and out/second. The second is built without the unit tests, which ran for the first."""
    for name, options in (("first", ""), ("second", "nocheck")):
        say(f"{suite}: building the {name} version, with lintian")
        tree = layer.root / "src/sluice"
        copy_sources(tree)
        if name == "second":
            next_version(tree)
        layer.run(log, f"cd /src/sluice && DEB_BUILD_OPTIONS='{options} parallel={os.cpu_count()}' ./dev deb")
        shutil.copytree(tree / "build/deb", out / name)
        for package in PACKAGES:
            if not list((out / name).glob(f"{package}_*.deb")):
                raise Failed(f"{suite}: {package} was not built")


# ---------------------------------------------------------------- the booted container


def boot(suite: str, layer: Layer, out: Path, log: Path) -> None:
    """Boots a root with scenario.sh in it, and fails as that does."""
    root, test = layer.root, layer.root / "test"
    say(f"{suite}: preparing the container")
    test.mkdir()
    for name in ("first", "second"):
        shutil.copytree(out / name, test / name)
    shutil.copyfile(HERE / "scenario.sh", test / "scenario.sh")
    (test / "scenario.sh").chmod(0o755)
    shutil.copytree(SOURCE / "debian/tests", test / "debian-tests")
    debs = " ".join(f"/test/first/{p}_*.deb" for p in PACKAGES)
    layer.run(log, f"apt-get -q update && apt-get -q -y install --no-install-recommends {' '.join(TOOLS)} && "
                   # what sluice depends on, for a container without a way out; sluice itself is installed where it can start
                   f"apt-get -q -y install --no-install-recommends --download-only {debs} && "
                   "mkdir -p /test/archives && cp /var/cache/apt/archives/*.deb /test/archives/ && "
                   "rm -f /etc/machine-id && touch /etc/machine-id")
    unit = root / "etc/systemd/system/scenario.service"
    unit.write_text(SCENARIO_UNIT)
    wants = root / "etc/systemd/system/multi-user.target.wants/scenario.service"
    wants.parent.mkdir(parents=True, exist_ok=True)
    wants.symlink_to("/etc/systemd/system/scenario.service")

    say(f"{suite}: install, activate, upgrade, remove, purge in the booted container")
    # systemd 257 boots with the unified hierarchy only, whatever this machine has
    logged(log, ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={root}", "--private-network",
                 "--resolv-conf=off", "--link-journal=no", "--console=read-only", "--boot"],
           limit_sec=BOOT_LIMIT_SEC, env={"PATH": PATH, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
    report = test / "log"
    text = report.read_text(errors="replace") if report.exists() else ""
    for line in text.splitlines():
        if line.startswith("ok: "):
            print(f"   {suite}: {line[4:]}", flush=True)
    status = test / "status"
    if not status.exists() or status.read_text().strip() != "0":
        raise Failed(f"{suite}: scenario.sh did not pass; the end of its output:\n{tail(report) if text else tail(log)}")


def check(suite: str, work: Path, is_built: bool) -> None:
    began = time.monotonic()
    archives, out, log = work / f"{suite}.archives", work / f"{suite}.out", work / f"{suite}.log"
    archives.mkdir(exist_ok=True)
    (archives / "partial").mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    lower = bare_root(suite, work)
    for stale in (work / f"{suite}.build/root", work / f"{suite}.run/root"):
        if stale.is_mount():  # of a run that was killed
            subprocess.run(["umount", "--recursive", str(stale)], check=True)
    if not is_built:
        shutil.rmtree(out, ignore_errors=True)
        with Layer(lower, work / f"{suite}.build", archives) as layer:
            build(suite, layer, out, log)
    run_folder = work / f"{suite}.run"
    shutil.rmtree(run_folder, ignore_errors=True)
    with Layer(lower, run_folder, archives) as layer:
        boot(suite, layer, out, log)
    shutil.rmtree(run_folder)
    say(f"{suite}: passed in {time.monotonic() - began:.0f} s")


def passes(suite: str, work: Path, is_built: bool) -> bool:
    try:
        check(suite, work, is_built)
    except (Failed, subprocess.SubprocessError) as trouble:
        print(trouble, flush=True)
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", action="append", choices=SUITES)
    parser.add_argument("--built", action="store_true")
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("check_deb.py: containers need root")
    arguments.work.mkdir(parents=True, exist_ok=True)
    with (arguments.work / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at a time wait for each other
        failed = [suite for suite in arguments.suite or SUITES if not passes(suite, arguments.work.resolve(), arguments.built)]
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)}")


if __name__ == "__main__":
    main()

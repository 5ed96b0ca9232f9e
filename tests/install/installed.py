"""An installation to look at: `cmake --install` of a build folder into an empty DESTDIR. Shared by the check_*.py beside it."""
import argparse
import os
import re
import subprocess
from pathlib import Path


def arguments(doc):
    """The parsed command line; .source is the root of the tree, .build a finished build folder."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--source", type=_absolute, required=True)
    parser.add_argument("--build", type=_absolute, required=True)
    return parser.parse_args()


def _absolute(path):
    return Path(path).resolve()


class Installed:
    """The build's cached settings, and where what it installs lies below `root`."""

    def __init__(self, build, root):
        self.build, self.root = build, Path(root)
        self.cache = dict(re.findall(r"^(\w+):\w+=(.*)$", (build / "CMakeCache.txt").read_text(), re.M))
        self.prefix = Path(self.cache["CMAKE_INSTALL_PREFIX"])
        self.libdir = self.prefix / self.cache["CMAKE_INSTALL_LIBDIR"]
        self.is_sanitized = self.cache.get("SLUICE_SANITIZE") == "ON"

    def install(self):
        """Installs (again) and returns what cmake said."""
        environment = dict(os.environ, DESTDIR=str(self.root))
        return run(["cmake", "--install", self.build], env=environment)

    def path(self, absolute):
        """Where an absolute path of the installed system lies."""
        return self.root / str(absolute).lstrip("/")


def run(command, **options):
    """The output of a command that must succeed; its own words are in the error when it does not."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=100, **options)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout

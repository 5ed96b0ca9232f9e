"""What pyproject.toml cannot say: a wheel with libsluice inside.

    SLUICE_BUNDLE_LIBRARY=/path/to/libsluice.so.0 SLUICE_BUNDLE_PLATFORM=manylinux_2_36_x86_64 pip wheel .

puts that file into the package and tags the wheel py3-none-PLATFORM: it fits every Python, since ctypes needs no part of the
interpreter's own interface, but not every machine. Without these variables the wheel is pure (py3-none-any).
"""

import os
import shutil

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

LIBRARY = os.environ.get("SLUICE_BUNDLE_LIBRARY", "")
PLATFORM = os.environ.get("SLUICE_BUNDLE_PLATFORM", "")


class BuildWithLibrary(build_py):
    def run(self):
        super().run()
        folder = os.path.join(self.build_lib, "sluice", "_lib")
        shutil.rmtree(folder, ignore_errors=True)  # of a build before
        if LIBRARY:
            os.makedirs(folder)
            shutil.copy(LIBRARY, os.path.join(folder, "libsluice.so.0"))


class WithLibrary(Distribution):
    def has_ext_modules(self):
        return bool(LIBRARY)  # what depends on the machine is installed apart from pure packages


class TaggedWheel(bdist_wheel):
    def get_tag(self):
        return ("py3", "none", PLATFORM) if LIBRARY else super().get_tag()


if LIBRARY and not PLATFORM:
    raise SystemExit("SLUICE_BUNDLE_LIBRARY needs SLUICE_BUNDLE_PLATFORM")
setup(distclass=WithLibrary, cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": TaggedWheel})

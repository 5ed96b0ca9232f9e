"""The Python package against a real sluiced, with the scripted model servers of tests/e2e/testenv around it.

One daemon serves the tests of a run (`service`); a test that needs another one starts it (`env`). After each test nothing may be left
running in the daemon. SLUICED and SLUICE_LIBRARY say what is tested, else what the tree's build folders have. Tests marked `once` do not
depend on the version of Python: they run with one of them only.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import struct
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest

SOURCE = Path(__file__).resolve().parents[3]
E2E = SOURCE / "tests" / "e2e"
sys.path.insert(0, str(E2E))
sys.path.insert(0, str(Path(__file__).parent))


def library() -> str:
    """The libsluice under test."""
    if os.environ.get("SLUICE_LIBRARY"):
        return os.environ["SLUICE_LIBRARY"]
    return str(SOURCE / "build" / "release" / "lib" / "libsluice.so.0")


os.environ["SLUICE_LIBRARY"] = library()
if not os.environ.get("SLUICE_TEST_INSTALLED"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if not hasattr(os, "eventfd"):  # before Python 3.10; testenv uses it
    _libc = ctypes.CDLL(None)
    os.EFD_CLOEXEC = 0o2000000  # type: ignore[attr-defined]
    os.eventfd = lambda n, flags: _libc.eventfd(n, flags)  # type: ignore[attr-defined]
    os.eventfd_write = lambda fd, n: os.write(fd, struct.pack("Q", n))  # type: ignore[attr-defined]

import sluice  # noqa: E402
from testenv.daemon import mock  # noqa: E402

_spec = importlib.util.spec_from_file_location("e2e_conftest", E2E / "conftest.py")
assert _spec and _spec.loader
_e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_e2e)
Env, env = _e2e.Env, _e2e.env
components, ollama_server = _e2e.components, _e2e.ollama_server

MOCK_TEXT = "mocked Grüße, 世界 🌍"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "once: does not depend on the version of Python")


def pytest_report_header() -> str:
    return f"sluice {sluice.__version__} from {Path(sluice.__file__).parent}, libsluice {sluice.library_version()} from {library()}"


class Service:
    """A daemon with the models mock, m (OpenAI dialect) and o (Ollama's dialect), and what stands behind the last two."""

    def __init__(self) -> None:
        self.env = Env()
        self.openai = self.env.openai()
        self.ollama = self.env.ollama()
        slots = {"max_parallel_requests": 64}
        self.daemon = self.env.start(
            {
                "mock": {**mock(MOCK_TEXT), **slots},
                "m": self.openai.deployment("the-model", **slots),
                "o": self.ollama.deployment("the-model", **slots),
                "narrow": self.openai.deployment("the-model", max_parallel_requests=1),
            }
        )
        self.path = self.daemon.rpc_path

    def upstream(self, model: str) -> Any:
        return self.ollama if model == "o" else self.openai


@pytest.fixture(scope="session")
def _service() -> Iterator[Service]:
    service = Service()
    yield service
    service.env.stop()


@pytest.fixture
def service(_service: Service) -> Iterator[Service]:
    for upstream in (_service.openai, _service.ollama):
        with upstream.changed:
            upstream.exchanges.clear()
            upstream.scripts.clear()
    yield _service
    gc.collect()
    _service.daemon.expect_idle()
    for upstream in (_service.openai, _service.ollama):
        upstream.settle()


@pytest.fixture
def client(service: Service) -> Iterator[sluice.Client]:
    with sluice.Client(service.path, timeout=20) as c:
        yield c

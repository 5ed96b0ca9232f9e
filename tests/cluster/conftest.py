"""A Ray Serve application of two replicas behind sluiced.

SLUICE_TEST_RAY_PYTHON is a Python that has Ray (./dev test all makes one).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from testenv.daemon import Daemon, model  # noqa: E402
from testenv.port import Port  # noqa: E402

START_SEC = 120


@pytest.fixture(scope="session")
def ray_url() -> Iterator[str]:
    """The base URL of the application, with /v1."""
    python = os.environ.get("SLUICE_TEST_RAY_PYTHON")
    if not python:
        pytest.fail("SLUICE_TEST_RAY_PYTHON names no Python with Ray: ./dev test cluster sets it up")
    reserved = Port()
    # Nothing of Ray's leaves this machine: no usage report, no token to fetch.
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    app = subprocess.Popen(
        [python, str(Path(__file__).with_name("ray_app.py")), str(reserved.number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert app.stdin and app.stdout
    lines = iter(app.stdout.readline, b"")
    assert b"READY\n" in lines, "the application did not start"
    yield f"http://127.0.0.1:{reserved.number}/v1"
    app.stdin.close()
    app.stdout.close()
    app.wait(START_SEC)
    reserved.close()


@pytest.fixture
def sluice(ray_url: str) -> Iterator[Daemon]:
    """sluiced with the cluster as its only model server."""
    directory = Path(tempfile.mkdtemp(prefix="sluice-cluster-"))
    params = {
        "model": "openai/words",
        "api_base": ray_url,
        "api_key": "none",
        "max_parallel_requests": 16,
    }
    daemon = Daemon(
        directory,
        {
            "model_list": [model("words", params)],
            "router_settings": {"num_retries": 3},
            "sluice": {"pressure": {"enabled": False}},
        },
    )
    yield daemon.start()
    daemon.stop()
    daemon.kill()
    shutil.rmtree(directory, ignore_errors=True)

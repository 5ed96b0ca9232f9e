"""One environment per test: own directory, own sockets, own ports, scripted model servers, the daemon.

def test_something(env):
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()})
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator, Optional, Union

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from testenv import models, paths  # noqa: E402
from testenv.daemon import Daemon, mock, model  # noqa: E402
from testenv.port import Port  # noqa: E402
from testenv.upstream import Ollama, OpenAI, Upstream  # noqa: E402

DIALECTS = {"ollama": Ollama, "openai": OpenAI}


class Env:
    def __init__(self) -> None:
        # Not pytest's tmp_path: a Unix socket's path has at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="sluice-e2e-"))
        self.daemons: list[Daemon] = []
        self.n_started = 0
        self.closables: list[Any] = []

    def upstream(self, dialect: str, **kwargs: Any) -> Upstream:
        return self.closing(Upstream(DIALECTS[dialect](), **kwargs))

    def ollama(self, **kwargs: Any) -> Upstream:
        return self.upstream("ollama", **kwargs)

    def openai(self, **kwargs: Any) -> Upstream:
        return self.upstream("openai", **kwargs)

    def port(self) -> int:
        """A free one, until the test is over."""
        return self.closing(Port()).number

    def closing(self, thing: Any) -> Any:
        """Closes it after the daemons are gone."""
        self.closables.append(thing)
        return thing

    def config(
        self,
        models_: dict[str, Union[dict[str, Any], list[dict[str, Any]]]],
        sluice: Optional[dict[str, Any]] = None,
        general: Optional[dict[str, Any]] = None,
        router: Optional[dict[str, Any]] = None,
    ) -> dict[str, Any]:
        """A configuration: public name -> litellm_params, or a list of them.

        Nothing is tried again unless router says so: most tests are about one attempt.
        """
        entries = []
        for name, params in models_.items():
            for one in params if isinstance(params, list) else [params]:
                entries.append(model(name, one))
        # The memory of the machine that runs the tests is not an input of theirs, nor are its cores.
        ours = {
            "pressure": {"enabled": False},
            "memory": {"enabled": False, "pin_threads": False},
            **(sluice or {}),
        }
        config: dict[str, Any] = {"model_list": entries, "sluice": ours}
        config["router_settings"] = {"num_retries": 0} if router is None else router
        if general:
            config["general_settings"] = general
        return config

    def start(
        self,
        models_: Union[str, dict[str, Any], None] = None,
        sluice: Optional[dict[str, Any]] = None,
        general: Optional[dict[str, Any]] = None,
        args: tuple[str, ...] = (),
        env: Optional[dict[str, str]] = None,
        router: Optional[dict[str, Any]] = None,
    ) -> Daemon:
        """A running daemon: from the text of a file, or from models (default: one mock called m)."""
        if isinstance(models_, str):
            config: Union[str, dict[str, Any]] = models_
        else:
            config = self.config(
                {"m": mock()} if models_ is None else models_, sluice, general, router
            )
        self.n_started += 1
        directory = self.directory / f"d{self.n_started}"
        directory.mkdir()
        daemon = Daemon(directory, config, args, env)
        self.daemons.append(daemon)
        return daemon.start()

    def stop(self) -> None:
        errors: list[BaseException] = []
        for thing in [d.stop for d in self.daemons] + [c.close for c in self.closables]:
            try:
                thing()
            except Exception as e:  # all must be stopped, whatever fails
                errors.append(e)
        for daemon in self.daemons:
            daemon.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        if errors:
            raise errors[0]


@pytest.fixture
def env() -> Iterator[Env]:
    if not paths.SLUICED.exists():
        pytest.fail(f"no sluiced at {paths.SLUICED}: build it, or set SLUICED")
    environment = Env()
    yield environment
    environment.stop()


@pytest.fixture(params=["ollama", "openai"])
def upstream(request: pytest.FixtureRequest, env: Env) -> Upstream:
    """A scripted model server, once in each dialect."""
    return env.upstream(request.param)


# ---------------------------------------------------------------------------------------------- real model servers


@pytest.fixture(scope="session")
def components() -> models.Components:
    return models.components_or_end_test()


@pytest.fixture(scope="session")
def ollama_server(components: models.Components) -> Iterator[models.OllamaServer]:
    """A real Ollama with the small models, shared by the tests of one worker."""
    directory = Path(tempfile.mkdtemp(prefix="sluice-ollama-"))
    server = models.OllamaServer(components, directory)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def llama_server(components: models.Components) -> Iterator[models.LlamaServer]:
    server = models.LlamaServer(components, "smollm2", "-c", "512")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def llama_embedder(components: models.Components) -> Iterator[models.LlamaServer]:
    server = models.LlamaServer(components, "all-minilm", "--embedding")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def llama_ranker(components: models.Components) -> Iterator[models.LlamaServer]:
    """A cross-encoder of random weights: real answers, whose order means nothing."""
    server = models.LlamaServer(components, "tiny-rank", "--reranking")
    yield server
    server.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs real model servers, and keeps the tests of one server on one worker (xdist, --dist loadgroup)."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "components" in fixtures:
            item.add_marker(pytest.mark.real)
        for name in ("ollama_server", "llama_server"):
            if name in fixtures:
                item.add_marker(pytest.mark.xdist_group(name))

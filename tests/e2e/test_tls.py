"""Cloud vendors: TLS to a server whose authority the configuration names, and every way in which a server can fail to
prove who it is. Neither prompt nor key goes to one that has not.
"""

from __future__ import annotations

from typing import Any, Callable

import openai
import pytest
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.tls import Authority, TlsDoor
from testenv.upstream import Upstream, end, text

CHAT = "/v1/chat/completions"
PREFIXES = ("ollama_chat", "openai")


@pytest.fixture
def authority(env) -> Authority:
    return Authority(env.directory / "tls")


@pytest.fixture(params=PREFIXES)
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def inner(env, prefix: str) -> Upstream:
    return env.ollama() if prefix.startswith("ollama") else env.openai()


def params(prefix: str, door: TlsDoor, **further: Any) -> dict[str, Any]:
    base = door.url + ("/v1" if prefix == "openai" else "")
    return {"model": f"{prefix}/x", "api_base": base, "api_key": "sk-secret", **further}


def refusal(sluice: Daemon) -> tuple[int, str, str]:
    with sluice.http() as http:
        answer = http.request("POST", CHAT, chat_body("m"))
    error = answer.json["error"]
    return answer.status, error["code"], error["message"]


def test_own_authority(env, authority: Authority, inner: Upstream, prefix: str) -> None:
    door = env.closing(TlsDoor(inner.port, authority.certificate("127.0.0.1")))
    sluice = env.start({"m": params(prefix, door, ssl_verify=str(authority.path))})
    inner.always(text("Hel", "lo"), end())
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{sluice.port}/v1", api_key="x", max_retries=0)
    messages: Any = [{"role": "user", "content": "hi"}]
    answer = client.chat.completions.create(model="m", messages=messages)
    assert answer.choices[0].message.content == "Hello"
    stream = client.chat.completions.create(model="m", messages=messages, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == "Hello"
    assert inner.wait_request().headers["authorization"] == "Bearer sk-secret"


WRONG: dict[str, tuple[Callable[[Authority, Authority], Any], str]] = {
    "another host": (lambda ours, other: ours.certificate("elsewhere.example"), "127.0.0.1"),
    "expired": (lambda ours, other: ours.certificate("127.0.0.1", "expired"), "expired"),
    "another authority": (lambda ours, other: other.certificate("127.0.0.1"), "certificate"),
}


@pytest.mark.parametrize("which", WRONG)
def test_a_server_that_does_not_prove_its_name(
    env, authority: Authority, inner: Upstream, prefix: str, which: str
) -> None:
    make, word = WRONG[which]
    certificate = make(authority, Authority(env.directory / "other"))
    door = env.closing(TlsDoor(inner.port, certificate))
    sluice = env.start({"m": params(prefix, door, ssl_verify=str(authority.path))})
    status, code, message = refusal(sluice)
    assert (status, code) == (502, "upstream_untrusted")
    assert word in message and "sk-secret" not in message, message
    assert door.passed_bytes == 0


def test_the_systems_authorities_do_not_know_ours(
    env, authority: Authority, inner: Upstream, prefix: str
) -> None:
    door = env.closing(TlsDoor(inner.port, authority.certificate("127.0.0.1")))
    sluice = env.start({"m": params(prefix, door)})
    assert refusal(sluice)[:2] == (502, "upstream_untrusted")
    assert door.passed_bytes == 0


def test_a_file_of_authorities_that_is_not_there(
    env, authority: Authority, inner: Upstream, prefix: str
) -> None:
    """Found when the file is read, not with the first prompt."""
    door = env.closing(TlsDoor(inner.port, authority.certificate("127.0.0.1")))
    missing = env.directory / "nothing.pem"
    sluice = env.start({"m": params(prefix, door, ssl_verify=str(missing))})
    status, code, message = refusal(sluice)
    assert (status, code) == (503, "deployment_misconfigured"), message
    assert door.passed_bytes == 0


def test_tls_that_is_too_old(env, authority: Authority, inner: Upstream, prefix: str) -> None:
    door = TlsDoor(inner.port, authority.certificate("127.0.0.1"), is_old=True)
    env.closing(door)
    sluice = env.start({"m": params(prefix, door, ssl_verify=str(authority.path))})
    assert refusal(sluice)[:2] == (502, "upstream_untrusted")
    assert door.passed_bytes == 0

"""Who may ask: names, origins, content types, keys, sockets."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any, Optional

import pytest
from testenv import paths
from testenv.daemon import SANITIZER_ENV, mock, to_yaml
from testenv.http import chat_body

CHAT = "/v1/chat/completions"
KEY = "sk-master-0123456789abcdef"


# ---------------------------------------------------------------------------------------------- browsers


@pytest.mark.parametrize(
    "host, status",
    [
        ("localhost", 200),
        ("localhost:4000", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("127.0.0.1:4000", 200),
        ("[::1]", 200),
        ("[::1]:4000", 200),
        ("box.example", 200),  # allowed below
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil-localhost", 421),
        ("127.0.0.1.evil.example", 421),
        ("169.254.169.254", 421),
        ("0.0.0.0", 421),
    ],
)
def test_host(env, host: str, status: int) -> None:
    """DNS rebinding: a page's own name must not lead here."""
    sluice = env.start(sluice={"http": {"allowed_hosts": ["box.example"]}})
    answer = sluice.post(CHAT, chat_body(), headers={"Host": host})
    assert answer.status == status
    if status != 200:
        assert answer.error["code"] == "host_not_allowed"
        assert answer.header("connection") == "close"


@pytest.mark.parametrize(
    "target, host, status",
    [
        ("http://localhost/v1/models", "localhost", 200),
        ("HTTP://LOCALHOST:4000/v1/models?x=1", "anything.example", 200),
        ("http://[::1]:4000/v1/models/m", "localhost", 200),
        ("http://localhost", "localhost", 404),  # of "/"
        ("http://evil.example/v1/models", "localhost", 421),
        ("http://evil.example/v1/models", "evil.example", 421),
        ("http://user@localhost/v1/models", "localhost", 400),
        ("https://localhost/v1/models", "localhost", 400),
        ("http://localhost/v1/models", None, 400),
    ],
)
def test_absolute_targets(env, target: str, host: Optional[str], status: int) -> None:
    """RFC 9112 section 3.2.2: a server takes them, and looks at their host and not at Host."""
    sluice = env.start()
    with sluice.http() as http:
        answer = http.request("GET", target, headers={"Host": host})
    assert answer.status == status, answer


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "https://app.example"}, 200),  # allowed below
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_origin(env, headers: dict[str, Optional[str]], status: int) -> None:
    upstream = env.openai()
    sluice = env.start(
        {"m": upstream.deployment()}, sluice={"http": {"allowed_origins": ["https://app.example"]}}
    )
    answer = sluice.post(CHAT, chat_body(), headers=headers)
    assert answer.status == status
    if status != 200:
        assert answer.error["code"] == "forbidden"
        assert not upstream.requests()


def test_no_cors_by_default(env) -> None:
    sluice = env.start()
    with sluice.http() as http:
        headers: dict[str, Any] = {
            "Origin": "https://evil.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        answer = http.request("OPTIONS", CHAT, headers=headers)
        assert not [n for n, _ in answer.headers if n.startswith("access-control-")], answer


def test_cors_for_allowed_origins(env) -> None:
    sluice = env.start(sluice={"http": {"allowed_origins": ["https://app.example"]}})
    with sluice.http() as http:
        headers: dict[str, Any] = {
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
        }
        answer = http.request("OPTIONS", CHAT, headers=headers)
        assert answer.status in (200, 204)
        assert answer.header("access-control-allow-origin") == "https://app.example"
        allowed = (answer.header("access-control-allow-headers") or "").lower()
        assert "authorization" in allowed and "content-type" in allowed
        answer = http.request("POST", CHAT, chat_body(), headers={"Origin": "https://app.example"})
        assert answer.header("access-control-allow-origin") == "https://app.example"
        exposed = (answer.header("access-control-expose-headers") or "").split(", ")
        assert {"x-request-id", "retry-after", "retry-after-ms", "x-should-retry", "x-sluice-level"} <= set(exposed)


def test_a_page_may_read_the_limits(env) -> None:
    """Every header of a key's limits that an answer has."""
    key = "sk-sluice-page"
    keys = [{"id": "page", "sha256": hashlib.sha256(key.encode()).hexdigest(), "rpm": 5, "tpm": 5000}]
    sluice = env.start(
        sluice={"http": {"allowed_origins": ["https://app.example"]}, "keys": keys}
    )
    headers = {"Origin": "https://app.example", "Authorization": f"Bearer {key}"}
    answer = sluice.post(CHAT, chat_body(), headers=headers)
    assert answer.status == 200
    limits = {name for name, _ in answer.headers if "ratelimit" in name or "-key-" in name}
    exposed = (answer.header("access-control-expose-headers") or "").split(", ")
    assert len(limits) == 8 and limits <= set(exposed)


@pytest.mark.parametrize(
    "content_type, status",
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("APPLICATION/JSON", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonp", 415),
        (None, 415),
    ],
)
def test_content_type(env, content_type: Optional[str], status: int) -> None:
    """What a page can send without a preflight is refused."""
    sluice = env.start()
    answer = sluice.post(CHAT, chat_body(), headers={"Content-Type": content_type})
    assert answer.status == status
    if status != 200:
        assert answer.error["code"] == "unsupported_media_type"


# ---------------------------------------------------------------------------------------------- keys


def test_any_key_while_none_is_set(env) -> None:
    sluice = env.start()
    for headers in ({}, {"Authorization": "Bearer anything"}, {"Authorization": "Basic eDp5"}):
        assert sluice.post(CHAT, chat_body(), headers=headers).status == 200


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {KEY}x"}, 401),
        ({"Authorization": f"Bearer {KEY[:-1]}"}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": KEY}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": f"bearer {KEY}"}, 200),
        ({"x-api-key": KEY}, 200),
        ({"api-key": KEY}, 200),
        ({"x-api-key": "wrong"}, 401),
    ],
)
def test_master_key(env, headers: dict[str, Optional[str]], status: int) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, general={"master_key": KEY})
    for path, body in ((CHAT, chat_body()), ("/v1/embeddings", {"model": "m", "input": "x"})):
        answer = sluice.post(path, body, headers=headers)
        assert answer.status == status
        if status == 401:
            assert answer.error["code"] == "invalid_api_key"
            assert KEY not in answer.body.decode()
    assert sluice.get("/v1/models", headers=headers).status == status
    assert bool(upstream.requests()) == (status == 200)
    assert KEY not in sluice.log_text and KEY[:-1] not in sluice.log_text


def test_health_needs_no_key(env) -> None:
    sluice = env.start(general={"master_key": KEY})
    assert sluice.get("/health/liveliness").status == 200


def test_unix_socket_needs_no_key(env) -> None:
    """The peer is known by SO_PEERCRED; a browser cannot come this way, so its headers mean nothing."""
    sluice = env.start(general={"master_key": KEY})
    with sluice.http_unix() as http:
        assert http.request("POST", CHAT, chat_body()).status == 200
        answer = http.request("POST", CHAT, chat_body(), headers={"Host": "whatever"})
        assert answer.status == 200
    with sluice.rpc() as rpc:
        assert list(rpc.chat("m"))


def test_master_key_from_the_environment(env) -> None:
    config = env.config({"m": mock()}, general={"master_key": "os.environ/SLUICE_TEST_KEY"})
    sluice = env.start(to_yaml(config), env={"SLUICE_TEST_KEY": KEY})
    assert sluice.post(CHAT, chat_body()).status == 401
    headers: dict[str, Any] = {"Authorization": f"Bearer {KEY}"}
    assert sluice.post(CHAT, chat_body(), headers=headers).status == 200


# ---------------------------------------------------------------------------------------------- refusing to start


def run_sluiced(
    directory: Path, config: str, *args: str, **env: str
) -> subprocess.CompletedProcess:
    """A start that is expected to fail."""
    path = directory / "config.yaml"
    path.write_text(config)
    return subprocess.run(
        [str(paths.SLUICED), "--config", str(path), *args],
        capture_output=True,
        text=True,
        timeout=10,
        # sockets that no argument names are ours too
        env={**os.environ, **SANITIZER_ENV, "RUNTIME_DIRECTORY": str(directory), **env},
    )


PLAIN = "model_list:\n- {model_name: m, litellm_params: {model: openai/x, mock_response: hi}}\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_open_port_without_key_refuses_to_start(env, host: str) -> None:
    listen = f"http=tcp:{host}:{env.port()}"
    result = run_sluiced(env.directory, PLAIN, "--listen", listen)
    assert result.returncode not in (0, 99) and result.returncode > 0
    assert "master_key" in result.stderr, result.stderr


def test_unresolved_master_key_refuses_to_start(env) -> None:
    config = PLAIN + "general_settings:\n  master_key: os.environ/SLUICE_TEST_NOT_SET\n"
    result = run_sluiced(env.directory, config, "--listen", f"http=tcp:127.0.0.1:{env.port()}")
    assert result.returncode not in (0, 99) and result.returncode > 0
    assert "SLUICE_TEST_NOT_SET" in result.stderr and ":4:" in result.stderr, result.stderr


def test_socket_left_behind_is_replaced(env) -> None:
    """A daemon that was killed leaves its sockets; the next one must start all the same."""
    sluice = env.start()
    sluice.kill()
    assert Path(sluice.rpc_path).is_socket()
    env.daemons.remove(sluice)
    again = env.start(args=("--listen", f"rpc=unix:{sluice.rpc_path}"))
    assert again.status().version


def test_socket_in_use_is_not_taken(env) -> None:
    sluice = env.start()
    result = run_sluiced(env.directory, PLAIN, "--listen", f"rpc=unix:{sluice.rpc_path}")
    assert result.returncode not in (0, 99) and result.returncode > 0
    assert sluice.rpc_path in result.stderr
    assert sluice.status().version

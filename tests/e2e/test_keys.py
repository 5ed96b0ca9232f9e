"""Keys of clients over TCP: who gets in, what for, and that nobody learns a key from sluice."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path
from typing import Any, Optional

import pytest
from test_access import PLAIN, run_sluiced
from testenv.daemon import Daemon, mock, to_yaml
from testenv.http import chat_body
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
MASTER = "sk-master-0123456789abcdef"
ONE = "slu_one_0123456789abcdef"
TWO = "slu_two_0123456789abcdef"
PAST = "2001-01-31"
FUTURE = "2999-01-31T00:00:00+01:00"


def key(id: str, text: str, **members: Any) -> dict[str, Any]:
    """An entry of sluice.keys."""
    return {"id": id, "sha256": hashlib.sha256(text.encode()).hexdigest(), **members}


def bearer(text: str) -> dict[str, Any]:
    return {"Authorization": f"Bearer {text}"}


def reload(sluice: Daemon, config: Any) -> None:
    generation = sluice.status().config_generation
    sluice.write_config(config)
    sluice.signal(signal.SIGHUP)
    eventually(lambda: sluice.status().config_generation > generation, "reloaded")


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 401),
        (bearer(ONE), 200),
        ({"Authorization": f"bearer {ONE}"}, 200),
        ({"x-api-key": ONE}, 200),
        ({"api-key": TWO}, 200),
        ({"x-litellm-api-key": ONE}, 200),
        ({"x-litellm-api-key": f"Bearer {ONE}"}, 200),
        ({"x-litellm-api-key": ONE, "Authorization": "Bearer somebody-elses"}, 200),
        ({"x-litellm-api-key": "wrong", "Authorization": f"Bearer {ONE}"}, 401),
        (bearer(ONE[:-1]), 401),
        (bearer(ONE + "x"), 401),
        (bearer("one"), 401),
        (bearer(hashlib.sha256(ONE.encode()).hexdigest()), 401),
        ({"Authorization": f"Basic {ONE}"}, 401),
        ({"Authorization": ONE}, 401),
        (bearer(MASTER), 401),
    ],
)
def test_who_gets_in(env, headers: dict[str, Optional[str]], status: int) -> None:
    upstream = env.openai()
    sluice = env.start(
        {"m": upstream.deployment()}, sluice={"keys": [key("one", ONE), key("two", TWO)]}
    )
    for answer in (
        sluice.post(CHAT, chat_body(), headers=headers),
        sluice.get("/v1/models", headers=headers),
        sluice.get("/metrics", headers=headers),
    ):
        assert answer.status == status, answer
        if status == 401:
            assert answer.error["code"] == "invalid_api_key"
            assert answer.header("www-authenticate") == "Bearer"
    assert bool(upstream.requests()) == (status == 200)
    assert ONE[:-1] not in sluice.log_text and TWO not in sluice.log_text


def test_master_key_beside_keys(env) -> None:
    keys = [key("one", ONE, models=["other"], rpm=1)]
    sluice = env.start(sluice={"keys": keys}, general={"master_key": MASTER})
    for _ in range(3):  # every model, no limits
        answer = sluice.post(CHAT, chat_body(), headers=bearer(MASTER))
        assert answer.status == 200
        assert not [n for n, _ in answer.headers if n.startswith("x-ratelimit")]
    assert sluice.post(CHAT, chat_body(), headers=bearer(ONE)).status == 403
    assert sluice.post(CHAT, chat_body(), headers=bearer("x")).status == 401


def test_unix_socket_and_health_need_no_key(env) -> None:
    sluice = env.start(sluice={"keys": [key("one", ONE, models=["other"])]})
    with sluice.http_unix() as http:
        for headers in ({}, bearer("wrong"), bearer(ONE)):
            assert http.request("POST", CHAT, chat_body(), headers=headers).status == 200
    with sluice.rpc() as rpc:
        assert list(rpc.chat("m"))
    for path in ("/health/liveliness", "/health/readiness"):
        assert sluice.get(path).status == 200
    assert sluice.get("/metrics").status == 401


def test_record_names_the_key(env) -> None:
    sluice = env.start(
        sluice={"keys": [key("build-server", ONE)]}, general={"master_key": MASTER}
    )
    assert sluice.post(CHAT, chat_body(), headers=bearer(ONE)).status == 200
    assert sluice.post(CHAT, chat_body(), headers=bearer(MASTER)).status == 200
    first, second = sluice.wait_call_records(2)
    assert first["SLUICE_KEY_ID"] == "build-server"
    assert "SLUICE_KEY_ID" not in second
    assert ONE not in sluice.log_text and MASTER not in sluice.log_text


def test_class_is_a_ceiling(env) -> None:
    keys = [key("one", ONE, **{"class": "batch"}), key("two", TWO)]
    sluice = env.start(sluice={"keys": keys})
    wishes = ({}, {"x-sluice-class": "interactive"}, {"x-sluice-class": "background"})
    for text in (ONE, TWO):
        for wish in wishes:
            headers = {**bearer(text), **wish}
            assert sluice.post(CHAT, chat_body(), headers=headers).status == 200
    classes = [r["SLUICE_CLASS"] for r in sluice.wait_call_records(6)]
    assert classes == ["batch", "batch", "background", "interactive", "interactive", "background"]


# ---------------------------------------------------------------------------------------------- models


def models_config(env) -> dict[str, Any]:
    keys = [key("one", ONE, models=["small", "org/*"]), key("two", TWO)]
    names = ("small", "org/a:7b", "big")
    config = env.config({name: mock(name) for name in names}, {"keys": keys})
    config["router_settings"] = {"model_group_alias": {"fast": "small", "best": "big"}}
    return config


@pytest.mark.parametrize(
    "model, status",
    [("small", 200), ("org/a:7b", 200), ("fast", 200), ("big", 403), ("best", 403), ("none", 403)],
)
def test_models_of_a_key(env, model: str, status: int) -> None:
    sluice = env.start(to_yaml(models_config(env)))
    bodies = {
        CHAT: chat_body(model),
        "/v1/completions": {"model": model, "prompt": "x"},
        "/v1/embeddings": {"model": model, "input": "x"},
    }
    if status == 403:  # the mock serves neither
        bodies["/v1/rerank"] = {"model": model, "query": "x", "documents": ["y"]}
        bodies["/v1/classify"] = {"model": model, "input": "x"}
    for path, body in bodies.items():
        answer = sluice.post(path, body, headers=bearer(ONE))
        assert answer.status == status, answer
        if status == 403:
            assert answer.error["code"] == "key_model_access_denied"
            assert answer.error["param"] == "model"
            assert model in answer.error["message"] and "one" in answer.error["message"]
    everything = sluice.post(CHAT, chat_body(model), headers=bearer(TWO))
    assert everything.status == (404 if model == "none" else 200)
    seen = sluice.get("/v1/models/" + model.replace("/", "%2F"), headers=bearer(ONE))
    assert seen.status == (200 if status == 200 else 404), "as if it were not there"


def test_lists_show_what_a_key_may_use(env) -> None:
    sluice = env.start(to_yaml(models_config(env)))

    def names(path: str, text: str, member: str) -> set[str]:
        return {m[member] for m in sluice.get(path, headers=bearer(text)).json["data"]}

    for path, member in (
        ("/v1/models", "id"),
        ("/v1/model/info", "model_name"),
        ("/model_group/info", "model_group"),
    ):
        assert {"small", "org/a:7b", "big"} <= names(path, TWO, member)
        mine = names(path, ONE, member)
        assert {"small", "org/a:7b"} <= mine and not {"big", "best"} & mine
    mine = names("/v1/models", ONE, "id")
    assert mine == {"small", "org/a:7b", "fast"}, "all that it may use, by every name"
    health = sluice.get("/health", headers=bearer(ONE)).json
    assert health["healthy_count"] == 2


def test_fallbacks_do_not_lead_out(env) -> None:
    """A request may name fallbacks of its own: only such as its key may use."""
    upstream = env.openai()
    config = {"small": upstream.deployment(), "big": upstream.deployment()}
    sluice = env.start(config, sluice={"keys": [key("one", ONE, models=["small"])]})
    body = {**chat_body("small"), "fallbacks": ["big"]}
    answer = sluice.post(CHAT, body, headers=bearer(ONE))
    assert answer.status == 403 and answer.error["param"] == "fallbacks"
    assert not upstream.requests()
    body["fallbacks"] = ["small"]
    assert sluice.post(CHAT, body, headers=bearer(ONE)).status == 200


# ---------------------------------------------------------------------------------------------- time, reload


def test_expired_key(env) -> None:
    keys = [key("old", ONE, expires=PAST), key("new", TWO, expires=FUTURE)]
    sluice = env.start(sluice={"keys": keys})
    answer = sluice.post(CHAT, chat_body(), headers=bearer(ONE))
    assert answer.status == 401
    assert (answer.error["code"], answer.error["type"]) == ("invalid_api_key", "expired_key")
    assert '"old" has expired (2001-01-31T00:00:00Z)' in answer.error["message"]
    assert sluice.post(CHAT, chat_body(), headers=bearer(TWO)).status == 200


def test_reload_changes_keys(env) -> None:
    sluice = env.start(sluice={"keys": [key("one", ONE)]})
    with sluice.http() as http:  # also for a connection that is open
        assert http.request("POST", CHAT, chat_body(), headers=bearer(ONE)).status == 200
        reload(sluice, env.config({"m": mock()}, {"keys": [key("one", TWO, models=["x"])]}))
        assert http.request("GET", "/v1/models", headers=bearer(ONE)).status == 401
        assert http.request("GET", "/v1/models", headers=bearer(TWO)).status == 200
    reload(sluice, env.config({"m": mock()}))
    assert sluice.post(CHAT, chat_body(), headers=bearer("anything")).status == 200


def test_key_that_goes_between_head_and_body(env) -> None:
    upstream = env.openai()
    models = {"m": upstream.deployment()}
    sluice = env.start(models, sluice={"keys": [key("one", ONE), key("two", TWO)]})
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {ONE}\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with sluice.http() as http:
        http.send(head)
        assert http.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        reload(sluice, env.config(models, {"keys": [key("two", TWO)]}))
        http.send(body)
        answer = http.read_answer()
        assert answer.status == 401 and answer.error["code"] == "invalid_api_key"
    assert not upstream.requests()


# ---------------------------------------------------------------------------------------------- where keys lie


def write_keys(path: Path, keys: list[dict[str, Any]], mode: int = 0o600) -> Path:
    path.write_text(to_yaml(keys))
    path.chmod(mode)
    return path


def test_keys_file(env) -> None:
    path = write_keys(env.directory / "keys.yaml", [key("one", ONE)])
    sluice = env.start(sluice={"keys_file": str(path), "keys": [key("two", TWO)]})
    for text, status in ((ONE, 200), (TWO, 200), ("x", 401)):
        assert sluice.post(CHAT, chat_body(), headers=bearer(text)).status == status
    write_keys(path, [key("three", "slu_three")], mode=0o604)
    sluice.signal(signal.SIGHUP)
    sluice.wait_record(lambda r: "others may read or write it (mode 0604)" in r["message"], "refused")
    assert sluice.post(CHAT, chat_body(), headers=bearer(ONE)).status == 200, "nothing has changed"
    path.chmod(0o640)
    reload(sluice, env.config({"m": mock()}, {"keys_file": str(path)}))
    assert sluice.post(CHAT, chat_body(), headers=bearer(ONE)).status == 401
    assert sluice.post(CHAT, chat_body(), headers=bearer("slu_three")).status == 200


def test_credential(env) -> None:
    credentials = env.directory / "credentials"
    credentials.mkdir(0o700)
    write_keys(credentials / "sluice-keys", [key("one", ONE)])
    sluice = env.start(args=("--credentials-dir", str(credentials)))
    for text, status in ((ONE, 200), (TWO, 401)):
        assert sluice.post(CHAT, chat_body(), headers=bearer(text)).status == status


@pytest.mark.parametrize(
    "ours, says",
    [
        ("keys:\n  - {id: a, sha256: slu_not_a_hash}", ":5:23: sluice.keys[0].sha256"),
        ("keys:", ":4:8: sluice.keys: no key is listed"),
        ("keys_file: /nonexistent", ":4:14: sluice.keys_file: cannot read it"),
    ],
)
def test_bad_keys_refuse_to_start(env, ours: str, says: str) -> None:
    config = PLAIN + "sluice:\n  " + ours.replace("\n", "\n  ") + "\n"
    result = run_sluiced(env.directory, config, "--listen", f"http=tcp:127.0.0.1:{env.port()}")
    assert result.returncode not in (0, 99) and result.returncode > 0
    assert says in result.stderr, result.stderr
    assert "slu_not_a_hash" not in result.stderr


def test_keys_open_the_network(env) -> None:
    """What needs a master key otherwise."""
    port = env.port()
    sluice = env.start(
        sluice={"keys": [key("one", ONE)]}, args=("--listen", f"http=tcp:0.0.0.0:{port}")
    )
    sluice.write_config(env.config({"m": mock()}))
    sluice.signal(signal.SIGHUP)
    sluice.wait_record(lambda r: "sluice.keys cannot both go" in r["message"], "refused")
    assert sluice.post(CHAT, chat_body(), headers=bearer("x")).status == 401


# ---------------------------------------------------------------------------------------------- before the body


@pytest.mark.parametrize(
    "headers, status, code",
    [
        ({"Authorization": "Bearer wrong"}, 401, "invalid_api_key"),
        ({"Authorization": None}, 401, "invalid_api_key"),
        ({"Authorization": f"Bearer {TWO}"}, 401, "invalid_api_key"),  # expired
        ({"Origin": "https://evil.example"}, 403, "forbidden"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "forbidden"),
        ({"Host": "evil.example"}, 421, "host_not_allowed"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    ],
)
@pytest.mark.parametrize("expects", [False, True])
def test_refused_before_the_body(
    env, headers: dict[str, Optional[str]], status: int, code: str, expects: bool
) -> None:
    """The head alone decides; of the megabyte that it promises nothing is waited for, or asked for."""
    upstream = env.openai()
    keys = [key("one", ONE), key("old", TWO, expires=PAST)]
    sluice = env.start({"m": upstream.deployment()}, sluice={"keys": keys})
    fields: dict[str, Optional[str]] = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": "1000000",
        **bearer(ONE),
        **({"Expect": "100-continue"} if expects else {}),
        **headers,
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    with sluice.http() as http:
        http.send("\r\n".join([f"POST {CHAT} HTTP/1.1", *lines, "", ""]))
        answer = http.read_answer()
        assert (answer.status, answer.error["code"]) == (status, code)
        assert answer.header("connection") == "close"
        http.wait_closed()
    assert not upstream.requests()

"""Background health checks: servers are asked in the background, never a model; /health shows it, calls go first to who answered."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any, Optional

import pytest
from test_config import reload
from test_messages import events, wait_event
from testenv import cli
from testenv.bare import Activated
from testenv.daemon import Daemon, mock, model, to_yaml
from testenv.http import Http, chat_body
from testenv.models import OllamaServer
from testenv.upstream import (
    DeafPort,
    Ollama,
    OpenAI,
    UnverifiedServer,
    Upstream,
    begin,
    endless,
    fin,
    raw,
    rst,
    stall,
    whole,
)
from testenv.waiting import eventually, is_readable

CHAT = "/v1/chat/completions"
OFTEN = {"background_health_checks": True, "health_check_interval": 1}
ONCE = {"background_health_checks": True}  # at the start, and after 300 s

pytestmark = pytest.mark.timeout(60)


def on_check(server: Upstream, *steps: Any) -> None:
    server.on_version(*steps)
    server.on_models(*steps)


def checks(server: Upstream) -> list[Any]:
    return server.requests("version", "models")


def endpoint(sluice: Daemon, name: str) -> dict[str, Any]:
    """What /health says of the one whose model ends so; "healthy" beside it."""
    health = sluice.get("/health").json
    assert health["healthy_count"] == len(health["healthy_endpoints"])
    assert health["unhealthy_count"] == len(health["unhealthy_endpoints"])
    for key in ("healthy_endpoints", "unhealthy_endpoints"):
        for found in health[key]:
            if found["model"].endswith("/" + name):
                return {**found, "healthy": key == "healthy_endpoints"}
    raise AssertionError((name, health))


def wait_checked(sluice: Daemon, name: str, healthy: bool) -> dict[str, Any]:
    def is_so() -> Optional[dict[str, Any]]:
        found = endpoint(sluice, name)
        return found if "health_checked_at" in found and found["healthy"] == healthy else None

    return eventually(is_so, f"a check has shown that {name} is {'' if healthy else 'not '}well")


def limited(config: dict[str, Any], seconds: float = 0.5) -> dict[str, Any]:
    """Checks that wait no longer than that."""
    for entry in config["model_list"]:
        entry["model_info"] = {"health_check_timeout": seconds}
    return config


def start(env: Any, models: dict[str, Any], general: dict[str, Any], **kwargs: Any) -> Daemon:
    return env.start(to_yaml(limited(env.config(models, general=general, **kwargs))))


def expect_harmless(*servers: Upstream) -> None:
    """No check asks for anything that a model would have to answer."""
    for server in servers:
        assert {e.method for e in server.exchanges} <= {"GET"}, server.exchanges
        assert {e.path for e in server.exchanges} <= {"/api/version", "/v1/models"}


# ---------------------------------------------------------------------------------------------- when


@pytest.mark.parametrize("general", [{}, {"background_health_checks": False}, {"health_check_interval": 1}])
def test_nothing_is_asked_unless_it_is_wanted(env, general: dict[str, Any]) -> None:
    """And an idle daemon sleeps."""
    servers = [env.openai(), env.ollama()]
    sluice = env.start({f"m{i}": s.deployment() for i, s in enumerate(servers)}, general=general)

    def n_switches() -> int:
        status = Path(f"/proc/{sluice.pid}/status").read_text()
        return int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)[0])

    with sluice.http() as http:
        assert http.request("GET", "/health").json["healthy_count"] == 2
        before = n_switches()
        assert not is_readable(http.sock, 2.5), "nothing to wait for"
        assert n_switches() - before <= 2, "sluiced wakes up although nothing is checked"
    assert not any(s.exchanges or s.connections for s in servers)
    assert "health_checked_at" not in endpoint(sluice, "m1")


def test_a_server_goes_and_comes_back(env, upstream) -> None:
    """Seen without any call; each told once; nothing that a model answers is sent, and nothing is counted."""
    port, dialect = env.port(), type(upstream.dialect)
    server = Upstream(dialect(), port=port)
    sluice = start(env, {"m": server.deployment(), "other": mock()}, OFTEN)
    at = wait_checked(sluice, "m1", True)["health_checked_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", at)
    server.wait_request(3, "version", "models")
    eventually(lambda: endpoint(sluice, "m1")["health_checked_at"] > at, "the time goes on")
    expect_harmless(server)
    server.close()
    bad = wait_checked(sluice, "m1", False)
    assert bad["error"].startswith("the model server does not answer: ")
    down = wait_event(sluice, "upstream_down")
    assert (down["SLUICE_SERVER"], down["SLUICE_CODE"]) == (server.api_base, "upstream_unreachable")
    server = env.closing(Upstream(dialect(), port=port))
    assert "error" not in wait_checked(sluice, "m1", True)
    wait_event(sluice, "upstream_up")
    assert len(events(sluice, "upstream_down")) == len(events(sluice, "upstream_up")) == 1
    expect_harmless(server)
    assert sluice.status().calls_completed == 0 and not sluice.call_records
    assert "health_checked_at" not in endpoint(sluice, "mock")


def test_one_check_for_all_that_speak_alike(env, upstream) -> None:
    params = {
        "a": upstream.deployment("a", api_key="one"),
        "b": [upstream.deployment("b", api_key="one"), upstream.deployment("b2", api_key="one")],
        "c": upstream.deployment("c", api_key="two", extra_headers={"x-tenant": "t"}),
    }
    sluice = env.start(params, general=ONCE)
    for name in ("a", "b", "b2", "c"):
        wait_checked(sluice, name, True)
    upstream.settle()
    assert sorted(e.headers["authorization"] for e in checks(upstream)) == ["Bearer one", "Bearer two"]
    (second,) = [e for e in checks(upstream) if "x-tenant" in e.headers]
    assert second.headers["x-tenant"] == "t" and second.headers["authorization"] == "Bearer two"
    expect_harmless(upstream)


def test_who_is_not_to_be_checked(env) -> None:
    servers = {name: env.openai() for name in ("asked", "off", "unlisted")}
    entries = [model(name, server.deployment(name)) for name, server in servers.items()]
    entries[1]["model_info"] = {"disable_background_health_check": True}
    general = {**ONCE, "background_health_check_model_groups": ["asked", "off"]}
    config = {**env.config({}, general=general), "model_list": entries}
    sluice = env.start(to_yaml(config))
    wait_checked(sluice, "asked", True)
    for name in ("off", "unlisted"):
        servers[name].settle()
        assert not servers[name].exchanges and "health_checked_at" not in endpoint(sluice, name)


# ---------------------------------------------------------------------------------------------- what an answer says


ALIVE = {
    "not found": [whole(404, b"404 page not found")],
    "not allowed": [whole(405, b"")],
    "not implemented": [whole(501, {"error": "no"})],
    "busy": [whole(429, {"error": "slow down"}, {"Retry-After": "9"})],
    "elsewhere": [whole(302, b"", {"Location": "http://127.0.0.1:1/"})],
    "garbage inside": [whole(200, b"\x00{[")],
    "nothing": [whole(200, b"")],
    "huge": [endless("x" * 60000, 64 << 20)],
    "half": [raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), stall()],
    "cut": [raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), fin()],
}


def scripted(steps: list[Any], server: Upstream) -> None:
    """endless() speaks as answers of models do: here it is text."""
    server.dialect.piece = lambda ex, piece: piece.encode()  # type: ignore[method-assign]
    on_check(server, *steps)


@pytest.mark.parametrize("steps", ALIVE.values(), ids=ALIVE)
def test_who_answers_is_alive(env, upstream, steps: list[Any]) -> None:
    scripted(steps, upstream)
    sluice = start(env, {"m": upstream.deployment()}, ONCE)
    wait_checked(sluice, "m1", True)
    upstream.settle()
    (asked,) = checks(upstream)
    assert asked.sent_bytes < 8 << 20, "an answer without an end is not read"
    assert not events(sluice, "upstream_down")


FAILING = {
    "loading": ([whole(503, {"error": "Loading model"})], "answers with status 503"),
    "broken": ([whole(500, {"error": "no"})], "answers with status 500"),
    "hangs": ([stall()], "no answer to a health check in time"),
    "says no more": ([begin(), stall()], "no answer to a health check in time"),
    "closes": ([fin()], "does not answer"),
    "resets": ([rst()], "does not answer"),
    "no http": ([raw(b"\x00\x01garbage\r\n\r\n"), fin()], "does not answer"),
}


@pytest.mark.parametrize("steps, says", FAILING.values(), ids=FAILING)
def test_calls_are_led_past_who_fails(env, upstream, steps: list[Any], says: str) -> None:
    """Without the attempt that would have found it out; and back to it, once a check has found it well."""
    on_check(upstream, *steps)
    other = env.openai()
    models = {"m": [upstream.deployment(order=1), other.deployment("spare", order=2)]}
    sluice = start(env, models, OFTEN)
    assert says in wait_checked(sluice, "m1", False)["error"]
    assert sluice.post(CHAT, chat_body("m")).status == 200
    assert len(other.requests()) == 1 and not upstream.requests()
    assert sluice.wait_call_records(1)[0]["SLUICE_ATTEMPTS"] == "1"
    expect_harmless(upstream)
    told = cli.run(sluice, "explain", "m").stdout.decode()
    assert told.count("stands by: the model server ") == 1 and told.count("may take the call") == 1
    on_check(upstream)
    wait_checked(sluice, "m1", True)
    assert sluice.post(CHAT, chat_body("m")).status == 200
    assert len(other.requests()) == len(upstream.requests()) == 1


def test_nobody_waits_for_a_server_that_cannot_be_reached(env) -> None:
    """Its connection attempts are neither taken nor refused: each call would have waited for the connect limit."""
    deaf, spare = env.closing(DeafPort()), env.openai()
    lost = {"model": "openai/lost", "api_base": deaf.url + "/v1", "api_key": "k", "order": 1}
    sluice = start(env, {"m": [lost, spare.deployment("spare", order=2)]}, OFTEN)
    wait_checked(sluice, "lost", False)
    for _ in range(3):
        assert sluice.post(CHAT, chat_body("m")).status == 200
    assert {r["SLUICE_ATTEMPTS"] for r in sluice.wait_call_records(3)} == {"1"}


def test_where_there_is_nobody_else_it_is_asked(env, upstream) -> None:
    """A check says nothing against a call: it is answered, and its answer is no longer doubted."""
    on_check(upstream, fin())
    sluice = start(env, {"m": upstream.deployment()}, ONCE)
    wait_checked(sluice, "m1", False)
    assert sluice.post(CHAT, chat_body("m")).status == 200
    assert endpoint(sluice, "m1")["healthy"]


def test_a_pause_ends_when_the_server_is_back(env, upstream) -> None:
    """A cooldown that it got for being away; one for other failures goes on."""
    port, broken = env.port(), env.openai()
    broken.always(whole(500, {"error": {"message": "no"}}))
    params = upstream.deployment(api_base=upstream.api_base.replace(str(upstream.port), str(port)))
    router = {"num_retries": 1, "allowed_fails": 0, "cooldown_time": 600}
    models = {"m": [params, broken.deployment("spare")]}
    sluice = start(env, models, OFTEN, router=router)
    wait_checked(sluice, "m1", False)
    assert sluice.post(CHAT, chat_body("m")).status >= 500
    assert len(broken.requests()) == 1
    assert sluice.post(CHAT, chat_body("m")).status == 429, "both are left alone"
    server = env.closing(Upstream(type(upstream.dialect)(), port=port))
    wait_checked(sluice, "m1", True)
    assert sluice.post(CHAT, chat_body("m")).status == 200
    assert len(server.requests()) == len(broken.requests()) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_and_calls_are_sent(env, status: int) -> None:
    """A list of models may want more of a key than calls do."""
    server, other = env.openai(), env.openai()
    on_check(server, whole(status, {"error": {"message": "Incorrect API key"}}))
    models = {"m": [server.deployment(order=1), other.deployment("spare", order=2)]}
    sluice = start(env, models, OFTEN)
    bad = wait_checked(sluice, "m1", False)
    assert bad["error"] == f"the model server refuses the key (status {status})"
    server.wait_request(3, "models")
    assert sluice.post(CHAT, chat_body("m")).status == 200
    assert len(server.requests()) == 1 and not other.requests()
    assert sluice.log_text.count("refuses the key") == 1
    on_check(server)
    wait_checked(sluice, "m1", True)


def test_a_server_that_cannot_prove_its_name(env) -> None:
    server = env.closing(UnverifiedServer(env.directory))
    params = {"model": "openai/m1", "api_base": server.url + "/v1", "api_key": "sk-secret"}
    sluice = start(env, {"m": params}, ONCE)
    assert "certificate" in wait_checked(sluice, "m1", False)["error"]
    assert wait_event(sluice, "upstream_down")["SLUICE_CODE"] == "upstream_untrusted"
    assert server.received == b"", "the key is not for it"


# ---------------------------------------------------------------------------------------------- bounds


def assert_one_after_another(found: list[Any], limit_sec: float) -> None:
    """Each began when the time of the one before was up. Half of it is asked for: two threads here note what happens in one moment."""
    found = sorted(found, key=lambda e: e.received_at)
    for before, after in zip(found, found[1:]):
        eventually(before.peer_left.is_set, "its connection is closed")
        assert after.received_at - before.received_at > limit_sec / 2


def test_checks_of_a_server_do_not_overlap(env, upstream) -> None:
    on_check(upstream, stall())
    config = limited(env.config({"m": upstream.deployment()}, general=OFTEN), 1.5)
    sluice = env.start(to_yaml(config))
    upstream.wait_request(3, "version", "models")
    assert_one_after_another(checks(upstream), 1.5)
    sluice.stop()  # in the middle of one: nothing is left
    eventually(checks(upstream)[-1].peer_left.is_set, "its connection is closed")


def test_not_all_servers_at_a_time(env) -> None:
    servers = [env.openai() for _ in range(3)]
    for server in servers:
        on_check(server, stall())
    general = {**ONCE, "health_check_concurrency": 1}
    config = env.config({f"m{i}": s.deployment(f"u{i}") for i, s in enumerate(servers)}, general=general)
    sluice = env.start(to_yaml(limited(config, 1.0)))
    for i in range(3):
        wait_checked(sluice, f"u{i}", False)
    assert_one_after_another([checks(s)[0] for s in servers], 1.0)


def test_reload_switches_it_on_and_off(env) -> None:
    server = env.openai()
    on = limited(env.config({"m": server.deployment()}, general=OFTEN))
    off = limited(env.config({"m": server.deployment()}))
    sluice = env.start(to_yaml(off))
    n_fds = sluice.n_fds()
    reload(sluice, to_yaml(on))
    wait_checked(sluice, "m1", True)
    on_check(server, stall())
    server.wait_request(len(checks(server)) + 1, "models")
    reload(sluice, to_yaml(off))
    eventually(checks(server)[-1].peer_left.is_set, "what was asked is given up")
    assert "health_checked_at" not in endpoint(sluice, "m1") and endpoint(sluice, "m1")["healthy"]
    eventually(lambda: sluice.n_fds() <= n_fds, "no descriptor is left")
    on_check(server)
    n = len(checks(server))
    assert sluice.post(CHAT, chat_body("m")).status == 200
    server.settle()
    assert len(checks(server)) == n
    rarely = limited(env.config({"m": server.deployment()}, general=ONCE))
    reload(sluice, to_yaml(rarely))
    wait_checked(sluice, "m1", True)
    reload(sluice, to_yaml(on))  # five minutes are not waited for
    server.wait_request(n + 3, "models")
    reload(sluice, env.config({"other": mock()}, general=OFTEN))
    server.settle()
    n = len(checks(server))
    assert [e["model"] for e in sluice.get("/health").json["healthy_endpoints"]] == ["openai/mock"]
    assert sluice.post(CHAT, chat_body("other")).status == 200
    assert len(checks(server)) == n, "whoever is no longer served by is not asked"


def test_an_idle_daemon_leaves_all_the_same(env) -> None:
    """In the middle of a check that is not answered."""
    server = env.ollama()
    on_check(server, stall())
    path = env.directory / "config.yaml"
    config = env.config({"m": server.deployment()}, sluice={"idle_exit": "300ms"}, general=OFTEN)
    path.write_text(to_yaml(config))
    service = env.closing(Activated(env.directory, "--config", str(path)))
    with Http(service.path) as http:
        assert http.request("GET", "/health", headers={"connection": "close"}).status == 200
        server.wait_request(1, "version")
    eventually(lambda: service.statuses == [0], "it leaves")
    eventually(checks(server)[0].peer_left.is_set, "its connection is closed")


def test_a_real_server(env, ollama_server: OllamaServer) -> None:
    """No model is loaded by it, and it is seen to go and to come back."""
    params = {"model": "ollama_chat/script", "api_base": ollama_server.url}
    sluice = env.start({"m": params}, general=OFTEN)
    wait_checked(sluice, "script", True)
    assert not sluice.status().deployments[0].loaded
    ollama_server.stop()
    wait_checked(sluice, "script", False)
    ollama_server.start()
    wait_checked(sluice, "script", True)
    assert sluice.post(CHAT, chat_body("m")).status == 200

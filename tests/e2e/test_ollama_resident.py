"""Which of several Ollama servers has a model in memory: their own lists are a hint, asked for beside the calls that need it."""

from __future__ import annotations

from typing import Any

import pytest
from testenv.daemon import Daemon
from testenv.http import chat_body
from testenv.models import OllamaServer
from testenv.upstream import Ollama, Upstream, fin, stall, text, whole
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"

pytestmark = pytest.mark.timeout(60)


def two(one: Any, other: Any) -> dict[str, Any]:
    """Group m, and group first: a call of it has both servers asked, and says nothing of m."""
    return {
        group: [
            {"model": f"ollama_chat/{model}", "api_base": server.url} for server in (one, other)
        ]
        for group, model in (("m", "um"), ("first", "tiny"))
    }


def loaded(sluice: Daemon, server: Any, model: str = "um") -> bool:
    with sluice.rpc() as rpc:
        (found,) = [
            d.loaded
            for d in rpc.status().deployments
            if (d.upstream_model, d.api_base) == (model, server.url)
        ]
    return bool(found)


def ask(sluice: Daemon, model: str, n: int = 1) -> None:
    for _ in range(n):
        answer = sluice.post(CHAT, chat_body(model))
        assert answer.status == 200, answer


def start_with(env, warm: Any) -> tuple[Daemon, Upstream]:
    """The second server, which has nothing."""
    cold = env.ollama()
    sluice = env.start(two(cold, warm))
    ask(sluice, "first")
    return sluice, cold


def test_the_one_that_has_it_is_chosen(env) -> None:
    """Somebody else has loaded it, or sluice itself before it was started anew."""
    warm = env.ollama()
    warm.loaded.add("um")
    sluice, cold = start_with(env, warm)
    eventually(lambda: loaded(sluice, warm), "the list has been read")
    assert not loaded(sluice, cold)
    ask(sluice, "m", 10)
    assert [ex.json["model"] for ex in warm.requests("chat")].count("um") == 10
    assert "um" not in [ex.json["model"] for ex in cold.requests("chat", "load")]


def test_it_is_still_loaded_by_us(env) -> None:
    """A list is no reason to leave out a load: options are pinned by it, and it may be wrong."""
    warm = env.ollama()
    warm.loaded.add("um")
    sluice, _ = start_with(env, warm)
    eventually(lambda: loaded(sluice, warm), "the list has been read")
    ask(sluice, "m")
    assert "um" in [ex.json["model"] for ex in warm.requests("load")]


def test_nobody_is_asked_without_need(env) -> None:
    """Not where there is no choice, not by who looks, and not twice within 30 s unless something was loaded."""
    one, other = env.ollama(), env.ollama()
    sluice = env.start({**two(one, other), "alone": one.deployment("alone")})
    ask(sluice, "alone", 2)
    assert not loaded(sluice, one) and not loaded(sluice, other)
    assert not one.requests("list") and not other.requests("list")
    ask(sluice, "first", 20)
    for server in (one, other):
        server.wait_request(1, "list")
        server.settle()
        loads = len(server.requests("load"))
        assert len(server.requests("list")) <= 1 + loads


LISTED = {"name": "UM:latest", "model": "um:latest"}


@pytest.mark.parametrize(
    "members",
    [{"expires_at": "2020-01-01T00:00:00Z"}, {"size": 0, "size_vram": 0}, {"size": "x"}, {}],
)
def test_what_is_not_relied_on(env, members: dict[str, Any]) -> None:
    """expires_at of a busy model lies in the past; sizes are guesses."""
    warm = env.ollama()
    warm.on_list(whole(200, {"models": [{"name": "else:7b"}, {**LISTED, **members}]}))
    sluice, _ = start_with(env, warm)
    eventually(lambda: loaded(sluice, warm), "the list has been read")


def test_a_dead_runner_is_listed(env) -> None:
    """Until somebody asks for its model. What a call has met counts more than the list."""
    warm = env.ollama()
    warm.on_list(whole(200, {"models": [{"name": "um:latest"}, {"name": "tiny:latest"}]}))
    sluice, _ = start_with(env, warm)
    eventually(lambda: loaded(sluice, warm), "the list has been read")
    warm.next(whole(500, {"error": "model runner has unexpectedly stopped"}))
    assert sluice.post(CHAT, chat_body("m")).status == 502
    assert warm.requests("chat")[-1].json["model"] == "um"
    warm.settle()
    assert not loaded(sluice, warm)
    assert loaded(sluice, warm, "tiny"), "that is news of one model only"


def test_a_dead_runner_stays_listed(env) -> None:
    """Also on the next list: that is no news."""
    warm = env.ollama()
    models = [{"name": "um:latest"}, {"name": "tiny:latest"}]
    warm.on_list(whole(200, {"models": models}))
    cold = env.ollama()
    more = {name: warm.deployment(name) for name in ("third", "new")}
    sluice = env.start({**two(cold, warm), **more})
    ask(sluice, "first")
    eventually(lambda: loaded(sluice, warm), "the list has been read")
    warm.next(whole(500, {"error": "model runner has unexpectedly stopped"}))
    assert sluice.post(CHAT, chat_body("m")).status == 502
    warm.on_list(whole(200, {"models": [*models, {"name": "new:latest"}]}))
    ask(sluice, "third")  # a load: the list is asked for again
    eventually(lambda: loaded(sluice, warm, "new"), "the new list has been read")
    assert not loaded(sluice, warm)


def test_not_being_listed_proves_nothing(env) -> None:
    """Models that share their weights are listed under the name that came first."""
    one, other = env.ollama(), env.ollama()
    for server in (one, other):
        server.on_list(whole(200, {"models": []}))
    sluice = env.start(two(one, other))
    ask(sluice, "m")
    (used,) = [s for s in (one, other) if s.requests("chat")]
    used.wait_request(1, "list")
    used.settle()
    assert loaded(sluice, used)
    ask(sluice, "m", 5)
    assert len(used.requests("chat")) == 6 and len(used.requests("load")) == 1


@pytest.mark.parametrize(
    "steps",
    [
        [stall()],
        [whole(200, b"<html>")],
        [whole(200, {"models": 7})],
        [whole(200, {"models": [{"name": "x" * 300_000}]})],
        [whole(500, {"error": "no"})],
        [whole(404, b"404 page not found")],
    ],
    ids=["hangs", "html", "no list", "too large", "error", "not there"],
)
def test_a_server_that_does_not_say(env, steps: list[Any]) -> None:
    bad = env.ollama()
    bad.on_list(*steps)
    sluice, cold = start_with(env, bad)
    bad.wait_request(1, "list")
    ask(sluice, "first", 10)
    assert not loaded(sluice, bad) and not loaded(sluice, cold)
    assert not [r for r in sluice.records if r.get("SLUICE_EVENT") == "server_down"]


def test_a_server_that_was_away_has_nothing(env) -> None:
    port = env.port()
    warm = Upstream(Ollama(), port=port)
    warm.loaded |= {"um", "other"}
    cold = env.ollama()
    models = two(cold, warm)
    models["other"] = warm.deployment("other")
    sluice = env.start(models)
    ask(sluice, "first")
    eventually(lambda: loaded(sluice, warm), "the list has been read")
    assert loaded(sluice, warm, "other")
    warm.close()
    down = sluice.post(CHAT, chat_body("m"))
    assert down.status == 502 and down.error["code"] == "upstream_unreachable", down
    assert not loaded(sluice, warm) and not loaded(sluice, warm, "other")


def test_a_wildcard_looks_for_the_model_that_is_asked_for(env) -> None:
    warm, cold = env.ollama(), env.ollama()
    warm.loaded.add("um")
    models = two(cold, warm)
    models["local/*"] = [{"model": "ollama_chat/*", "api_base": s.url} for s in (cold, warm)]
    sluice = env.start(models)
    ask(sluice, "first")
    eventually(lambda: loaded(sluice, warm), "the list has been read")
    ask(sluice, "local/um", 10)
    assert [ex.json["model"] for ex in warm.requests("chat")].count("um") == 10
    assert not loaded(sluice, warm, "*"), "a wildcard itself is no model"


def test_who_breaks_off_may_be_another_one_next_time(env) -> None:
    """Another model that was loaded there is loaded again: what answers then may be a new process."""
    one = env.ollama()
    sluice = env.start({"m": one.deployment("um"), "other": one.deployment("other")})
    ask(sluice, "other", 2)
    assert [ex.json["model"] for ex in one.requests("load")] == ["other"]
    one.next(text("Hel"), fin())
    assert sluice.post(CHAT, chat_body("m")).status == 502
    ask(sluice, "other")
    assert [ex.json["model"] for ex in one.requests("load")] == ["other", "um", "other"]


def test_a_real_server(env, ollama_server: OllamaServer) -> None:
    cold = env.ollama()
    ollama_server.post("/api/generate", {"model": "script", "stream": False})
    models = {
        "m": [{"model": "ollama_chat/script", "api_base": s.url} for s in (cold, ollama_server)],
        "first": [{"model": "ollama_chat/tiny", "api_base": s.url} for s in (cold, ollama_server)],
    }
    sluice = env.start(models)
    ask(sluice, "first")
    eventually(lambda: loaded(sluice, ollama_server, "script"), "the list has been read")
    assert not loaded(sluice, cold, "script")
    ask(sluice, "m", 3)
    assert "script" not in [ex.json["model"] for ex in cold.requests("chat", "load")]

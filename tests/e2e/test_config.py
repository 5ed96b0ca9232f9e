"""The configuration file: what is said about a wrong one, and that a running daemon takes a good one and keeps its old one else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import Any

import pytest
from testenv import paths
from testenv.daemon import SANITIZER_ENV, SANITIZER_REPORT, Daemon, mock, to_yaml
from testenv.http import chat_body, contents
from testenv.rules import check_complete
from testenv.upstream import Gate, end, stall, text, wait_for
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"

GOOD = """\
model_list:
  - model_name: m
    litellm_params:
      model: ollama/codegemma:2b
      api_base: http://localhost:11434
"""


def check_config(env: Any, config: str, **variables: str) -> subprocess.CompletedProcess:
    path = env.directory / "check.yaml"
    path.write_bytes(config.encode("utf-8", "surrogateescape"))
    result = subprocess.run(
        [str(paths.SLUICED), "--check-config", str(path)],
        capture_output=True,
        text=True,
        timeout=10,
        env={**os.environ, **SANITIZER_ENV, **variables},
    )
    assert not SANITIZER_REPORT.search(result.stderr), result.stderr
    assert result.returncode >= 0, f"killed by signal {-result.returncode}"
    return result


def finding(result: subprocess.CompletedProcess, line: int, column: int) -> str:
    """The finding at that place, as FILE:LINE:COLUMN: kind: path: text."""
    said = result.stdout + result.stderr
    match = re.search(rf"^\S*check\.yaml:{line}:{column}: (.*)$", said, re.M)
    assert match, said
    return match.group(1)


# ---------------------------------------------------------------------------------------------- --check-config


def test_good_file(env) -> None:
    result = check_config(env, GOOD)
    assert result.returncode == 0, result.stderr + result.stdout


BAD: dict[str, tuple[str, int, int, str]] = {
    "bad YAML": ("model_list: [\n", 2, 1, "YAML"),
    "tab": ("model_list:\n\t- x\n", 2, 1, "tab"),
    "bad indentation": ("model_list:\n  - a: 1\n   b: 2\n", 3, 4, "YAML"),
    "duplicate key": (GOOD + "model_list: []\n", 6, 1, "twice"),
    "duplicate key inside": (
        GOOD.replace("      model:", "      model: x\n      model:"),
        5,
        7,
        "twice",
    ),
    "alias bomb": (
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\nmodel_list: []\n",
        1,
        4,
        "anchor",
    ),
    "merge key": (GOOD + "general_settings:\n  <<: {a: 1}\n", 7, 3, "<<"),
    "tag": (GOOD + "general_settings: !python/object:os.system {}\n", 6, 19, "tag"),
    "two documents": (GOOD + "---\n" + GOOD, 6, 1, "document"),
    "model_list not a list": ("model_list: 5\n", 1, 13, "list"),
    "entry not a map": ("model_list:\n  - hello\n", 2, 5, "map"),
    "model missing": (
        "model_list:\n  - model_name: m\n    litellm_params:\n      api_base: http://x\n",
        4,
        7,
        "model",
    ),
    "sluice: unknown key": (GOOD + "sluice:\n  slotz: 2\n", 7, 3, "slots"),
    "sluice: unknown key inside": (
        GOOD + "sluice:\n  timeouts:\n    first_bite: 2s\n",
        8,
        5,
        "first_byte",
    ),
    "duration without unit": (GOOD + "sluice:\n  timeouts:\n    gap: 30\n", 8, 10, "s"),
    "size without unit": (GOOD + "sluice:\n  limits:\n    body: 1000000\n", 8, 11, "MiB"),
    "size nonsense": (GOOD + "sluice:\n  limits:\n    body: many\n", 8, 11, "MiB"),
    "slots zero": (GOOD + "sluice:\n  slots: 0\n", 7, 10, ""),
    "wait of an unknown class": (
        GOOD + "sluice:\n  queue:\n    wait:\n      royal: 1s\n",
        9,
        7,
        "unknown key",
    ),
    "refused restriction": (GOOD + "general_settings:\n  enable_jwt_auth: true\n", 7, 3, ""),
    "unresolved variable": (
        GOOD + "      api_key: os.environ/SLUICE_TEST_NOT_SET\n",
        6,
        16,
        "SLUICE_TEST_NOT_SET",
    ),
    "unresolved master key": (
        GOOD + "general_settings:\n  master_key: os.environ/SLUICE_TEST_NOT_SET\n",
        7,
        15,
        "SLUICE_TEST_NOT_SET",
    ),
    "unknown provider": (GOOD.replace("ollama/", "bedrock/"), 4, 14, "bedrock"),
    "api_base nonsense": (GOOD.replace("http://localhost:11434", "localhost"), 5, 17, ""),
    "not UTF-8": ("model_list: \udcff\n", 1, 13, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file(env, name: str) -> None:
    config, line, column, word = BAD[name]
    result = check_config(env, config)
    assert result.returncode not in (0, 98, 99), result.stdout + result.stderr
    assert word.lower() in finding(result, line, column).lower()


UNKNOWN: dict[str, tuple[str, int, int, str]] = {
    "litellm_params": (GOOD.replace("api_base", "api_bas"), 5, 7, "api_base"),
    "top level": (GOOD + "modle_list: []\n", 6, 1, "model_list"),
    "general_settings": (GOOD + "general_settings:\n  master_kei: x\n", 7, 3, "master_key"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_key_gets_a_suggestion(env, name: str) -> None:
    config, line, column, word = UNKNOWN[name]
    result = check_config(env, config)
    assert result.returncode != 0
    assert word in finding(result, line, column)


def test_known_keys_without_effect_are_reported_and_fine(env) -> None:
    config = (
        GOOD
        + "      input_cost_per_token: 0\nrouter_settings:\n  redis_host: h\n  timeout: 600\n"
    )
    result = check_config(env, config)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ignored" in finding(result, 6, 7)
    assert "ignored" in finding(result, 8, 3)
    assert "approximated" in finding(result, 9, 3)
    assert re.search(r"; \d+ exact, 1 approximated, 2 ignored, 0 unsupported, 0 errors$", result.stdout)


def test_what_is_not_served_is_no_success(env) -> None:
    result = check_config(env, GOOD + "guardrails: [{guardrail_name: g}]\n")
    assert result.returncode == 1
    assert "unsupported" in finding(result, 6, 1)
    assert "1 unsupported, 0 errors" in result.stdout
    result = check_config(env, GOOD + "guardrails: []\nmcp_servers:\n")
    assert result.returncode == 0, "what is off is asked of nobody"
    assert "exact" in finding(result, 6, 1) and "exact" in finding(result, 7, 1)


def test_routing_keys_and_what_is_wrong_with_them(env) -> None:
    config = (
        GOOD
        + "router_settings:\n"
        + "  routing_strategy: least-bussy\n"
        + "  fallbacks: [m]\n"
        + "  context_window_fallbacks: [{m: [nobody]}]\n"
        + "  num_retries: many\n"
    )
    result = check_config(env, config)
    assert result.returncode == 1
    assert "least-busy" in finding(result, 7, 21)
    assert "default_fallbacks" in finding(result, 8, 15)
    assert "nobody" in finding(result, 9, 35)
    assert "whole number" in finding(result, 10, 16)
    assert "4 errors" in result.stdout


def test_included_files(env) -> None:
    """Findings name the file that they are about; names are relative to the including file."""
    models = env.directory / "models"
    models.mkdir()
    (models / "local.yaml").write_text(
        "model_list:\n  - {model_name: n, litellm_params: {model: zorg/n}}\n"
    )
    config = "include: [models/local.yaml]\n" + GOOD
    result = check_config(env, config)
    assert result.returncode == 1
    said = re.search(r"^(\S*):2:45: error: (.*)$", result.stdout, re.M)
    assert said and said.group(1) == str(models / "local.yaml"), result.stdout
    assert "2 deployments" in result.stdout
    (models / "local.yaml").write_text(
        "model_list:\n  - {model_name: n, litellm_params: {model: ollama/n}}\n"
    )
    assert check_config(env, config).returncode == 0
    (models / "local.yaml").unlink()
    assert "No such file" in finding(check_config(env, config), 1, 11)


def test_large_and_deep_files(env) -> None:
    for config in (
        "a: " + "[" * 100_000,
        "- " * 100_000 + "x",
        "model_list:\n" + GOOD.split("\n", 1)[1] * 300,
        "#" * (2 << 20) + "\n" + GOOD,
        "x: " + "y" * (900 << 10) + "\n",
    ):
        result = check_config(env, config)
        assert result.returncode not in (0, 98, 99)
        assert "check.yaml" in result.stdout + result.stderr


def test_missing_file(env) -> None:
    result = subprocess.run(
        [str(paths.SLUICED), "--check-config", str(env.directory / "nope.yaml")],
        capture_output=True,
        text=True,
    )
    assert result.returncode not in (0, 98, 99) and "nope.yaml" in result.stderr


def test_secrets_are_not_printed(env) -> None:
    config = (
        GOOD
        + "      api_key: [sk-secret-0123456789]\ngeneral_settings:\n  master_key: {sk-secret-0123456789: 1}\n"
    )
    result = check_config(env, config)
    assert result.returncode != 0
    assert "sk-secret" not in result.stdout + result.stderr
    good = GOOD + "      api_key: sk-secret-0123456789\n"
    result = check_config(env, good)
    assert result.returncode == 0
    assert "sk-secret" not in result.stdout + result.stderr


def test_shipped_configuration(env) -> None:
    """config/sluice.yaml, as it is delivered, is good; so are the examples."""
    files = [
        paths.SOURCE / "config" / "sluice.yaml",
        *sorted((paths.SOURCE / "config" / "examples").glob("*.y*ml")),
    ]
    assert files[0].exists()
    for path in files:
        variables = dict.fromkeys(re.findall(r"os\.environ/(\w+)", path.read_text()), "x")
        result = subprocess.run(
            [str(paths.SLUICED), "--check-config", str(path)],
            capture_output=True,
            text=True,
            env={**os.environ, **SANITIZER_ENV, **variables},
        )
        assert result.returncode == 0, (path, result.stdout, result.stderr)


# ---------------------------------------------------------------------------------------------- at start


def test_deployment_with_unresolved_variable_is_off(env) -> None:
    upstream = env.openai()
    bad = upstream.deployment(api_key="os.environ/SLUICE_TEST_NOT_SET")
    sluice = env.start(
        {"off": bad, "half": [bad, upstream.deployment()], "on": upstream.deployment()}
    )
    answer = sluice.post(CHAT, chat_body("off"))
    assert answer.status == 503 and answer.error["code"] == "deployment_misconfigured"
    assert answer.header("x-should-retry") == "false"
    for name in ("half", "half", "on"):
        assert sluice.post(CHAT, chat_body(name)).status == 200
    assert "SLUICE_TEST_NOT_SET" in sluice.log_text


def test_environment_variables(env) -> None:
    upstream = env.openai()
    params = upstream.deployment(
        api_base="os.environ/SLUICE_TEST_BASE", api_key="os.environ/SLUICE_TEST_KEY"
    )
    sluice = env.start(
        {"m": params},
        env={"SLUICE_TEST_BASE": upstream.api_base, "SLUICE_TEST_KEY": "sk-from-the-environment"},
    )
    assert sluice.post(CHAT, chat_body()).status == 200
    assert upstream.wait_request().headers["authorization"] == "Bearer sk-from-the-environment"


def test_findings_are_logged_at_start(env) -> None:
    config = env.config({"m": mock()})
    config["router_settings"] = {"model_priorities": {"m": 1}}
    sluice = env.start(to_yaml(config))
    sluice.wait_record(lambda r: "model_priorities" in str(r), "that the key is named in the log")


# ---------------------------------------------------------------------------------------------- reload


def generation(sluice: Daemon) -> int:
    return sluice.status().config_generation


def reload(sluice: Daemon, config: Any) -> None:
    before = generation(sluice)
    sluice.write_config(config)
    sluice.signal(signal.SIGHUP)
    eventually(lambda: generation(sluice) == before + 1, "the new configuration is taken")


def models(sluice: Daemon) -> list[str]:
    return [m["id"] for m in sluice.get("/v1/models").json["data"]]


def test_reload_takes_a_good_file(env) -> None:
    sluice = env.start({"old": mock("old"), "both": mock("first")})
    assert generation(sluice) == 1
    reload(sluice, env.config({"both": mock("second"), "new": mock("new")}))
    assert models(sluice) == ["both", "new"]
    assert sluice.post(CHAT, chat_body("old")).status == 404
    for name, said in (("both", "second"), ("new", "new")):
        answer = sluice.post(CHAT, chat_body(name))
        assert answer.json["choices"][0]["message"]["content"] == said


def test_reload_reads_included_files_again(env) -> None:
    more = env.directory / "more.yaml"
    more.write_text(to_yaml({"model_list": env.config({"new": mock("first")})["model_list"]}))
    config = {"include": [str(more)], **env.config({"m": mock()})}
    sluice = env.start(to_yaml(config))
    assert models(sluice) == ["m", "new"]
    more.write_text(to_yaml({"model_list": env.config({"newer": mock()})["model_list"]}))
    reload(sluice, to_yaml(config))
    assert models(sluice) == ["m", "newer"]


@pytest.mark.parametrize(
    "config", ["model_list: [\n", "model_list: 5\n", "sluice: {slotz: 1}\n", ""]
)
def test_reload_refuses_a_bad_file(env, config: str) -> None:
    sluice = env.start({"m": mock()})
    n = len(sluice.records)
    sluice.write_config(config)
    sluice.signal(signal.SIGHUP)
    sluice.wait_record(
        lambda r: r["level"] in ("error", "warning") and "config.yaml" in str(r),
        "that the file was refused",
        since=n,
    )
    assert generation(sluice) == 1
    assert models(sluice) == ["m"] and sluice.post(CHAT, chat_body()).status == 200


def test_reload_of_a_file_that_is_gone(env) -> None:
    sluice = env.start({"m": mock()})
    n = len(sluice.records)
    sluice.config_path.unlink()
    sluice.signal(signal.SIGHUP)
    sluice.wait_record(
        lambda r: r["level"] in ("error", "warning"), "that there is no file", since=n
    )
    assert sluice.post(CHAT, chat_body()).status == 200


def test_running_call_keeps_its_configuration(env) -> None:
    """Its model vanishes under it; it ends well all the same."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    gate = Gate()
    upstream.next(text("before"), wait_for(gate), text(" after"), end())
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        upstream.wait_request()
        reload(sluice, env.config({"other": mock()}))
        assert sluice.post(CHAT, chat_body()).status == 404
        gate.open()
        events = list(http.sse(http.read_head()))
        check_complete(events)
        assert contents(events) == "before after"
        assert http.request("GET", "/v1/models").json["data"][0]["id"] == "other"
    sluice.expect_idle()


def test_waiting_calls_follow_their_model(env) -> None:
    """The queue survives a reload: to the new deployment of the name, or to a clear 404."""
    old, new = env.openai(), env.ollama()
    sluice = env.start({"m": old.deployment(), "gone": old.deployment("g")})
    old.always(text("x"), stall())
    running = [sluice.http(), sluice.http()]
    for http, name in zip(running, ("m", "gone")):
        http.send_request("POST", CHAT, chat_body(name, stream=True))
    old.wait_request(2)
    waiting, lost = sluice.http(), sluice.http()
    waiting.send_request("POST", CHAT, chat_body("m"))
    lost.send_request("POST", CHAT, chat_body("gone"))
    eventually(lambda: sluice.status().calls_queued == 2, "two wait")
    reload(sluice, env.config({"m": new.deployment()}))
    assert waiting.read_answer().json["choices"][0]["message"]["content"] == "Hello world"
    answer = lost.read_answer()
    assert answer.status == 404 and answer.error["code"] == "model_not_found"


def test_unchanged_deployment_keeps_its_slots(env) -> None:
    """A reload must not double what reaches a model server."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    upstream.next(text("x"), stall())
    running = sluice.http()
    running.send_request("POST", CHAT, chat_body(stream=True))
    upstream.wait_request()
    reload(sluice, env.config({"m": upstream.deployment(), "new": mock()}))
    waiting = sluice.http()
    waiting.send_request("POST", CHAT, chat_body())
    eventually(lambda: sluice.status().calls_queued == 1, "the slot is still taken")
    assert len(upstream.requests()) == 1
    running.close()
    assert waiting.read_answer().status == 200


def test_limits_change_at_reload(env) -> None:
    sluice = env.start()
    big = chat_body(content="x" * 100_000)
    assert sluice.post(CHAT, big).status == 200
    reload(sluice, env.config({"m": mock()}, sluice={"limits": {"body": "64KiB"}}))
    assert sluice.post(CHAT, big).status == 413


def test_master_key_changes_at_reload(env) -> None:
    sluice = env.start()
    assert sluice.post(CHAT, chat_body()).status == 200
    reload(sluice, env.config({"m": mock()}, general={"master_key": "sk-new"}))
    assert sluice.post(CHAT, chat_body()).status == 401
    headers: dict[str, Any] = {"Authorization": "Bearer sk-new"}
    assert sluice.post(CHAT, chat_body(), headers=headers).status == 200


def test_many_reloads_leave_nothing_behind(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    assert sluice.post(CHAT, chat_body()).status == 200
    fds = sluice.n_fds()
    for i in range(20):
        reload(sluice, env.config({"m": upstream.deployment(temperature=i / 20), f"n{i}": mock()}))
        assert sluice.post(CHAT, chat_body()).status == 200
    eventually(lambda: sluice.n_fds() <= fds + 4, "no descriptor for each reload")

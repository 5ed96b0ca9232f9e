"""sluicectl's verbs that need no daemon: key new, key hash, check-config."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from typing import Any

import pytest
from testenv import paths
from testenv.http import chat_body
from testenv.cli import FAILED, OK, UNREACHABLE, USAGE, document, environment, run, said, terminal

GOOD = """\
model_list:
  - model_name: m
    litellm_params:
      model: ollama/codegemma:2b
"""
INEXACT = GOOD + "litellm_settings:\n  request_timeout: 60\n"
UNSERVED = GOOD + "litellm_settings:\n  modify_params: true\n"
BAD = "model_list: 5\n"

# ---------------------------------------------------------------------------------------------- key new


def secret_of(key: str) -> bytes:
    match = re.fullmatch(r"slu_([0-9a-f]{8})_([A-Za-z0-9_-]{43})", key)
    assert match, key
    secret = base64.b64decode(match.group(2) + "=", altchars=b"-_", validate=True)
    assert base64.urlsafe_b64encode(secret).decode() == match.group(2) + "=", "no stray bits at the end"
    return secret


def sha256_of(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def test_key_new(env) -> None:
    one = run(None, "key", "new")
    assert (one.returncode, one.stderr) == (OK, b"")
    assert len(secret_of(one.stdout.decode().rstrip("\n"))) == 32
    many = run(None, "key", "new", "--count", "1000").stdout.decode().splitlines()
    secrets = {secret_of(key) for key in many}
    assert len(many) == len(secrets) == 1000
    # Each of the 256 bits is 1 in about half of a thousand keys: 300 and 700 are 12 standard deviations away.
    for bit in range(256):
        n = sum(secret[bit // 8] >> bit % 8 & 1 for secret in secrets)
        assert 300 < n < 700, bit


def test_key_new_json(env) -> None:
    keys = document(run(None, "key", "new", "-n", "3", "--json"))["keys"]
    assert len(keys) == 3
    for key in keys:
        secret_of(key["key"])
        assert key["key"].split("_")[1] == key["id"]
        assert key["sha256"] == sha256_of(key["key"].encode())


def test_key_new_on_a_terminal_says_where_it_goes(env) -> None:
    t = terminal(env, None, "key", "new")
    assert t.wait_exit() == OK
    secret_of(t.screen.splitlines()[0])
    assert "master_key" in t.screen and "only copy" in t.screen
    assert sha256_of(t.screen.splitlines()[0].strip().encode()) in t.screen


def test_key_new_with_an_id_says_the_entry(env) -> None:
    """The key on stdout and nothing else, what goes into the configuration beside it: pasted as it is, it opens the door."""
    made = run(None, "key", "new", "--id", "build.server-1")
    key = made.stdout.decode().rstrip("\n")
    assert re.fullmatch(r"slu_build\.server-1_[A-Za-z0-9_-]{43}", key)
    entry, _, words = made.stderr.decode().partition("That is for")
    assert entry and "sluice.keys" in words and key not in made.stderr.decode()
    sluice = env.start(GOOD.replace("ollama/codegemma:2b", "openai/m\n      mock_response: hi") + f"sluice:\n  keys:\n{entry}")
    headers: dict[str, Any] = {"Authorization": f"Bearer {key}"}
    assert sluice.post("/v1/chat/completions", chat_body(), headers=headers).status == 200
    assert sluice.wait_call_records(1)[0]["SLUICE_KEY_ID"] == "build.server-1"
    assert sluice.get("/v1/models").status == 401


@pytest.mark.parametrize("text", [b"sk-a", b"sk-a\n", b"~" * 4096])
def test_key_hash(env, text: bytes) -> None:
    said_hash = run(None, "key", "hash", stdin=text)
    assert (said_hash.returncode, said_hash.stderr) == (OK, b"")
    assert said_hash.stdout.decode() == sha256_of(text.strip()) + "\n"
    assert document(run(None, "key", "hash", "--json", stdin=text)) == {"sha256": sha256_of(text.strip())}


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"sk a", b"sk-a\nsk-b\n", b"sk-a\r\n", b"\0", b"a\0b\n", "ü".encode(), b"x" * 4097, b"\x03"]
)
def test_key_hash_of_what_is_no_key(env, text: bytes) -> None:
    refused = run(None, "key", "hash", stdin=text)
    assert refused.returncode == FAILED and refused.stdout == b""
    assert b"expected one key" in refused.stderr
    assert not text.strip() or text.strip() not in refused.stderr


def test_key_hash_on_a_terminal_shows_nothing(env) -> None:
    t = terminal(env, None, "key", "hash")
    t.wait_for("key: ")
    t.type("sk-secret\n")
    assert t.wait_exit() == OK
    assert "sk-secret" not in t.screen and sha256_of(b"sk-secret") in t.screen


def test_key_can_be_the_master_key(env) -> None:
    key = run(None, "key", "new").stdout.decode().strip()
    sluice = env.start(general={"master_key": key})
    assert sluice.get("/v1/models").status == 401
    assert sluice.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status == 200


# ---------------------------------------------------------------------------------------------- check-config


def test_check_config_is_what_sluiced_says(env) -> None:
    for name, text, want in (
        ("good", GOOD, 0),
        ("inexact", INEXACT, 0),
        ("unserved", UNSERVED, 1),
        ("bad", BAD, 1),
    ):
        path = env.directory / f"{name}.yaml"
        path.write_text(text)
        for option in ((), ("--json",), ("--strict",), ("--json", "--strict")):
            ours = run(None, "check-config", *option, str(path))
            theirs = run(None, "--check-config", *option, str(path), program=str(paths.SLUICED))
            assert ours.stdout == theirs.stdout and ours.stdout
            assert ours.returncode == theirs.returncode
            if "--strict" not in option:
                assert ours.returncode == want, name


def test_check_config_json(env) -> None:
    path = env.directory / "x.yaml"
    path.write_text(INEXACT + 'modle_list: "a\\"\\e[31m"\n')
    result = run(None, "check-config", "--json", str(path))
    checked = document(result)
    assert result.returncode == FAILED and checked["verdict"] == "degraded" and checked["usable"]
    assert checked["file"] == str(path) and checked["deployments"] == 1
    assert checked["summary"]["errors"] == 1 and checked["summary"]["approximated"] == 1
    kinds = {f["path"]: f for f in checked["findings"]}
    typo = kinds["modle_list"]
    assert (typo["line"], typo["column"], typo["kind"]) == (7, 1, "error")
    assert "model_list" in typo["text"] and typo["fatal"] is False
    assert kinds["model_list[0].model_name"]["kind"] == "exact"
    path.write_text(BAD)
    refused = document(run(None, "check-config", "--json", str(path)))
    assert refused["verdict"] == "refused" and not refused["usable"]
    assert any(f["fatal"] and f["kind"] == "error" for f in refused["findings"])


def test_check_config_strict(env) -> None:
    path = env.directory / "x.yaml"
    path.write_text(GOOD)
    assert run(None, "check-config", "--strict", str(path)).returncode == OK
    path.write_text(INEXACT)
    assert run(None, "check-config", str(path)).returncode == OK
    strict = run(None, "check-config", "--strict", str(path))
    assert strict.returncode == FAILED and b"not every key" in strict.stdout
    strict = run(None, "check-config", "--strict", "--json", str(path))
    assert strict.returncode == FAILED and document(strict)["verdict"] == "not exact"


def test_check_config_of_a_file_that_cannot_be_read(env) -> None:
    missing = str(env.directory / 'no "such"\n.yaml')
    result = run(None, "check-config", "--json", missing)
    unreadable = document(result)
    assert result.returncode == FAILED and unreadable["verdict"] == "unreadable"
    assert unreadable["file"] == missing and "No such file" in unreadable["error"]["message"]
    people = run(None, "check-config", missing)
    assert people.returncode == FAILED and b"No such file" in people.stderr


def test_check_config_takes_the_default_file_and_odd_names(env) -> None:
    path = env.directory / "--help"
    path.write_text(GOOD)
    odd = subprocess.run(
        [str(paths.SLUICECTL), "check-config", "--", "--help"],
        cwd=env.directory,
        capture_output=True,
        env=environment(None),
        timeout=20,
    )
    assert odd.returncode == OK and b": ok: 1 deployments; " in odd.stdout
    by_variable = run(None, "check-config", CONFIG_FILE_PATH=str(path))
    assert by_variable.returncode == OK and by_variable.stdout.startswith(str(path).encode())


def test_sluiced_wants_its_check_options_together(env) -> None:
    for option in ("--json", "--strict"):
        alone = run(None, option, program=str(paths.SLUICED))
        assert alone.returncode == USAGE and b"--check-config" in alone.stderr


def test_check_config_finds_sluiced(env) -> None:
    """../sbin beside sluicectl, then its own folder, then PATH; without one it says so."""
    prefix = env.directory / "prefix"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "sbin").mkdir()
    (prefix / "lib").mkdir()
    ctl = str(prefix / "bin" / "sluicectl")
    shutil.copy(paths.SLUICECTL, ctl)
    library = paths.SLUICECTL.parent.parent / "lib" / "libsluice.so.0"
    if library.exists():
        shutil.copy(library, prefix / "lib" / library.name)

    def install(folder: str) -> None:
        script = prefix / folder / "sluiced"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\necho {folder} "$@"; exit 1\n')
        script.chmod(0o755)

    def check() -> str:
        result = run(None, "check-config", "f", program=ctl, PATH=f"{prefix}/path::/usr/bin:/bin")
        assert result.returncode == FAILED, result.stderr
        return result.stdout.decode()

    install("path")
    assert check() == "path --check-config=f\n"
    install("bin")
    assert check() == "bin --check-config=f\n"
    install("sbin")
    assert check() == "sbin --check-config=f\n"
    (prefix / "sbin" / "sluiced").chmod(0o644)
    assert check() == "bin --check-config=f\n"
    for folder in ("bin", "sbin", "path"):
        (prefix / folder / "sluiced").unlink(missing_ok=True)
    if not any(shutil.which("sluiced", path=p) for p in ("/usr/sbin", "/usr/local/sbin")):
        nowhere = run(None, "check-config", "--json", program=ctl, PATH="/nowhere")
        assert nowhere.returncode == UNREACHABLE and "not installed" in said(nowhere)
        assert document(nowhere)["error"]["code"] == "no_daemon"

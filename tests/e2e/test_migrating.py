"""docs/migrating-from-litellm.md is followed as a new user would: what it shows is what happens."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import yaml

from testenv import paths
from testenv.http import chat_body

DOCUMENT = paths.SOURCE / "docs" / "migrating-from-litellm.md"
TEXT = DOCUMENT.read_text()
VARIABLES = {"LITELLM_MASTER_KEY": "sk-migrating-1234", "OPENAI_API_KEY": "sk-cloud"}
KEY = {"Authorization": f"Bearer {VARIABLES['LITELLM_MASTER_KEY']}"}


def block(language: str, n: int = 0) -> str:
    """The n-th block of that language, without the indentation of a list around it."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", TEXT, re.M | re.S)
    indent, text = found[n]
    return re.sub(rf"^{indent}", "", text, flags=re.M)


def run(*argv: str, **kwargs: Any) -> subprocess.CompletedProcess:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, **kwargs)


def verdict(line: str) -> tuple[str, int, int, int]:
    """A key may become exact that was near, and the other way round: their sum is what stands in the document."""
    words = re.fullmatch(
        r"(.*); (\d+) exact, (\d+) approximated, (\d+) ignored, (\d+) unsupported, (\d+) errors\s*", line
    )
    assert words, line
    exact, near, ignored, unsupported, errors = (int(n) for n in words.groups()[1:])
    return words.group(1), exact + near + ignored, unsupported, errors


def test_the_file_is_checked(env) -> None:
    (env.directory / "config.yaml").write_text(block("yaml"))
    argv = [str(paths.SLUICED), "--check-config", "config.yaml"]
    done = run(*argv, cwd=env.directory, env=VARIABLES)
    assert done.returncode == 0, done.stdout + done.stderr
    said, shown = (verdict(t) for t in ((done.stdout + done.stderr).splitlines()[-1], block("text")))
    assert said == shown
    unset = run(*argv, cwd=env.directory, env={"LITELLM_MASTER_KEY": "sk-migrating-1234"})
    assert unset.returncode == 1
    assert "the environment variable OPENAI_API_KEY is not set" in unset.stdout + unset.stderr


def test_the_file_is_served(env) -> None:
    upstream = env.ollama()
    text = block("yaml").replace("http://localhost:11434", upstream.api_base)
    sluice = env.start(text + "\nsluice: {pressure: {enabled: false}}\n", env=VARIABLES)
    listed = sluice.get("/v1/models", headers=KEY)
    assert [m["id"] for m in listed.json["data"]] == ["assistant", "assistant-cloud", "minilm"]
    body = chat_body("assistant", "Hello")
    assert sluice.post("/v1/chat/completions", body, headers=KEY).status == 200
    for name in ("x-api-key", "api-key", "x-litellm-api-key"):
        headers = {name: VARIABLES["LITELLM_MASTER_KEY"]}
        assert sluice.get("/v1/models", headers=headers).status == 200, name
    assert sluice.post("/v1/chat/completions", body).status == 401
    plain = sluice.post("/v1/chat/completions", body, headers={**KEY, "Content-Type": "text/plain"})
    assert plain.status == 415


def test_a_new_key(env) -> None:
    made = run(str(paths.SLUICECTL), "key", "new", "--id", "laptop")
    assert made.returncode == 0, made.stderr
    entry = re.search(r"sha256: ([0-9a-f]{64})", made.stdout + made.stderr)
    assert entry
    [key] = [line for line in made.stdout.splitlines() if line.startswith("slu_")][:1]
    [shown] = yaml.safe_load(block("yaml", 1))["sluice"]["keys"]
    upstream = env.ollama()
    text = block("yaml").replace("http://localhost:11434", upstream.api_base)
    ours = block("yaml", 1).replace(shown["sha256"], entry.group(1))
    sluice = env.start(text + "\n" + ours + "  pressure: {enabled: false}\n", env=VARIABLES)
    headers = {"Authorization": f"Bearer {key}"}
    assert sluice.post("/v1/chat/completions", chat_body("assistant"), headers=headers).status == 200
    other = sluice.post("/v1/chat/completions", chat_body("assistant-cloud"), headers=headers)
    assert other.status == 403


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT):
        assert (DOCUMENT.parent / target).exists(), target

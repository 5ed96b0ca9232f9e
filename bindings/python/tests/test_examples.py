"""The programs of examples/ do what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import sluice
from conftest import MOCK_TEXT, Service
from scripts import with_tool_calls
from testenv.upstream import say

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def start(service: Service, name: str, *arguments: str) -> "subprocess.Popen[str]":
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(sluice.__file__).parents[1]),
        "PYTHONIOENCODING": "utf-8",
        "SLUICE_SOCKET": service.path,
    }
    argv: List[str] = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    pipe: Any = subprocess.PIPE
    return subprocess.Popen(
        argv,
        env=env,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )


def run(service: Service, name: str, *arguments: str, said: str = "") -> str:
    child = start(service, name, *arguments)
    out, err = child.communicate(said, timeout=30)
    assert (child.returncode, err) == (0, "")
    return out


def test_all_are_tested() -> None:
    assert {p.name for p in EXAMPLES.glob("*.py")} == {"chat.py", "tools.py", "many.py", "watch.py"}


def test_chat(service: Service) -> None:
    service.openai.next(say("Hel", "lo"))
    service.openai.next(say("again"))
    assert run(service, "chat.py", "m", said="hi\nand?\n") == "Hello\nagain\n"
    messages = service.openai.requests()[-1].json["messages"]
    assert [m["content"] for m in messages] == ["hi", "Hello", "and?"]


def test_tools(service: Service) -> None:
    call = {
        "index": 0,
        "id": "a",
        "type": "function",
        "function": {"name": "now", "arguments": "{}"},
    }
    service.openai.next(*with_tool_calls([call]))
    service.openai.next(say("late"))
    assert run(service, "tools.py", "m") == "late\n"
    assert service.openai.requests()[-1].json["messages"][-1]["tool_call_id"] == "a"


def test_many(service: Service) -> None:
    out = run(service, "many.py", "mock", "one", "two", "three")
    assert out == "".join(f"{q}: {MOCK_TEXT}\n" for q in ("one", "two", "three"))


def test_watch(service: Service) -> None:
    child = start(service, "watch.py")
    assert child.stdout
    assert child.stdout.readline().startswith("queued 0, running 0")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (0, "")

"""The second comparison: a real Ollama asked by its own /v1, through LiteLLM, and through sluice; what comes back from each."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any, Optional

import document
import facts
from gateways import Gateway, LiteLLM, Sluice
from table import TABLE, Entry
from testenv import models

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "config" / "ollama.yaml"
# Models that always say the same: a sentence, a tool's call, a thought and an answer. So all three give the same answer.
MODELS = {
    "o": "script",
    "g": "script",
    "oe": "tiny-embed",
    "o-tools": "script-call",
    "o-thinks": "script-think",
}
NUMBERS = re.compile(r"^-?\d+(\.\d+)?$")

HEAD = f"""{document.DIRECT}

The same requests, asked of a real Ollama ({{version}}, with models that always say the same) directly by its own `/v1`, through
LiteLLM (`ollama_chat/`, for completions `ollama/`), and through sluice; {{n_requests}} requests, those of the table that are
marked so. Numbers of tokens are not compared. Told is what is not the same for all three.

| | Ollama's own /v1 | LiteLLM | sluice | requests |
|---|---|---|---|---|
"""


class Itself(Gateway):
    """Ollama without anything before it."""

    name = "Ollama"

    def __init__(self, port: int):
        super().__init__()
        self.port = port


def compare(litellm: Path) -> Optional[str]:
    """The part of the document, or None where no Ollama is set up."""
    try:
        found = models.find()
    except LookupError:
        return None
    entries = [e for e in TABLE if e.is_direct]
    with tempfile.TemporaryDirectory(prefix="sluice-compat-") as name:
        directory = Path(name)
        server = models.OllamaServer(found, directory)
        server.start()
        gateways: list[Gateway] = []
        try:
            for name, source in MODELS.items():
                server.derive(source, name, num_predict=40)
            env = {"OLLAMA_BASE": server.url, "OLLAMA_API_BASE": server.url}
            gateways = [LiteLLM(litellm, directory, CONFIG, env)]
            gateways.append(Sluice(directory, CONFIG, env))
            rows = _rows([Itself(server.port), *gateways], entries)
            version = json.loads(Itself(server.port).ask("GET", "/api/version", None, {}).body)["version"]
        finally:
            for gateway in gateways:
                gateway.stop()
            server.stop()
    lines = [_line(values, names) for values, names in rows.items()]
    return HEAD.format(version=version, n_requests=len(entries)) + "\n".join(lines) + "\n"


def _rows(gateways: list[Gateway], entries: list[Entry]) -> dict[tuple[str, ...], list[str]]:
    rows: dict[tuple[str, ...], list[str]] = {}
    for entry in entries:
        found = [_ask(gateway, entry) for gateway in gateways]
        for row in facts.compared(found):
            row = (document.plain(row[0]), *row[1:])
            if entry.name not in rows.setdefault(row, []):
                rows[row].append(entry.name)
    return dict(sorted(rows.items()))


def _ask(gateway: Gateway, entry: Entry) -> dict[str, str]:
    body = entry.body
    if body and body.get("tools"):
        body = {**body, "model": "o-tools"}
    elif body and (body.get("reasoning_effort") or "thinking" in entry.name):
        body = {**body, "model": "o-thinks"}
    answer = gateway.ask(entry.method, entry.path, body, entry.headers)
    out = facts.of_answer(answer, entry.method)
    return {k: _loose(k, v) for k, v in out.items() if not _is_left_out(k)}


def _is_left_out(fact: str) -> bool:
    return fact.startswith("header ") and fact != "header content-type"


def _loose(fact: str, value: str) -> str:
    is_counted = "usage" in fact or "logprob" in fact
    return "(number)" if is_counted and NUMBERS.match(value) else value


def _line(values: tuple[Any, ...], names: list[str]) -> str:
    fact, *rest = values
    cells = " | ".join(document.cell(value) for value in rest)
    return f"| {fact} | {cells} | {document.requests(names)} |"

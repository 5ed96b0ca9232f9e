"""What one gateway did with one request, as facts that can be compared: a name and a short text each.

Texts of errors, ids, times and measured durations are reduced to their type, so that two runs say the same. What the scripted
model server said (answers, arguments, token counts) is compared by value: a gateway must not change it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterator

from testenv.http import Answer
from testenv.upstream import Exchange

ABSENT = "-"
# Of the connection, not of the answer.
IGNORED_HEADERS = {"date", "server", "content-length", "transfer-encoding", "connection", "keep-alive"}
# Members whose value differs in every run.
VARYING = {"id", "created", "message", "system_fingerprint"}
VARYING_HEADERS = {
    "x-litellm-call-id",
    "x-request-id",
    "x-litellm-overhead-duration-ms",
    "x-litellm-response-duration-ms",
    "x-litellm-model-api-base",
    "x-litellm-callback-duration-ms",
    "llm_provider-date",
    "llm_provider-content-length",
}
TIMED_HEADERS = ("x-ratelimit-reset", "retry-after")
# Of what is sent to a model server: who may ask, and what the configuration or the client adds.
UPSTREAM_HEADERS = ("authorization", "content-type", "x-request-id")
MAX_TEXT = 60
MADE_UP = re.compile(r"^(call_|chatcmpl-)?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$")
# A list longer than this is described as a whole, by the names of its items.
MAX_ITEMS = 3
MAX_NAMES = 30
NAMES = ("id", "model_name", "model_group")


def of_answer(answer: Answer, method: str) -> dict[str, str]:
    facts = {"status": str(answer.status)}
    for name, value in answer.headers:
        if name == "x-compat-answer":  # said by gateways.py, not by a gateway
            facts["connection"] = value
        elif name not in IGNORED_HEADERS:
            facts[f"header {name}"] = _header(name, value)
    kind = facts.get("header content-type", "")
    if method == "HEAD" or not answer.body:
        facts["body"] = "empty"
    elif kind.startswith("text/event-stream"):
        facts.update(_stream(answer.body))
    elif kind.startswith("application/json"):
        facts.update(_json("body", answer.body))
    else:
        facts["body"] = "text"
    return facts


def of_upstream(exchanges: list[Exchange]) -> dict[str, str]:
    facts = {"upstream requests": str(len(exchanges))}
    for i, ex in enumerate(exchanges, 1):
        name = f"upstream {i}"
        facts[f"{name} path"] = ex.path
        for header, value in ex.headers.items():
            if header in UPSTREAM_HEADERS or header.startswith("x-compat"):
                facts[f"{name} header {header}"] = _header(header, value)
        facts.update(_sent(name, ex.body))
    return facts


def _header(name: str, value: str) -> str:
    if name in VARYING_HEADERS:
        return "(varies)"
    if name.startswith(TIMED_HEADERS):
        return "(seconds)" if _is_number(value.rstrip("sm")) else "(text)"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json(name: str, body: bytes) -> dict[str, str]:
    try:
        value = json.loads(body)
    except ValueError:
        return {name: "not JSON"}
    return dict(_shape(name, value))


def _shape(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Members by their path; numbers of an embedding and the like as one list."""
    if isinstance(value, dict):
        if not value:
            yield name, "{}"
        for key, member in value.items():
            if key in VARYING and not isinstance(member, (dict, list)):
                yield f"{name}.{key}", _type(member)
            else:
                yield from _shape(f"{name}.{key}", member)
    elif isinstance(value, list):
        if value and all(type(item) in (int, float) for item in value):
            yield name, f"{len(value)} numbers"
            return
        if not value:
            yield name, "[]"
        if len(value) > MAX_ITEMS:
            yield from _list(name, value)
            return
        for i, item in enumerate(value):
            yield from _shape(f"{name}[{i}]", item)
    else:
        yield name, _short(value)


def _list(name: str, value: list[Any]) -> Iterator[tuple[str, str]]:
    """A long list: how long, what its items are called, and what one item or another has."""
    called = [str(i[k]) for i in value if isinstance(i, dict) for k in NAMES if k in i]
    if len(called) > MAX_NAMES:
        yield f"{name} names", f"{len(called)}"
    else:
        yield f"{name} names", ", ".join(sorted(called)) or f"{len(value)} without names"
    members: dict[str, set[str]] = {}
    for item in value:
        for path, text in _shape(f"{name}[*]", item):
            members.setdefault(path, set()).add(text)
    for path, texts in members.items():
        yield path, texts.pop() if len(texts) == 1 else "(varies)"


def _sent(name: str, body: bytes) -> dict[str, str]:
    """What a model server was sent: every member with its value, down to the last."""
    try:
        value = json.loads(body)
    except ValueError:
        return {f"{name} body": "not JSON"}
    return {f"{name} {key}": text for key, text in _values("", value)}


def _values(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, member in value.items():
            yield from _values(f"{name}.{key}" if name else key, member)
    elif isinstance(value, list) and value:
        for i, item in enumerate(value):
            yield from _values(f"{name}[{i}]", item)
    else:
        yield name, _short(value)


def _type(value: Any) -> str:
    names = {str: "(text)", int: "(number)", float: "(number)", bool: "(truth)"}
    return names.get(type(value), "null")


def _short(value: Any) -> str:
    """The value as JSON, cut where it is long, and on one line of ASCII. An id that was made up is only that."""
    if isinstance(value, str) and MADE_UP.match(value):
        return "(made up)"
    text = json.dumps(value)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 20]}... ({len(text)} bytes)"


# ---------------------------------------------------------------- streams


def _stream(body: bytes) -> dict[str, str]:
    blocks = [b for b in body.decode(errors="replace").replace("\r\n", "\n").split("\n\n") if b]
    events, chunks = [], []
    for block in blocks:
        data = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
        other = sorted({line.split(":")[0] for line in block.split("\n")} - {"data", ""})
        if other:
            events.append("line " + ",".join(other))
        if data == ["[DONE]"]:
            events.append("[DONE]")
        elif data:
            chunk = _loads(data[0])
            events.append(_event(chunk))
            chunks.append(chunk)
    facts = {"stream events": " | ".join(_folded(events))}
    facts.update(_chunks([c for c in chunks if isinstance(c, dict)]))
    return facts


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _event(chunk: Any) -> str:
    """What the chunk brings, by the names of its members that say something."""
    if not isinstance(chunk, dict):
        return "not JSON"
    if "error" in chunk:
        return "error"
    said = []
    for choice in chunk.get("choices") or []:
        delta = choice.get("delta")
        said += [k for k, v in (delta or {}).items() if v or (k == "content" and v is not None)]
        said += ["text"] if choice.get("text") else []
        said += ["finish"] if choice.get("finish_reason") else []
    if chunk.get("usage"):
        said.append("usage")
    return "+".join(said) or "nothing"


def _folded(events: list[str]) -> list[str]:
    """Runs of equal events as one."""
    out: list[str] = []
    for event in events:
        if not out or out[-1] != event:
            out.append(event)
    return out


def _chunks(chunks: list[Any]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for key in ("id", "created", "model"):
        seen = {json.dumps(c.get(key)) for c in chunks if "error" not in c}
        if seen:
            facts[f"stream {key}s"] = "one" if len(seen) == 1 else "changing"
    texts: dict[str, str] = {}
    for chunk in chunks:
        for choice in chunk.get("choices") or []:
            _gather(texts, facts, choice)
        if chunk.get("usage"):
            facts.update(dict(_shape("stream usage", chunk["usage"])))
        if "error" in chunk:
            facts.update(dict(_shape("stream error", chunk["error"])))
        for key in set(chunk) - {"choices", "usage", "error"}:
            value = chunk[key]
            facts[f"stream chunk.{key}"] = _type(value) if key in VARYING else _short(value)
        for key in ("usage",):
            if key in chunk and not chunk[key]:
                facts[f"stream chunk.{key}"] = "null where there is none"
    for name, text in texts.items():
        facts[f"stream {name}"] = _short(text)
    return facts


def _gather(texts: dict[str, str], facts: dict[str, str], choice: dict[str, Any]) -> None:
    name = f"choices[{choice.get('index')}]"
    if choice.get("finish_reason"):
        facts[f"stream {name}.finish_reason"] = _short(choice["finish_reason"])
    for key in set(choice) - {"index", "delta", "finish_reason", "text", "logprobs"}:
        facts[f"stream {name}.{key}"] = _type(choice[key])
    if choice.get("logprobs"):
        facts[f"stream {name}.logprobs"] = ", ".join(sorted(choice["logprobs"]))
    if choice.get("text"):
        texts[f"{name}.text"] = texts.get(f"{name}.text", "") + choice["text"]
    for key, value in (choice.get("delta") or {}).items():
        if key == "tool_calls":
            for call in value or []:
                _gather_call(texts, facts, f"{name}.tool_calls[{call.get('index')}]", call)
        elif isinstance(value, str):
            texts[f"{name}.{key}"] = texts.get(f"{name}.{key}", "") + value
        elif value is None:
            facts[f"stream {name}.delta.{key}"] = "null"
        else:
            facts[f"stream {name}.delta.{key}"] = _short(value)


def _gather_call(
    texts: dict[str, str], facts: dict[str, str], name: str, call: dict[str, Any]
) -> None:
    if call.get("id"):
        facts[f"stream {name}.id"] = _short(call["id"])
    if call.get("type"):
        facts[f"stream {name}.type"] = _short(call["type"])
    for key, value in (call.get("function") or {}).items():
        if isinstance(value, str):
            texts[f"{name}.{key}"] = texts.get(f"{name}.{key}", "") + value


# ---------------------------------------------------------------- two of them


def differences(litellm: dict[str, str], sluice: dict[str, str]) -> list[tuple[str, ...]]:
    """(fact, LiteLLM's, sluice's), in the order of the names.

    Where only one of them served the request, the rest follows from that and says nothing, and a request to a model server that
    only one of them made is counted, not compared.
    """
    n_heard = min(int(f["upstream requests"]) for f in (litellm, sluice))
    kept = [{k: v for k, v in f.items() if _is_comparable(k, n_heard)} for f in (litellm, sluice)]
    return compared(kept, "upstream requests")


def compared(all_facts: list[dict[str, str]], *also: str) -> list[tuple[str, ...]]:
    """The same of any number of them: (fact, each one's). also: told beside a different outcome."""
    if len({_is_served(f) for f in all_facts}) > 1:
        all_facts = [{**f, "outcome": _outcome(f)} for f in all_facts]
        names = ["outcome", *also]
    else:
        names = sorted({name for f in all_facts for name in f})
    rows = [(n, *(f.get(n, ABSENT) for f in all_facts)) for n in names]
    return [row for row in rows if len(set(row[1:])) > 1]


def _is_served(facts: dict[str, str]) -> bool:
    is_broken = any(name.startswith("stream error") for name in facts)
    return facts["status"].startswith("2") and not is_broken


def _outcome(facts: dict[str, str]) -> str:
    for name in ("body.error.code", "stream error.code"):
        if facts.get(name, "null") != "null":
            return f"{facts['status']} {facts[name].strip(chr(34))}"
    return facts["status"]


def _is_comparable(name: str, n_heard: int) -> bool:
    word, _, rest = name.partition(" ")
    number = rest.split(" ")[0]
    return not (word == "upstream" and number.isdigit() and int(number) > n_heard)

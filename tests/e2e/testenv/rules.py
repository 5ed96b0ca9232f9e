"""What every OpenAI stream must obey, whatever is said in it: the rules that real clients rely on."""

from __future__ import annotations

from typing import Any, Optional

from .http import SseEvent


def data_of(events: list[SseEvent]) -> list[Any]:
    """The JSON of all data events but [DONE]."""
    return [e.json for e in events if not e.is_comment and e.data != "[DONE]"]


def check_complete(events: list[SseEvent], wants_usage: bool = False) -> list[Any]:
    """A stream that came to its true end; its chunks."""
    for event in events:
        for (
            line
        ) in event.lines:  # `id:` and `retry:` confuse openai-python for the rest of the stream
            assert line.startswith(("data: ", ":")), line
    real = [e for e in events if not e.is_comment]
    assert real[-1].data == "[DONE]"
    assert [e.data for e in real].count("[DONE]") == 1
    chunks = data_of(events)
    _check_envelope(chunks)
    usage = [c for c in chunks if c.get("usage")]
    if wants_usage:
        assert len(usage) == 1 and usage[0] is chunks[-1] and usage[0]["choices"] == []
    else:
        assert not usage
    _check_choices(chunks)
    return chunks


def _check_envelope(chunks: list[Any]) -> None:
    first = chunks[0]
    assert first["object"] in ("chat.completion.chunk", "text_completion")
    assert isinstance(first["id"], str) and first["id"]
    assert isinstance(first["created"], int)
    assert isinstance(first["model"], str)
    for chunk in chunks:
        for key in ("id", "object", "created", "model"):
            assert chunk[key] == first[key], (key, chunk)
        assert isinstance(chunk["choices"], list)
        assert "error" not in chunk


def _check_choices(chunks: list[Any]) -> None:
    """Role once, finish_reason once and last, per choice."""
    finished: dict[int, str] = {}
    roles: dict[int, int] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            index = choice["index"]
            assert index not in finished, "something after finish_reason"
            assert "finish_reason" in choice
            if choice["finish_reason"] is not None:
                finished[index] = choice["finish_reason"]
            if "delta" in choice and "role" in choice["delta"]:
                assert choice["delta"]["role"] == "assistant"
                roles[index] = roles.get(index, 0) + 1
    if chunks[0]["object"] == "chat.completion.chunk":
        assert set(roles.values()) == {1} and set(roles) == set(finished), (roles, finished)
    assert finished, "no finish_reason"


def check_broken(events: list[SseEvent], code: Optional[str] = None) -> dict[str, Any]:
    """A stream that failed after its start: an error event, and nothing that looks like an end. The error."""
    real = [e for e in events if not e.is_comment]
    assert all(e.data != "[DONE]" for e in real), "a cut stream looks complete"
    chunks = data_of(events)
    errors = [c for c in chunks if "error" in c]
    assert len(errors) == 1 and errors[0] is chunks[-1], chunks[-3:]
    for chunk in chunks[:-1]:
        for choice in chunk["choices"]:
            assert choice["finish_reason"] is None, "a cut stream looks complete"
    error = errors[0]["error"]
    assert isinstance(error["message"], str) and error["message"]
    if code is not None:
        assert error["code"] == code, error
    return error

"""Scripts for the scripted model servers, beyond those of testenv."""

from __future__ import annotations

import json
from typing import Any, List

from testenv.upstream import chunk, end


def with_tool_calls(*pieces: Any) -> List[Any]:
    """Deltas as an OpenAI server sends them."""
    out = []
    for i, calls in enumerate(pieces):
        delta = {"tool_calls": calls, **({"role": "assistant"} if i == 0 else {})}
        event = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "x"}
        event["choices"] = [{"index": 0, "delta": delta, "finish_reason": None}]
        out.append(chunk(b"data: " + json.dumps(event).encode() + b"\n\n"))
    return [*out, end("tool_calls")]

"""The fake model servers: those of the end-to-end tests, taught to answer in one piece as well as in a stream.

A script says what to answer; the server says it in its dialect, and streamed or not as the request asks, because the two gateways
ask for the same answer in different ways.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from testenv import upstream
from testenv.upstream import Exchange, Gate, HangUp, Step, void

CREATED = 1700000000
FINGERPRINT = "fp_upstream"
HELD_BACK_SEC = 2.0


@dataclass(frozen=True)
class Answer:
    """A whole answer, said by each dialect in its own words."""

    text: tuple[str, ...] = ("Hello", " world")
    thinking: tuple[str, ...] = ()
    tools: tuple[tuple[str, str, dict[str, Any]], ...] = ()  # id, name, arguments
    finish: str = "stop"
    tokens: tuple[int, int] = (7, 2)
    details: bool = False  # cached and reasoning tokens
    logprobs: bool = False
    refusal: str = ""


def answer(*text: str, **members: Any) -> Step:
    said = Answer(text=text or Answer.text, **members)
    return lambda ex: ex.server.dialect.say(ex, said)


def fault(
    status: int,
    message: str,
    code: str | None = None,
    type: str = "server_error",
    **headers: str,
) -> Step:
    """An error before the answer began, in the dialect's shape."""

    def step(ex: Exchange) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        ex.whole(status, ex.server.dialect.fault(message, type, code), names)

    return step


def begun(*text: str) -> list[Step]:
    """The beginning of a stream, and no more before the client has seen some of it: what a gateway does with the end that follows
    shall not depend on which of the two it reads first. A gateway that holds the beginning back has had its time.
    """
    return [upstream.text(*text), lambda ex: void(ex.wait(ex.server.client_saw, HELD_BACK_SEC))]


def cut(*text: str) -> list[Step]:
    """The beginning of a stream, then the end of the connection."""
    return [*begun(*text), upstream.fin()]


def breaks(*text: str, message: str = "the engine died") -> list[Step]:
    """The beginning of a stream, then an error inside it."""
    return [*begun(*text), upstream.error_line(message), upstream.clean_end()]


def _wanted(ex: Exchange) -> int:
    """Choices asked for, of each prompt; a server takes what it is sent, and this one no more than three."""
    n, prompt = ex.json.get("n"), ex.json.get("prompt")
    n = min(n, 3) if isinstance(n, int) and n > 0 else 1
    is_several = isinstance(prompt, list) and not isinstance(prompt[0], int)
    return n * len(prompt) if is_several else n


def _logprobs(piece: str) -> dict[str, Any]:
    token = {"token": piece, "logprob": -0.5, "bytes": list(piece.encode())}
    return {**token, "top_logprobs": [token]}


class OpenAI(upstream.OpenAI):
    """As OpenAI, vLLM and llama-server answer."""

    def fault(self, message: str, type: str, code: str | None) -> Any:
        return {"error": {"message": message, "type": type, "param": None, "code": code}}

    def say(self, ex: Exchange, said: Answer) -> None:
        if ex.json.get("stream"):
            self._say_stream(ex, said)
        else:
            self._say_whole(ex, said)

    @staticmethod
    def _event(ex: Exchange, choices: list[Any], **members: Any) -> bytes:
        members["system_fingerprint"] = FINGERPRINT
        return upstream.OpenAI._event(ex, choices, **members)

    def _usage(self, said: Answer) -> dict[str, Any]:
        prompt, completion = said.tokens
        usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
        usage["total_tokens"] = prompt + completion
        if said.details:
            usage["prompt_tokens_details"] = {"cached_tokens": 3}
            usage["completion_tokens_details"] = {"reasoning_tokens": 1}
        return usage

    def _calls(self, said: Answer) -> list[dict[str, Any]]:
        return [
            {
                "id": id,
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for id, name, arguments in said.tools
        ]

    def _say_whole(self, ex: Exchange, said: Answer) -> None:
        is_chat = ex.kind == "chat"
        choices = []
        for index in range(_wanted(ex)):
            choice: dict[str, Any] = {"index": index, "finish_reason": said.finish}
            choice["logprobs"] = None
            if said.logprobs:
                choice["logprobs"] = {"content": [_logprobs(piece) for piece in said.text]}
            if is_chat:
                choice["message"] = self._message(said)
            else:
                choice["text"] = "".join(said.text)
            choices.append(choice)
        body = {
            "id": "chatcmpl-upstream" if is_chat else "cmpl-upstream",
            "object": "chat.completion" if is_chat else "text_completion",
            "created": CREATED,
            "model": ex.json.get("model"),
            "choices": choices,
            "usage": self._usage(said),
            "system_fingerprint": FINGERPRINT,
        }
        ex.whole(200, body, {"x-upstream": "yes"})

    def _message(self, said: Answer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(said.text)}
        if said.thinking:
            message["reasoning_content"] = "".join(said.thinking)
        if said.refusal:
            message["content"], message["refusal"] = None, said.refusal
        if said.tools:
            message["content"], message["tool_calls"] = None, self._calls(said)
        return message

    def _say_stream(self, ex: Exchange, said: Answer) -> None:
        if ex.kind != "chat":
            for index in range(_wanted(ex)):
                for piece in said.text:
                    choice = {"index": index, "text": piece, "finish_reason": None, "logprobs": None}
                    ex.chunk(self._event(ex, [choice]))
        else:
            for index in range(_wanted(ex)):
                self._say_deltas(ex, said, index)
        last: dict[str, Any] = {"finish_reason": said.finish}
        last.update({"delta": {}} if ex.kind == "chat" else {"text": ""})
        for index in range(_wanted(ex)):
            ex.chunk(self._event(ex, [{"index": index, **last}]))
        if (ex.json.get("stream_options") or {}).get("include_usage"):
            ex.chunk(self._event(ex, [], usage=self._usage(said)))
        ex.chunk(b"data: [DONE]\n\n")
        ex.last_chunk()

    def _say_deltas(self, ex: Exchange, said: Answer, index: int) -> None:
        def delta(logprobs: Any = None, **members: Any) -> None:
            choice = {"index": index, "delta": members, "finish_reason": None}
            if logprobs:
                choice["logprobs"] = {"content": [logprobs]}
            ex.chunk(self._event(ex, [choice]))

        delta(role="assistant", content="" if not said.tools else None)
        for piece in said.thinking:
            delta(reasoning_content=piece)
        if said.refusal:
            delta(refusal=said.refusal)
        elif said.tools:
            for i, call in enumerate(self._calls(said)):
                arguments = call["function"]["arguments"]
                middle = len(arguments) // 2
                first = {"name": call["function"]["name"], "arguments": ""}
                delta(tool_calls=[{**call, "index": i, "function": first}])
                for part in (arguments[:middle], arguments[middle:]):
                    delta(tool_calls=[{"index": i, "function": {"arguments": part}}])
        else:
            for piece in said.text:
                delta(_logprobs(piece) if said.logprobs else None, content=piece)

    def embed(self, ex: Exchange) -> None:
        if ex.json.get("input") in ([], ""):
            message = "input must not be empty"
            ex.whole(400, self.fault(message, "invalid_request_error", None))
        else:
            super().embed(ex)

    def other(self, ex: Exchange) -> None:
        if ex.path.endswith("/models"):
            served = [{"id": "m1", "object": "model", "created": CREATED, "owned_by": "up"}]
            ex.whole(200, {"object": "list", "data": served})
        else:
            super().other(ex)


class Ollama(upstream.Ollama):
    """As Ollama answers on its own paths."""

    SHOWN = {
        "capabilities": ["completion", "tools", "thinking"],
        "details": {"family": "llama"},
        "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
        "template": "{{ .Prompt }}{{ .Tools }}",
    }

    def fault(self, message: str, type: str, code: str | None) -> Any:
        return {"error": message}

    def say(self, ex: Exchange, said: Answer) -> None:
        lines = [] if ex.json.get("stream") is False else self._pieces(ex, said)
        whole = "" if lines else "".join(said.text) if not said.tools else ""
        lines.append(self._last(ex, said, whole, bool(lines)))
        if ex.json.get("stream") is False:
            ex.whole(200, lines[0])
            return
        for line in lines:
            ex.chunk(line)
        ex.last_chunk()

    def _calls(self, said: Answer) -> list[dict[str, Any]]:
        return [
            {"id": id, "function": {"index": i, "name": name, "arguments": arguments}}
            for i, (id, name, arguments) in enumerate(said.tools)
        ]

    def _pieces(self, ex: Exchange, said: Answer) -> list[bytes]:
        lines = []
        for piece in said.thinking:
            content = self._content(ex, "")
            content.get("message", content)["thinking"] = piece
            lines.append(self._line(ex, **content, done=False))
        if said.tools and ex.kind == "chat":
            content = self._content(ex, "")
            content["message"]["tool_calls"] = self._calls(said)
            lines.append(self._line(ex, **content, done=False))
        elif not said.tools:
            for piece in said.text:
                extra: dict[str, Any] = {"logprobs": [_logprobs(piece)]} if said.logprobs else {}
                lines.append(self._line(ex, **self._content(ex, piece), done=False, **extra))
        return lines

    def _last(self, ex: Exchange, said: Answer, text: str, is_streamed: bool) -> bytes:
        line = json.loads(self.end(ex, said.finish, *said.tokens))
        line.update(self._content(ex, text))
        if not is_streamed:
            place = line.get("message", line)
            if said.thinking:
                place["thinking"] = "".join(said.thinking)
            if said.tools and ex.kind == "chat":
                place["tool_calls"] = self._calls(said)
            if said.logprobs:
                line["logprobs"] = [_logprobs(piece) for piece in said.text]
        return json.dumps(line).encode() + b"\n"

    def other(self, ex: Exchange) -> None:
        path = ex.path.split("?")[0]
        if path == "/api/show":
            ex.whole(200, self.SHOWN)
        elif path == "/api/tags":
            ex.whole(200, {"models": [{"name": "w1:latest", "model": "w1:latest"}]})
        else:
            super().other(ex)


class Server(upstream.Upstream):
    """A fake server; its default answer is Answer()."""

    def __init__(self, dialect: Any) -> None:
        super().__init__(dialect)
        self.always(answer())
        self.n_seen = 0
        self.client_saw = Gate()  # opened by the first piece of the answer that the client reads

    def heard(self) -> list[Exchange]:
        """The inference requests since the last time this was asked."""
        self.settle()
        fresh, self.n_seen = self.exchanges[self.n_seen :], len(self.exchanges)
        self.scripts.clear()
        return [ex for ex in fresh if ex.kind in upstream.INFERENCE]


__all__ = ["Answer", "HangUp", "Ollama", "OpenAI", "Server", "answer", "begun", "breaks", "cut", "fault"]

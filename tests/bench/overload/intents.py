"""Intents, and how a program with the openai package pursues them.

An intent is what somebody wants once, however often his client asks for it. Interactive: 24 to 48 tokens, the first within 5 s;
batch: 64 to 128 tokens, all within 40 s. It is good if the attempt that was served kept that limit, as each attempt has it for its
time-out; it is prompt if the limit is kept counted from the moment when it was born, pauses between attempts included.

The client is the package itself (AsyncOpenAI, streaming, its own two retries and its own obedience to Retry-After); the only thing set
is the time-out of a read, to what the intent can wait, as its users would. What each attempt met is noted by hooks of its HTTP client.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any, Optional

import httpx2  # the package's own HTTP client
import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

CONNECT_SEC = 5.0
N_CONNECTIONS = 1000  # the package's own limit


@dataclass(frozen=True)
class Kind:
    name: str
    tokens: tuple[int, int]  # asked for, from and to
    limit_sec: float  # for the first token, or for all
    is_first_token: bool  # the limit is for the first token


INTERACTIVE = Kind("interactive", (24, 48), 5.0, True)
BATCH = Kind("batch", (64, 128), 40.0, False)
KINDS = {kind.name: kind for kind in (INTERACTIVE, BATCH)}


@dataclass
class Attempt:
    at: float
    status: int = 0  # 0: no answer
    seconds: float = 0.0  # to the status line
    reason: str = ""  # the error's code, else its status


@dataclass
class Intent:
    kind: Kind
    born_at: float  # seconds, of time.monotonic()
    n_tokens: int  # asked for
    text: str
    caller: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    token_at: list[float] = field(default_factory=list)
    end_at: Optional[float] = None
    n_usage: int = 0  # tokens of the answer, by the server's count
    outcome: str = "unsettled"  # done, or what ended it

    @property
    def first_wait(self) -> float:
        return self.token_at[0] - self.born_at

    def _is_within(self, began_at: float) -> bool:
        """A whole answer, in time."""
        if self.outcome != "done" or not self.token_at or self.end_at is None:
            return False
        last = self.token_at[0] if self.kind.is_first_token else self.end_at
        return last - began_at <= self.kind.limit_sec

    @property
    def is_good(self) -> bool:
        return bool(self.attempts) and self._is_within(self.attempts[-1].at)

    @property
    def is_prompt(self) -> bool:
        return self._is_within(self.born_at)

    def note_silence(self) -> None:
        """What an attempt without an answer was: the client's own patience, or a connection that failed."""
        for attempt, after in zip(self.attempts, [*self.attempts[1:], None]):
            if attempt.status == 0 and not attempt.reason:
                until = after.at if after else self.end_at or attempt.at
                gave_up = until - attempt.at >= self.kind.limit_sec
                attempt.reason = "client_timeout" if gave_up else "no_connection"

    def record(self, began_at: float) -> dict[str, Any]:
        return {
            "kind": self.kind.name,
            "caller": self.caller,
            "born": round(self.born_at - began_at, 3),
            "asked": self.n_tokens,
            "tokens": self.n_usage,
            "outcome": self.outcome,
            "good": self.is_good,
            "prompt": self.is_prompt,
            "first": round(self.first_wait, 3) if self.token_at else None,
            "end": round(self.end_at - began_at, 3) if self.end_at else None,
            "attempts": [[a.status, a.reason, round(a.seconds, 5)] for a in self.attempts],
        }


def make(rng: random.Random, kind: Kind, born_at: float, caller: str = "") -> Intent:
    """Prompts of equal length that differ from the beginning: no answer comes out of a cache of prompts. Short, so that tokens are the work."""
    text = f"{rng.randrange(1000, 10000)}: write a very long story"
    return Intent(kind, born_at, rng.randint(*kind.tokens), text, caller)


_current: contextvars.ContextVar[Intent] = contextvars.ContextVar("intent")


async def _on_request(_request: Any) -> None:
    _current.get().attempts.append(Attempt(time.monotonic()))


async def _on_response(response: Any) -> None:
    attempt = _current.get().attempts[-1]
    attempt.seconds = time.monotonic() - attempt.at
    attempt.status = response.status_code
    if response.status_code >= 400:
        await response.aread()
        attempt.reason = _reason(response.status_code, response.text)


def _reason(status: int, text: str) -> str:
    try:
        code = json.loads(text)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        code = None
    return code if isinstance(code, str) and not code.isdigit() else str(status)


class Client:
    """The openai package against one address. As an async context manager."""

    def __init__(self, base_url: str, model: str, keys: dict[str, str], default_key: str):
        hooks = {"request": [_on_request], "response": [_on_response]}
        http = DefaultAsyncHttpxClient(event_hooks=hooks)
        self.model = model
        self.root = AsyncOpenAI(base_url=base_url, api_key=default_key, http_client=http)
        self.by_caller = {name: self.root.with_options(api_key=key) for name, key in keys.items()}

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.root.close()

    async def pursue(self, intent: Intent, max_retries: int = openai.DEFAULT_MAX_RETRIES) -> Intent:
        """To its end, whatever that is; never raises but for a cancellation."""
        _current.set(intent)
        try:
            intent.outcome = await self._ask(intent, max_retries)
        except openai.APIStatusError as e:
            intent.outcome = f"refused {e.status_code}"
        except openai.APITimeoutError:
            intent.outcome = "timeout"
        except (openai.APIError, httpx2.HTTPError, httpx2.StreamError) as e:
            intent.outcome = f"broken: {type(e).__name__}"
        except asyncio.CancelledError:
            intent.outcome = "unsettled"
            raise
        intent.end_at = time.monotonic()
        intent.note_silence()
        return intent

    async def _ask(self, intent: Intent, max_retries: int) -> str:
        api = self.by_caller.get(intent.caller, self.root)
        timeout = openai.Timeout(intent.kind.limit_sec, connect=CONNECT_SEC)
        is_batch = intent.kind is BATCH
        stream = await api.with_options(max_retries=max_retries, timeout=timeout).chat.completions.create(
            model=self.model,
            messages=[{"role": "user", "content": intent.text}],
            max_tokens=intent.n_tokens,
            stream=True,
            stream_options={"include_usage": True},
            service_tier="flex" if is_batch else "auto",  # how OpenAI's clients say that it can wait
            extra_headers={"x-class": intent.kind.name},  # the same for a proxy that reads only headers
        )
        finish = None
        async for chunk in stream:
            if chunk.usage:
                intent.n_usage = chunk.usage.completion_tokens
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                if choice.delta.content:
                    intent.token_at.append(time.monotonic())
        intent.n_usage = intent.n_usage or len(intent.token_at)
        return "done" if finish else "broken: no finish"


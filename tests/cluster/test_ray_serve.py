"""A cluster as an upstream: two replicas of a Ray Serve application, one of which is killed while both answer.

What must hold: answers of the surviving replica go on as if nothing had happened; those of the dead one end with an error that
no client can take for an answer; and whoever asks afterwards is served, by the survivor first and soon by two again.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, Optional

import openai
import pytest
from testenv.daemon import Daemon
from testenv.waiting import eventually

WORDS = 200  # of a long answer: four seconds at the replica's pace
STREAMS = 12
AFTERWARDS = 30
RESTART_SEC = 60  # Ray looks after its replicas every few seconds


def client_of(sluice: Daemon) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{sluice.port}/v1", api_key="x", max_retries=0)


def ask(client: openai.OpenAI) -> int:
    """A short answer: the process that gave it."""
    answer = client.chat.completions.create(
        model="words", max_tokens=2, messages=[{"role": "user", "content": "go"}]
    )
    text = answer.choices[0].message.content
    assert text and text.count(":") == 2, text
    return int(text.partition(":")[0])


class Stream(threading.Thread):
    """One long streamed answer, read to its end."""

    def __init__(self, client: openai.OpenAI) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.has_begun = threading.Event()
        self.words: list[str] = []
        self.finish_reason: Optional[str] = None
        self.error: Optional[Exception] = None
        self.start()

    def run(self) -> None:
        try:
            self.read()
        except Exception as e:  # looked at by the test
            self.error = e
        self.has_begun.set()

    def read(self) -> None:
        stream: Any = self.client.chat.completions.create(
            model="words",
            max_tokens=WORDS,
            stream=True,
            messages=[{"role": "user", "content": "go"}],
        )
        for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    self.words += choice.delta.content.split()
                    self.has_begun.set()
                self.finish_reason = choice.finish_reason or self.finish_reason

    @property
    def replica(self) -> int:
        return int(self.words[0].partition(":")[0])

    def assert_whole(self) -> None:
        assert self.error is None, self.error
        assert self.words == [f"{self.replica}:{i}" for i in range(WORDS)]
        assert self.finish_reason == "stop"

    def assert_cut(self) -> None:
        assert isinstance(self.error, openai.APIError), (self.error, len(self.words))
        assert self.finish_reason is None and len(self.words) < WORDS
        assert self.words == [f"{self.replica}:{i}" for i in range(len(self.words))]


def both_replicas(client: openai.OpenAI) -> set[int]:
    seen: set[int] = set()

    def two() -> bool:
        seen.add(ask(client))
        return len(seen) == 2

    eventually(two, "two replicas serve", RESTART_SEC)
    return seen


def test_both_replicas_serve(sluice: Daemon) -> None:
    assert len(both_replicas(client_of(sluice))) == 2


@pytest.mark.timeout(3 * RESTART_SEC)
def test_a_replica_is_killed_in_the_middle(sluice: Daemon) -> None:
    client = client_of(sluice)
    replicas = both_replicas(client)
    streams = [Stream(client) for _ in range(STREAMS)]

    for stream in streams:
        assert stream.has_begun.wait(RESTART_SEC) and not stream.error, stream.error
    victim = streams[0].replica
    os.kill(victim, signal.SIGKILL)

    survivor = (replicas - {victim}).pop()
    served = [ask(client) for _ in range(AFTERWARDS)]
    assert survivor in served and victim not in served

    for stream in streams:
        stream.join(RESTART_SEC)
        assert not stream.is_alive()
        if stream.replica == victim:
            stream.assert_cut()
        else:
            stream.assert_whole()

    assert victim not in both_replicas(client)

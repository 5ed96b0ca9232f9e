#!/usr/bin/env python3
"""What a call costs in a Python program: this package or openai, the same words, the same daemon.

    python_load.py sluice|openai --at ADDRESS --model NAME --how call|stream|async --seconds N

ADDRESS is the RPC socket or the base URL. Prints one line of JSON: CPU time of this process (user and system, without start and
import), answers and pieces of text that came, latencies, and what the import cost. Every answer is counted, token by token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import time
from typing import Any

MESSAGES = [{"role": "user", "content": "x" * 400}]
AT_A_TIME = 16  # with --how async


def make(args: argparse.Namespace) -> Any:
    is_async = args.how == "async"
    if args.client == "sluice":
        import sluice

        return (sluice.AsyncClient if is_async else sluice.Client)(args.at)
    import openai

    kind = openai.AsyncOpenAI if is_async else openai.OpenAI
    return kind(base_url=args.at, api_key=args.key, max_retries=0)


def one(client: Any, args: argparse.Namespace) -> int:
    """Makes a call; how many pieces of text it brought."""
    create = client.chat.completions.create
    if args.how == "stream":
        chunks = create(model=args.model, messages=MESSAGES, stream=True)
        return sum(1 for c in chunks if c.choices and c.choices[0].delta.content)
    answer = create(model=args.model, messages=MESSAGES)
    return len(answer.choices[0].message.content.split())


def run(client: Any, args: argparse.Namespace) -> "tuple[int, list[float]]":
    pieces, times = 0, []
    end_at = time.monotonic() + args.seconds
    while time.monotonic() < end_at:
        began = time.monotonic()
        pieces += one(client, args)
        times.append(time.monotonic() - began)
    return pieces, times


async def run_async(client: Any, args: argparse.Namespace) -> "tuple[int, list[float]]":
    times: list[float] = []
    end_at = time.monotonic() + args.seconds

    async def work() -> int:
        pieces = 0
        while time.monotonic() < end_at:
            began = time.monotonic()
            answer = await client.chat.completions.create(model=args.model, messages=MESSAGES)
            pieces += len(answer.choices[0].message.content.split())
            times.append(time.monotonic() - began)
        return pieces

    return sum(await asyncio.gather(*(work() for _ in range(AT_A_TIME)))), times


async def main_async(args: argparse.Namespace) -> "tuple[int, list[float], float]":
    async with make(args) as client:
        await client.chat.completions.create(model=args.model, messages=MESSAGES)
        before = time.process_time()
        pieces, times = await run_async(client, args)
        return pieces, times, time.process_time() - before


def main_sync(args: argparse.Namespace) -> "tuple[int, list[float], float]":
    with make(args) as client:
        one(client, args)  # connects
        before = time.process_time()
        pieces, times = run(client, args)
        return pieces, times, time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=["sluice", "openai"])
    parser.add_argument("--at", required=True)
    parser.add_argument("--key", default="x")
    parser.add_argument("--model", required=True)
    parser.add_argument("--how", choices=["call", "stream", "async"], required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()
    before, rss = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    __import__(args.client)
    import_sec = time.process_time() - before
    import_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss
    result = asyncio.run(main_async(args)) if args.how == "async" else main_sync(args)
    pieces, times, cpu_sec = result
    found = {
        "answers": len(times),
        "pieces": pieces,
        "cpu_usec": cpu_sec * 1e6,
        "latency_usec": statistics.median(times) * 1e6,
        "import_msec": import_sec * 1e3,
        "import_kib": import_kib,
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()

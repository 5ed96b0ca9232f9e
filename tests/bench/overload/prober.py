#!/usr/bin/env python3
"""A client that does nothing else, and so is not held up itself: how long until sluice tells it no.

    prober.py LIBRARY SOCKET WARM_SEC SECONDS

The clients of the benchmark are one process, where an answer waits until those before it are read. This one asks by RPC, five times a
second, for what cannot be had under load (background, within half a second), and takes its processor as soon as there is something to
read (SCHED_FIFO, where it may). On standard output, as JSON: milliseconds until the error, and what else came of it.

It owns nothing but its connection. It must not wait for its turn or try again: the refusal is what is measured.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[3] / "bindings/python"), str(Path(__file__).parent)]

from figures import quantile  # noqa: E402

PAUSE_SEC = 0.2
DEADLINE_SEC = 0.5


def at_once() -> bool:
    """Before all others on this processor; False: not allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


def main() -> int:
    library, path, warm_sec, seconds = sys.argv[1:]
    os.environ["SLUICE_LIBRARY"] = library
    import sluice  # reads that variable

    is_first = at_once()
    refused_msec: list[float] = []
    others: Counter[str] = Counter()
    time.sleep(float(warm_sec))
    end_at = time.monotonic() + float(seconds)
    with sluice.Client(path) as client:
        model = client.models.list().data[0].id
        message = {"role": "user", "content": "hi"}
        while time.monotonic() < end_at:
            began_at = time.monotonic()
            try:
                client.chat.completions.create(
                    model=model, messages=[message], max_tokens=1, class_="background", deadline=DEADLINE_SEC
                )
                others["served"] += 1
            except sluice.APIStatusError as e:
                if e.code == "predicted_wait":
                    refused_msec.append((time.monotonic() - began_at) * 1e3)
                else:
                    others[str(e.code)] += 1
            time.sleep(PAUSE_SEC)
    found = {f"p{p}": quantile(refused_msec, p / 100) for p in (50, 99)}
    print(json.dumps({"n": len(refused_msec), **found, "others": others, "is_first": is_first}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""arrivals.py MODEL N AROUND_MS: N requests, one after the other, on all sockets in turn, with gaps that run from half to one and a half times
AROUND_MS; so some arrive just before the daemon leaves for being idle that long, some just after, and some while it leaves.

Prints as JSON how many were done, not_good, refused and cut (see load.py), and the worst latency.
"""
import json
import sys
import threading
import time

import client

STEPS = 37  # different gaps; prime, so that each socket meets all of them

model, n, around_ms = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
report = {"done": 0, "not_good": 0, "refused": 0, "cut": 0, "worst_usec": 0, "examples": []}
never = threading.Event()


def one(name):
    began = time.monotonic()
    try:
        s = client.connect(name)
    except OSError as error:
        return "refused", f"{name}: {error}"
    try:
        _, answer = client.ask(s, name, model)
    except OSError as error:
        return "cut", f"{name}: {error}"
    finally:
        s.close()
    report["worst_usec"] = max(report["worst_usec"], round((time.monotonic() - began) * 1e6))
    return ("done", None) if client.is_good(name, answer) else ("not_good", answer[:300].decode("latin-1"))


for i in range(n):
    what, example = one(list(client.ADDRESSES)[i % len(client.ADDRESSES)])
    report[what] += 1
    if example:
        report["examples"].append(example)
    never.wait(around_ms / 1000 * (0.5 + i % STEPS / STEPS))  # the gap is what is tested
print(json.dumps(report))

"""load.py MODEL: clients on all sockets ask again and again until standard input closes; then prints as JSON what became of it.

    done      answered              not_good  answered with an error
    refused   could not connect     cut       connected, and lost the connection before the answer was whole
"""
import json
import sys
import threading
import time

import client

CLIENTS_PER_SOCKET = 3


class Tally:
    """What one client saw."""

    def __init__(self, name):
        self.name, self.worst_usec, self.examples = name, 0, []
        self.counts = dict.fromkeys(("done", "not_good", "refused", "cut"), 0)

    def add(self, what, example=None):
        self.counts[what] += 1
        if example is not None and len(self.examples) < 3:
            self.examples.append(f"{self.name}: {what}: {example}")

    def one(self, model):
        """One connection, one request."""
        began = time.monotonic()
        try:
            s = client.connect(self.name)
        except OSError as error:
            return self.add("refused", error)
        try:
            _, answer = client.ask(s, self.name, model)
        except OSError as error:
            return self.add("cut", error)
        finally:
            s.close()
        self.worst_usec = max(self.worst_usec, round((time.monotonic() - began) * 1e6))
        return self.add("done") if client.is_good(self.name, answer) else self.add("not_good", answer[:300])


def main():
    over = threading.Event()
    tallies = [Tally(name) for name in client.ADDRESSES for _ in range(CLIENTS_PER_SOCKET)]

    def work(tally):
        while not over.is_set():
            tally.one(sys.argv[1])

    threads = [threading.Thread(target=work, args=(tally,)) for tally in tallies]
    for thread in threads:
        thread.start()
    print("started", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    total = {what: sum(t.counts[what] for t in tallies) for what in tallies[0].counts}
    total["worst_usec"] = max(t.worst_usec for t in tallies)
    total["examples"] = [example for t in tallies for example in t.examples][:10]
    print(json.dumps(total), flush=True)


main()

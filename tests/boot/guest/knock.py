"""knock.py NAME MODEL: one request to a socket; prints as JSON how long connecting and the first byte took, and the answer."""
import json
import sys
import time

import client

name, model = sys.argv[1:]
began = time.monotonic()
s = client.connect(name)
connected = time.monotonic()
first, answer = client.ask(s, name, model)
print(json.dumps({"connect_usec": round((connected - began) * 1e6), "first_byte_usec": round((first - began) * 1e6),
                  "is_good": client.is_good(name, answer), "answer": answer.decode("latin-1")}))

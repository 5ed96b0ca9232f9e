"""python -m testenv.island DIRECTORY SLUICED: real default ports in a network namespace of its own.

Runs a scripted Ollama on 11434, `sluiced --config DIRECTORY/config.yaml` and nothing else, then DIRECTORY/script.py, whose output is
this program's output. Exit status 77: this machine grants no namespaces. Once a process has threads it may not enter a user
namespace any more, so this is a program of its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys

from .daemon import SANITIZER_ENV, SANITIZER_REPORT
from .upstream import Ollama, Upstream, say
from .waiting import eventually

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
NO_NAMESPACES = 77


def enter() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWUSER | CLONE_NEWNET
    if libc.unshare(flags) != 0 and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
        except OSError:
            return False
    return True


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except ConnectionRefusedError:
        return False


def main(directory: str, sluiced: str) -> int:
    if not enter():
        return NO_NAMESPACES
    upstream = Upstream(Ollama(), port=11434)
    upstream.always(say("def fib", "(n): ..."))
    env = {
        **os.environ,
        **SANITIZER_ENV,
        "RUNTIME_DIRECTORY": directory,
        "XDG_RUNTIME_DIR": directory,
    }
    log = open(f"{directory}/sluiced.log", "w+b")
    daemon = subprocess.Popen(
        [sluiced, "--config", f"{directory}/config.yaml"], stderr=log, env=env
    )
    try:
        eventually(lambda: is_open(4000) or daemon.poll() is not None, "port 4000 is open")
        script = subprocess.run([sys.executable, f"{directory}/script.py"])
    finally:
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait(20)
        upstream.close()
        log.seek(0)
        text = log.read().decode(errors="replace")
    print(text, file=sys.stderr)
    asked = upstream.wait_request().json["model"] == "codegemma:2b"
    is_clean = status == 0 and not SANITIZER_REPORT.search(text)
    return 0 if script.returncode == 0 and is_clean and asked else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

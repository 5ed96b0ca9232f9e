"""Journal files with records of the test's choosing: written in journald's export format, made a journal by systemd-journal-remote."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Optional, Union

# Of Debian; other systems have it in the path.
FOLDERS = ("/usr/lib/systemd", "/lib/systemd")
BOOT_ID = "a" * 32
BASE_USEC = 1_763_800_000_000_000  # 2025-11-22 08:26:40 UTC

Value = Union[str, bytes, int]


def converter() -> Optional[str]:
    return shutil.which("systemd-journal-remote", path=os.pathsep.join((os.environ.get("PATH", ""), *FOLDERS)))


def call(n: int, **fields: Optional[Value]) -> dict[str, Value]:
    """The record of a finished call, n seconds after BASE_USEC; None takes a field away."""
    record: dict[str, Optional[Value]] = {
        "__REALTIME_TIMESTAMP": BASE_USEC + n * 1_000_000,
        "__MONOTONIC_TIMESTAMP": 1_000_000 + n * 1_000_000,
        "_BOOT_ID": BOOT_ID,
        "MESSAGE": "chat m: completed",
        "PRIORITY": 6,
        "SLUICE_EVENT": "call",
        "SLUICE_REQUEST_ID": f"req-{n}",
        "SLUICE_KIND": "chat",
        "SLUICE_MODEL": "m",
        "SLUICE_DEPLOYMENT": "m#1",
        "SLUICE_PROVIDER": "ollama",
        "SLUICE_CLASS": "interactive",
        "SLUICE_FRONTEND": "rpc",
        "SLUICE_KEY_ID": "ci",
        "SLUICE_UID": 1000,
        "SLUICE_PID": 77,
        "SLUICE_OUTCOME": "completed",
        "SLUICE_QUEUE_USEC": 1000 * n,
        "SLUICE_TTFT_USEC": 100_000,
        "SLUICE_TOTAL_USEC": 1_100_000,
        "SLUICE_BYTES_IN": 80,
        "SLUICE_TOKENS_IN": 7,
        "SLUICE_TOKENS_OUT": 11,
    }
    record.update(fields)
    return {k: v for k, v in record.items() if v is not None}


def other(n: int, message: str) -> dict[str, Value]:
    """A record that is no call."""
    return {
        "__REALTIME_TIMESTAMP": BASE_USEC + n * 1_000_000,
        "__MONOTONIC_TIMESTAMP": 1_000_000 + n * 1_000_000,
        "_BOOT_ID": BOOT_ID,
        "MESSAGE": message,
        "PRIORITY": 5,
        "SLUICE_EVENT": "ready",
    }


def export(records: list[dict[str, Value]]) -> bytes:
    out = bytearray()
    for record in records:
        for name, value in record.items():
            data = value if isinstance(value, bytes) else str(value).encode()
            if any(byte < 0x20 or byte >= 0x7F for byte in data):
                out += name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
            else:
                out += name.encode() + b"=" + data + b"\n"
        out += b"\n"
    return bytes(out)


def append(path: Path, records: list[dict[str, Value]]) -> None:
    """Makes the journal file, or adds to it."""
    tool = converter()
    assert tool
    source = path.with_suffix(".export")
    source.write_bytes(export(records))
    done = subprocess.run([tool, f"--output={path}", str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""What sluiced takes for journald: a datagram socket that is read only when the test says so."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from .waiting import eventually


class Journald:
    def __init__(self, directory: Path):
        self.path = str(directory / "journal.sock")
        self.records: list[dict[str, bytes]] = []
        self.open()

    def open(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(self.path)

    def close(self) -> None:
        self.socket.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def read(self) -> list[dict[str, bytes]]:
        """All that was sent so far, also earlier."""
        while True:
            try:
                self.records.append(parse(self.socket.recv(1 << 20)))
            except BlockingIOError:
                return self.records

    def wait(self, field: str, value: bytes) -> dict[str, bytes]:
        """The first record that has this value, reading until it comes."""
        return eventually(
            lambda: next((r for r in self.read() if r.get(field) == value), None),
            f"a record with {field}={value!r}",
        )


def parse(record: bytes) -> dict[str, bytes]:
    """journald's native protocol: NAME=value, or NAME, a length and the value."""
    fields: dict[str, bytes] = {}
    while record:
        line, _, rest = record.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[8 + length + 1 :]
        fields[name.decode()] = value
        record = rest
    return fields

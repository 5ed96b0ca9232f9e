"""Free ports that stay free until the server that is meant takes them."""

from __future__ import annotations

import socket


class Port:
    """A loopback port. Ours as long as this is open: a bound socket that does not listen keeps the kernel from giving the port to
    anybody who asks for any, and, as both sides say SO_REUSEADDR, does not hinder who asks for this one.
    """

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.sock.bind(("127.0.0.1", 0))
        self.number: int = self.sock.getsockname()[1]

    def close(self) -> None:
        self.sock.close()

"""What a gateway costs: start-up, memory, processor time for each request. Printed and never written down: they are this machine's."""

from __future__ import annotations

import time
from dataclasses import dataclass

from gateways import Gateway
from table import KEY
from testenv.http import Http

N_REQUESTS = 200


@dataclass
class Figures:
    name: str
    start_sec: float
    rss_bytes: int
    cpu_sec: float  # of one request
    wall_sec: float

    def __str__(self) -> str:
        return (
            f"{self.name:8} start {self.start_sec * 1e3:8.1f} ms   memory {self.rss_bytes / 2**20:7.1f} MiB"
            f"   processor {self.cpu_sec * 1e6:8.1f} us/request   {self.wall_sec * 1e3:7.2f} ms/request"
        )


def figures(gateway: Gateway) -> Figures:
    """After everything else that this gateway was asked: its memory is that of a used process."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    with Http(("127.0.0.1", gateway.port)) as http:
        for _ in range(20):
            http.request("POST", "/v1/chat/completions", body, headers=_headers())
        cpu, wall = gateway.cpu_sec(), time.monotonic()
        for _ in range(N_REQUESTS):
            http.request("POST", "/v1/chat/completions", body, headers=_headers())
        cpu, wall = gateway.cpu_sec() - cpu, time.monotonic() - wall
    return Figures(
        gateway.name, gateway.start_sec, gateway.rss_bytes(), cpu / N_REQUESTS, wall / N_REQUESTS
    )


def _headers() -> dict[str, str | None]:
    return {"Authorization": f"Bearer {KEY}"}

"""A real Jaeger 1.76 all-in-one as the lab's trace store."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import aiohttp

from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.network import JAEGER_PORT, OTLP_PORT, check_free
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.process import Process
from chaosmesh_ext.lab.traces.api import Traces

__all__ = ["PORTS", "TOOLS", "Jaeger", "create"]

TOOLS = ("jaeger",)

_LISTENERS = {
    "query.http-server": JAEGER_PORT,
    "collector.otlp.http": OTLP_PORT,
    "admin.http": 14269,
    "collector.grpc-server": 14250,
    "collector.http-server": 14268,
    "collector.otlp.grpc": 4317,
    "query.grpc-server": 16685,
}
"""Every port that it opens, by the flag that says where; only the first two are asked for, none can be switched off."""
PORTS = tuple(_LISTENERS.values())

_MAX_TRACES = 5_000
"""Jaeger counts traces and not spans: so many of ten Envoy spans each take 300 MB (measured)."""

_MARK = "X-Chaosmesh-Lab"
"""A header of its answers that says which Jaeger it is."""

_BANNER = ("maxprocs:", "application version:", "🛑", "***")

_ENVIRONMENT = {
    "SPAN_STORAGE_TYPE": "memory",
    # it would send spans of its own to localhost:4317, whoever listens there
    "OTEL_TRACES_SAMPLER": "always_off",
}


def create(place: Place) -> Traces:
    """A Jaeger for the lab at PLACE, not started yet; raises LabError when Jaeger was not built."""
    return Jaeger(tools.need("jaeger"), place.control, place.log("jaeger"))


class Jaeger:
    """One Jaeger, its spans in memory.

    binary: the program. host: the address of all of its ports. max_traces: the oldest are dropped beyond it.
    """

    def __init__(self, binary: Path, host: str, log: Path, *, max_traces: int = _MAX_TRACES) -> None:
        self.url = f"http://{host}:{JAEGER_PORT}"
        self.otlp = (host, OTLP_PORT)
        self._host = host
        self._mark = secrets.token_hex(8)
        listeners = [f"--{flag}.host-port={host}:{port}" for flag, port in _LISTENERS.items()]
        options = [
            f"--memory.max-traces={max_traces}",
            f"--query.additional-headers={_MARK}: {self._mark}",
            "--log-level=warn",
        ]
        self._process = Process("Jaeger", [str(binary), *listeners, *options], log, _ENVIRONMENT, harmless=_BANNER)

    @property
    def pid(self) -> int:
        """The process id, or 0 before the start."""
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it answers; raises LabError when a port is taken, or with its last words."""
        check_free((self._host, port) for port in PORTS)
        await self._process.start()
        timeout = aiohttp.ClientTimeout(total=1, ceil_threshold=60)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as client:

            async def ours() -> bool:
                """It answers, and nobody else on its port; its receivers listened before its query service did."""
                try:
                    async with client.get(f"{self.url}/api/services") as answer:
                        return answer.status == 200 and answer.headers.get(_MARK) == self._mark
                except aiohttp.ClientError:
                    return False

            await self._process.ready(ours)

    async def stop(self) -> None:
        """End it; its spans are gone."""
        await asyncio.shield(self._process.stop())

    def dead(self) -> str:
        """Its last words when it died by itself, else empty."""
        return self._process.dead()

"""A real Jaeger 1.76 all-in-one as the lab's trace store."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from pathlib import Path

import aiohttp

from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.network import JAEGER_PORT, OTLP_PORT, check_free
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.process import Process
from chaosmesh_ext.lab.state import LAB_VARIABLE
from chaosmesh_ext.lab.traces.api import Traces

__all__ = ["Jaeger", "create"]

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

_MAX_TRACES = 5_000
"""Jaeger counts traces and not spans: so many of ten Envoy spans each take 300 MB (measured)."""

_MARK = "X-Chaosmesh-Lab"
"""A header of its answers that says which Jaeger it is."""

_TAIL = 1024 * 1024
"""Bytes of its log in which its last words are looked for: Go writes the stacks of all goroutines after them."""

_GO_LOG = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (.+)")
_PANIC = re.compile(r"(panic|fatal error|runtime|SIG[A-Z]+): .+")
_BANNER = ("maxprocs:", "application version:")


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
        self._stopped = True
        listeners = [f"--{flag}.host-port={host}:{port}" for flag, port in _LISTENERS.items()]
        options = [
            f"--memory.max-traces={max_traces}",
            f"--query.additional-headers={_MARK}: {self._mark}",
            "--log-level=warn",
        ]
        self._process = _Process("Jaeger", [str(binary), *listeners, *options], log, _environment())

    @property
    def pid(self) -> int:
        """The process id, or 0 before the start."""
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it answers; raises LabError when a port is taken, or with its last words."""
        check_free((self._host, port) for port in _LISTENERS.values())
        self._stopped = False
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
        self._stopped = True
        await asyncio.shield(self._process.stop())

    def dead(self) -> str:
        """Its last words when it died by itself, else empty."""
        if self._stopped or self._process.running:
            return ""
        return f"Jaeger died; its last words: {self._process.last_words()}"


class _Process(Process):
    """Jaeger's log has a banner, and JSON with stack traces: its last words are what it says was wrong."""

    def last_words(self, lines: int = 1) -> str:
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                text = file.read().decode(errors="replace")
        except OSError:
            text = ""
        words = [word for line in text.splitlines() if (word := _complaint(line))]
        return " | ".join(words[-lines:]) or "none"


def _complaint(line: str) -> str:
    """What LINE of Jaeger's log says is wrong: a record of an error, Go's own last line, a panic, a signal."""
    if line.startswith("{"):
        try:
            record = json.loads(line)
        except ValueError:
            return ""
        if record.get("level") not in ("error", "dpanic", "panic", "fatal"):
            return ""
        return ": ".join(str(record[key]) for key in ("msg", "error") if record.get(key))
    if said := _GO_LOG.fullmatch(line):
        return "" if said[1].startswith(_BANNER) else said[1]
    return line if _PANIC.fullmatch(line) else ""


def _environment() -> dict[str, str]:
    """Every flag of Jaeger's can be set by a variable of a common name (LOG_LEVEL, CONFIG_FILE): it gets none of ours.

    It would send spans of its own to localhost:4317, whoever listens there.
    """
    ours = {key: os.environ[key] for key in (LAB_VARIABLE,) if key in os.environ}
    return {**ours, "SPAN_STORAGE_TYPE": "memory", "OTEL_TRACES_SAMPLER": "always_off"}

"""What istiod tells about itself, at the port where istiod tells it: /debug/syncz, in its shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from aiohttp import web

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.controlplane.embedded.ads import Connection
from chaosmesh_ext.lab.controlplane.embedded.messages import CDS, EDS, LDS, RDS

__all__ = ["Debug", "syncz"]

_WORDS = {CDS: "cluster", LDS: "listener", RDS: "route", EDS: "endpoint"}
"""Istiod's older words for the types; it has both."""


class Debug:
    """Answers on HOST and PORT. CONNECTIONS: the proxies' streams."""

    def __init__(self, host: str, port: int, connections: Callable[[], Iterable[Connection]]) -> None:
        self._host, self._port = host, port
        self._connections = connections
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; raises LabError when the address is taken."""
        app = web.Application()
        app.add_routes([web.get("/debug/syncz", self._syncz)])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            raise LabError(f"{self._host}:{self._port} cannot be had: {error.strerror}") from error

    async def stop(self) -> None:
        """Stop listening; a second call does nothing."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _syncz(self, _request: web.Request) -> web.Response:
        told = [syncz(one) for one in self._connections() if one.proxy]
        body = msgspec.json.encode(sorted(told, key=lambda entry: str(entry["proxy"])))
        return web.Response(body=body, content_type="application/json")


def syncz(connection: Connection) -> dict[str, Any]:
    """What istiod would say of the proxy at the other end of CONNECTION."""
    entry: dict[str, Any] = {
        "cluster_id": "Kubernetes",
        "proxy": connection.proxy,
        "proxy_type": connection.node_id.partition("~")[0],
        "istio_version": connection.version,
    }
    resources: dict[str, dict[str, str]] = {}
    for kind, watched in sorted(connection.watches().items()):
        if not watched.sent:
            continue
        known = {"sent": watched.sent, "acked": watched.acked, "lastError": watched.error, "sentTime": watched.at}
        resources[kind] = {name: value for name, value in known.items() if value}
        entry[f"{_WORDS[kind]}_sent"] = watched.sent
        entry[f"{_WORDS[kind]}_acked"] = watched.acked
    return {**entry, "resources": resources} if resources else entry

"""The lab's front desk: what runs, how much memory it takes, and where Prometheus finds the sidecars."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import psutil
from aiohttp import web

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.controlplane.api import ControlPlane, ProxyStatus
from chaosmesh_ext.lab.kubelet import ADMIN_PORT, Kubelet

__all__ = ["DESK_PORT", "Desk", "Part", "pss_mb", "targets_url"]

DESK_PORT = 7000


def pss_mb(pid: int) -> float:
    """Proportional set size of a process in MB (shared pages count in parts, so that sums are true); 0 when gone."""
    try:
        return float(psutil.Process(pid).memory_full_info().pss) / 1e6
    except psutil.Error:
        return 0.0


def targets_url(host: str) -> str:
    """Where the desk at HOST tells Prometheus which sidecars there are."""
    return f"http://{host}:{DESK_PORT}/targets"


class Part(Protocol):
    """Something that may die before the lab does."""

    def dead(self) -> str:
        """Why it is no more, with its last words; empty while it runs."""


class Desk:
    """Answers ``/status`` and ``/targets`` (Prometheus' HTTP service discovery).

    parts: what the lab consists of, and what may die by itself.
    """

    def __init__(self, host: str, name: str, kubelet: Kubelet, plane: ControlPlane, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._host = host
        self._name = name
        self._kubelet = kubelet
        self._plane = plane
        self._runner: web.AppRunner | None = None
        self.url = f"http://{host}:{DESK_PORT}"

    async def start(self) -> None:
        """Listen; raises LabError when the address is taken."""
        app = web.Application()
        app.add_routes([web.get("/status", self._status), web.get("/targets", self._targets)])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, DESK_PORT).start()
        except OSError as error:
            raise LabError(f"{self._host}:{DESK_PORT} cannot be had: {error.strerror}") from error

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _targets(self, _request: web.Request) -> web.Response:
        targets = []
        for running in self._kubelet.pods:
            meta = running.pod["metadata"]
            if running.sidecar is None:
                continue
            workload = meta.get("annotations", {}).get("lab.chaosmesh-ext/workload", meta["name"])
            labels = {"pod": meta["name"], "namespace": meta["namespace"], "workload": workload}
            targets.append({"targets": [f"{running.addresses.outbound}:{ADMIN_PORT}"], "labels": labels})
        return web.json_response(targets)

    async def _status(self, _request: web.Request) -> web.Response:
        dead = [words for part in self._parts if (words := part.dead())]
        proxies, problems, silent = await self._of_the_plane()
        pods: list[dict[str, Any]] = []
        for running in self._kubelet.pods:
            namespace, name = running.key
            proxy = proxies.get(f"{name}.{namespace}") or proxies.get(name)
            pods.append(
                {
                    "namespace": namespace,
                    "name": name,
                    "ready": running.ready,
                    "address": running.addresses.inbound,
                    "envoy_pid": running.sidecar.pid if running.sidecar else 0,
                    "app_pid": running.app_pid,
                    "restarts": sum(running.restarts.values()),
                    "synced": bool(proxy and proxy.synced),
                    "error": (proxy.error if proxy else "") or "",
                    "last_words": running.last_words,
                }
            )
        supervisor = psutil.Process()
        family = [supervisor, *supervisor.children(recursive=True)]
        return web.json_response(
            {
                "name": self._name,
                "pods": pods,
                "dead": [*dead, *silent],
                "problems": problems,
                "processes": len(family),
                "pss_mb": round(sum(pss_mb(process.pid) for process in family), 1),
            }
        )

    async def _of_the_plane(self) -> tuple[dict[str, ProxyStatus], list[str], list[str]]:
        """Every proxy by its name, what was refused, and why the control plane says neither."""
        if self._plane.dead():
            return {}, [], []
        try:
            proxies, problems = await asyncio.gather(self._plane.proxies(), self._plane.problems())
        except LabError as error:
            return {}, [], [str(error)]
        return {proxy.name: proxy for proxy in proxies}, problems, []

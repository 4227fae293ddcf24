"""The control plane of a lab whose proxies istiod configures."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp

from chaosmesh_ext.errors import ChaosMeshError, LabError
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.istio.sidecars import is_of_the_lab
from chaosmesh_ext.lab.controlplane.api import ProxyStatus
from chaosmesh_ext.lab.controlplane.istiod.http_proxy import add_http_proxy
from chaosmesh_ext.lab.controlplane.istiod.objects import (
    ROOT_NAMESPACE,
    for_mesh,
    for_pod,
    for_webhook,
    mesh_config,
    workload_entry,
)
from chaosmesh_ext.lab.controlplane.istiod.process import Istiod
from chaosmesh_ext.lab.envoy import bootstrap
from chaosmesh_ext.lab.envoy.node import APP, is_gateway, node_of
from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.lab.kube.api import Kube, Obj
from chaosmesh_ext.lab.network import SDS_PORT, XDS_PORT
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.stand_in import is_mirror

__all__ = ["KUBE", "IstiodControlPlane", "create"]

KUBE = "apiserver"
"""istiod reads Kubernetes' own kinds as protobuf, which only the real API server speaks."""

_LOG = logging.getLogger(__name__)


def create(place: Place, kube: Kube, authority: Authority, otlp: tuple[str, int]) -> IstiodControlPlane:
    """Istiod beside the API server KUBE, with spans to OTLP."""
    return IstiodControlPlane(place, kube, authority, otlp)


class IstiodControlPlane:
    """Runs istiod, and tells it by objects what a cluster would: the endpoints, and the addresses of each proxy."""

    def __init__(self, place: Place, kube: Kube, authority: Authority, otlp: tuple[str, int]) -> None:
        self._place = place
        self._kube = kube
        self._authority = authority
        self._otlp = otlp
        self._istiod = Istiod(place, authority)
        self._client: aiohttp.ClientSession | None = None
        self._written: dict[tuple[str, str], list[Obj]] = {}
        self._entries: dict[tuple[str, str], Obj] = {}
        self._pods: dict[tuple[str, str], Obj] = {}
        self._sidecars: dict[tuple[str, str], Obj] = {}
        self._queue: asyncio.Queue[tuple[str, Obj]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start istiod and wait until it is ready and validates what is written; raises LabError."""
        await self._kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ROOT_NAMESPACE}})
        await asyncio.gather(
            self._istiod.start(self._kube.kubeconfig(), mesh_config(self._otlp[1])),
            *(self._kube.apply(obj) for obj in for_mesh(self._otlp, self._place.sampling)),
        )
        await self._kube.apply(for_webhook(self._istiod.validate_url, self._authority.root))
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2), trust_env=False)
        self._task = asyncio.create_task(self._work())
        self._kube.subscribe(("Pod", "Sidecar"), lambda event, obj: self._queue.put_nowait((event, obj)))

    async def stop(self) -> None:
        """End istiod; the Envoys keep what they have. A second call does nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._client is not None:
            await self._client.close()
            self._client = None
        await self._istiod.stop()

    async def bootstrap(self, pod: Obj) -> dict[str, Any]:
        """The bootstrap of the Envoy of POD, once istiod's API server has what istiod must know of it.

        Raises LabError while POD has no address.
        """
        node = node_of(pod)
        if node is None:
            raise LabError(
                f"Pod {pod['metadata']['name']} has no address yet: set its status.podIP before its Envoy is started"
            )
        objects = for_pod(pod, self._sidecars.values())
        self._pods[node.namespace, node.name] = pod
        self._written[node.namespace, node.name] = objects
        await asyncio.gather(*(self._kube.apply(obj) for obj in objects))
        made = bootstrap(node, (self._place.control, XDS_PORT), (self._place.control, SDS_PORT))
        if not is_gateway(pod):
            app = pod["metadata"]["annotations"][APP]
            made["node"]["metadata"]["INSTANCE_IPS"] = f"{app},{node.ip}"
            add_http_proxy(made, node.admin)
        return made

    async def proxies(self) -> list[ProxyStatus]:
        """Every proxy that is connected, and every other that was configured; raises LabError when istiod is silent."""
        seen = {status.name: status for status in map(_status, await self._ask("/debug/syncz"))}
        for namespace, name in self._written:
            whole = f"{name}.{namespace}"
            seen.setdefault(whole, ProxyStatus(name=whole, connected=False, synced=False))
        return [seen[name] for name in sorted(seen)]

    async def problems(self) -> list[str]:
        """What Envoys refused, one line each, or that istiod is dead; what istiod refuses is never stored."""
        if words := self.dead():
            return [words]
        return self._preceded() + sorted({status.error for status in await self.proxies() if status.error})

    def dead(self) -> str:
        """Why there is no istiod any more, with its last words; empty while it runs."""
        return self._istiod.dead()

    async def _ask(self, path: str) -> Any:
        if words := self.dead():
            raise LabError(words)
        if self._client is None:
            return []
        try:
            async with self._client.get(f"{self._istiod.url}{path}") as answer:
                return await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            why = str(error) or "nothing within 2 s"
            raise LabError(f"istiod does not answer at {self._istiod.url}{path}: {why}") from error

    async def _work(self) -> None:
        while True:
            event, obj = await self._queue.get()
            try:
                await (self._follow if obj["kind"] == "Pod" else self._rule)(event, obj)
            except ChaosMeshError:
                _LOG.exception("istiod could not be told of %s %s", obj["kind"], obj["metadata"]["name"])

    async def _rule(self, event: str, sidecar: Obj) -> None:
        """A user's Sidecar came, changed or went: what it says of a Pod is said by the lab's own for that Pod."""
        if is_of_the_lab(sidecar):
            return
        key = sidecar["metadata"]["namespace"], sidecar["metadata"]["name"]
        if event == "DELETED":
            self._sidecars.pop(key, None)
        else:
            self._sidecars[key] = sidecar
        for name, written in list(self._written.items()):
            wanted = for_pod(self._pods[name], self._sidecars.values())
            self._written[name] = wanted
            await asyncio.gather(*(self._kube.apply(obj) for obj in wanted if obj not in written))

    def _preceded(self) -> list[str]:
        """Users' Sidecars that istiod takes in place of the lab's, because they were there before a Pod."""
        found = []
        for key, sidecar in sorted(self._sidecars.items()):
            selector = sidecar["spec"].get("workloadSelector")
            for name, pod in sorted(self._pods.items()):
                if selector is None or name[0] != key[0] or is_gateway(pod):
                    continue
                labels, born = selector.get("labels") or {}, pod["metadata"].get("creationTimestamp", "")
                if (
                    selects(labels, pod["metadata"].get("labels") or {})
                    and sidecar["metadata"]["creationTimestamp"] < born
                ):
                    found.append(
                        f"Sidecar {'/'.join(key)} was there before Pod {name[1]}, whose proxy it leaves without the"
                        " lab's addresses: delete it and apply it again"
                    )
        return found

    async def _follow(self, event: str, pod: Obj) -> None:
        """An endpoint comes when its Pod is ready, and goes when it is not, or is deleted."""
        if is_mirror(pod):
            return
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        wanted = None if event == "DELETED" else workload_entry(pod)
        known = self._entries.get(key)
        if wanted is not None and wanted != known:
            self._entries[key] = wanted
            await self._kube.apply(wanted)
        elif wanted is None and known is not None:
            del self._entries[key]
            await self._remove(known)
        if event == "DELETED":
            self._pods.pop(key, None)
            for obj in self._written.pop(key, []):
                await self._remove(obj)

    async def _remove(self, obj: Obj) -> None:
        await self._kube.delete(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])


def _status(entry: dict[str, Any]) -> ProxyStatus:
    """One entry of istiod's /debug/syncz."""
    resources = entry.get("resources") or {}
    errors = [
        f"{kind.rpartition('.')[2]}: {' '.join(one['lastError'].split())}"
        for kind, one in sorted(resources.items())
        if one.get("lastError")
    ]
    name = entry["proxy"]
    return ProxyStatus(
        name=name,
        connected=True,
        synced=bool(entry.get("cluster_acked"))
        and all(entry.get(f"{kind}_sent") == entry.get(f"{kind}_acked") for kind in _KINDS),
        error=f"{name} refused {'; '.join(errors)}" if errors else "",
    )


_KINDS = ("cluster", "listener", "route", "endpoint")

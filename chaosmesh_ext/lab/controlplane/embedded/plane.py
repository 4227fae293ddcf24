"""The control plane: the Kubernetes API in, Envoy's configuration out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.controlplane.api import ProxyStatus
from chaosmesh_ext.lab.controlplane.embedded import serviceentries
from chaosmesh_ext.lab.controlplane.embedded.ads import Connection, Push, Rejection
from chaosmesh_ext.lab.controlplane.embedded.debug import Debug
from chaosmesh_ext.lab.controlplane.embedded.inventory import Inventory
from chaosmesh_ext.lab.controlplane.embedded.refusal import KINDS, OTHERS
from chaosmesh_ext.lab.controlplane.embedded.reporter import Reporter
from chaosmesh_ext.lab.controlplane.embedded.server import AdsServer
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Snapshot, workload
from chaosmesh_ext.lab.controlplane.embedded.telemetry import Tracing
from chaosmesh_ext.lab.controlplane.embedded.translate import Resources, Translator, affected
from chaosmesh_ext.lab.controlplane.embedded.virtualservices import disputes
from chaosmesh_ext.lab.envoy import bootstrap
from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.lab.kube.api import Kube, Obj
from chaosmesh_ext.lab.network import SDS_PORT, XDS_PORT
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.stand_in import DEBUG_PORT

__all__ = ["KUBE", "PORTS", "EmbeddedControlPlane", "create"]

KUBE = "embedded"
"""A write there is a push here without a process between them."""

PORTS = (DEBUG_PORT,)


_LOG = logging.getLogger(__name__)


def create(place: Place, kube: Kube, authority: Authority, otlp: tuple[str, int]) -> EmbeddedControlPlane:
    """The control plane on the control address of PLACE, with spans to OTLP."""
    del authority  # the Envoys' certificates come from its SdsServer
    control = place.control
    return EmbeddedControlPlane(
        kube,
        control,
        XDS_PORT,
        sds=(control, SDS_PORT),
        otlp=otlp,
        sampling=place.sampling,
        debug_port=DEBUG_PORT,
    )


class EmbeddedControlPlane:
    """Configures the proxies of a lab.

    kube: where the objects are. host, port: where Envoys connect. sds: where they get their certificates.
    otlp: where their spans go (OTLP over HTTP), or None.
    sampling: the share of requests, 0–100, that is traced without being asked for. debug_port: where on HOST it tells
    about its proxies, 0 for nowhere.
    """

    def __init__(
        self,
        kube: Kube,
        host: str,
        port: int,
        *,
        sds: tuple[str, int],
        otlp: tuple[str, int] | None,
        sampling: float = 100.0,
        debug_port: int = 0,
    ) -> None:
        self._kube = kube
        self._xds, self._sds = (host, port), sds
        self._reporter = Reporter(kube)
        self._inventory = Inventory(self._reporter)
        self._translator = Translator(Tracing(otlp, sampling) if otlp else None)
        self._server = AdsServer(host, port, self._connect)
        self._debug = Debug(host, debug_port, lambda: self._server) if debug_port else None
        self._snapshot = Snapshot()
        self._changed: list[Obj] = []
        self._unmade: dict[str, str] = {}
        self._disputes: dict[str, tuple[Obj, str]] = {}

    async def start(self) -> None:
        """Listen and learn what is there; raises LabError when the address is taken."""
        await self._server.start()
        if self._debug is not None:
            await self._debug.start()
        self._reporter.start()
        self._kube.subscribe(("Pod", "Service", *KINDS, *OTHERS), self._seen)

    async def stop(self) -> None:
        """Close every stream; the Envoys keep what they have."""
        if self._debug is not None:
            await self._debug.stop()
        await self._server.stop()
        await self._reporter.stop()

    async def bootstrap(self, pod: Obj) -> dict[str, Any]:
        """The bootstrap of the Envoy of POD; raises LabError while POD has no address."""
        meta = pod["metadata"]
        known = self._inventory.pod(meta.get("namespace", "default"), meta["name"]) or workload(pod)
        if known is None:
            raise LabError(f"Pod {meta['name']} has no address yet: set its status.podIP before its Envoy is started")
        return bootstrap(known.node, self._xds, self._sds)

    async def proxies(self) -> list[ProxyStatus]:
        """Every pod with a proxy, connected or not, by name."""
        connected = {one.proxy: one.status() for one in self._server if one.proxy}
        for pod in self._snapshot.workloads:
            if pod.proxied:
                name = f"{pod.node.name}.{pod.node.namespace}"
                connected.setdefault(name, ProxyStatus(name=name, connected=False, synced=False))
        return [connected[name] for name in sorted(connected)]

    async def problems(self) -> list[str]:
        """What is written in the API and not in force, one line each: refused fields, disputes, Envoys' refusals."""
        errors = {line for one in self._server if (line := one.status().error)}
        return [
            *self._inventory.problems(),
            *self._unmade.values(),
            *(line for _, line in self._disputes.values()),
            *sorted(errors),
        ]

    def dead(self) -> str:
        """Empty: it lives as long as its process."""
        return ""

    def _seen(self, event: str, obj: Obj) -> None:
        """Take a write; proxies are told once everything that was written in this turn of the loop is taken."""
        changed = self._inventory.take(event, obj)
        if changed is None:
            return
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._changed.append(changed)

    def _flush(self) -> None:
        changed, self._changed = self._changed, []
        self._snapshot = self._inventory.snapshot()
        kinds = affected((obj["kind"] for obj in changed), narrowed=bool(self._snapshot.sidecars))
        causes = [obj for obj in changed if obj["kind"] in KINDS]
        for connection in self._server:
            for kind in kinds:
                connection.offer(kind, causes)
        self._translator.tidy(self._snapshot)
        self._note_disputes()

    def _note_disputes(self) -> None:
        """Name the VirtualServices and ServiceEntries that have no effect because another has their host."""
        before, self._disputes = self._disputes, {}
        for loser, ruler, host in disputes(self._snapshot):
            meta, other = loser["metadata"], ruler["metadata"]
            name = f"VirtualService {meta['namespace']}/{meta['name']}"
            message = (
                f"has no effect on {host} in the mesh: the older VirtualService {other['namespace']}/{other['name']}"
                " rules it (Istio allows one a host, IST0109); merge the two"
            )
            self._disputes.setdefault(name, (loser, f"{name} {message}"))
            self._reporter.trouble(loser, "Conflict", message)
        for loser, message in serviceentries.conflicts(self._snapshot.service_entries, self._snapshot.services):
            meta = loser["metadata"]
            name = f"ServiceEntry {meta['namespace']}/{meta['name']}"
            self._disputes.setdefault(name, (loser, f"{name} {message}"))
            self._reporter.trouble(loser, "Conflict", message)
        for name, (loser, _) in before.items():
            if name not in self._disputes:
                self._reporter.fine(loser)

    def _connect(self, send: Callable[[Push], None]) -> Connection:
        return Connection(send, self._resources, self._rejected)

    def _resources(self, node_id: str, kind: str) -> Resources | None:
        """The resources of KIND for the proxy with NODE_ID, or None while its pod is not known or they cannot be made.

        What cannot be made leaves the proxy as it is, and is a problem, not an accident of everybody's.
        """
        parts = node_id.split("~")
        if len(parts) != 4:
            return None
        name, _, namespace = parts[2].rpartition(".")
        pod = self._inventory.pod(namespace, name)
        if pod is None:
            return None
        place = f"{kind.rpartition('.')[2]} of {parts[2]}"
        try:
            made = self._translator.resources(self._snapshot, pod, kind)
        except Exception as error:
            self._unmade[place] = f"{place} cannot be made: {type(error).__name__}: {' '.join(str(error).split())}"
            _LOG.exception("%s cannot be made", place)
            return None
        self._unmade.pop(place, None)
        return made

    def _rejected(self, rejection: Rejection) -> None:
        for obj in rejection.causes:
            self._reporter.trouble(obj, "RejectedByEnvoy", str(rejection))

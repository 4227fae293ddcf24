"""All of a proxy's configuration, from one snapshot of the mesh."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.clusters import clusters
from chaosmesh_ext.lab.controlplane.embedded.endpoints import endpoints
from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patches
from chaosmesh_ext.lab.controlplane.embedded.gateways import ingress
from chaosmesh_ext.lab.controlplane.embedded.listeners import listeners
from chaosmesh_ext.lab.controlplane.embedded.messages import CDS, EDS, LDS, RDS, Encoded, Encoder
from chaosmesh_ext.lab.controlplane.embedded.routes import outbound
from chaosmesh_ext.lab.controlplane.embedded.scopes import scope
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Snapshot, Workload
from chaosmesh_ext.lab.controlplane.embedded.telemetry import Tracing

__all__ = ["KINDS", "Resources", "Translator", "affected"]

KINDS = (CDS, EDS, LDS, RDS)
"""The types of resources in the order in which a change of several is sent: what is pointed at comes first."""

Resources = dict[str, Encoded]
"""The resources of one type by name."""

_NAME = {CDS: "name", EDS: "cluster_name", LDS: "name", RDS: "name"}
_AFFECTED = {
    "VirtualService": (RDS,),
    "HTTPRoute": (RDS,),
    "EnvoyFilter": (LDS, RDS),
    "DestinationRule": (CDS, EDS),
    "Gateway": (LDS, RDS),
    "PeerAuthentication": (CDS, EDS, LDS),
    "AuthorizationPolicy": (LDS,),
    "RequestAuthentication": (LDS,),
}


_ROUTES = ("VirtualService", "HTTPRoute")


def affected(kinds: Iterable[str], *, narrowed: bool = False) -> tuple[str, ...]:
    """The types of resources that may change when objects of KINDS do; Pods and Services may change all.

    narrowed: there are Sidecars; a proxy then knows those clusters, too, that its routes lead to.
    """
    found = set(kinds)
    touched = {kind for name in found for kind in _AFFECTED.get(name, KINDS)}
    if narrowed and found.intersection(_ROUTES):
        touched |= {CDS, EDS}
    return tuple(kind for kind in KINDS if kind in touched)


class Translator:
    """Makes resources; keeps what it encoded, so that what did not change costs next to nothing."""

    def __init__(self, trace: Tracing | None) -> None:
        self._trace = trace
        self._encoder = Encoder()
        self._patches = Patches()

    def resources(self, snapshot: Snapshot, pod: Workload, kind: str) -> Resources:
        """The resources of KIND (a type URL) for the proxy of POD."""
        made = self._made(scope(snapshot, pod), pod, kind)
        return {one[_NAME[kind]]: self._encoder.encode(kind, one[_NAME[kind]], one) for one in made}

    def tidy(self, snapshot: Snapshot) -> None:
        """Forget the EnvoyFilters that are not in SNAPSHOT."""
        self._patches.keep(snapshot)

    def _made(self, snapshot: Snapshot, pod: Workload, kind: str) -> Iterable[dict[str, Any]]:
        if kind == CDS:
            return clusters(snapshot, pod, self._trace)
        if kind == EDS:
            return endpoints(snapshot, pod)
        patches = self._patches.of(snapshot, pod)
        if kind == LDS:
            return listeners(snapshot, pod, self._trace, patches)
        return ingress(snapshot, pod, patches) if pod.gateway else outbound(snapshot, pod, patches)

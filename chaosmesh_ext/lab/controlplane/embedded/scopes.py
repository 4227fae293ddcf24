"""What of the mesh one proxy is told of: what is exported to its namespace, less what its Sidecar does not import."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.sidecars import EVERYTHING, imports, ruling
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Service, Snapshot, Workload
from chaosmesh_ext.lab.controlplane.embedded.virtualservices import hosts_of, seen
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["ALLOW_ANY", "REGISTRY_ONLY", "scope"]

ALLOW_ANY, REGISTRY_ONLY = "ALLOW_ANY", "REGISTRY_ONLY"


def scope(snapshot: Snapshot, pod: Workload) -> Snapshot:
    """SNAPSHOT as the proxy of POD sees it; gateways know no Sidecar."""
    if not snapshot.sidecars and not any(one.resolution or one.exported for one in snapshot.services):
        return snapshot
    namespace = pod.node.namespace
    exported = _one_each([one for one in snapshot.services if _reaches(one, namespace)], namespace)
    sidecar = None if pod.gateway else ruling(snapshot.sidecars, namespace, pod.node.labels)
    if sidecar is None:
        return _seen(snapshot, exported, exported)
    spec = sidecar["spec"]
    listener = (spec.get("egress") or [{}])[0]
    let_in = imports(listener.get("hosts") or EVERYTHING, namespace)
    visible = [one for one in snapshot.services if _reaches(one, namespace)]
    services = _one_each([one for one in visible if let_in.service(one.namespace, one.host)], namespace)
    rules = tuple(
        one for one in snapshot.virtual_services if let_in.virtual_service(one["metadata"]["namespace"], hosts_of(one))
    )
    narrowed = msgspec.structs.replace(snapshot, virtual_services=rules)
    wanted = {host for one in seen(narrowed, namespace) for host in _destinations(one)}
    have = {one.host for one in services}
    routed = [one for one in exported if one.host in wanted and one.host not in have]
    policy = spec.get("outboundTrafficPolicy")
    mode = REGISTRY_ONLY if policy is None else policy.get("mode", REGISTRY_ONLY)
    return msgspec.structs.replace(
        _seen(narrowed, services, sorted((*services, *routed), key=lambda one: one.host)), outbound=mode
    )


def _seen(snapshot: Snapshot, services: Iterable[Service], destinations: Iterable[Service]) -> Snapshot:
    return msgspec.structs.replace(
        snapshot, services=tuple(services), routed=tuple(destinations), every=snapshot.services
    )


def _reaches(service: Service, namespace: str) -> bool:
    """Whether SERVICE is exported to NAMESPACE, as it is to all unless it says otherwise."""
    exported = service.exported or ("*",)
    return "*" in exported or namespace in exported or ("." in exported and service.namespace == namespace)


def _one_each(services: Iterable[Service], namespace: str) -> list[Service]:
    """Of several SERVICES for one host the one in NAMESPACE, else the first, which is Kubernetes' or the oldest."""
    out: dict[str, Service] = {}
    for one in services:
        known = out.setdefault(one.host, one)
        if one.namespace == namespace != known.namespace:
            out[one.host] = one
    return list(out.values())


def _destinations(obj: Obj) -> Iterator[str]:
    """The hosts to which a VirtualService leads: a proxy that knows it knows them, too."""
    namespace = obj["metadata"]["namespace"]
    for http in obj["spec"].get("http", []):
        found = [entry["destination"] for key in ("route", "mirrors") for entry in http.get(key) or []]
        found += [http["mirror"]] if http.get("mirror") else []
        for one in found:
            yield fqdn(one["host"], namespace).lower()

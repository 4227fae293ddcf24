"""Which VirtualServices a proxy sees, in which order, and which of them may speak for a service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Service, Snapshot
from chaosmesh_ext.lab.kube.api import Obj

__all__ = [
    "MESH",
    "PARENTS",
    "ROUTE_SEMANTICS",
    "disputes",
    "gateways_of",
    "hosts_of",
    "most_specific",
    "of_gateway_api",
    "reaches",
    "seen",
]

MESH = "mesh"

ROUTE_SEMANTICS = {"internal.istio.io/route-semantics": "gateway"}
"""The annotation of a VirtualService that was made of HTTPRoutes of the Gateway API; istiod's."""

PARENTS = "internal.istio.io/parents"
"""The annotation that names those."""


def of_gateway_api(obj: Obj) -> bool:
    """Whether a VirtualService was made of HTTPRoutes of the Gateway API."""
    annotations = obj["metadata"].get("annotations") or {}
    return all(annotations.get(key) == value for key, value in ROUTE_SEMANTICS.items())


def reaches(obj: Obj, service: Service, namespace: str) -> bool:
    """Whether a VirtualService may speak for SERVICE to callers in NAMESPACE.

    One of the Gateway API does so from the service's namespace, or, as a consumer's own route, from the callers'.
    """
    return not of_gateway_api(obj) or obj["metadata"]["namespace"] in (service.namespace, namespace)


def hosts_of(obj: Obj) -> list[str]:
    """The hosts of a VirtualService as istiod resolves them: names without dots get its namespace's domain."""
    if of_gateway_api(obj):
        return [host.lower() for host in obj["spec"]["hosts"]]
    namespace = obj["metadata"]["namespace"]
    return [host if host == "*" else fqdn(host, namespace).lower() for host in obj["spec"]["hosts"]]


def gateways_of(obj: Obj, names: list[str] | None = None) -> frozenset[str]:
    """The gateways of a VirtualService, or NAMES in one of its matches, as ``namespace/name``, or ``mesh``."""
    wanted = names if names is not None else obj["spec"].get("gateways") or [MESH]
    return frozenset(_gateway(name, obj["metadata"]["namespace"]) for name in wanted)


def _gateway(name: str, namespace: str) -> str:
    if name == MESH or "/" in name:
        return name
    short, dot, domain = name.partition(".")
    return f"{domain.split('.')[0] if dot else namespace}/{short}"


def _nearness(obj: Obj, namespace: str) -> int | None:
    """How near an object is to NAMESPACE: 0 private to it, 1 exported to it by name, 2 to all; None not at all."""
    home = obj["metadata"]["namespace"]
    targets = {home if target == "." else target for target in obj["spec"].get("exportTo") or ["*"]}
    if "*" in targets:
        return 2
    if namespace not in targets:
        return None
    return 0 if namespace == home else 1


def seen(snapshot: Snapshot, namespace: str, gateway: str = MESH) -> list[Obj]:
    """The VirtualServices that NAMESPACE sees for GATEWAY: private ones first, then its own HTTPRoutes, then by age."""
    found = [
        ((near, not (of_gateway_api(obj) and obj["metadata"]["namespace"] == namespace)), obj)
        for obj in snapshot.virtual_services
        if gateway in gateways_of(obj) and (near := _nearness(obj, namespace)) is not None
    ]
    return [obj for _, obj in sorted(found, key=lambda pair: pair[0])]


def most_specific(found: Iterable[Obj], services: Iterable[Service]) -> dict[str, Obj]:
    """By host, the one of FOUND that speaks for it: the first that names it, else the first with the longest wildcard.

    It alone speaks for the service; when it has no route for a caller, no wildcard steps in.
    """
    first: dict[str, Obj] = {}
    for obj in found:
        for host in hosts_of(obj):
            first.setdefault(host, obj)
    wildcards = sorted((host for host in first if host.startswith("*")), key=lambda host: (-len(host), host))
    out = {}
    for service in services:
        pattern = service.host if service.host in first else None
        pattern = pattern or next((one for one in wildcards if covers(one, service.host)), None)
        if pattern is not None:
            out[service.host] = first[pattern]
    return out


def disputes(snapshot: Snapshot) -> Iterator[tuple[Obj, Obj, str]]:
    """Pairs of VirtualServices for one mesh host: the one that has no effect, the one that rules, the host.

    Those of HTTPRoutes are none of them: several for a host add up, and beside a VirtualService istiod tells nobody.
    """
    namespaces = {pod.node.namespace for pod in snapshot.workloads}
    told: set[tuple[int, str]] = set()
    for namespace in sorted(namespaces):
        first: dict[str, Obj] = {}
        for obj in (one for one in seen(snapshot, namespace) if not of_gateway_api(one)):
            for host in hosts_of(obj):
                ruler = first.setdefault(host, obj)
                # an overlay that is private to its namespace is meant to stand in front of a public one
                same_reach = _nearness(ruler, namespace) == _nearness(obj, namespace)
                if ruler is not obj and same_reach and _for_everybody(ruler) and (id(obj), host) not in told:
                    told.add((id(obj), host))
                    yield obj, ruler, host


def _for_everybody(obj: Obj) -> bool:
    """Whether a VirtualService has a route for every caller; the next one for its host steps in where it has none."""
    sources = ("sourceLabels", "sourceNamespace", "gateways", "port")
    return any(
        not http.get("match") or any(not any(match.get(name) for name in sources) for match in http["match"])
        for http in obj["spec"].get("http", [])
    )

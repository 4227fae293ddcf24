"""Which VirtualService speaks for which host, and the Envoy routes that one makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.istio.hosts import cluster, fqdn, parse_cluster
from chaosmesh_ext.istio.matches import route_match, source_matches
from chaosmesh_ext.istio.selectors import covers
from chaosmesh_ext.lab.controlplane.embedded.policies import (
    FAULT_FILTER,
    fault,
    header_operations,
    retry_policy,
    timeouts,
)
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Snapshot, Workload
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["MESH", "default_route", "disputes", "gateways_of", "hosts_of", "owner", "routes", "visible"]

MESH = "mesh"


def hosts_of(obj: Obj) -> list[str]:
    """The hosts of a VirtualService as istiod resolves them: names without dots get its namespace's domain."""
    return [host if host.startswith("*") else fqdn(host, obj["metadata"]["namespace"]) for host in obj["spec"]["hosts"]]


def gateways_of(obj: Obj, names: list[str] | None = None) -> frozenset[str]:
    """The gateways of a VirtualService, or NAMES in one of its matches, as ``namespace/name``, or ``mesh``."""
    namespace = obj["metadata"]["namespace"]
    wanted = names if names is not None else obj["spec"].get("gateways") or [MESH]
    return frozenset(name if name == MESH or "/" in name else f"{namespace}/{name}" for name in wanted)


def visible(obj: Obj, namespace: str) -> int | None:
    """How near an object is to NAMESPACE: 0 private to it, 1 exported to it by name, 2 to all; None not at all."""
    targets = obj["spec"].get("exportTo") or ["*"]
    mine = obj["metadata"]["namespace"] == namespace
    if "*" in targets:
        return 2
    if "." in targets and mine:
        return 0
    return 1 if namespace in targets else None


def _in_order(snapshot: Snapshot, namespace: str, gateway: str) -> list[Obj]:
    """The VirtualServices that NAMESPACE sees for GATEWAY: private ones first, then by age."""
    seen = [
        (near, obj)
        for obj in snapshot.virtual_services
        if gateway in gateways_of(obj) and (near := visible(obj, namespace)) is not None
    ]
    return [obj for _, obj in sorted(seen, key=lambda pair: pair[0])]


def owner(snapshot: Snapshot, namespace: str, host: str) -> Obj | None:
    """The VirtualService that rules HOST for the sidecars of NAMESPACE.

    One that names the host wins over wildcards, a longer wildcard over a shorter one; then the first in order wins.
    """
    best: Obj | None = None
    length = -1
    for obj in _in_order(snapshot, namespace, MESH):
        for pattern in hosts_of(obj):
            if pattern == host:
                return obj
            if covers(pattern, host) and len(pattern) > length:
                best, length = obj, len(pattern)
    return best


def disputes(snapshot: Snapshot) -> Iterator[tuple[Obj, Obj, str]]:
    """Pairs of VirtualServices for one mesh host: the one that has no effect, the one that rules, the host."""
    namespaces = {pod.node.namespace for pod in snapshot.workloads}
    told: set[tuple[int, str]] = set()
    for namespace in sorted(namespaces):
        first: dict[str, Obj] = {}
        for obj in _in_order(snapshot, namespace, MESH):
            for host in hosts_of(obj):
                ruler = first.setdefault(host, obj)
                # an overlay that is private to its namespace is meant to stand in front of a public one
                same_reach = visible(ruler, namespace) == visible(obj, namespace)
                if ruler is not obj and same_reach and (id(obj), host) not in told:
                    told.add((id(obj), host))
                    yield obj, ruler, host


def default_route(host: str, port: int) -> dict[str, Any]:
    """The route to a service that has no VirtualService."""
    name = cluster(host, port)
    return {
        "name": "default",
        "match": {"prefix": "/"},
        "decorator": {"operation": f"{host}:{port}/*"},
        "route": {"cluster": name, **timeouts({}), "retry_policy": retry_policy(None)},
    }


def routes(snapshot: Snapshot, obj: Obj, pod: Workload, port: int, gateway: str = MESH) -> list[dict[str, Any]]:
    """The routes that the VirtualService OBJ makes for POD on PORT, acting as GATEWAY, in the owner's order.

    Nothing comes after a route that matches everything, as in istiod.
    """
    out: list[dict[str, Any]] = []
    for http in obj["spec"].get("http", []):
        for match in http.get("match") or [None]:
            resolved = match
            if match and match.get("gateways"):
                resolved = {**match, "gateways": gateways_of(obj, match["gateways"])}
            if not source_matches(
                resolved,
                labels=pod.node.labels,
                namespace=pod.node.namespace,
                gateways=frozenset([gateway]),
                port=port,
            ):
                continue
            route = _route(snapshot, obj, http, match, port)
            out.append(route)
            if _catches_all(route["match"]):
                return out
    return out


def _catches_all(match: Mapping[str, Any]) -> bool:
    everything = match.get("prefix") == "/" or match.get("safe_regex", {}).get("regex") == ".*"
    return everything and not match.get("headers") and not match.get("query_parameters")


def _route(
    snapshot: Snapshot, obj: Obj, http: Mapping[str, Any], match: Mapping[str, Any] | None, port: int
) -> dict[str, Any]:
    name = http.get("name", "")
    if match and match.get("name"):
        name = f"{name}.{match['name']}"
    operations, authority = header_operations(http.get("headers"))
    route: dict[str, Any] = {"name": name, "match": route_match(match), **operations}
    action: dict[str, Any] = timeouts(http)
    if authority:
        action["host_rewrite_literal"] = authority
    retries = retry_policy(http.get("retries"))
    if retries is not None:
        action["retry_policy"] = retries
    destinations = http["route"]
    if len(destinations) == 1:
        operations, authority = header_operations(destinations[0].get("headers"))
        for key, changes in operations.items():
            route[key] = [*route.get(key, []), *changes]
        if authority:
            action.setdefault("host_rewrite_literal", authority)
        action["cluster"] = _cluster(snapshot, obj, destinations[0]["destination"], port)
    else:
        action["weighted_clusters"] = {
            "clusters": [_weighted(snapshot, obj, one, port) for one in destinations if one.get("weight")]
        }
    route["route"] = action
    route["decorator"] = {"operation": _operation(obj, route, port)}
    if spec := http.get("fault"):
        route["typed_per_filter_config"] = {FAULT_FILTER: fault(spec)}
    return route


def _weighted(snapshot: Snapshot, obj: Obj, destination: Mapping[str, Any], port: int) -> dict[str, Any]:
    operations, authority = header_operations(destination.get("headers"))
    out = {
        "name": _cluster(snapshot, obj, destination["destination"], port),
        "weight": destination["weight"],
        **operations,
    }
    if authority:
        out["host_rewrite_literal"] = authority
    return out


def _cluster(snapshot: Snapshot, obj: Obj, destination: Mapping[str, Any], port: int) -> str:
    """The cluster of a destination; one that does not exist answers 503 NC, as in istiod."""
    host = fqdn(destination["host"], obj["metadata"]["namespace"])
    known = snapshot.by_host.get(host)
    if "port" in destination:
        port = destination["port"]["number"]
    elif known is not None and len(known.ports) == 1:
        port = known.ports[0].number
    return cluster(host, port, destination.get("subset", ""))


def _operation(obj: Obj, route: Mapping[str, Any], port: int) -> str:
    """The span's name: host:port/path of the only destination, else of the VirtualService."""
    match = route["match"]
    path = match.get("path") or match.get("safe_regex", {}).get("regex") or f"{match.get('prefix', '/')}*"
    single = parse_cluster(route["route"].get("cluster", ""))
    if single is None:
        return f"{obj['metadata']['name']}:{port}{path}"
    return f"{single[3]}:{single[1]}{path}"

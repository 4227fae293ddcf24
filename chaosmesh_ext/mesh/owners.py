"""Whose routes istiod uses for a host, as seen from one namespace. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers
from chaosmesh_ext.mesh.client import Obj

__all__ = ["bound", "delegates", "http_routes", "leading", "owner", "qualified", "visible"]


def visible(obj: Obj, namespace: str) -> bool:
    """Whether an Istio OBJ is exported to NAMESPACE; absent `exportTo` means everywhere (the mesh's default)."""
    own = obj["metadata"]["namespace"]
    targets = obj.get("spec", {}).get("exportTo") or ["*"]
    return any(target in {"*", namespace} or (target == "." and own == namespace) for target in targets)


def owner(virtual_services: Iterable[Obj], host: str, namespace: str) -> Obj | None:
    """The VirtualService that istiod uses for HOST (whole name) and callers in NAMESPACE, or None.

    A specific host goes before a wildcard, a longer wildcard before a shorter one; then those private to the callers'
    namespace, those exported to it by name, public ones; then the oldest.
    """
    found = []
    for obj in virtual_services:
        spec = obj.get("spec", {})
        if "mesh" not in (spec.get("gateways") or ["mesh"]) or not visible(obj, namespace):
            continue
        own = obj["metadata"]["namespace"]
        hosts = [fqdn(name, own) if "*" not in name else name for name in spec.get("hosts", [])]
        fitting = [name for name in hosts if covers(name, host)]
        if not fitting:
            continue
        best = min((name.startswith("*"), -len(name)) for name in fitting)
        meta = obj["metadata"]
        age = (str(meta.get("creationTimestamp", "")), f"{meta['name']}.{own}")  # as istiod breaks ties
        found.append(((*best, _closeness(obj, namespace), *age), obj))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def delegates(virtual_services: Iterable[Obj], owner: Obj) -> tuple[Obj, ...]:
    """The VirtualServices to which routes of OWNER delegate; Istio allows one level."""
    own = owner["metadata"]["namespace"]
    named = [route["delegate"] for route in owner.get("spec", {}).get("http") or [] if route.get("delegate")]
    wanted = {(one.get("namespace") or own, one.get("name")) for one in named}
    return tuple(obj for obj in virtual_services if (obj["metadata"]["namespace"], obj["metadata"]["name"]) in wanted)


def bound(virtual_services: Iterable[Obj], gateways: Collection[str]) -> tuple[Obj, ...]:
    """The VirtualServices of one of GATEWAYS (each namespace/name)."""
    found = []
    for obj in virtual_services:
        own, spec = obj["metadata"]["namespace"], obj.get("spec", {})
        named = {qualified(name, own) for name in spec.get("gateways") or []}
        if not named.isdisjoint(gateways):
            found.append(obj)
    return tuple(found)


def leading(virtual_services: Iterable[Obj], host: str) -> tuple[Obj, ...]:
    """Those of VIRTUAL_SERVICES with a route that leads to HOST (whole name)."""
    found = []
    for obj in virtual_services:
        own, routes = obj["metadata"]["namespace"], obj.get("spec", {}).get("http") or []
        targets = [part.get("destination", {}) for route in routes for part in route.get("route", [])]
        if any(fqdn(target.get("host", ""), own) == host for target in targets):
            found.append(obj)
    return tuple(found)


def qualified(gateway: str, namespace: str) -> str:
    """GATEWAY, as a VirtualService of NAMESPACE names it, with its namespace before a slash; ``mesh`` has none."""
    return gateway if gateway == "mesh" or "/" in gateway else f"{namespace}/{gateway}"


def _closeness(obj: Obj, namespace: str) -> int:
    targets: list[Any] = obj.get("spec", {}).get("exportTo") or ["*"]
    if "*" in targets:
        return 2
    return 0 if targets in (["."], [namespace]) and obj["metadata"]["namespace"] == namespace else 1


def http_routes(
    routes: Iterable[Obj], service: str, service_namespace: str, namespace: str, port: int = 0
) -> tuple[Obj, ...]:
    """The HTTPRoutes that are bound to SERVICE and its PORT for callers in NAMESPACE.

    A parent is a Service only where its group is the empty one: istiod ignores it where the group is left out, which is
    Gateway API's own. Those in the service's own namespace are for every caller; those elsewhere for the callers of
    their own namespace, who then meet no others (istiod makes a VirtualService of them that is private to it).
    """
    found: dict[str, list[Obj]] = {}
    for route in routes:
        own = route["metadata"]["namespace"]
        if own not in (service_namespace, namespace):
            continue
        for parent in route.get("spec", {}).get("parentRefs", []):
            target = (parent.get("group"), parent.get("kind"), parent.get("name"), parent.get("namespace", own))
            if target == ("", "Service", service, service_namespace) and parent.get("port", port) in (port, 0):
                found.setdefault(own, []).append(route)
                break
    return tuple(found.get(namespace) or found.get(service_namespace) or ())

"""EnvoyFilter patches: which are for whom; and those to route configurations, with the order and merging of istiod."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.lab.controlplane.embedded.merging import merge
from chaosmesh_ext.lab.controlplane.embedded.messages import canonical
from chaosmesh_ext.lab.controlplane.embedded.protos import Route, VirtualHost
from chaosmesh_ext.lab.controlplane.embedded.snapshot import ROOT_NAMESPACE, Snapshot, Workload
from chaosmesh_ext.lab.envoy.bootstrap import metadata
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["Patch", "Patches", "patched"]

_ACTIONS = {"ROUTE": "route", "REDIRECT": "redirect", "DIRECT_RESPONSE": "direct_response"}


class Patch(msgspec.Struct, frozen=True):
    """One entry of `configPatches`.

    value: the JSON of Envoy's message with its own field names. port: 0 for any. name, vhost, domain: empty for any.
    route: the name and the action of the route that is meant, each empty for any; None where none is asked for.
    network_filter, sub_filter: the filter in a listener, and that in an HTTP connection manager; empty for any.
    proxy: what a proxy's metadata must say; empty for any.
    """

    apply_to: str
    operation: str
    context: str
    value: dict[str, Any]
    name: str = ""
    port: int = 0
    vhost: str = ""
    domain: str = ""
    route: tuple[str, str] | None = None
    network_filter: str = ""
    sub_filter: str = ""
    proxy: Mapping[str, str] = {}

    def is_for(self, pod: Workload) -> bool:
        """Whether it is meant for the proxy of POD, by what that tells of itself; only texts can be asked for."""
        if not self.proxy:
            return True
        told = metadata(pod.node)
        return all(told.get(name) == text for name, text in self.proxy.items())

    def reaches(self, context: str, configuration: str, ports: Collection[int]) -> bool:
        """Whether it is meant for a route configuration, or a listener, of that name and ports in that context."""
        return (
            self.context in ("ANY", context)
            and self.name in ("", configuration)
            and (not self.port or self.port in ports)
        )

    def reaches_listener(self, context: str, listener: str, port: int, network_filter: str) -> bool:
        """Whether it is meant for a network filter of a listener of that name and port in that context."""
        return self.reaches(context, listener, {port}) and self.network_filter in ("", network_filter)

    def means_host(self, host: Mapping[str, Any]) -> bool:
        """Whether it is meant for a virtual host."""
        return self.vhost in ("", host["name"]) and (not self.domain or self.domain in host["domains"])

    def means_route(self, route: Mapping[str, Any]) -> bool:
        """Whether it is meant for a route, or for no particular one."""
        name, action = self.route or ("", "")
        if name not in ("", route.get("name", "")):
            return False
        does = next((one for one, field in _ACTIONS.items() if field in route), action)
        return action in ("", "ANY", does)


class Patches:
    """The patches of all EnvoyFilters; what an object says is read once."""

    def __init__(self) -> None:
        self._read: dict[int, tuple[Obj, tuple[Patch, ...]]] = {}

    def of(self, snapshot: Snapshot, pod: Workload) -> tuple[Patch, ...]:
        """The patches for the proxy of POD, in the order in which they are applied."""
        out: list[Patch] = []
        for obj in snapshot.envoy_filters:
            selector = obj["spec"].get("workloadSelector", {}).get("labels", {})
            in_reach = obj["metadata"]["namespace"] in (ROOT_NAMESPACE, pod.node.namespace)
            if in_reach and selects(selector, pod.node.labels):
                out += [patch for patch in self._patches(obj) if patch.is_for(pod)]
        return tuple(out)

    def keep(self, snapshot: Snapshot) -> None:
        """Forget objects that are not in SNAPSHOT."""
        alive = {id(obj) for obj in snapshot.envoy_filters}
        self._read = {key: value for key, value in self._read.items() if key in alive}

    def _patches(self, obj: Obj) -> tuple[Patch, ...]:
        known = self._read.get(id(obj))
        if known is None or known[0] is not obj:
            known = self._read[id(obj)] = (obj, tuple(_patch(entry) for entry in obj["spec"].get("configPatches", [])))
        return known[1]


def _patch(entry: Mapping[str, Any]) -> Patch:
    match = entry.get("match") or {}
    routes = match.get("routeConfiguration") or match.get("listener") or {}
    host = routes.get("vhost") or {}
    route = host.get("route")
    network_filter = (routes.get("filterChain") or {}).get("filter") or {}
    return Patch(
        apply_to=entry["applyTo"],
        operation=entry["patch"]["operation"],
        context=match.get("context", "ANY"),
        value=canonical(entry["applyTo"], entry["patch"].get("value") or {}),
        name=routes.get("name", ""),
        port=routes.get("portNumber", 0),
        vhost=host.get("name", ""),
        domain=host.get("domainName", ""),
        route=None if route is None else (route.get("name", ""), route.get("action", "")),
        network_filter=network_filter.get("name", ""),
        sub_filter=(network_filter.get("subFilter") or {}).get("name", ""),
        proxy=(match.get("proxy") or {}).get("metadata") or {},
    )


def patched(
    configuration: dict[str, Any], context: str, patches: tuple[Patch, ...], ports: Collection[int] = ()
) -> dict[str, Any]:
    """CONFIGURATION, which is for PORTS, with PATCHES applied; it is not changed itself."""
    of_routes = [patch for patch in patches if patch.apply_to in ("VIRTUAL_HOST", "HTTP_ROUTE")]
    mine = [patch for patch in of_routes if patch.reaches(context, configuration["name"], ports)]
    if not mine:
        return configuration
    return {**configuration, "virtual_hosts": [_patched_host(host, mine) for host in configuration["virtual_hosts"]]}


def _patched_host(host: dict[str, Any], patches: list[Patch]) -> dict[str, Any]:
    for patch in patches:
        if patch.apply_to == "VIRTUAL_HOST" and patch.means_host(host):
            host = merge(VirtualHost, host, patch.value)
    mine = [patch for patch in patches if patch.apply_to == "HTTP_ROUTE" and patch.means_host(host)]
    if not mine:
        return host
    routes = [new for old in host.get("routes", []) if (new := _patched_route(old, mine)) is not None]
    for patch in mine:
        _insert(routes, patch)
    return {**host, "routes": routes}


def _patched_route(route: dict[str, Any], patches: list[Patch]) -> dict[str, Any] | None:
    """ROUTE as it was made, with what is merged into it; None when it is removed. What is inserted comes later."""
    for patch in patches:
        if patch.operation == "REMOVE" and patch.means_route(route):
            return None
        if patch.operation == "MERGE" and patch.means_route(route):
            route = merge(Route, route, patch.value)
    return route


def _insert(routes: list[dict[str, Any]], patch: Patch) -> None:
    """Add the route of PATCH: beside the first one that it means, or where its operation says when it means none.

    Each that goes in front goes in front of those before it.
    """
    meant = None
    if patch.operation != "ADD" and patch.route is not None:
        meant = next((index for index, route in enumerate(routes) if patch.means_route(route)), None)
        if meant is None:
            return
    if patch.operation == "ADD" or (patch.operation == "INSERT_AFTER" and meant is None):
        routes.append(patch.value)
    elif patch.operation == "INSERT_AFTER":
        routes.insert((meant or 0) + 1, patch.value)
    elif patch.operation == "INSERT_BEFORE":
        routes.insert(meant or 0, patch.value)
    elif patch.operation == "INSERT_FIRST":
        routes.insert(0, patch.value)

"""What a scope means in this cluster: callers, destination, and who owns the routes between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from chaosmesh_ext.errors import Forbidden, InvalidInput
from chaosmesh_ext.mesh import match as matches
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.destinations import destination as destination_of
from chaosmesh_ext.mesh.destinations import subset as subset_of
from chaosmesh_ext.mesh.entering import at_gateways, entering
from chaosmesh_ext.mesh.gateways import gateway, routed_beside
from chaosmesh_ext.mesh.listing import everywhere
from chaosmesh_ext.mesh.owners import bound, delegates, http_routes, leading, owner
from chaosmesh_ext.mesh.place import Place, Source
from chaosmesh_ext.mesh.sources import source as source_of
from chaosmesh_ext.mesh.view import View
from chaosmesh_ext.model import Marker, Scope
from chaosmesh_ext.names import check_label

__all__ = ["SYSTEM_NAMESPACES", "place", "routes_to", "view"]

SYSTEM_NAMESPACES: Final = frozenset({"kube-system", "kube-public", "kube-node-lease", "istio-system"})
"""Never a target: a fault there could take the cluster, or the mesh, from under us."""


def place(client: Client, scope: Scope, *, run: str, cell: str) -> Place:
    """Where in the cluster SCOPE is.

    Raises NotFound for a caller, a host, a port or a subset that is not there, and InvalidInput for a system
    namespace, a gateway that serves no Gateway of Istio's, and a match that is none.
    """
    matches.check(scope.match)
    check_label("namespace", scope.namespace)
    _refuse_system(scope.namespace, scope.source)
    if scope.source and scope.gateway:
        raise InvalidInput("calls are those of a source or what comes in by a gateway: leave one of them out")
    source = source_of(client, scope.source, scope.namespace) if scope.source else None
    if scope.gateway:
        source = gateway(client, scope.gateway, scope.namespace)
    destination = destination_of(client, scope)
    _refuse_system(destination.namespace, destination.service)
    if scope.subset:
        labels = subset_of(client, scope, destination)
        destination = msgspec.structs.replace(destination, selector={**destination.selector, **labels})
    return Place(
        run=run,
        cell=cell,
        namespace=scope.namespace,
        source=source,
        destination=destination,
        marker=None if scope.requests == "all" else Marker(run, cell * (scope.requests == "marked"), scope.carried_by),
        subset=scope.subset,
        match=dict(scope.match),
    )


def view(client: Client, place: Place, kinds: Iterable[str] = ()) -> View:
    """What others have in the mesh for PLACE, now; KINDS: of which objects besides those that routes depend on."""
    spaces = {place.namespace, place.destination.namespace} - {""}
    gateways = place.source.gateways if place.source else ()
    services = everywhere(client, "VirtualService", spaces)
    at_gateway = place.source is not None and place.source.gateway_api
    mine = None if at_gateway else owner(services, place.destination.host, place.namespace)
    routes = routes_to(client, place)
    entered = bound(services, gateways)
    led = leading(entered, place.destination.host)
    drivable = next(filter(None, (mine, *routes, *led)), None)
    return View(
        owner=mine,
        http_route="{namespace}/{name}".format_map(routes[0]["metadata"]) if routes else "",
        http_routes=routes,
        filters=tuple(_permitted(client, "EnvoyFilter", place.namespace)),
        rollouts=tuple(_rollouts(client, drivable["metadata"]["namespace"])) if drivable else (),
        delegates=delegates(services, mine) if mine else (),
        others=tuple(obj for kind in kinds for obj in _others(client, kind, spaces)),
        bound=led,
        beside=_beside(client, place, place.source, services, routes) if place.source and at_gateway else entered,
    )


def _beside(
    client: Client, place: Place, source: Source, services: Iterable[Obj], owners: Iterable[Obj]
) -> tuple[Obj, ...]:
    """What the proxies of PLACE's Gateway, its SOURCE, may route by, less the OWNERS; of all Gateways' HTTPRoutes, for
    one proxy may serve several.
    """
    spaces = {place.namespace, place.destination.namespace, place.proxies_in}
    mine = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in owners}
    routes = at_gateways(everywhere(client, "HTTPRoute", spaces))
    gateways = everywhere(client, "Gateway.networking.istio.io", spaces)
    others = (one for one in routes if (one["metadata"]["namespace"], one["metadata"]["name"]) not in mine)
    return (*others, *routed_beside(client, source, gateways, services))


def routes_to(client: Client, place: Place) -> tuple[Obj, ...]:
    """The HTTPRoutes that own PLACE's destination, at its Gateway or in the mesh."""
    there = place.destination
    if not there.namespace:
        return ()
    routes = everywhere(client, "HTTPRoute", {place.namespace, there.namespace})
    if place.source and place.source.gateway:
        return entering(routes, place) if place.source.gateway_api else ()
    return http_routes(routes, there.service, there.namespace, place.namespace, there.port)


def _others(client: Client, kind: str, spaces: Iterable[str]) -> list[Obj]:
    """Pods are many, and only those of SPACES are asked for."""
    if kind == "Pod":
        return [pod for namespace in sorted(spaces) for pod in client.list(kind, namespace)]
    return everywhere(client, kind, spaces)


def _rollouts(client: Client, namespace: str) -> list[Obj]:
    """Those of every namespace, for one may drive a VirtualService of another."""
    try:
        return everywhere(client, "Rollout", {namespace})
    except Forbidden:
        return []


def _permitted(client: Client, kind: str, namespace: str) -> list[Obj]:
    """Objects that only help to refuse early: an account that may not read them goes on without."""
    try:
        return client.list(kind, namespace)
    except Forbidden:
        return []


def _refuse_system(namespace: str, what: str) -> None:
    if namespace in SYSTEM_NAMESPACES:
        raise InvalidInput(
            f"{namespace} is a system namespace, where no fault is injected{f' ({what})' if what else ''}: "
            "name a workload of your own, and its namespace"
        )

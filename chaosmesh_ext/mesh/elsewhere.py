"""Where routes lead: the Services to which calls of a host go by them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.entering import at_gateways, leads
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.names import is_label

__all__ = ["UNKNOWN", "Target", "from_gateways", "led_to"]


class Target(NamedTuple):
    """A Service, or a subset of it."""

    namespace: str
    service: str
    subset: str = ""


UNKNOWN: Final = Target("", "")
"""Where nobody can tell from the routes alone."""

_SUFFIX: Final = ".svc.cluster.local"


def led_to(routes: Iterable[Obj]) -> set[Target]:
    """Whom ROUTES send calls to: HTTPRoutes, or a VirtualService with those that it delegates to.

    UNKNOWN is among them where some go to a host outside, or to a delegate that is not here.
    """
    objs = list(routes)
    here = {(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in objs}
    return {
        target
        for one in objs
        for target in (_of_http_route(one) if one["kind"] == "HTTPRoute" else _of_virtual_service(one, here))
    }


def from_gateways(virtual_services: Iterable[Obj], http_routes: Iterable[Obj], place: Place) -> bool:
    """Whether some of these may send to PLACE's host what comes in by a Gateway."""
    there = (place.destination.namespace, place.destination.service)
    bound = [one for one in virtual_services if {"mesh"} != set(one.get("spec", {}).get("gateways") or ["mesh"])]
    return any(one == UNKNOWN or one[:2] == there for one in led_to(bound)) or any(
        leads(rule, route, place) for route in at_gateways(http_routes) for rule in route["spec"].get("rules") or ()
    )


def _of_virtual_service(obj: Obj, here: set[tuple[str, str, str]]) -> Iterator[Target]:
    own = obj["metadata"]["namespace"]
    for route in obj.get("spec", {}).get("http") or ():
        other = route.get("delegate")
        if other and ("VirtualService", other.get("namespace") or own, other.get("name")) not in here:
            yield UNKNOWN
        parts = route.get("route") or ()
        for part in parts:
            if part.get("weight") or len(parts) == 1:
                to = part.get("destination", {})
                host = fqdn(to.get("host", ""), own)
                name, _, space = host.removesuffix(_SUFFIX).partition(".")
                known = host.endswith(_SUFFIX) and is_label(space) and is_label(name)
                yield Target(space, name, to.get("subset", "")) if known else UNKNOWN


def _of_http_route(obj: Obj) -> Iterator[Target]:
    for rule in obj.get("spec", {}).get("rules") or ():
        for part in rule.get("backendRefs") or ():
            if (part.get("group") or "", part.get("kind", "Service")) != ("", "Service"):
                yield UNKNOWN
            elif part.get("weight", 1):
                yield Target(part.get("namespace", obj["metadata"]["namespace"]), part["name"])

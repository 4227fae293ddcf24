"""HTTPRoutes of Gateway API's Gateways: which lead to a destination, and what else its requests may be routed by. Pure.

istiod makes one list of the rules of all HTTPRoutes of a Gateway and host, sorted by how specific they are, the oldest
route's first where that is the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.selectors import covers
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.fault import Divided, Fault, Filtered, Narrowing, RuleChange
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.mesh.rules import matches_of

__all__ = ["at_gateways", "beside", "entering", "leads", "refuse_at_gateway", "refuse_shared"]

_GROUP = "gateway.networking.k8s.io"


def refuse_at_gateway(place: Place, fault: Fault) -> None:
    """Raise InvalidInput for a FAULT that there is no way to put in PLACE, where that is a Gateway."""
    if not place.source or not place.source.gateway:
        return
    name = place.source.gateway
    if place.source.gateway_api:
        if not isinstance(fault, RuleChange):
            raise InvalidInput(
                f"{name} is a Gateway of Gateway API's, where rules of its HTTPRoutes are changed and nothing else"
            )
    elif not isinstance(fault, Narrowing | Filtered):
        raise InvalidInput(
            f"{name} is a Gateway of Istio's, where calls can be delayed and aborted, and routes narrowed "
            "(restrict_routes), and nothing else: other rules are changed at Gateways of Gateway API's only"
        )
    elif isinstance(fault, Narrowing) and len(place.source.gateways) > 1:
        raise InvalidInput(
            f"{place.source.name} serves {', '.join(place.source.gateways)}: name the one whose routes are meant "
            "by gateway"
        )


def at_gateways(routes: Iterable[Obj]) -> list[Obj]:
    """Those of ROUTES with a Gateway as a parent."""
    return [route for route in routes if any(_gateway(parent, route) for parent in _parents(route))]


def entering(routes: Iterable[Obj], place: Place) -> tuple[Obj, ...]:
    """Those of ROUTES that are bound to PLACE's Gateway and have a rule that leads to its destination."""
    name = place.source.gateway if place.source else ""
    return tuple(
        route
        for route in routes
        if any(_gateway(parent, route) == name for parent in _parents(route))
        and any(leads(rule, route, place) for rule in route["spec"].get("rules") or ())
    )


def leads(rule: Obj, route: Obj, place: Place, fault: Fault | None = None) -> bool:
    """Whether RULE of ROUTE sends to PLACE's destination.

    Raises InvalidInput, where it is for a FAULT, if it sends elsewhere too, where the fault would be met as well; the
    Services that FAULT divides the requests among are the destination's.
    """
    there, own = place.destination, route["metadata"]["namespace"]
    targets = {_target(one, own) for one in rule.get("backendRefs") or () if one.get("weight", 1)}
    mine = ("", "Service", there.namespace, there.service, there.port)
    if mine not in targets:
        return False
    theirs = {mine}
    if isinstance(fault, Divided):
        theirs |= {("", "Service", there.namespace, name, there.port) for name in fault.shares}
    if fault is not None and (more := targets - theirs):
        listed = ", ".join(sorted(str(one[3]) for one in more))
        raise InvalidInput(
            f"the rule {rule.get('name') or ''} of HTTPRoute {own}/{route['metadata']['name']}".replace("  ", " ")
            + f" sends to {there.service} and to {listed}, whose requests would meet it too: its owner divides it, or "
            "take another destination"
        )
    return True


def refuse_shared(owner: Obj, place: Place, others: Iterable[Obj]) -> None:
    """Raise InvalidInput where a change of OWNER's rules is not for PLACE's Gateway alone, or where routes of Istio's
    among OTHERS are in one list with its.
    """
    name = place.source.gateway if place.source else ""
    what = f"HTTPRoute {owner['metadata']['namespace']}/{owner['metadata']['name']}"
    if any(_gateway(parent, owner) != name for parent in _parents(owner)):
        raise InvalidInput(
            f"{what} has other parents than the Gateway {name}, whose requests would meet it too: its owner gives each "
            "its own"
        )
    mine = owner["spec"].get("hostnames") or ["*"]
    for other in others:
        spec, meta = other.get("spec", {}), other["metadata"]
        if other.get("kind") == "HTTPRoute":
            continue
        servers = [host for server in spec.get("servers") or () for host in server.get("hosts") or ()]
        hosts = [host.rpartition("/")[2] for host in (*servers, *(spec.get("hosts") or ()))]
        if any(_one_list(host, theirs) for host in mine for theirs in hosts):
            raise InvalidInput(
                f"{what} and Istio's {other['kind']} {meta['namespace']}/{meta['name']} have a host in common at these "
                "proxies, and a rule of ours could go before routes that its own goes behind: give the HTTPRoute "
                "hostnames of its own"
            )


def beside(owner: Obj, others: Iterable[Obj], count: int) -> list[tuple[int, Obj]]:
    """The matches of the HTTPRoutes among OTHERS for a host that OWNER may be for too, with an index that says where
    they stand: below 0 those of older routes, from COUNT on those of younger ones.
    """
    hosts = owner["spec"].get("hostnames") or ["*"]
    found: list[tuple[int, Obj]] = []
    for other in others:
        if other.get("kind") != "HTTPRoute":
            continue
        theirs = other["spec"].get("hostnames") or ["*"]
        if not any(covers(one, two) or covers(two, one) for one in hosts for two in theirs):
            continue
        index = -1 if _age(other) < _age(owner) else count
        found += [(index, match) for rule in other["spec"].get("rules") or () for match in matches_of(rule)]
    return found


def _one_list(mine: str, theirs: str) -> bool:
    """Whether the hosts may be one virtual host; of two that differ, Envoy takes the more specific one."""
    return mine == theirs or ("*" in mine and (covers(mine, theirs) or covers(theirs, mine)))


def _age(route: Obj) -> tuple[str, str]:
    meta = route["metadata"]
    return str(meta.get("creationTimestamp", "")), f"{meta['namespace']}/{meta['name']}"


def _parents(route: Obj) -> list[Obj]:
    return route.get("spec", {}).get("parentRefs") or []


def _gateway(parent: Obj, route: Obj) -> str:
    """Namespace and name of the Gateway that PARENT is; empty for another."""
    if (parent.get("group", _GROUP), parent.get("kind", "Gateway")) != (_GROUP, "Gateway"):
        return ""
    return f"{parent.get('namespace', route['metadata']['namespace'])}/{parent.get('name')}"


def _target(part: Obj, namespace: str) -> tuple[Any, ...]:
    kind = (part.get("group") or "", part.get("kind", "Service"))
    return (*kind, part.get("namespace", namespace), part.get("name"), part.get("port"))

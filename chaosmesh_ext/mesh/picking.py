"""Which of the owner's routes a fault is laid over, and by which matches. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.entrance import Entrance
from chaosmesh_ext.mesh.fault import Fault, Filtered
from chaosmesh_ext.mesh.match import NoOverlap, conjunction, covers
from chaosmesh_ext.mesh.notes import run_of
from chaosmesh_ext.mesh.place import Place

__all__ = ["INSTEAD", "NONE", "NotMet", "authority", "free_names", "narrow_to", "pick", "without"]

INSTEAD: Final = "use the EnvoyFilter carrier (carrier: envoyfilter), which leaves the owner's routes alone"
NONE: Final = "nothing but a change of these routes can do this"


class NotMet(InvalidInput):
    """No route of an object takes requests in scope."""


def pick(
    what: str,
    routes: list[Obj],
    narrow: Mapping[str, Any],
    place: Place,
    namespace: str,
    own: list[Any],
    fault: Fault,
    entrance: Entrance | None = None,
) -> dict[int, list[dict[str, Any]]]:
    """The routes that take FAULT, by index, each with the matches of its copy.

    WHAT: the object. NARROW: the scope as a match. NAMESPACE: the object's. OWN: values of this run's faults in it.
    ENTRANCE: where it is for a gateway's. Raises InvalidInput where none can, or one that would have to cannot.
    """
    filtered = isinstance(fault, Filtered)
    instead = INSTEAD if filtered else NONE
    picked: dict[int, list[dict[str, Any]]] = {}
    reasons: list[str] = []
    before: list[dict[str, Any]] = []
    for index, route in enumerate(routes):
        if run_of(str(route.get("name", ""))):
            continue
        label = f"route {route['name']!r}" if route.get("name") else f"route {index}"
        if "delegate" in route and entrance is None:
            raise InvalidInput(
                f"{what}: {label} delegates to another VirtualService, which no overlay can refine; {instead}"
            )
        why = ""
        if "redirect" in route or "directResponse" in route:
            beside = "Istio refuses a fault beside that" if filtered else "calls nobody"
            why = f"{label} answers by itself, and {beside}"
        elif entrance and not entrance.leads(what, label, route):
            why = f"{label} does not go to {place.destination.service}"
        elif place.subset and not _only_subset(what, label, route, place, namespace, instead):
            why = f"{label} does not go to the subset {place.subset}"
        if entrance is None:
            matches = _matches(route, narrow, label, reasons, before, needed=not why)
        else:
            matches = entrance.matches(route, narrow, label, reasons, needed=not why)
        if why:
            reasons.append(why)
        elif matches:
            if filtered and "fault" in route and route["fault"] in own:
                raise InvalidInput(f"{what}: {label} has a fault of this run already: undo that one first")
            if filtered and "fault" in route:
                raise InvalidInput(
                    f"{what}: {label} has a fault of its owner's, which would be lost or hide ours; remove it first"
                )
            picked[index] = matches
    if not picked:
        why = "; ".join(dict.fromkeys(reasons)) or "it has no HTTP route for calls inside the mesh"
        raise NotMet(f"{what}: no route can take the fault {place}: {why}")
    return picked


def _matches(
    route: Obj,
    narrow: Mapping[str, Any],
    label: str,
    reasons: list[str],
    before: list[dict[str, Any]],
    *,
    needed: bool,
) -> list[dict[str, Any]]:
    """What of the scope meets ROUTE, less what a match BEFORE it takes already; added to BEFORE.

    needed: False where the route takes no fault, so that a match that no overlay can say is no matter.
    """
    found: list[dict[str, Any]] = []
    for match in route.get("match") or [{}]:
        if "gateways" in match and "mesh" not in match["gateways"]:
            reasons.append(f"{label} is for gateways only")
            continue
        try:
            both = conjunction(match, narrow)
        except NoOverlap as error:
            reasons.append(f"{label}: {error}")
        except InvalidInput:
            if needed:
                raise
        else:
            if any(covers(one, both) for one in before):
                reasons.append(f"{label} is never met: routes before it take all that it would")
                continue
            before.append(both)
            found.append(both)
    return found


def _only_subset(what: str, label: str, route: Obj, place: Place, namespace: str, instead: str) -> bool:
    """Whether all requests of ROUTE go to the place's subset; raises where some do."""
    targets = [part.get("destination", {}) for part in route.get("route", []) if part.get("weight", 1)]
    ours = [
        fqdn(target.get("host", ""), namespace) == place.destination.host and target.get("subset") == place.subset
        for target in targets
    ]
    if any(ours) and not all(ours):
        raise InvalidInput(
            f"{what}: {label} splits its requests, and a VirtualService's fault would hit more than the subset "
            f"{place.subset}; {instead}"
        )
    return bool(ours) and all(ours)


def narrow_to(place: Place, *, several: bool) -> dict[str, Any]:
    """The scope as an HTTPMatchRequest; empty when it is for everybody. SEVERAL: the object has more hosts."""
    narrow: dict[str, Any] = deepcopy(dict(place.match))
    if place.marker:
        narrow["headers"] = {**narrow.get("headers", {}), place.marker.carried_by: {"regex": place.marker.pattern()}}
    if place.at_gateway:
        return narrow  # the host and the port that are asked for there are the gateway's
    if place.source:
        narrow["sourceLabels"] = dict(place.source.labels)
    if len(place.destination.ports) > 1:
        narrow["port"] = place.destination.port
    if several and "authority" not in narrow:
        narrow["authority"] = {"regex": authority(place)}
    return narrow


def free_names(run: str, routes: Iterable[Obj]) -> Iterator[str]:
    """Names for routes of RUN that none of ROUTES has."""
    taken = {str(route.get("name", "")) for route in routes}
    number = 1
    while True:
        if (name := f"chaos-{run}-{number}") not in taken:
            yield name
        number += 1


def without(obj: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """OBJ less KEYS."""
    return {key: value for key, value in obj.items() if key not in keys}


def authority(place: Place) -> str:
    """Every way in which a caller may write the host of PLACE, as an expression of RE2."""
    host = place.destination.host
    suffix = f".{place.destination.namespace}.svc.cluster.local"
    if not host.endswith(suffix):
        return re.escape(host) + r"(:\d+)?"
    name, space = re.escape(place.destination.service), re.escape(place.destination.namespace)
    rest = rf"\.{space}(\.svc(\.cluster\.local)?)?"
    return name + (f"({rest})?" if place.namespace == place.destination.namespace else rest) + r"(:\d+)?"

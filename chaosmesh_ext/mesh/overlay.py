"""The VirtualService carrier: a fault laid over the owner's routes, or in an object of ours where there is no owner.

What people know and what Kiali shows; needs no permission on EnvoyFilters. A fault is a named route in front of each
owner's route that it refines; only one of the fault filter for everybody is the field `fault` of the routes. Everything
here is pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.drivers import driver
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import UNDO, Entry, Field, created, enter, entries, refuse_others, unreadable
from chaosmesh_ext.mesh.match import NoOverlap, conjunction, covers
from chaosmesh_ext.mesh.notes import run_of
from chaosmesh_ext.mesh.place import Change, Create, Edit, Fault, Filtered, Place, RouteChange, View
from chaosmesh_ext.mesh.pointer import Op

__all__ = ["NAME", "plan"]

NAME: Final = "virtualservice"

_INSTEAD: Final = "use the EnvoyFilter carrier (carrier: envoyfilter), which leaves the owner's routes alone"
_NONE: Final = "nothing but a change of these routes can do this"


def plan(fault: Fault, place: Place, view: View) -> list[Change]:
    """The change that puts FAULT in PLACE.

    Raises InvalidInput, with the reason, where it would be unsatisfiable, illegal, or fought over.
    """
    instead = _INSTEAD if isinstance(fault, Filtered) else _NONE
    if view.owner is None:
        return [Create(_own(fault, place, view, instead))]
    owner = view.owner
    meta = owner["metadata"]
    _refuse_driven(f"VirtualService {meta['namespace']}/{meta['name']}", owner, view, instead)
    compute = partial(_overlay, fault=fault, place=place)
    compute(owner)
    return [Edit("VirtualService", meta["namespace"], meta["name"], compute)]


def _changed(fault: Fault, route: Obj, place: Place) -> Obj:
    """ROUTE as FAULT wants it."""
    if isinstance(fault, Filtered):
        return {**route, "fault": fault.for_virtual_service()}
    if isinstance(fault, RouteChange):
        return {**fault.for_route(route, place), **{key: route[key] for key in ("name", "match") if key in route}}
    raise InvalidInput(f"{type(fault).__name__} is no change of routes: leave out carrier: {NAME}")


def _own(fault: Fault, place: Place, view: View, instead: str) -> Obj:
    """A VirtualService of ours: private to the callers' namespace, with a default route behind the fault's."""
    host, service = place.destination.host, place.destination.service
    if view.http_route:
        raise InvalidInput(
            f"the HTTPRoute {view.http_route} owns {service}: a VirtualService beside it is undefined; {instead}"
        )
    if place.subset:
        raise InvalidInput(
            f"no VirtualService routes {service} to the subset {place.subset}: its requests go to all pods alike"
        )
    narrow = _narrow(place, several=False)
    defaults = _defaults(place)
    base: Obj = {"name": f"chaos-{place.run}-1", "route": deepcopy(defaults[place.destination.port]["route"])}
    faulted = _changed(fault, {**base, "match": [narrow]} if narrow else base, place)
    left = [route for route in defaults.values() if not covers(narrow, route.get("match", [{}])[0])]
    routes = [faulted, *left]
    obj = {
        "apiVersion": KINDS["VirtualService"].api_version,
        "kind": "VirtualService",
        "metadata": {"name": place.name, "namespace": place.namespace},
        "spec": {"hosts": [host], "exportTo": ["."], "http": routes},
    }
    return created(obj, place.run, place.cell)


def _defaults(place: Place) -> dict[int, Obj]:
    """A route to the host for each of its ports, which is named where there are several, as istioctl analyze asks."""
    host, ports = place.destination.host, place.destination.ports
    if len(ports) < 2:
        return {place.destination.port: {"route": [{"destination": {"host": host}}]}}
    return {
        port: {"match": [{"port": port}], "route": [{"destination": {"host": host, "port": {"number": port}}}]}
        for port in ports
    }


def _overlay(owner: Obj, fault: Fault, place: Place) -> list[Op]:
    """The operations that lay FAULT over OWNER as it is now, undo data included."""
    what = f"VirtualService {owner['metadata']['namespace']}/{owner['metadata']['name']}"
    refuse_others(what, owner, place.run)
    if unreadable(owner):
        raise InvalidInput(
            f"the annotation {UNDO} of {what} could not be read, and what it says would be lost: look at the object, "
            "then remove the annotation"
        )
    spec = owner.get("spec", {})
    several = len(spec.get("hosts", [])) != 1 or spec["hosts"][0].startswith("*")
    narrow = _narrow(place, several=several)
    routes = spec.get("http") or []
    own = [field for entry in entries(owner, place.run) for field in entry.fields]
    picked = _pick(what, routes, narrow, place, owner["metadata"]["namespace"], [field.set for field in own], fault)
    if not narrow and isinstance(fault, Filtered):
        words = fault.for_virtual_service()
        _refuse_alike(what, routes, picked, words, [field.set for field in own])
        fields = tuple(Field(f"/spec/http/{index}/fault", words) for index in picked)
        ops: list[Op] = [{"op": "add", "path": field.at, "value": field.set} for field in fields]
        return enter(owner, place.run, Entry(place.cell, fields=fields), ops)
    names = _free_names(place.run, routes)
    copies = {}
    for index, matches in picked.items():
        copy = {**deepcopy(routes[index]), "name": next(names), "match": matches}
        if matches == [{}]:
            del copy["match"]  # everything: Istio refuses a match without conditions
        copies[index] = _changed(fault, copy, place)
    # from the last one on, so that no insertion moves the place of the next
    ops = [
        {"op": "add", "path": f"/spec/http/{index}", "value": copies[index]} for index in sorted(copies, reverse=True)
    ]
    entry = Entry(place.cell, routes=tuple(copy["name"] for copy in copies.values()))
    return enter(owner, place.run, entry, ops)


def _pick(
    what: str,
    routes: list[Obj],
    narrow: Mapping[str, Any],
    place: Place,
    namespace: str,
    own: list[Any],
    fault: Fault,
) -> dict[int, list[dict[str, Any]]]:
    """The routes that take FAULT, by index, each with the matches of its copy. OWN: values of this run's faults."""
    filtered = isinstance(fault, Filtered)
    instead = _INSTEAD if filtered else _NONE
    picked: dict[int, list[dict[str, Any]]] = {}
    reasons: list[str] = []
    before: list[dict[str, Any]] = []
    for index, route in enumerate(routes):
        if run_of(_name(route)):
            continue
        label = f"route {route['name']!r}" if route.get("name") else f"route {index}"
        if "delegate" in route:
            raise InvalidInput(
                f"{what}: {label} delegates to another VirtualService, which no overlay can refine; {instead}"
            )
        why = ""
        if "redirect" in route or "directResponse" in route:
            why = f"{label} answers by itself, and Istio refuses a fault beside that"
        elif place.subset and not _only_subset(what, label, route, place, namespace):
            why = f"{label} does not go to the subset {place.subset}"
        matches = _matches(route, narrow, label, reasons, before, needed=not why)
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
        raise InvalidInput(f"{what}: no route can take the fault {place}: {why}")
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


def _only_subset(what: str, label: str, route: Obj, place: Place, namespace: str) -> bool:
    """Whether all requests of ROUTE go to the place's subset; raises where some do."""
    targets = [part.get("destination", {}) for part in route.get("route", []) if part.get("weight", 1)]
    ours = [
        fqdn(target.get("host", ""), namespace) == place.destination.host and target.get("subset") == place.subset
        for target in targets
    ]
    if any(ours) and not all(ours):
        raise InvalidInput(
            f"{what}: {label} splits its requests, and a VirtualService's fault would hit more than the subset "
            f"{place.subset}; {_INSTEAD}"
        )
    return bool(ours) and all(ours)


def _narrow(place: Place, *, several: bool) -> dict[str, Any]:
    """The scope as an HTTPMatchRequest; empty when it is for everybody. SEVERAL: the object has more hosts."""
    narrow: dict[str, Any] = deepcopy(dict(place.match))
    if place.marker:
        narrow["headers"] = {**narrow.get("headers", {}), "tracestate": {"regex": place.marker.pattern()}}
    if place.source:
        narrow["sourceLabels"] = dict(place.source.labels)
    if len(place.destination.ports) > 1:
        narrow["port"] = place.destination.port
    if several and "authority" not in narrow:
        narrow["authority"] = {"regex": _authority(place)}
    return narrow


def _authority(place: Place) -> str:
    """Every way in which a caller may write the host."""
    host = place.destination.host
    suffix = f".{place.destination.namespace}.svc.cluster.local"
    if not host.endswith(suffix):
        return re.escape(host) + r"(:\d+)?"
    name, space = re.escape(place.destination.service), re.escape(place.destination.namespace)
    rest = rf"\.{space}(\.svc(\.cluster\.local)?)?"
    return name + (f"({rest})?" if place.namespace == place.destination.namespace else rest) + r"(:\d+)?"


def _free_names(run: str, routes: list[Obj]) -> Iterator[str]:
    taken = {_name(route) for route in routes}
    number = 1
    while True:
        if (name := f"chaos-{run}-{number}") not in taken:
            yield name
        number += 1


def _refuse_driven(what: str, owner: Obj, view: View, instead: str) -> None:
    if who := driver(owner, view.rollouts):
        raise InvalidInput(f"{what} is written again by {who}, which would fight an overlay or undo it; {instead}")


def _refuse_alike(what: str, routes: list[Obj], picked: Iterable[int], words: dict[str, Any], known: list[Any]) -> None:
    """Undo tells our value from the owner's by what it is, for routes are moved, edited and copied meanwhile."""
    for index, route in enumerate(routes):
        if index not in picked and route.get("fault") == words and words not in known and not run_of(_name(route)):
            raise InvalidInput(
                f"{what}: route {index} has exactly this fault already, of its owner's, and undo could not tell them "
                f"apart: change the percentage or the value a little, or {_INSTEAD}"
            )


def _name(route: Obj) -> str:
    return str(route.get("name", ""))

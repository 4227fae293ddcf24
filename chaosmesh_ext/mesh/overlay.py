"""The VirtualService carrier: a fault laid over the owner's routes, or in an object of ours where there is no owner.

What people know and what Kiali shows; needs no permission on EnvoyFilters. A fault is a named route in front of each
owner's route that it refines; only one of the fault filter for everybody is the field `fault` of the routes. Everything
here is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh import narrowing
from chaosmesh_ext.mesh.change import Change, Create, Edit
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.drivers import driver
from chaosmesh_ext.mesh.entrance import Entrance, refuse_overtaking
from chaosmesh_ext.mesh.fault import Fault, Filtered, Narrowing, RouteChange, RuleChange
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import UNDO, Entry, Field, created, enter, entries, refuse_others, unreadable
from chaosmesh_ext.mesh.match import NoOverlap, conjunction, covers
from chaosmesh_ext.mesh.notes import marked, run_of
from chaosmesh_ext.mesh.picking import INSTEAD, NONE, NotMet, free_names, narrow_to, pick, without
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.mesh.pointer import Op
from chaosmesh_ext.mesh.view import View

__all__ = ["NAME", "plan"]

NAME: Final = "virtualservice"


def plan(fault: Fault, place: Place, view: View) -> list[Change]:
    """The change that puts FAULT in PLACE.

    Raises InvalidInput, with the reason, where it would be unsatisfiable, illegal, or fought over.
    """
    if isinstance(fault, Narrowing):
        return narrowing.plan(fault, place, view)
    instead = INSTEAD if isinstance(fault, Filtered) else NONE
    if place.at_gateway:
        return _at_gateway(fault, place, view)
    if view.owner is None:
        return [Create(_own(fault, place, view, instead))]
    owner = view.owner
    meta = owner["metadata"]
    _refuse_driven(f"VirtualService {meta['namespace']}/{meta['name']}", owner, view, instead)
    compute = partial(_overlay, fault=fault, place=place)
    compute(owner)
    return [Edit("VirtualService", meta["namespace"], meta["name"], compute)]


def _at_gateway(fault: Fault, place: Place, view: View) -> list[Change]:
    """The changes of the VirtualServices by which PLACE's gateways send to its destination."""
    if place.source and place.source.gateway_api:
        raise InvalidInput(f"{place.source.gateway} is a Gateway of Gateway API's: VirtualServices are not bound to it")
    if not view.bound:
        names = ", ".join(place.source.gateways) if place.source else ""
        raise InvalidInput(f"no VirtualService of {names} has a route that leads to {place.destination.service}")
    changes: list[Change] = []
    reasons: list[str] = []
    for owner in view.bound:
        meta = owner["metadata"]
        _refuse_driven(f"VirtualService {meta['namespace']}/{meta['name']}", owner, view, NONE)
        compute = partial(_overlay, fault=fault, place=place, view=view)
        try:
            compute(owner)
        except NotMet as error:
            reasons.append(str(error))
        else:
            changes.append(Edit("VirtualService", meta["namespace"], meta["name"], compute))
    if not changes:
        raise InvalidInput("; ".join(reasons))
    return changes


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
        instead = "use carrier: httproute" if isinstance(fault, RuleChange) else instead
        raise InvalidInput(
            f"the HTTPRoute {view.http_route} owns {service}: a VirtualService beside it is undefined; {instead}"
        )
    if place.subset:
        raise InvalidInput(
            f"no VirtualService routes {service} to the subset {place.subset}: its requests go to all pods alike"
        )
    narrow = narrow_to(place, several=False)
    defaults = _defaults(place)
    base: Obj = {"name": f"chaos-{place.run}-1", "route": deepcopy(defaults[place.destination.port]["route"])}
    first = {**base, "match": [narrow]} if narrow else base
    faulted = _changed(fault, first, place)
    if faulted == first:
        raise InvalidInput(
            f"nobody owns the routes of {service}, and Istio's default is that: there is nothing to change"
        )
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


def _overlay(owner: Obj, fault: Fault, place: Place, view: View | None = None) -> list[Op]:
    """The operations that lay FAULT over OWNER as it is now, undo data included. VIEW: of a place at a gateway."""
    what = f"VirtualService {owner['metadata']['namespace']}/{owner['metadata']['name']}"
    refuse_others(what, owner, place.run)
    if unreadable(owner):
        raise InvalidInput(
            f"the annotation {UNDO} of {what} could not be read, and what it says would be lost: look at the object, "
            "then remove the annotation"
        )
    if narrowing.narrowed(owner, place.run):
        raise InvalidInput(f"{what} has routes that this run narrowed: recover that first")
    spec = owner.get("spec", {})
    several = len(spec.get("hosts", [])) != 1 or spec["hosts"][0].startswith("*")
    narrow = narrow_to(place, several=several)
    routes = spec.get("http") or []
    own = [field for entry in entries(owner, place.run) for field in entry.fields]
    entrance = Entrance(owner, place) if place.at_gateway else None
    values = [field.set for field in own]
    picked = pick(what, routes, narrow, place, owner["metadata"]["namespace"], values, fault, entrance)
    if entrance is None and not narrow and isinstance(fault, Filtered):
        words = fault.for_virtual_service()
        _refuse_alike(what, routes, picked, words, values)
        _refuse_twin(what, [{**routes[index], "fault": words} for index in picked], routes)
        fields = tuple(Field(f"/spec/http/{index}/fault", words) for index in picked)
        ops: list[Op] = [{"op": "add", "path": field.at, "value": field.set} for field in fields]
        return enter(owner, place.run, Entry(place.cell, fields=fields), ops)
    noted = [{"name": name} for entry in entries(owner, place.run) for name in entry.routes]
    names = free_names(place.run, [*routes, *noted])  # none twice, though the owner gave ours another name
    copies = {}
    for index, matches in picked.items():
        copy = {**deepcopy(routes[index]), "name": next(names), "match": matches}
        if matches == [{}]:
            del copy["match"]  # everything: Istio refuses a match without conditions
        copies[index] = _changed(fault, copy, place)
    if view is not None:
        refuse_overtaking(owner, copies.values(), view)
    _refuse_idle(what, routes, copies, place)
    _refuse_caught(what, routes, narrow, place)
    # from the last one on, so that no insertion moves the place of the next
    ops = [
        {"op": "add", "path": f"/spec/http/{index}", "value": copies[index]} for index in sorted(copies, reverse=True)
    ]
    entry = Entry(place.cell, routes=tuple(copy["name"] for copy in copies.values()))
    return enter(owner, place.run, entry, ops)


def _refuse_idle(what: str, routes: list[Obj], copies: Mapping[int, Obj], place: Place) -> None:
    """A change that changes nothing would be called live and prove nothing."""
    same = ("name", "match")
    _refuse_twin(what, copies.values(), [route for route in routes if not run_of(_name(route))])
    if all(without(copy, same) == without(routes[index], same) for index, copy in copies.items()):
        raise InvalidInput(f"{what}: its routes for {place} are like that already: there is nothing to change")


def _refuse_twin(what: str, changed: Iterable[Obj], routes: Iterable[Obj]) -> None:
    """None of CHANGED may be like one of ROUTES but for its name: undo finds a renamed route of ours by its content."""
    there = [without(route, ("name",)) for route in routes]
    if any(without(one, ("name",)) in there for one in changed):
        raise InvalidInput(
            f"{what} has exactly such a route already, and undo could not tell them apart: change the value a little, "
            "or take requests: marked"
        )


def _refuse_caught(what: str, routes: list[Obj], narrow: Mapping[str, Any], place: Place) -> None:
    """A route of this run, which stands before ours, must not take the requests that ours is for."""
    scope = without(narrow, ("headers",)) | {"headers": without(narrow.get("headers", {}), ("tracestate",))}
    for route in routes:
        name = _name(route)
        if run_of(name) != place.run:
            continue
        for match in route.get("match") or [{}]:
            run, cell = marked({"match": [match]})
            if run and cell not in ("", place.cell):
                continue  # for requests of another cell only
            theirs = without(match, ("headers",)) | {"headers": without(match.get("headers", {}), ("tracestate",))}
            try:
                conjunction(theirs, scope)
            except NoOverlap:
                continue
            except InvalidInput:
                pass  # whether they overlap, no match can say: they may
            raise InvalidInput(
                f"{what}: the route {name} of this run takes these requests before another could: recover it first, "
                "inject it for its own requests only (requests: marked), or, for retries and a timeout at once, give "
                "set_retries the timeout"
            )


def _refuse_driven(what: str, owner: Obj, view: View, instead: str) -> None:
    if who := driver(owner, view.rollouts):
        raise InvalidInput(f"{what} is written again by {who}, which would fight an overlay or undo it; {instead}")


def _refuse_alike(what: str, routes: list[Obj], picked: Iterable[int], words: dict[str, Any], known: list[Any]) -> None:
    """Undo tells our value from the owner's by what it is, for routes are moved, edited and copied meanwhile."""
    for index, route in enumerate(routes):
        if index not in picked and route.get("fault") == words and words not in known and not run_of(_name(route)):
            raise InvalidInput(
                f"{what}: route {index} has exactly this fault already, of its owner's, and undo could not tell them "
                f"apart: change the percentage or the value a little, or {INSTEAD}"
            )


def _name(route: Obj) -> str:
    return str(route.get("name", ""))

"""Narrowing: the owner's routes take fewer requests, so that the others meet none, and Envoy answers 404 (flag NR).

A route of ours in front cannot say that: it would have to answer by itself, which is another thing. So the field
`match` of the owner's routes is set: what it was, less the requests in scope, and of those the ones that keep their
route. What an HTTPMatchRequest cannot negate is refused: a scope is the marker, or everybody. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.mesh.change import Change, Create, Edit
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.drivers import driver
from chaosmesh_ext.mesh.fault import Narrowing
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import UNDO, Entry, Field, created, enter, entries, runs_in, unreadable
from chaosmesh_ext.mesh.match import NoOverlap, conjunction
from chaosmesh_ext.mesh.notes import digest, run_of
from chaosmesh_ext.mesh.owners import qualified
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.mesh.pointer import Op
from chaosmesh_ext.mesh.view import View

__all__ = ["narrowed", "plan"]

_NOBODY: Final = "x-chaosmesh-ext-nobody"
"""A header that no request has."""


def plan(fault: Narrowing, place: Place, view: View) -> list[Change]:
    """The changes that put FAULT in PLACE.

    Raises InvalidInput, with the reason, where it cannot be said, or somebody else's is in the way.
    """
    if place.match or place.subset or (place.source and not place.source.gateway):
        raise InvalidInput(
            "which requests lose their route can be said by requests: marked, run or all, and which keep it by keep: "
            "leave out source, subset and match, which no VirtualService can say the opposite of"
        )
    if place.marker is None and not fault.keep:
        raise InvalidInput(
            f"everybody would lose every route to {place.destination.service}: say by keep which stay, or take "
            "requests: marked"
        )
    gateway = place.source.gateway if place.source else ""
    owners = view.bound if gateway else tuple(filter(None, (view.owner,)))
    if not owners:
        if gateway:
            raise InvalidInput(f"no VirtualService of the gateway {gateway} routes to {place.destination.service}")
        return [Create(_own(fault, place, view))]
    changes: list[Change] = []
    for owner in owners:
        meta = owner["metadata"]
        if who := driver(owner, view.rollouts):
            raise InvalidInput(
                f"VirtualService {meta['namespace']}/{meta['name']} is written again by {who}, which would fight this"
            )
        compute = partial(_narrow, fault=fault, place=place)
        compute(owner)
        changes.append(Edit("VirtualService", meta["namespace"], meta["name"], compute))
    return changes


def narrowed(obj: Obj, run: str) -> bool:
    """Whether RUN has narrowed routes of OBJ, so that no copy of them would be what the owner meant."""
    return any(field.at.endswith("/match") for entry in entries(obj, run) for field in entry.fields)


def _own(fault: Narrowing, place: Place, view: View) -> Obj:
    """A VirtualService of ours, for a host that nobody routes: its only route takes what stays."""
    service = place.destination.service
    if view.http_route:
        raise InvalidInput(
            f"the HTTPRoute {view.http_route} owns {service}: a VirtualService beside it is undefined, and nothing "
            "else can take its routes away"
        )
    route = {"name": f"chaos-{place.run}-1", "route": [{"destination": {"host": place.destination.host}}]}
    obj = {
        "apiVersion": KINDS["VirtualService"].api_version,
        "kind": "VirtualService",
        "metadata": {"name": place.name, "namespace": place.namespace},
        "spec": {
            "hosts": [place.destination.host],
            "exportTo": ["."],
            "http": [{**route, "match": _less([{}], fault.keep, place, "it")}],
        },
    }
    return created(obj, place.run, place.cell)


def _narrow(owner: Obj, fault: Narrowing, place: Place) -> list[Op]:
    """The operations that narrow the routes of OWNER as it is now, undo data included."""
    meta, spec = owner["metadata"], owner.get("spec", {})
    what = f"VirtualService {meta['namespace']}/{meta['name']}"
    if others := runs_in(owner) - {place.run}:
        raise InvalidInput(
            f"{what} carries a fault of the run {min(others)}, or a note of what it could not restore: wait for its "
            f"end, or: chaos mesh recover --run {min(others)}"
        )
    if unreadable(owner):
        raise InvalidInput(
            f"the annotation {UNDO} of {what} could not be read, and what it says would be lost: look at the object, "
            "then remove the annotation"
        )
    if place.run in runs_in(owner):
        raise InvalidInput(
            f"{what} has a fault of this run, which stands on routes as they are: recover that one first"
        )
    if any(
        _NOBODY in match.get("headers", {}) for route in spec.get("http") or () for match in route.get("match") or ()
    ):
        raise InvalidInput(
            f"{what} has routes that a run narrowed, and no note of what they were: its owner gives them their matches "
            f"back, where no header {_NOBODY} is asked for"
        )
    gateway = place.source.gateway if place.source else ""
    hosts = spec.get("hosts", [])
    if not gateway and (len(hosts) != 1 or hosts[0].startswith("*")):
        raise InvalidInput(
            f"{what} routes more hosts than {place.destination.host}, and they would lose their routes too"
        )
    fields: list[Field] = []
    for index, route in enumerate(spec.get("http") or []):
        if run_of(str(route.get("name", ""))) or not _leads_to(route, place, meta["namespace"], anywhere=not gateway):
            continue
        label = f"{what}: route {route.get('name') or index}"
        before = route.get("match")
        theirs, ours = _parted(before or [{}], gateway or "mesh", meta["namespace"], bound=spec.get("gateways"))
        after = [*theirs, *_less(ours, fault.keep, place, label)] if ours else []
        if ours and after != before:
            # what is kept is put behind what is another gateway's; the order within one route's matches means nothing
            was = (deepcopy(before),) if "match" in route else ()
            fields.append(Field(f"/spec/http/{index}/match", [*after, _nobody(was, ours[0])], was))
    if not fields:
        raise InvalidInput(f"{what} has no route that leads to {place.destination.service} and would be narrowed so")
    alike = [field.set for field in fields]
    for index, route in enumerate(spec["http"]):
        if route.get("match") in alike and f"/spec/http/{index}/match" not in {field.at for field in fields}:
            raise InvalidInput(
                f"{what}: route {index} has exactly such a match already, and undo could not tell them apart: "
                "change keep a little"
            )
    ops: list[Op] = [{"op": "add", "path": field.at, "value": field.set} for field in fields]
    return enter(owner, place.run, Entry(place.cell, fields=tuple(fields)), ops)


def _leads_to(route: Obj, place: Place, namespace: str, *, anywhere: bool) -> bool:
    """Whether requests of ROUTE go to the place's destination; ANYWHERE: or to wherever the owner sends them."""
    hosts = [fqdn(part.get("destination", {}).get("host", ""), namespace) for part in route.get("route", [])]
    return anywhere or place.destination.host in hosts


def _parted(
    matches: Sequence[Mapping[str, Any]], gateway: str, namespace: str, *, bound: Iterable[str] | None
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """MATCHES that are for other gateways than GATEWAY only, and the rest. BOUND: the gateways of the whole object.

    Raises InvalidInput for one that is for both: it would be narrowed for all.
    """
    others, ours = [], []
    for match in matches:
        named = {qualified(one, namespace) for one in match.get("gateways") or bound or ["mesh"]}
        if gateway not in named:
            others.append(match)
        elif named == {gateway}:
            ours.append(match)
        else:
            also = ", ".join(sorted(named - {gateway}))
            raise InvalidInput(f"one match is for {gateway} and for {also}, which would lose the route too")
    return others, ours


def _less(
    matches: Sequence[Mapping[str, Any]], keep: Sequence[Mapping[str, Any]], place: Place, label: str
) -> list[dict[str, Any]]:
    """MATCHES for those who are not in PLACE, and for those who are, as far as KEEP says."""
    found: list[dict[str, Any]] = []
    if place.marker is not None:
        without = {"withoutHeaders": {place.marker.carried_by: {"regex": place.marker.pattern()}}}
        found += [_both(match, without, label) for match in matches]
    for match in matches:
        for one in keep:
            try:
                both = _both(match, one, label)
            except NoOverlap:
                continue
            if both not in found:
                found.append(both)
    return found


def _nobody(was: tuple[Any, ...], like: Mapping[str, Any]) -> dict[str, Any]:
    """A match that takes nothing, for the gateways of LIKE, and that says which WAS it stands for.

    Without it two routes that differ in their matches alone could be left with the same one, and undo could not tell
    which had which once their owner has moved one or taken one out. And Istio reads a route that nothing is left of as
    one for all.
    """
    match: dict[str, Any] = {"headers": {_NOBODY: {"exact": f"no request has this: {digest(list(was))}"}}}
    return {**match, "gateways": list(like["gateways"])} if "gateways" in like else match


def _both(match: Mapping[str, Any], other: Mapping[str, Any], label: str) -> dict[str, Any]:
    """What MATCH and OTHER both take; the owner's gateways stay, which `conjunction` leaves out."""
    try:
        both = conjunction(match, other)
    except InvalidInput as error:
        raise InvalidInput(f"{label}: {error}") from error
    return {**both, "gateways": list(match["gateways"])} if "gateways" in match else both

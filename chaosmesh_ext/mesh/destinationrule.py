"""The DestinationRule carrier: another policy of callers towards a host. Pure.

Istio takes one DestinationRule for a host, so where somebody has one, its fields are set in that, and otherwise an
object of ours is private to the callers' namespace. It meets everybody who calls the host from there: no request and,
in an object of somebody else's, no caller can be told from another.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.drivers import driver
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import Entry, Field, created, enter, refuse_others, unreadable
from chaosmesh_ext.mesh.notes import UNDO
from chaosmesh_ext.mesh.owners import visible
from chaosmesh_ext.mesh.place import Change, Create, Edit, Fault, Place, TrafficPolicy, View
from chaosmesh_ext.mesh.pointer import ABSENT, Op, join, look

__all__ = ["NAME", "plan", "rule_of"]

NAME: Final = "destinationrule"


def plan(fault: Fault, place: Place, view: View) -> list[Change]:
    """The change that puts FAULT in PLACE. Raises InvalidInput where it would be met by others than it is meant for."""
    if not isinstance(fault, TrafficPolicy):
        raise InvalidInput(f"{type(fault).__name__} is no policy towards a host: leave out carrier: {NAME}")
    if place.marker is not None or place.match:
        raise InvalidInput(
            f"a policy towards {place.destination.service} is for every request: leave out match, and say requests: all"
        )
    owner = rule_of(view.others, place.destination.host, place.namespace)
    if owner is None:
        return [Create(_own(fault, place))]
    meta = owner["metadata"]
    what = f"DestinationRule {meta['namespace']}/{meta['name']}"
    if place.source is not None:
        raise InvalidInput(f"{what} is for every caller of {place.destination.service}: leave out source")
    if who := driver(owner, view.rollouts):
        raise InvalidInput(f"{what} is written again by {who}, which would undo a change: change it there")
    compute = partial(_set, fault=fault, place=place, what=what)
    compute(owner)
    return [Edit("DestinationRule", meta["namespace"], meta["name"], compute)]


def rule_of(objs: Iterable[Obj], host: str, namespace: str) -> Obj | None:
    """The DestinationRule among OBJS that istiod uses for HOST (whole name) and callers in NAMESPACE, or None.

    One of the callers' own namespace goes before others, a specific host before a wildcard, then the oldest.
    """
    found = []
    for obj in objs:
        if obj.get("kind") != "DestinationRule" or not visible(obj, namespace):
            continue
        meta = obj["metadata"]
        name = obj.get("spec", {}).get("host", "")
        whole = name if "*" in name else fqdn(name, meta["namespace"])
        if covers(whole, host):
            rank = (meta["namespace"] != namespace, "*" in whole, -len(whole), str(meta.get("creationTimestamp", "")))
            found.append(((*rank, meta["name"]), obj))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _own(fault: TrafficPolicy, place: Place) -> Obj:
    if place.subset:
        raise InvalidInput(f"no DestinationRule defines the subset {place.subset} of {place.destination.service}")
    spec: dict[str, Any] = {
        "host": place.destination.host,
        "exportTo": ["."],
        "trafficPolicy": fault.for_destination_rule(),
    }
    if place.source is not None:
        spec["workloadSelector"] = {"matchLabels": dict(place.source.labels)}
    obj = {
        "apiVersion": KINDS["DestinationRule"].api_version,
        "kind": "DestinationRule",
        "metadata": {"name": place.name, "namespace": place.namespace},
        "spec": spec,
    }
    return created(obj, place.run, place.cell)


def _set(owner: Obj, fault: TrafficPolicy, place: Place, what: str) -> list[Op]:
    """The operations that set FAULT's fields in OWNER as it is now, undo data included."""
    refuse_others(what, owner, place.run)
    if unreadable(owner):
        raise InvalidInput(
            f"the annotation {UNDO} of {what} could not be read, and what it says would be lost: look at the object, "
            "then remove the annotation"
        )
    fields: list[Field] = []
    ops: list[Op] = []
    for at in _policies(owner, place, what):
        words = fault.for_destination_rule()
        if look(owner, at) is ABSENT:
            there = {at: words}
        else:
            there = {join(*at.split("/")[1:], key): value for key, value in words.items()}
        for pointer, value in there.items():
            was = look(owner, pointer)
            if was == value:
                raise InvalidInput(f"{what} has exactly this at {pointer} already: nothing would change")
            fields.append(Field(pointer, value, () if was is ABSENT else (was,)))
            ops.append({"op": "add", "path": pointer, "value": value})
    return enter(owner, place.run, Entry(place.cell, fields=tuple(fields)), ops)


def _policies(owner: Obj, place: Place, what: str) -> list[str]:
    """Where the traffic policies are that rule PLACE: a subset's own, and a port's, replace the whole host's."""
    subsets = owner.get("spec", {}).get("subsets") or []
    chosen = [index for index, subset in enumerate(subsets) if place.subset in ("", subset.get("name"))]
    if place.subset and not chosen:
        raise InvalidInput(f"{what} does not define the subset {place.subset} of {place.destination.service}")
    found = [join("spec", "trafficPolicy")] if not place.subset else []
    for index in chosen:
        at = join("spec", "subsets", index, "trafficPolicy")
        if place.subset or look(owner, at) is not ABSENT:
            found.append(at)
    for at in found:
        if look(owner, f"{at}/portLevelSettings") is not ABSENT:
            raise InvalidInput(
                f"{what} has portLevelSettings at {at}, which this would not change: no fault of ours does yet"
            )
    return found

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
from chaosmesh_ext.mesh.change import Change, Create, Edit
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.drivers import driver
from chaosmesh_ext.mesh.fault import Fault, TrafficPolicy
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import Entry, Field, created, enter, entries, refuse_others, unreadable
from chaosmesh_ext.mesh.notes import UNDO, in_list
from chaosmesh_ext.mesh.owners import visible
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.mesh.pointer import ABSENT, Op, join, look
from chaosmesh_ext.mesh.surroundings import ISTIO_NAMESPACE
from chaosmesh_ext.mesh.view import View

__all__ = ["NAME", "plan", "rule_of"]

NAME: Final = "destinationrule"
_POLICY: Final = join("spec", "trafficPolicy")


def plan(fault: Fault, place: Place, view: View) -> list[Change]:
    """The change that puts FAULT in PLACE. Raises InvalidInput where it would be met by others than it is meant for."""
    if not isinstance(fault, TrafficPolicy):
        raise InvalidInput(f"{type(fault).__name__} is no policy towards a host: leave out carrier: {NAME}")
    if place.match:
        raise InvalidInput(f"a policy towards {place.destination.service} is for every request: leave out match")
    if place.marker is not None:
        raise InvalidInput(
            f"a policy towards {place.destination.service} is for every request, marked or not: say requests: all, "
            "where that is meant"
        )
    owner = rule_of(view.others, place)
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


def rule_of(objs: Iterable[Obj], place: Place) -> Obj | None:
    """The DestinationRule among OBJS that istiod uses for the host and the callers of PLACE, or None.

    Istiod looks in the callers' namespace, then in the host's, then in the root; in each, a specific host goes before a
    wildcard. Raises InvalidInput where it uses several: merged, or each for some callers.
    """
    found: dict[tuple[int, bool, int], list[Obj]] = {}
    homes = [place.namespace, place.destination.namespace, ISTIO_NAMESPACE]
    for obj in objs:
        meta = obj["metadata"]
        if obj.get("kind") != "DestinationRule" or meta["namespace"] not in homes or not visible(obj, place.namespace):
            continue
        name = obj.get("spec", {}).get("host", "")
        whole = name if "*" in name else fqdn(name, meta["namespace"])
        if covers(whole, place.destination.host):
            rank = (homes.index(meta["namespace"]), "*" in whole, -len(whole))
            found.setdefault(rank, []).append(obj)
    if not found:
        return None
    first = found[min(found)]
    names = " and ".join(f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" for obj in first)
    if len(first) > 1:
        raise InvalidInput(f"the DestinationRules {names} all rule {place.destination.service}: merge them first")
    if "workloadSelector" in first[0]["spec"]:
        raise InvalidInput(
            f"DestinationRule {names} rules {place.destination.service} for some callers only: merge it with one for "
            "all of them first"
        )
    return first[0]


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
    for pointer, value in _wanted(owner, fault, place, what).items():
        was = look(owner, pointer)
        fields.append(Field(pointer, value, () if was is ABSENT else (was,)))
        ops.append({"op": "add", "path": pointer, "value": value})
    _refuse_within(owner, fields, place, what)
    if not fields:
        raise InvalidInput(f"{what} says all of this already: nothing would change")
    return enter(owner, place.run, Entry(place.cell, fields=tuple(fields)), ops)


def _refuse_within(owner: Obj, fields: Iterable[Field], place: Place, what: str) -> None:
    """What stands in something that another cell set would make that unlike what it was set to be."""
    known = [field for entry in entries(owner, place.run) for field in entry.fields]
    theirs = [_known(field.at, field.name) for field in known]
    for field in fields:
        element = in_list(field.at)
        mine = _known(field.at, str(look(owner, f"{element[0]}/{element[1]}/name")) if element else "")
        if any(f"{mine}/".startswith(f"{one}/") or f"{one}/".startswith(f"{mine}/") for one in theirs):
            raise InvalidInput(
                f"another fault of this run set {field.at} of {what}, or what is around it: recover that one first, or "
                "give the owner's rule a trafficPolicy of its own"
            )


def _known(at: str, name: str) -> str:
    """A pointer to AT that does not depend on where in its list the element NAME is now."""
    element = in_list(at)
    return f"{element[0]}{join(name)}{element[2]}" if element else at


def _wanted(owner: Obj, fault: TrafficPolicy, place: Place, what: str) -> dict[str, Any]:
    """What is to be set in OWNER, by pointer: what the policies that rule PLACE do not say yet.

    A subset's policy replaces the whole host's, field by field of a TrafficPolicy, and a port's replaces all of it.
    """
    words, found = fault.for_destination_rule(), dict[str, Any]()
    base = look(owner, _POLICY)
    base = base if isinstance(base, dict) else {}
    _refuse_ports(base, place, f"{what} has portLevelSettings")
    if not place.subset:
        found |= _differing(owner, _POLICY, words)
    chosen = 0
    for index, subset in enumerate(owner.get("spec", {}).get("subsets") or []):
        if place.subset not in ("", subset.get("name")):
            continue
        chosen += 1
        at = join("spec", "subsets", index, "trafficPolicy")
        policy = subset.get("trafficPolicy") or {}
        _refuse_ports(policy, place, f"the subset {subset.get('name')} of {what} has portLevelSettings")
        for field, value in words.items():
            if field in policy:
                found |= _differing(owner, f"{at}/{field}", value)
            elif place.subset:
                # what it had of the whole host's, it loses with a field of its own
                own = _over(base.get(field), value)
                found |= _differing(owner, at, {field: own}) if own != base.get(field) else {}
    if place.subset and not chosen:
        raise InvalidInput(f"{what} does not define the subset {place.subset} of {place.destination.service}")
    return found


def _differing(owner: Obj, at: str, value: Any) -> dict[str, Any]:
    """The fewest fields by which OWNER says VALUE at AT, beside what else is said there."""
    was = look(owner, at)
    if was == value:
        return {}
    if isinstance(was, dict) and isinstance(value, dict):
        return {
            pointer: inner
            for key, one in value.items()
            for pointer, inner in _differing(owner, f"{at}{join(key)}", one).items()
        }
    return {at: value}


def _over(base: Any, value: Any) -> Any:
    """BASE with VALUE laid over it."""
    if not isinstance(base, dict) or not isinstance(value, dict):
        return value
    return {**base, **{key: _over(base.get(key), one) for key, one in value.items()}}


def _refuse_ports(policy: Any, place: Place, what: str) -> None:
    for entry in policy.get("portLevelSettings") or []:
        if (entry.get("port") or {}).get("number") == place.destination.port:
            raise InvalidInput(
                f"{what} for the port {place.destination.port} of {place.destination.service}, which replace what "
                "would be set: no fault of ours changes those yet"
            )

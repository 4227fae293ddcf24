"""The ground: what of an owner's object a fault of ours stands on, and whether somebody changed it under us. Pure.

A named route is a copy of the one that it refines. When the owner edits that one, or puts another before ours, ours is
no longer what it was proven to be: the run ends inconclusive and rolls back. So it does when he has his object speak of
another host, or of other workloads, while a field of ours is in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.mesh.bearing import bare, shape, values
from chaosmesh_ext.mesh.lost import likes
from chaosmesh_ext.mesh.notes import (
    LABEL,
    PATCHES_AT,
    Entry,
    Field,
    Record,
    digest,
    in_list,
    patched,
    patches_of,
    read,
    route_names,
    routes_of,
    run_of,
)
from chaosmesh_ext.mesh.pointer import ABSENT, Op, apply, join, look

__all__ = ["Disturbed", "disturbed", "for_mesh", "grounded"]

Obj = dict[str, Any]


class Disturbed(Inconclusive):
    """The owner changed what a fault of ours stands on, so that nothing can be said of it any more."""


def grounded(obj: Obj, entry: Entry, record: Record) -> Entry:
    """ENTRY with what it stands on in OBJ, the object as ENTRY leaves it. RECORD: what else of the run is in it."""
    ours = values([*record.entries, entry])
    before = _before(obj, entry)
    fields = tuple(_placed(obj, field, before, ours) for field in entry.fields)
    entry = msgspec.structs.replace(entry, fields=fields)
    steps = _steps(obj, entry, ours, created=record.created)
    if not record.created and not _by_specificity(obj):
        touched = {place[1] for field in fields if (place := in_list(field.at))}
        last = 0
        for number, (_, index) in enumerate(steps):
            if index in touched or (number and steps[number - 1][0].partition("=")[0] in entry.routes):
                last = number
        steps = steps[: last + 1]
    like = () if record.created else likes(obj, entry, ours)
    return msgspec.structs.replace(entry, refines=tuple(item for item, _ in steps), like=like)


def disturbed(obj: Obj | None, run: str, *, uid: str = "") -> str:
    """What somebody changed under a fault of RUN in OBJ, as one line; empty where it stands as it was put there.

    OBJ: as it is now, None where it is not there. UID: of the object that was written, where it was created (an edited
    one has it in its note). Costs a digest of each route: cheap enough for every second.
    """
    if obj is None:
        return "it was deleted"
    meta = obj.get("metadata", {})
    if meta.get("deletionTimestamp"):
        return "it is being deleted"
    record = read(obj)
    was = uid or (record.uid if record else "")
    if was and meta.get("uid", was) != was:
        return "it was deleted and made anew"
    if record is None or record.run != run:
        return "the note of what is ours in it is gone: somebody applied another copy"
    if look(obj, join("metadata", "labels", LABEL)) != run:
        return f"our label {LABEL} is gone"
    ours = values(record.entries)
    changes = (_changed(obj, entry, ours, created=record.created) for entry in record.entries)
    return next(filter(None, changes), "") or _copied(
        obj, [field for entry in record.entries for field in entry.fields]
    )


def _changed(obj: Obj, entry: Entry, ours: list[tuple[str, Any]], *, created: bool) -> str:
    names = route_names(obj)
    for name in entry.routes:
        if names.count(name) != 1:
            return f"our route {name} " + ("is there twice" if name in names else "is gone")
    now = [item for item, _ in _steps(obj, entry, ours, created=created)]
    for number, was in enumerate(entry.refines):
        if number < len(now) and now[number] == was:
            continue
        if number == 0:
            return "its spec changed" if created else f"its {_joined(_WHOM[obj['kind']])} changed"
        name = was.partition("=")[0]
        if name != was and not any(item == was for item in now):
            return f"our route {name} was edited"
        if was in now:
            return "its routes were put in another order, or one was added before ours"
        return f"the owner's route {_number(entry, number)}, on which ours stands, was edited or removed"
    if _by_specificity(obj) and len(now) > len(entry.refines) > 0:
        return "a rule was added, which may go before ours"
    gone = _gone(obj, entry.fields, ours)
    return f"our value of {gone} is gone" if gone else ""


_WHOM: Final = {
    "VirtualService": ("hosts", "gateways", "exportTo"),
    "HTTPRoute": ("parentRefs", "hostnames"),
    "DestinationRule": ("host", "exportTo", "workloadSelector"),
    "PeerAuthentication": ("selector",),
    "Sidecar": ("workloadSelector",),
}
"""What of an object's spec says whose calls, or to whom, it is for: a fault in it moves when that changes."""


def _joined(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _number(entry: Entry, number: int) -> int:
    """Which of the owner's routes for the mesh, from 1, the step NUMBER of ENTRY's ground is."""
    return sum("=" not in item for item in entry.refines[1 : number + 1])


def _gone(obj: Obj, fields: Iterable[Field], ours: list[tuple[str, Any]]) -> str:
    """The first of FIELDS whose value is not where it was put; empty where all are."""
    seen: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for field in fields:
        place = in_list(field.at)
        if place is None:
            if look(obj, field.at) != field.set:
                return field.at
            continue
        where, _, suffix = place
        if (where, suffix) not in seen:
            found = look(obj, where)
            seen[where, suffix] = {
                (digest(bare(one, ours, suffix)), digest(look(one, suffix)))
                for one in (found if isinstance(found, list) else ())
                if look(one, suffix) is not ABSENT
            }
        if (field.on, digest(field.set)) not in seen[where, suffix]:
            return field.at
    return ""


def _copied(obj: Obj, fields: Sequence[Field]) -> str:
    """That one of FIELDS is in more elements of its list than we put it into: somebody copied one, and the fault."""
    known = Counter((place[0], place[2], digest(field.set)) for field in fields if (place := in_list(field.at)))
    for (where, suffix, value), most in known.items():
        found = look(obj, where)
        there = [
            index
            for index, one in enumerate(found if isinstance(found, list) else ())
            if not run_of(str(one.get("name", "")))
            and look(one, suffix) is not ABSENT
            and digest(look(one, suffix)) == value
        ]
        if len(there) > most:
            return f"our value of {where}/{there[0]}{suffix} was copied to {where}/{there[-1]}{suffix}"
    return ""


def _before(obj: Obj, entry: Entry) -> Obj:
    """OBJ, as ENTRY leaves it, with what was in its fields."""
    there = [field for field in entry.fields if look(obj, field.at) is not ABSENT]
    before: Obj = apply(obj, [_back(field) for field in there])
    return before


def _back(field: Field) -> Op:
    if field.was:
        return {"op": "replace", "path": field.at, "value": field.was[0]}
    return {"op": "remove", "path": field.at}


def _placed(obj: Obj, field: Field, before: Obj, ours: list[tuple[str, Any]]) -> Field:
    """FIELD with what its element is known by. BEFORE: OBJ without the fields of its entry."""
    place = in_list(field.at)
    if place is None:
        return field
    where, index, suffix = place
    element = look(obj, where)[index]
    known = [value for _, value in ours]
    others = [look(one, suffix) for other, one in enumerate(look(before, where)) if other != index]
    on = digest(bare(element, ours, suffix))
    was = field.was[0] if field.was else ABSENT
    name = str(element.get("name", ""))
    return msgspec.structs.replace(
        field,
        on=on,
        alike=sum(look(one, suffix) == was and digest(bare(one, ours, suffix)) == on for one in look(obj, where)),
        name="" if [one.get("name") for one in look(obj, where)].count(name) > 1 else name,
        beside=tuple(sorted({digest(value) for value in others if value is not ABSENT and value not in known})),
    )


def _steps(obj: Obj, entry: Entry, ours: list[tuple[str, Any]], *, created: bool) -> list[tuple[str, int]]:
    """What decides where ENTRY's fault is met, each with its index in the list of routes (-1: the head).

    First the head; then the routes for the mesh (or, where ENTRY's are for a gateway, all) in their order, the owner's
    as digests without what is ours, ENTRY's
    own with their names before an equals sign. Other cells' routes do not count: they come and go.
    """
    spec = _patches_less(obj, entry.cell)
    keys = set(spec) - {"http"} if created else set(_WHOM.get(str(obj.get("kind")), ()))
    steps = [(digest({key: spec[key] for key in sorted(keys) if key in spec}), -1)]
    ours_are = [route for route in routes_of(obj) if route.get("name", "") in entry.routes]
    at_gateway = any(not for_mesh(route) for route in ours_are)
    for index, route in enumerate(routes_of(obj)):
        name = str(route.get("name", ""))
        if name in entry.routes:
            steps.append((f"{name}={shape(route)}", index))
        elif not run_of(name) and (at_gateway or for_mesh(route)):
            steps.append((digest(bare(route, ours)), index))
    return steps


def _patches_less(obj: Obj, cell: str) -> Obj:
    """The spec of OBJ without the patches of other cells than CELL, which an EnvoyFilter of a wave holds, too."""
    spec: Obj = obj.get("spec") or {}
    if look(obj, PATCHES_AT) is ABSENT:
        return spec
    return {**spec, "configPatches": [one for one in patches_of(obj) if patched(one)[1] in ("", cell)]}


def _by_specificity(obj: Obj) -> bool:
    """Whether the routes in OBJ are tried by how specific they are, so that one added anywhere may go before ours."""
    return obj.get("kind") == "HTTPRoute"


def for_mesh(route: Obj) -> bool:
    """Whether ROUTE is for calls inside the mesh too, and not for gateways only."""
    return any("gateways" not in match or "mesh" in match["gateways"] for match in route.get("match") or [{}])

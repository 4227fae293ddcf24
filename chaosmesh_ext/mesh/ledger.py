"""The ledger: what of an object is ours, written into the object itself, and how it comes out again.

Undo comes in three kinds and no others (D1): an object that we created (deleted by uid), a field that we set (restored
where the value is still ours), and a route that bears a run's name (removed by that name). The undo data is an
annotation that arrives in the same write as the fault, so whoever sees the fault can undo it, from any machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.pointer import ABSENT, Op, apply, join, look, split

__all__ = ["LABEL", "UNDO", "Entry", "Field", "Record", "Undone", "created", "enter", "ours", "runs_in", "undo"]

LABEL: Final = "chaosmesh-ext/run"
UNDO: Final = "chaosmesh-ext/undo"
_ROUTE: Final = re.compile(r"chaos-([0-9a-f]{8})-\d+")
_LISTS: Final = ("http",)
"""The lists of an Istio object that an owner may reorder under us; an index in one of them is where to look first."""


class Field(msgspec.Struct, frozen=True):
    """A field that was set.

    at: its JSON pointer. set: our value. was: empty for absent, else the one original value.
    """

    at: str
    set: Any
    was: tuple[Any, ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """What one cell of a run put into an object."""

    cell: str
    fields: tuple[Field, ...] = ()
    routes: tuple[str, ...] = ()


class Record(msgspec.Struct, frozen=True):
    """The annotation. created: the whole object is ours. maps: of labels and annotations, those that were not there."""

    run: str
    created: bool = False
    entries: tuple[Entry, ...] = ()
    maps: tuple[str, ...] = ()


class Undone(msgspec.Struct, frozen=True):
    """How an object gets rid of us. delete: the whole object. conflicts: what was left as it is, and why."""

    ops: tuple[Op, ...] = ()
    delete: bool = False
    conflicts: tuple[str, ...] = ()


def created(obj: Obj, run: str, cell: str) -> Obj:
    """OBJ, an object of ours that is about to be made, with its undo data."""
    record = Record(run, created=True, entries=(Entry(cell, routes=tuple(filter(None, _route_names(obj)))),))
    meta = obj["metadata"]
    return {
        **obj,
        "metadata": {
            **meta,
            "labels": {**meta.get("labels", {}), LABEL: run},
            "annotations": {**meta.get("annotations", {}), UNDO: _text(record)},
        },
    }


def enter(obj: Obj, run: str, entry: Entry) -> list[Op]:
    """The operations that add ENTRY to the undo data of OBJ, somebody's object; they go with the change itself."""
    record = _read(obj)
    maps = tuple(name for name in ("labels", "annotations") if look(obj, join("metadata", name)) is ABSENT)
    if record is None:
        record = Record(run, maps=maps)
    record = msgspec.structs.replace(record, entries=(*record.entries, entry))
    ops: list[Op] = [{"op": "add", "path": join("metadata", name), "value": {}} for name in maps]
    ops.append({"op": "add", "path": join("metadata", "labels", LABEL), "value": run})
    ops.append({"op": "add", "path": join("metadata", "annotations", UNDO), "value": _text(record)})
    return ops


def runs_in(obj: Obj) -> set[str]:
    """The runs that have something in OBJ: by its label, its annotation, its own name and its routes' names.

    The names alone are enough: an owner may have applied a copy that held our routes, or have wiped the metadata.
    """
    found = {run for run in map(_run_of, (_name_of(obj), *_route_names(obj))) if run}
    label = look(obj, join("metadata", "labels", LABEL))
    record = _read(obj)
    if isinstance(label, str):
        found.add(label)
    if record is not None:
        found.add(record.run)
    return found


def ours(obj: Obj) -> bool:
    """Whether a run created OBJ: its undo data says so, or, where somebody wiped that, its name."""
    record = _read(obj)
    return bool(_run_of(_name_of(obj))) if record is None else record.created


def undo(obj: Obj, run: str, cell: str | None = None) -> Undone:
    """How OBJ, as it is now, gets rid of what RUN put into it: all of it, or one CELL's.

    A pure function. A value that is neither ours nor the original is a conflict: reported, and left.
    """
    record = _read(obj)
    if record is not None and record.run != run:
        record = None
    if record is not None and record.created:
        cells = {entry.cell for entry in record.entries}
        if cell is None or cells == {cell}:
            return Undone(delete=True)
        if cell not in cells:
            return Undone()
    if record is None and _run_of(_name_of(obj)) == run:
        return Undone(delete=cell is None or _name_of(obj).endswith(f"-{cell}"))
    entries = [entry for entry in record.entries if cell in (None, entry.cell)] if record else []
    rest = tuple(entry for entry in record.entries if entry not in entries) if record else ()
    hand = _Hand(obj)
    hand.remove_routes(name for entry in entries for name in entry.routes)
    if not rest:
        hand.remove_routes(name for name in _route_names(obj) if _run_of(name) == run)
    fields = [field for entry in entries for field in entry.fields]
    for field in reversed(fields):
        hand.restore(field, others={other.at for other in fields} - {field.at})
    if rest and record is not None:
        hand.do("replace", join("metadata", "annotations", UNDO), _text(msgspec.structs.replace(record, entries=rest)))
    elif cell is None or record is not None:
        hand.forget(run, record)
    return Undone(tuple(hand.ops), conflicts=tuple(hand.conflicts))


class _Hand:
    """Operations, each computed on the object as the ones before left it."""

    def __init__(self, obj: Obj) -> None:
        self.obj = obj
        self.ops: list[Op] = []
        self.conflicts: list[str] = []

    def do(self, op: str, path: str, value: Any = ABSENT) -> None:
        step: Op = {"op": op, "path": path} if value is ABSENT else {"op": op, "path": path, "value": value}
        self.obj = apply(self.obj, [step])
        self.ops.append(step)

    def remove_routes(self, names: Iterable[str]) -> None:
        gone = set(names)
        for key in _LISTS:
            routes = look(self.obj, join("spec", key))
            for index in reversed(range(len(routes) if isinstance(routes, list) else 0)):
                if isinstance(routes[index], dict) and routes[index].get("name") in gone:
                    self.do("remove", join("spec", key, index))

    def restore(self, field: Field, others: AbstractSet[str]) -> None:
        """Give FIELD back what it was, and its copies too; OTHERS have an original of their own."""
        still_ours = [at for at in _places(self.obj, field.at) if look(self.obj, at) == field.set]
        if field.at in still_ours:
            still_ours = [at for at in still_ours if at == field.at or (at not in others and not field.was)]
        for at in still_ours:
            if field.was:
                self.do("replace", at, field.was[0])
            else:
                self.do("remove", at)
        now = look(self.obj, field.at)
        original = field.was[0] if field.was else ABSENT
        if not still_ours and now is not ABSENT and now != original:
            self.conflicts.append(f"{field.at} is now {_short(now)}, which is neither ours nor the original; left")

    def forget(self, run: str, record: Record | None) -> None:
        """Take the label and the annotation out, and the maps that they brought along."""
        if look(self.obj, join("metadata", "labels", LABEL)) == run:
            self.do("remove", join("metadata", "labels", LABEL))
        notes = join("metadata", "annotations", UNDO)
        if record is not None:
            self.do("remove", notes)
        elif look(self.obj, notes) is not ABSENT and _read(self.obj) is None:
            self.conflicts.append(f"the annotation {UNDO} could not be read: fields that were set may still be there")
            self.do("remove", notes)
        for name in record.maps if record else ():
            if look(self.obj, join("metadata", name)) == {}:
                self.do("remove", join("metadata", name))


def _places(obj: Obj, pointer: str) -> Iterator[str]:
    """POINTER, and the same field of every other element of the lists on its way: owners reorder them."""
    keys = split(pointer)
    for position, key in enumerate(keys):
        elements = look(obj, join(*keys[:position]))
        if key.isdigit() and isinstance(elements, list) and position and keys[position - 1] in _LISTS:
            for index in range(len(elements)):
                yield join(*keys[:position], index, *keys[position + 1 :])
            return
    yield pointer


def _route_names(obj: Obj) -> list[str]:
    routes = look(obj, "/spec/http")
    return (
        [str(route.get("name", "")) for route in routes if isinstance(route, dict)] if isinstance(routes, list) else []
    )


def _name_of(obj: Obj) -> str:
    return str(look(obj, "/metadata/name"))


def _run_of(name: str) -> str:
    found = _ROUTE.fullmatch(name)
    return found[1] if found else ""


def _read(obj: Obj) -> Record | None:
    """The undo data, or None when there is none that makes sense: then names and labels are all that is known."""
    text = look(obj, join("metadata", "annotations", UNDO))
    if not isinstance(text, str):
        return None
    try:
        return msgspec.json.decode(text, type=Record)
    except msgspec.DecodeError:
        return None


def _text(record: Record) -> str:
    return msgspec.json.encode(record).decode()


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else text[:117] + "..."

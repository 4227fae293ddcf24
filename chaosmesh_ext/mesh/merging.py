"""The changes of a wave put together: one write an object, with the undo data of all its cells in it. Pure.

Edits of one object become one edit. EnvoyFilters that select the same callers become one with all their patches: istiod
merges the objects of one selector anyway, and each patch names its host and asks for its own cell's marker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from chaosmesh_ext.mesh.change import Change, Create, Edit
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.ground import grounded
from chaosmesh_ext.mesh.notes import PATCHES_AT, UNDO, Entry, Record, created_by, patches_of, text
from chaosmesh_ext.mesh.pointer import Op, apply, join, look

__all__ = ["Merged", "merge"]

_NOTE = join("metadata", "annotations", UNDO)


class Merged(msgspec.Struct, frozen=True):
    """A write, and the cells whose faults it brings."""

    change: Change
    cells: tuple[str, ...]

    def __str__(self) -> str:
        return "{} {}/{}".format(*self.change.target)


def merge(changes: Iterable[tuple[str, Change]]) -> list[Merged]:
    """CHANGES, each of a cell and computed as if those before it had been made, put together."""
    by_target: dict[tuple[str, str, str], list[tuple[str, Change]]] = {}
    for cell, change in changes:
        by_target.setdefault(change.target, []).append((cell, change))
    whole = [_of_one_object(found) for found in by_target.values()]
    found: dict[Any, list[Merged]] = {}
    for number, one in enumerate(whole):
        found.setdefault(_callers(one.change) or number, []).append(one)
    return [_of_one_caller(same) if len(same) > 1 else same[0] for same in found.values()]


def _of_one_object(found: Sequence[tuple[str, Change]]) -> Merged:
    cells = tuple(dict.fromkeys(cell for cell, _ in found))
    (_, first), *rest = found
    edits = [change for _, change in rest if isinstance(change, Edit)]
    if len(edits) < len(rest):
        raise ValueError(f"two changes make {first.target}")
    if isinstance(first, Create):
        obj = first.obj
        for edit in edits:
            obj = apply(obj, edit.compute(obj))
        return Merged(Create(obj), cells)
    if not edits:
        return Merged(first, cells)
    return Merged(Edit(*first.target, partial(_all_of, (first, *edits))), cells)


def _all_of(edits: Sequence[Edit], obj: Obj) -> list[Op]:
    """The operations of EDITS, one after the other, with one note, the last: it has the entries of all."""
    ops: list[Op] = []
    for edit in edits:
        ops += edit.compute(apply(obj, ops))
    last = max((at for at, op in enumerate(ops) if op["path"] == _NOTE), default=-1)
    return [op for at, op in enumerate(ops) if op["path"] != _NOTE or at == last]


def _callers(change: Change) -> Any:
    """Whose EnvoyFilter CHANGE makes, where those of the same callers can be put together: virtual hosts' patches."""
    if not isinstance(change, Create) or change.target[0] != "EnvoyFilter":
        return None
    if any(patch.get("applyTo") != "VIRTUAL_HOST" for patch in patches_of(change.obj)):
        return None
    selector = look(change.obj, "/spec/workloadSelector/labels")
    return change.target[1], tuple(sorted(selector.items())) if isinstance(selector, dict) else ()


def _of_one_caller(same: Sequence[Merged]) -> Merged:
    objs = [one.change.obj for one in same if isinstance(one.change, Create)]
    patches = [patch for obj in objs for patch in patches_of(obj)]
    obj: Obj = apply(objs[0], [{"op": "replace", "path": PATCHES_AT, "value": patches}])
    cells = tuple(dict.fromkeys(cell for one in same for cell in one.cells))
    record = Record(created_by(obj), created=True)
    entries = tuple(grounded(obj, Entry(cell), record) for cell in cells)
    note = text(msgspec.structs.replace(record, entries=entries))
    return Merged(Create(apply(obj, [{"op": "replace", "path": _NOTE, "value": note}])), cells)

"""Fields of somebody's object: set, with what gives them back in the same write. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.ledger import Entry, Field, enter, runs_in, unreadable
from chaosmesh_ext.mesh.notes import UNDO
from chaosmesh_ext.mesh.pointer import ABSENT, Op, look

__all__ = ["set_fields"]


def set_fields(owner: Obj, run: str, cell: str, wanted: Mapping[str, Any]) -> list[Op]:
    """The operations that set in OWNER, as it is now, what is WANTED by JSON pointer, undo data included.

    What the pointers lead into must be there. Raises InvalidInput for an object that another run changed, for one
    whose undo data makes no sense, and where all of it is so already.
    """
    meta = owner["metadata"]
    what = f"{owner['kind']} {meta['namespace']}/{meta['name']}"
    if others := runs_in(owner) - {run}:
        other = min(others)
        raise InvalidInput(
            f"{what} holds something of the run {other}: wait for its end, or: chaos mesh recover --run {other}"
        )
    if unreadable(owner):
        raise InvalidInput(
            f"the annotation {UNDO} of {what} could not be read, and what it says would be lost: look at the object, "
            "then remove the annotation"
        )
    fields: list[Field] = []
    ops: list[Op] = []
    for at, value in wanted.items():
        was = look(owner, at)
        if was == value:
            continue
        fields.append(Field(at, value, () if was is ABSENT else (was,)))
        ops.append({"op": "add", "path": at, "value": value})
    if not fields:
        raise InvalidInput(f"{what} has exactly this at {', '.join(wanted)} already: nothing would change")
    return enter(owner, run, Entry(cell, fields=tuple(fields)), ops)

"""The ledger: what of an object is ours, written into the object itself, and how it comes out again.

Undo comes in three kinds and no others (D1): an object that we created (deleted by uid), a field that we set (restored
where the value is still ours), and a route that bears a run's name (removed by that name). The undo data is an
annotation that arrives in the same write as the fault, so whoever sees the fault can undo it, from any machine.

This is the face; `notes` has the data, `ground` what a fault stands on, `undo` the way out.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.ground import Disturbed, disturbed, grounded
from chaosmesh_ext.mesh.notes import (
    LABEL,
    UNDO,
    Entry,
    Field,
    Record,
    created_by,
    read,
    route_names,
    runs_in,
    text,
    unreadable,
)
from chaosmesh_ext.mesh.pointer import ABSENT, Op, apply, join, look
from chaosmesh_ext.mesh.undo import Undone, undo

__all__ = [
    "LABEL",
    "UNDO",
    "Disturbed",
    "Entry",
    "Field",
    "Record",
    "Undone",
    "created",
    "disturbed",
    "enter",
    "entries",
    "ours",
    "refuse_others",
    "runs_in",
    "undo",
    "unreadable",
]


def refuse_others(what: str, obj: Obj, run: str) -> None:
    """Raise InvalidInput where another run than RUN has something in OBJ, which is WHAT, naming it."""
    if others := runs_in(obj) - {run}:
        other = min(others)
        raise InvalidInput(
            f"{what} carries a fault of the run {other}, or a note of what it could not restore: wait for its end "
            f"(`chaos mesh runs`), or end it: chaos mesh recover --run {other}"
        )


def created(obj: Obj, run: str, cell: str) -> Obj:
    """OBJ, an object of ours that is about to be made, with its undo data."""
    record = Record(run, created=True)
    entry = grounded(obj, Entry(cell, routes=tuple(filter(None, route_names(obj)))), record)
    meta = obj["metadata"]
    return {
        **obj,
        "metadata": {
            **meta,
            "labels": {**meta.get("labels", {}), LABEL: run},
            "annotations": {
                **meta.get("annotations", {}),
                UNDO: text(msgspec.structs.replace(record, entries=(entry,))),
            },
        },
    }


def enter(obj: Obj, run: str, entry: Entry, changes: Sequence[Op] = ()) -> list[Op]:
    """CHANGES to OBJ, somebody's object, and the operations that add ENTRY, which undoes them, to its undo data."""
    maps = tuple(name for name in ("labels", "annotations") if look(obj, join("metadata", name)) is ABSENT)
    record = read(obj)
    if record is None or record.run != run:
        record = Record(run, uid=str(obj["metadata"].get("uid", "")))
    entry = grounded(apply(obj, changes), entry, record)
    record = msgspec.structs.replace(
        record, entries=(*record.entries, entry), maps=tuple(dict.fromkeys((*record.maps, *maps)))
    )
    ops: list[Op] = [{"op": "add", "path": join("metadata", name), "value": {}} for name in maps]
    ops.append({"op": "add", "path": join("metadata", "labels", LABEL), "value": run})
    ops.append({"op": "add", "path": join("metadata", "annotations", UNDO), "value": text(record)})
    return [*changes, *ops]


def entries(obj: Obj, run: str) -> tuple[Entry, ...]:
    """What RUN has in OBJ by the note in it: worth remembering, for an owner may wipe it."""
    record = read(obj)
    return record.entries if record is not None and record.run == run else ()


def ours(obj: Obj) -> bool:
    """Whether a run created OBJ: its name says so. An owner's copy under another name is the owner's."""
    return bool(created_by(obj))

"""Undo: how an object, as it is now, gets rid of what is ours. Pure.

What is the owner's stays, whatever happened meanwhile; what is ours goes, wherever it is found: by the note, by names,
by markers. An edit to a route of ours goes with that route. A value equal to ours is ours. See docs/rationale.md.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from chaosmesh_ext.mesh.notes import Entry, Record, created_by, name_of, read
from chaosmesh_ext.mesh.pointer import Op
from chaosmesh_ext.mesh.undo import fields, patches, routes
from chaosmesh_ext.mesh.undo.draft import Draft, Obj
from chaosmesh_ext.mesh.undo.note import forget, note, refuse_unreadable

__all__ = ["Undone", "undo"]


class Undone(msgspec.Struct, frozen=True):
    """How an object gets rid of us. delete: the whole object. conflicts: what was left as it is, and why."""

    ops: tuple[Op, ...] = ()
    delete: bool = False
    conflicts: tuple[str, ...] = ()


def undo(
    obj: Obj,
    run: str,
    cell: str | Collection[str] | None = None,
    *,
    memory: Collection[Entry] = (),
    told: bool = False,
) -> Undone:
    """How OBJ, as it is now, gets rid of what RUN put into it: all of it, or one CELL's, or several cells'.

    A value that is neither ours nor the original is a conflict: reported, and left. The note of it stays in the object,
    so that `chaos mesh runs` shows it and no run writes over it, until it was TOLD to a person, who is the one to look
    (`chaos mesh recover`). Undoing again changes nothing and reports the same, as long as it is so.

    MEMORY: what the run knows to be there, for the case that somebody wiped the note; the note's word goes first.
    """
    wanted = None if cell is None else frozenset({cell} if isinstance(cell, str) else cell)
    record = read(obj)
    if record is not None and record.run != run:
        record = None
    noted = record.entries if record else ()
    entries = [*noted, *(entry for entry in memory if entry.cell not in {one.cell for one in noted})]
    if created_by(obj) == run:
        cells = {entry.cell for entry in entries} or {name_of(obj).rpartition("-")[2]}
        if wanted is None or cells <= wanted:
            return Undone(delete=True)
        if not cells & wanted:
            return Undone()
    mine = [entry for entry in entries if wanted is None or entry.cell in wanted]
    rest = [entry for entry in entries if entry not in mine]
    draft = Draft(obj, run)
    removed = routes.remove(draft, mine, rest, noted, wanted, told=told)
    patches.remove(draft, wanted)
    left = []
    for entry, held in zip(mine, fields.give_back(draft, mine, rest, noted), strict=True):
        like = routes.lost(draft, removed, entry, [*mine, *rest], noted=entry in noted)
        if held or like:
            left.append(msgspec.structs.replace(entry, fields=held, routes=(), refines=(), like=like))
    kept = rest if told else [*rest, *left]
    copied = patches.refuse_copy(draft, record) and not told
    lost = refuse_unreadable(draft, known=bool(mine)) and not told
    if kept:
        note(draft, msgspec.structs.replace(record or Record(run), entries=tuple(kept)))
    elif not copied and not lost and (wanted is None or entries):
        forget(draft, record)
    return Undone(tuple(draft.ops), conflicts=tuple(draft.conflicts))

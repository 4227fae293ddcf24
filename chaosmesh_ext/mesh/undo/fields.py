"""Undo of fields: each gets back what it was, where its value is still ours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chaosmesh_ext.mesh.elements import Elements
from chaosmesh_ext.mesh.notes import Entry, Field
from chaosmesh_ext.mesh.pointer import look
from chaosmesh_ext.mesh.undo.draft import Draft

__all__ = ["give_back"]


def give_back(
    draft: Draft, mine: Sequence[Entry], rest: Sequence[Entry], noted: Sequence[Entry]
) -> list[tuple[Field, ...]]:
    """Give the fields of MINE back what they were; returns, for each entry, its fields where somebody changed one.

    REST: other cells' entries, whose values may be the same. NOTED: what the object's own note says.
    """
    known = [*mine, *rest]
    elements = Elements(draft.obj, known, rest)
    cells = {one.cell for one in noted}
    mine = [entry if entry.cell in cells else _doubting(entry, elements) for entry in mine]
    fields = [field for entry in (*mine, *rest) for field in entry.fields]
    own = sum(len(entry.fields) for entry in mine)
    places = elements.claims(fields)
    taken = {at for one in places for at in one}
    lost: list[Field] = []
    said: set[str] = set()
    for field in fields[:own]:
        if field.doubt and (held := elements.holding(field, taken)):
            lost.append(field)
            for at in held:
                if at not in said:
                    said.add(at)
                    draft.conflicts.append(
                        f"{at} is what we set, but our note is gone and the original back: it may be the owner's, "
                        "or ours in a copy; left: remove it if it is not yours"
                    )
    for number, field in enumerate(fields[:own]):
        for at in places[number]:
            if field.was:
                draft.do("replace", at, field.was[0])
            else:
                draft.do("remove", at)
    elements = Elements(draft.obj, known)
    for field in fields[:own]:
        if changed := elements.changed(field):
            lost += [field] if field not in lost else []
            if changed not in said:
                said.add(changed)
                now = _short(look(draft.obj, changed))
                draft.conflicts.append(f"{changed} is now {now}, which is neither ours nor the original; left")
    return [entry.fields if any(field in lost for field in entry.fields) else () for entry in mine]


def _doubting(entry: Entry, elements: Elements) -> Entry:
    """ENTRY, whose note is lost, with its fields in doubt if what was in one is back: another copy may be applied."""
    if not any(elements.restored(field) for field in entry.fields):
        return entry
    return msgspec.structs.replace(
        entry, fields=tuple(msgspec.structs.replace(field, doubt=True) for field in entry.fields)
    )


def _short(value: Any) -> str:
    found = msgspec.json.encode(value).decode()
    return found if len(found) <= 120 else found[:117] + "..."

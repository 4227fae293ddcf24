"""Undo of an EnvoyFilter's patches: those of some cells are removed, and a copy of the whole is told of. Pure."""

from __future__ import annotations

from chaosmesh_ext.mesh.notes import PATCHES_AT, Record, created_by, patched, runs_in
from chaosmesh_ext.mesh.pointer import ABSENT, look
from chaosmesh_ext.mesh.undo.draft import Draft

__all__ = ["refuse_copy", "remove"]


def remove(draft: Draft, cells: frozenset[str] | None) -> None:
    """Remove what patches of CELLS are in an EnvoyFilter of ours that holds those of others too."""
    if cells is None or created_by(draft.obj) != draft.run or look(draft.obj, PATCHES_AT) is ABSENT:
        return
    for index in reversed(range(len(look(draft.obj, PATCHES_AT)))):
        run, cell = patched(look(draft.obj, f"{PATCHES_AT}/{index}"))
        if run == draft.run and cell in cells:
            draft.do("remove", f"{PATCHES_AT}/{index}")


def refuse_copy(draft: Draft, record: Record | None) -> bool:
    """Whether the object is somebody's copy, under another name, of an object of ours that is no list of routes."""
    if look(draft.obj, PATCHES_AT) is ABSENT or created_by(draft.obj):
        return False
    if record is None and draft.run not in runs_in(draft.obj):
        return False
    draft.conflicts.append(
        "it is a copy of an object of ours under another name, made by somebody else, and still holds our fault; "
        "delete it if nobody needs it"
    )
    return True

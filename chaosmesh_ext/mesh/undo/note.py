"""The note and the label of a run, written anew for what stays, or taken out. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from chaosmesh_ext.mesh.notes import LABEL, UNDO, Record, text, unreadable
from chaosmesh_ext.mesh.pointer import ABSENT, join, look
from chaosmesh_ext.mesh.undo.draft import Draft

__all__ = ["forget", "note", "refuse_unreadable"]

_NOTE: Final = join("metadata", "annotations", UNDO)
_MARK: Final = join("metadata", "labels", LABEL)


def refuse_unreadable(draft: Draft, *, known: bool) -> bool:
    """Whether there is a note that nobody can read, and that may have been this run's. KNOWN: from memory."""
    if known or not _unread(draft):
        return False
    draft.conflicts.append(f"the annotation {UNDO} could not be read: fields that were set may still be there")
    return True


def _unread(draft: Draft) -> bool:
    return unreadable(draft.obj) and look(draft.obj, _MARK) in (ABSENT, draft.run)


def note(draft: Draft, record: Record) -> None:
    """Have RECORD as the note, and the label, whether they are there or not."""
    absent = tuple(name for name in ("labels", "annotations") if look(draft.obj, join("metadata", name)) is ABSENT)
    for name in absent:
        draft.do("add", join("metadata", name), {})
    record = msgspec.structs.replace(record, maps=tuple(dict.fromkeys((*record.maps, *absent))))
    for at, value in ((_MARK, draft.run), (_NOTE, text(record))):
        if look(draft.obj, at) != value:
            draft.do("add", at, value)


def forget(draft: Draft, record: Record | None) -> None:
    """Take the label and the note out, and the maps that they brought along."""
    if record is not None or _unread(draft):
        draft.do("remove", _NOTE)
    if look(draft.obj, _MARK) == draft.run:
        draft.do("remove", _MARK)
    for name in record.maps if record else ():
        if look(draft.obj, join("metadata", name)) == {}:
            draft.do("remove", join("metadata", name))

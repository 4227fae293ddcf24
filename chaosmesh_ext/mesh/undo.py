"""Undo: how an object, as it is now, gets rid of what is ours. Pure.

What is the owner's stays, whatever happened meanwhile; what is ours goes, wherever it is found: by the note, by names,
by markers. An edit to a route of ours goes with that route. A value equal to ours is ours. See docs/rationale.md.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from typing import Any

import msgspec

from chaosmesh_ext.mesh.bearing import bare, shape, shapes, values
from chaosmesh_ext.mesh.elements import Elements
from chaosmesh_ext.mesh.lost import found_as, lost_from, more
from chaosmesh_ext.mesh.notes import (
    LABEL,
    PATCHES_AT,
    UNDO,
    Entry,
    Field,
    Like,
    Record,
    created_by,
    marked,
    name_of,
    patched,
    read,
    routes_at,
    routes_of,
    run_of,
    runs_in,
    text,
    unreadable,
)
from chaosmesh_ext.mesh.pointer import ABSENT, Op, join, look, perform

__all__ = ["Undone", "undo"]

Obj = dict[str, Any]
_NOTE = join("metadata", "annotations", UNDO)
_MARK = join("metadata", "labels", LABEL)


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
    hand = _Hand(obj, run)
    hand.remove_routes(mine, rest, noted, wanted, told=told)
    hand.remove_patches(wanted)
    left = hand.left(mine, rest, noted)
    kept = rest if told else [*rest, *left]
    copied = hand.refuse_copy(record) and not told
    lost = hand.refuse_unreadable(known=bool(mine)) and not told
    if kept:
        hand.note(msgspec.structs.replace(record or Record(run), entries=tuple(kept)))
    elif not copied and not lost and (wanted is None or entries):
        hand.forget(record)
    return Undone(tuple(hand.ops), conflicts=tuple(hand.conflicts))


class _Hand:
    """Operations, each computed on the object as the ones before left it."""

    def __init__(self, obj: Obj, run: str) -> None:
        self.obj, self.run = deepcopy(obj), run
        self.ops: list[Op] = []
        self.conflicts: list[str] = []
        self.out: set[str] = set()
        """The names under which we put in the routes that were found, and taken out."""
        self.doubted: set[str] = set()
        """The names of those that one may be which was left."""

    def do(self, op: str, path: str, value: Any = ABSENT) -> None:
        step: Op = {"op": op, "path": path} if value is ABSENT else {"op": op, "path": path, "value": value}
        perform(self.obj, step)
        self.ops.append(step)

    # --- routes -------------------------------------------------------------------------------------------------------

    def remove_routes(
        self,
        mine: Sequence[Entry],
        rest: Sequence[Entry],
        noted: Sequence[Entry],
        cells: frozenset[str] | None,
        *,
        told: bool,
    ) -> None:
        """Remove the routes of MINE, and those of the run that no entry of REST knows: their note was lost."""
        stays = {name for entry in rest for name in entry.routes}
        names = {name for entry in mine for name in entry.routes}
        copies = shapes(mine)
        routes = routes_of(self.obj)
        elements = Elements(self.obj, [*mine, *rest])
        bearing = elements.bearing() if copies else set()
        plain = [elements.bare(route) for route in routes]
        noted_ones = Elements(self.obj, [entry for entry in (*mine, *rest) if entry in noted])
        gone = [
            index
            for index, route in enumerate(routes)
            if (name := str(route.get("name", ""))) not in stays
            and (
                name in names
                or (
                    self.run in (run_of(name), marked(route)[0]) and (cells is None or marked(route)[1] in {*cells, ""})
                )
                or (
                    copies
                    and not run_of(name)
                    and shape(elements.bare(route) if index in bearing else route) in copies
                    and not (index not in bearing and noted_ones.unplaced(route))
                    and not self._owners(route, plain, elements, mine, noted)
                )
            )
        ]
        self.out = found_as([routes[index] for index in gone], mine)
        spec = self.obj.get("spec") or {}
        if gone and len(gone) == len(routes) and not spec.get("tcp") and not spec.get("tls"):
            self._empty(gone.pop(0), told=told)
        for index in reversed(gone):
            self.do("remove", f"{routes_at(self.obj)}/{index}")

    def _owners(
        self, route: Obj, plain: Sequence[Obj], elements: Elements, mine: Sequence[Entry], noted: Sequence[Entry]
    ) -> bool:
        """Whether ROUTE, which has the content of one of ours, may be one that the owner had and edited.

        There are no more like it than he had, and ours is there under its own name, or our note is lost. PLAIN: all
        routes, without what is ours in them.
        """
        names = {str(one.get("name", "")) for one in plain}
        if more(plain, elements.bare(route), mine):
            return False
        same = {
            name
            for entry in mine
            for item in entry.refines
            for name, _, like in (item.partition("="),)
            if like in (shape(route), shape(elements.bare(route)))
        }
        if not same & names and any(entry in noted and same & set(entry.routes) for entry in mine):
            return False
        self.doubted |= same
        return True

    def remove_patches(self, cells: frozenset[str] | None) -> None:
        """Remove what patches of CELLS are in an EnvoyFilter of ours that holds those of others too."""
        if cells is None or created_by(self.obj) != self.run or look(self.obj, PATCHES_AT) is ABSENT:
            return
        for index in reversed(range(len(look(self.obj, PATCHES_AT)))):
            run, cell = patched(look(self.obj, f"{PATCHES_AT}/{index}"))
            if run == self.run and cell in cells:
                self.do("remove", f"{PATCHES_AT}/{index}")

    def _empty(self, index: int, *, told: bool) -> None:
        """The owner took out every route but ours: an object without any is refused, so one stays, inert."""
        route = f"{routes_at(self.obj)}/{index}"
        out = "its fault is out; " if look(self.obj, f"{route}/fault") is not ABSENT else ""
        self.conflicts.append(
            f"{route} is a copy that we made, and the only route left, without which no {_kind(self.obj)} is taken: "
            f"{out}put a route of your own in its place"
        )
        for key in ("fault", "name") if told else ("fault",):
            if look(self.obj, f"{route}/{key}") is not ABSENT:
                self.do("remove", f"{route}/{key}")
        if told and marked(look(self.obj, route))[0] == self.run:
            self._unmark(route)

    def _unmark(self, route: str) -> None:
        """Take the condition on our marker out of what becomes the owner's ROUTE; Istio takes no empty match."""
        if (rules := look(self.obj, f"{route}/matches")) is not ABSENT:
            for number, match in enumerate(rules):
                left = [one for one in match["headers"] if str(one.get("name")).lower() != "tracestate"]
                at = f"{route}/matches/{number}/headers"
                if left:
                    self.do("replace", at, left)
                else:
                    self.do("remove", at)
            return
        matches = [
            {
                **{key: value for key, value in match.items() if key != "headers"},
                **(
                    {"headers": rest}
                    if (rest := {k: v for k, v in match["headers"].items() if k != "tracestate"})
                    else {}
                ),
            }
            for match in look(self.obj, f"{route}/match")
        ]
        if all(matches):
            self.do("replace", f"{route}/match", matches)
        else:
            self.do("remove", f"{route}/match")

    # --- fields -------------------------------------------------------------------------------------------------------

    def left(self, mine: Sequence[Entry], rest: Sequence[Entry], noted: Sequence[Entry]) -> list[Entry]:
        """Give the fields of MINE back what they were; returns those of MINE of which somebody else has changed one.

        REST: other cells' entries, whose values may be the same. NOTED: what the object's own note says.
        """
        known = [*mine, *rest]
        elements = Elements(self.obj, known, rest)
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
                        self.conflicts.append(
                            f"{at} is what we set, but our note is gone and the original back: it may be the owner's, "
                            "or ours in a copy; left: remove it if it is not yours"
                        )
        for number, field in enumerate(fields[:own]):
            for at in places[number]:
                if field.was:
                    self.do("replace", at, field.was[0])
                else:
                    self.do("remove", at)
        elements = Elements(self.obj, known)
        for field in fields[:own]:
            if changed := elements.changed(field):
                lost += [field] if field not in lost else []
                if changed not in said:
                    said.add(changed)
                    now = _short(look(self.obj, changed))
                    self.conflicts.append(f"{changed} is now {now}, which is neither ours nor the original; left")
        keeps = [
            msgspec.structs.replace(
                entry,
                fields=entry.fields if any(field in lost for field in entry.fields) else (),
                routes=(),
                refines=(),
                like=self._lost(entry, known, noted=entry.cell in cells),
            )
            for entry in mine
        ]
        return [entry for entry in keeps if entry.fields or entry.like]

    def _lost(self, entry: Entry, known: Sequence[Entry], *, noted: bool) -> tuple[Like, ...]:
        """How routes of ENTRY are known that may be there still, under another name and edited; each is reported.

        NOTED: the object says that they were not taken out yet. Where it does not, what the owner had alike tells
        nothing.
        """
        ours = values([one for one in known if one is not entry])
        known_as = [
            msgspec.structs.replace(one, others=()) if one.name in self.doubted else one
            for one in entry.like
            if one.name in self.doubted or (one.name not in self.out and (noted or not one.others))
        ]
        lost = lost_from([bare(route, ours) for route in routes_of(self.obj)], known_as)
        for name, found in lost.items():
            where = " or ".join(f"{routes_at(self.obj)}/{index}" for index in found)
            self.conflicts.append(
                f"our route {name} may be {where} now, renamed and perhaps edited; left: remove it if it is not yours"
            )
        return tuple(like for like in known_as if like.name in lost)

    # --- the note -----------------------------------------------------------------------------------------------------

    def refuse_copy(self, record: Record | None) -> bool:
        """Whether OBJ is somebody's copy, under another name, of an object of ours that is no list of routes."""
        if look(self.obj, "/spec/configPatches") is ABSENT or created_by(self.obj):
            return False
        if record is None and self.run not in runs_in(self.obj):
            return False
        self.conflicts.append(
            "it is a copy of an object of ours under another name, made by somebody else, and still holds our fault; "
            "delete it if nobody needs it"
        )
        return True

    def refuse_unreadable(self, *, known: bool) -> bool:
        """Whether there is a note that nobody can read, and that may have been this run's. KNOWN: from memory."""
        if known or not self._unread():
            return False
        self.conflicts.append(f"the annotation {UNDO} could not be read: fields that were set may still be there")
        return True

    def _unread(self) -> bool:
        return unreadable(self.obj) and look(self.obj, _MARK) in (ABSENT, self.run)

    def note(self, record: Record) -> None:
        """Have RECORD as the note, and the label, whether they are there or not."""
        absent = tuple(name for name in ("labels", "annotations") if look(self.obj, join("metadata", name)) is ABSENT)
        for name in absent:
            self.do("add", join("metadata", name), {})
        record = msgspec.structs.replace(record, maps=tuple(dict.fromkeys((*record.maps, *absent))))
        for at, value in ((_MARK, self.run), (_NOTE, text(record))):
            if look(self.obj, at) != value:
                self.do("add", at, value)

    def forget(self, record: Record | None) -> None:
        """Take the label and the note out, and the maps that they brought along."""
        if record is not None or self._unread():
            self.do("remove", _NOTE)
        if look(self.obj, _MARK) == self.run:
            self.do("remove", _MARK)
        for name in record.maps if record else ():
            if look(self.obj, join("metadata", name)) == {}:
                self.do("remove", join("metadata", name))


def _doubting(entry: Entry, elements: Elements) -> Entry:
    """ENTRY, whose note is lost, with its fields in doubt if what was in one is back: another copy may be applied."""
    if not any(elements.restored(field) for field in entry.fields):
        return entry
    return msgspec.structs.replace(
        entry, fields=tuple(msgspec.structs.replace(field, doubt=True) for field in entry.fields)
    )


def _kind(obj: Obj) -> str:
    return str(obj.get("kind") or "VirtualService")


def _short(value: Any) -> str:
    found = msgspec.json.encode(value).decode()
    return found if len(found) <= 120 else found[:117] + "..."

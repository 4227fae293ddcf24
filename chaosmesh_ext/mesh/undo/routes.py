"""Undo of routes: those of a run are removed, by name, marker or content. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chaosmesh_ext.mesh.bearing import bare, shape, shapes, values
from chaosmesh_ext.mesh.elements import Elements
from chaosmesh_ext.mesh.lost import found_as, lost_from, more
from chaosmesh_ext.mesh.notes import Entry, Like, marked, routes_at, routes_of, run_of
from chaosmesh_ext.mesh.pointer import ABSENT, look
from chaosmesh_ext.mesh.undo.draft import Draft, Obj

__all__ = ["Removed", "lost", "remove"]


class Removed(msgspec.Struct, frozen=True):
    """What became of routes. out: the names under which we put in those that were found, and taken out. doubted: the
    names of those that one may be which was left.
    """

    out: frozenset[str] = frozenset()
    doubted: frozenset[str] = frozenset()


def remove(
    draft: Draft,
    mine: Sequence[Entry],
    rest: Sequence[Entry],
    noted: Sequence[Entry],
    cells: frozenset[str] | None,
    *,
    told: bool,
) -> Removed:
    """Remove the routes of MINE, and those of the run that no entry of REST knows: their note was lost."""
    stays = {name for entry in rest for name in entry.routes}
    names = {name for entry in mine for name in entry.routes}
    copies = shapes(mine)
    routes = routes_of(draft.obj)
    elements = Elements(draft.obj, [*mine, *rest])
    bearing = elements.bearing() if copies else set()
    plain = [elements.bare(route) for route in routes]
    noted_ones = Elements(draft.obj, [entry for entry in (*mine, *rest) if entry in noted])
    gone: list[int] = []
    doubted: set[str] = set()
    for index, route in enumerate(routes):
        name = str(route.get("name", ""))
        if name in stays:
            continue
        if name in names or _bears(route, draft.run, cells):
            gone.append(index)
        elif (
            copies
            and not run_of(name)
            and shape(elements.bare(route) if index in bearing else route) in copies
            and not (index not in bearing and noted_ones.unplaced(route))
        ):
            perhaps = _owners(route, plain, elements, mine, noted)
            if perhaps is None:
                gone.append(index)
            else:
                doubted |= perhaps
    out = found_as([routes[index] for index in gone], mine)
    spec = draft.obj.get("spec") or {}
    if gone and len(gone) == len(routes) and not spec.get("tcp") and not spec.get("tls"):
        _empty(draft, gone.pop(0), told=told)
    for index in reversed(gone):
        draft.do("remove", f"{routes_at(draft.obj)}/{index}")
    return Removed(frozenset(out), frozenset(doubted))


def _bears(route: Obj, run: str, cells: frozenset[str] | None) -> bool:
    """Whether ROUTE bears RUN's name or its marker, and is for one of CELLS or for the whole run."""
    of, cell = marked(route)
    return run in (run_of(str(route.get("name", ""))), of) and (cells is None or cell in {*cells, ""})


def _owners(
    route: Obj, plain: Sequence[Obj], elements: Elements, mine: Sequence[Entry], noted: Sequence[Entry]
) -> set[str] | None:
    """Which of ours ROUTE, with the content of one, may be, where it may as well be one that the owner had and edited.

    None where it is ours for sure. It may be his where there are no more like it than he had, and ours is there under
    its own name, or our note is lost. PLAIN: all routes, without what is ours in them.
    """
    names = {str(one.get("name", "")) for one in plain}
    if more(plain, elements.bare(route), mine):
        return None
    same = {
        name
        for entry in mine
        for item in entry.refines
        for name, _, like in (item.partition("="),)
        if like in (shape(route), shape(elements.bare(route)))
    }
    if not same & names and any(entry in noted and same & set(entry.routes) for entry in mine):
        return None
    return same


def _empty(draft: Draft, index: int, *, told: bool) -> None:
    """The owner took out every route but ours: an object without any is refused, so one stays, inert."""
    route = f"{routes_at(draft.obj)}/{index}"
    out = "its fault is out; " if look(draft.obj, f"{route}/fault") is not ABSENT else ""
    draft.conflicts.append(
        f"{route} is a copy that we made, and the only route left, without which no {_kind(draft.obj)} is taken: "
        f"{out}put a route of your own in its place"
    )
    for key in ("fault", "name") if told else ("fault",):
        if look(draft.obj, f"{route}/{key}") is not ABSENT:
            draft.do("remove", f"{route}/{key}")
    if told and marked(look(draft.obj, route))[0] == draft.run:
        _unmark(draft, route)


def _unmark(draft: Draft, route: str) -> None:
    """Take the condition on our marker out of what becomes the owner's ROUTE; Istio takes no empty match."""
    if (rules := look(draft.obj, f"{route}/matches")) is not ABSENT:
        for number, match in enumerate(rules):
            left = [one for one in match["headers"] if str(one.get("name")).lower() != "tracestate"]
            at = f"{route}/matches/{number}/headers"
            if left:
                draft.do("replace", at, left)
            else:
                draft.do("remove", at)
        return
    matches = [
        {
            **{key: value for key, value in match.items() if key != "headers"},
            **({"headers": rest} if (rest := {k: v for k, v in match["headers"].items() if k != "tracestate"}) else {}),
        }
        for match in look(draft.obj, f"{route}/match")
    ]
    if all(matches):
        draft.do("replace", f"{route}/match", matches)
    else:
        draft.do("remove", f"{route}/match")


def lost(draft: Draft, removed: Removed, entry: Entry, known: Sequence[Entry], *, noted: bool) -> tuple[Like, ...]:
    """How routes of ENTRY are known that may be there still, under another name and edited; each is reported.

    REMOVED: what became of the others. KNOWN: all entries, this one among them. NOTED: the object says that they were
    not taken out yet. Where it does not, what the owner had alike tells nothing.
    """
    ours = values([one for one in known if one is not entry])
    known_as = [
        msgspec.structs.replace(one, others=()) if one.name in removed.doubted else one
        for one in entry.like
        if one.name in removed.doubted or (one.name not in removed.out and (noted or not one.others))
    ]
    found = lost_from([bare(route, ours) for route in routes_of(draft.obj)], known_as)
    for name, places in found.items():
        where = " or ".join(f"{routes_at(draft.obj)}/{index}" for index in places)
        draft.conflicts.append(
            f"our route {name} may be {where} now, renamed and perhaps edited; left: remove it if it is not yours"
        )
    return tuple(like for like in known_as if like.name in found)


def _kind(obj: Obj) -> str:
    return str(obj.get("kind") or "VirtualService")

"""Routes of ours that were lost sight of: their owner gave one another name and edited it, and no mark of ours is left.

Nobody can tell such a one from a route of the owner's, so it is never removed: it is reported, while there are more
routes like it than the owner had. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from chaosmesh_ext.mesh.bearing import bare
from chaosmesh_ext.mesh.notes import Entry, Like, digest, routes_of, run_of

__all__ = ["found_as", "likes", "lost_from", "more"]

Obj = dict[str, Any]
_WHOM: Final = ("match", "matches", "route", "backendRefs")
"""What of a route says for whom it is, and where to."""


def likes(obj: Obj, entry: Entry, ours: Sequence[tuple[str, Any]]) -> tuple[Like, ...]:
    """What the routes of ENTRY in OBJ can be known by, name and details aside, and which others are like them.

    OURS: values that are no part of the owner's routes (`ground.values`).
    """
    routes = routes_of(obj)
    others = [bare(route, ours) for route in routes if not run_of(str(route.get("name", "")))]
    return tuple(
        Like(name, trait, tuple(digest(other) for other in others if trait in _traits(other)))
        for route in routes
        if (name := str(route.get("name", ""))) in entry.routes
        for trait in _traits(route)
    )


def more(routes: Sequence[Obj], route: Obj, known: Iterable[Entry]) -> bool:
    """Whether there are more of ROUTES, an object's, like ROUTE in what they are for than the owner had by himself.

    Else ROUTE is one of his, whatever it looks like. KNOWN: of one that nothing is noted of, nothing is said.
    """
    trait = _traits(route)[0]
    had = [len(like.others) for entry in known for like in entry.like if like.trait == trait]
    now = sum(_traits(one)[0] == trait for one in routes if not run_of(str(one.get("name", ""))))
    return not had or now > min(had)


def found_as(routes: Sequence[Obj], known: Sequence[Entry]) -> set[str]:
    """The names that ROUTES, which are going out, were put in under; one with another name stands for one like it."""
    found = {str(route.get("name", "")) for route in routes}
    missing = [like for entry in known for like in entry.like if like.name not in found]
    for route in routes:
        if not run_of(str(route.get("name", ""))):
            found |= {like.name for like in missing if like.trait in _traits(route)[:1]}
    return found


def lost_from(routes: Sequence[Obj], known: Sequence[Like]) -> dict[str, list[int]]:
    """Of KNOWN, by name, those of which ROUTES, an object's without what is ours in them, has more than the owner had.

    With each the routes that it may be: like it in all that they can be, and none that the owner had.
    """
    traits = [[] if run_of(str(route.get("name", ""))) else _traits(route) for route in routes]
    digests = [digest(route) for route in routes]
    lost: dict[str, list[int]] = {}
    for like in known:
        found = [index for index, one in enumerate(traits) if like.trait in one]
        if len(found) > len(like.others):
            found = [index for index in found if digests[index] not in like.others] or found
            lost[like.name] = [index for index in lost.get(like.name, found) if index in found] or found
    return lost


def _traits(route: Obj) -> list[str]:
    found = [digest({key: route[key] for key in _WHOM if key in route})]
    return [*found, digest({"fault": route["fault"]})] if "fault" in route else found

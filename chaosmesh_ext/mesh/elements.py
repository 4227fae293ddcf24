"""The elements of an object's lists, and which of them bear what is ours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from chaosmesh_ext.mesh.bearing import bare, shape, shapes, values
from chaosmesh_ext.mesh.notes import Entry, Field, digest, in_list, run_of
from chaosmesh_ext.mesh.pointer import ABSENT, look

__all__ = ["Elements"]

Obj = dict[str, Any]
_SAME_NAME: Final = 2
_SAME_CONTENT: Final = 4
_NAMED: Final = "/spec/subsets/"
"""The list whose elements have a name each, and no two the same."""


class Elements:
    """The places where fields may be now, and what is known of the elements of lists that bear them.

    An element is known again by its content, by its name, by its place; an owner may have changed all three.
    """

    def __init__(self, obj: Obj, known: Sequence[Entry], others: Sequence[Entry] | None = None) -> None:
        """OTHERS: of KNOWN, those whose routes stay; all, when None."""
        self._obj = obj
        self._fields = [field for entry in known for field in entry.fields]
        self._ours = values(known)
        self._shapes = shapes(known if others is None else others)
        self._digests: dict[tuple[str, str], list[tuple[str, str, str]]] = {}

    def places(self, field: Field) -> list[tuple[str, int]]:
        """Where FIELD may be, and how like the place is to the one where it was set: 0–7."""
        place = in_list(field.at)
        if place is None:
            return [(field.at, 7)]
        where, was, suffix = place
        first = f"{where}/{was}{suffix}"
        return [
            (
                at,
                _SAME_CONTENT * (like == field.on)
                + _SAME_NAME * (field.name != "" and name == field.name)
                + (at == first),
            )
            for at, like, name in self._elements(where, suffix)
        ]

    def _elements(self, where: str, suffix: str) -> list[tuple[str, str, str]]:
        if (where, suffix) not in self._digests:
            found = look(self._obj, where)
            self._digests[where, suffix] = [
                (f"{where}/{index}{suffix}", digest(bare(element, self._ours, suffix)), str(element.get("name", "")))
                for index, element in enumerate(found if isinstance(found, list) else ())
                if isinstance(element, dict) and not run_of(str(element.get("name", "")))
            ]
        return self._digests[where, suffix]

    def bearing(self) -> set[int]:
        """The elements, by index, that are known by content or name as ones that bear a value of ours."""
        pairs = [(field, at) for field in self._fields for at, likeness in self.places(field) if likeness > 1]
        found = [in_list(at) for field, at in pairs if look(self._obj, at) == field.set]
        return {place[1] for place in found if place}

    def bare(self, element: Obj) -> Obj:
        """ELEMENT without what is ours in it."""
        return bare(element, self._ours)

    def unplaced(self, route: Obj) -> bool:
        """Whether ROUTE bears what could be a field of ours, one that no likelier place has."""
        for field in self._fields:
            place = in_list(field.at)
            if place is None or look(route, place[2]) != field.set:
                continue
            if not any(likeness > 1 and look(self._obj, at) == field.set for at, likeness in self.places(field)):
                return True
        return False

    def restored(self, field: Field) -> bool:
        """Whether somebody put the original back where FIELD was: elsewhere, its value need not be ours.

        More elements like that one have the original than before; or none is like it, and it is at the same place.
        """
        place = in_list(field.at)
        if place is None or not field.on or place[0] != "/spec/http":
            return False
        places = self.places(field)
        if any(at == field.at and likeness >= _SAME_CONTENT and self._set(field, at) for at, likeness in places):
            return False
        if all(likeness <= 1 for _, likeness in places):
            return any(likeness and self._original(field, at) for at, likeness in places)
        found = [at for at, likeness in places if likeness >= _SAME_CONTENT and self._original(field, at)]
        return len(found) > field.alike

    def _set(self, field: Field, at: str) -> bool:
        return bool(look(self._obj, at) == field.set)

    def holding(self, field: Field, taken: set[str]) -> list[str]:
        """Where the value of FIELD is. TAKEN: not these."""
        return [at for at, _ in self.places(field) if at not in taken and look(self._obj, at) == field.set]

    def claims(self, fields: Sequence[Field]) -> list[list[str]]:
        """By field, the places that hold its value now: the likeliest first for each, then copies that the owner made.

        Any place that holds our value is one of ours; but where elements have names of their own, as subsets do, it is
        the one of that name, as long as there is one. What is in something that is ours goes with that.
        """
        pairs = [
            (likeness, number, at)
            for number, field in enumerate(fields)
            for at, likeness in self._candidates(field)
            if look(self._obj, at) == field.set and not field.doubt
        ]
        pairs.sort(key=lambda pair: -pair[0])
        found: list[list[str]] = [[] for _ in fields]
        taken: set[str] = set()
        for copies in (False, True):
            for likeness, number, at in pairs:
                if at in taken or (likeness <= 1 and self._route(at)):
                    continue
                if copies or not found[number]:
                    taken.add(at)
                    found[number].append(at)
        return [[at for at in mine if not any(at.startswith(f"{other}/") for other in taken)] for mine in found]

    def _route(self, at: str) -> bool:
        """Whether AT is in a route of ours that the owner gave another name."""
        place = in_list(at)
        return (
            place is not None
            and bool(self._shapes)
            and shape(look(self._obj, f"{place[0]}/{place[1]}")) in self._shapes
        )

    def _candidates(self, field: Field) -> list[tuple[str, int]]:
        """The places where FIELD may be."""
        places = self.places(field)
        named = [(at, likeness) for at, likeness in places if likeness & _SAME_NAME]
        return named if named and field.at.startswith(_NAMED) else places

    def changed(self, field: Field) -> str:
        """Where somebody else has put another value into FIELD, once ours is out; empty where nobody has.

        The answer is the same however often it is asked, for it takes no account of where ours was.
        """
        place = in_list(field.at)
        suffix = place[2] if place else ""
        places = self.places(field)
        best = max((likeness for _, likeness in places), default=0)
        likely = [one for one in places if one[1] == best > 1] or self._strange(field, places)
        if any(self._original(field, at) for at, _ in likely):
            return ""
        for at, likeness in likely:
            now = look(self._obj, at)
            if now is ABSENT or (suffix, now) in self._ours:
                continue
            if not likeness & _SAME_NAME and digest(now) in field.beside:
                continue  # another one, which has it from its owner
            return at
        return ""

    def _strange(self, field: Field, places: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those of PLACES, none of which is known as FIELD's, that are not known as another field's."""
        known = {at for other in self._fields if other != field for at, likeness in self.places(other) if likeness > 1}
        return [one for one in places if one[0] not in known]

    def _original(self, field: Field, at: str) -> bool:
        """Whether what was in FIELD is AT this place now."""
        now = look(self._obj, at)
        return bool(now == field.was[0]) if field.was else now is ABSENT

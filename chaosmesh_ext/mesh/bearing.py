"""What of an element of an object's list is ours, and what is left of it without that. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chaosmesh_ext.mesh.notes import Entry, digest, in_list
from chaosmesh_ext.mesh.pointer import ABSENT, apply, look

__all__ = ["bare", "shape", "shapes", "values"]

Obj = dict[str, Any]


def shape(route: Obj) -> str:
    """ROUTE as a digest, whatever it is called."""
    return digest({key: value for key, value in route.items() if key != "name"})


def shapes(known: Iterable[Entry]) -> set[str]:
    """Those of the routes that KNOWN entries put there."""
    return {found for entry in known for item in entry.refines if (found := item.partition("=")[2])}


def values(known: Iterable[Entry]) -> list[tuple[str, Any]]:
    """What KNOWN entries set in elements of lists: place in the element, and value; each once."""
    fields = [field for entry in known for field in entry.fields]
    found = {(place[2], digest(field.set)): field.set for field in fields if (place := in_list(field.at))}
    return [(suffix, value) for (suffix, _), value in found.items()]


def bare(element: Obj, ours: Iterable[tuple[str, Any]], always: str = "") -> Obj:
    """ELEMENT of a list without OURS (`values`), and without what is at ALWAYS."""
    for suffix, value in ours:
        if look(element, suffix) == value:
            element = apply(element, [{"op": "remove", "path": suffix}])
    if always and look(element, always) is not ABSENT:
        element = apply(element, [{"op": "remove", "path": always}])
    return element

"""The note: what of an object is ours, written into the object itself; and the names that tell it without a note.

Pure, and needs little: the watchdog reads notes too.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec

from chaosmesh_ext.mesh.pointer import ABSENT, join, look, split

__all__ = [
    "LABEL",
    "PATCHES_AT",
    "UNDO",
    "Entry",
    "Field",
    "Like",
    "Record",
    "created_by",
    "digest",
    "in_list",
    "marked",
    "name_of",
    "patched",
    "patches_of",
    "read",
    "route_names",
    "routes_at",
    "routes_of",
    "run_of",
    "runs_in",
    "text",
    "unreadable",
]

Obj = dict[str, Any]

LABEL: Final = "chaosmesh-ext/run"
UNDO: Final = "chaosmesh-ext/undo"
_NAME: Final = re.compile(r"chaos-([0-9a-f]{8})-\d+")
_MARKER: Final = re.compile(r"chaosmesh[=/-]([0-9a-f]{8})-(\d+|(?=\[))")
"""A condition on our marker, in any header (`model.marker`): run, and cell, empty where every cell is meant."""
_RUN: Final = re.compile(r'"run":\s*"([0-9a-f]{8})"')
PATCHES_AT: Final = "/spec/configPatches"
"""The pointer to the patches in an EnvoyFilter."""
_LISTS: Final = ("http", "subsets")
"""The lists of an Istio object that an owner may reorder under us; an index in one of them is where to look first."""


class Field(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field that was set.

    at: its JSON pointer. set: our value. was: empty for absent, else the one original value. In a list, how to know
    the element again: on: a digest of it without what is ours, name: its own. beside: digests of what the owner had in
    the same field of other elements. alike: how many elements of the same digest had the original still. doubt: the
    note was lost and the original is back, so that a value like ours may be the owner's.
    """

    at: str
    set: Any
    was: tuple[Any, ...] = ()
    on: str = ""
    name: str = ""
    beside: tuple[str, ...] = ()
    alike: int = 0
    doubt: bool = False


class Like(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a route of ours can be known by when its name is gone (`lost`).

    name: as we named it. trait: a digest of what it is for, or of its fault. others: digests of those of the owner's
    routes that had the same.
    """

    name: str
    trait: str
    others: tuple[str, ...] = ()


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one cell of a run put into an object.

    routes: the names of its routes. refines: what it stands on (`ground`), up to the last route that it touches, so
    that an edit there is noticed. like: how its routes are known under other names.
    """

    cell: str
    fields: tuple[Field, ...] = ()
    routes: tuple[str, ...] = ()
    refines: tuple[str, ...] = ()
    like: tuple[Like, ...] = ()


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The annotation. created: the whole object is ours. maps: of labels and annotations, those that were not there.

    uid: of the object that it was written into; empty where the object was yet to be made.
    """

    run: str
    created: bool = False
    entries: tuple[Entry, ...] = ()
    maps: tuple[str, ...] = ()
    uid: str = ""


def read(obj: Obj) -> Record | None:
    """The note in OBJ, or None when there is none that makes sense: then names and labels are all that is known."""
    found = look(obj, join("metadata", "annotations", UNDO))
    if not isinstance(found, str):
        return None
    try:
        return msgspec.json.decode(found, type=Record)
    except msgspec.DecodeError:
        return None


def unreadable(obj: Obj) -> bool:
    """Whether OBJ has a note that makes no sense."""
    return look(obj, join("metadata", "annotations", UNDO)) is not ABSENT and read(obj) is None


def text(record: Record) -> str:
    """RECORD as the annotation's value."""
    return msgspec.json.encode(record).decode()


def runs_in(obj: Obj) -> set[str]:
    """The runs that have something in OBJ: by label, note, own name, routes' names, and conditions on their markers.

    Names and markers alone are enough: an owner may have applied a copy that held our routes, or wiped the metadata.
    """
    found = {run_of(name) for name in (name_of(obj), *route_names(obj))}
    found |= {marked(route)[0] for route in routes_of(obj)}
    found |= {run for run, _ in _markers(patches_of(obj))}
    label = look(obj, join("metadata", "labels", LABEL))
    if isinstance(label, str):
        found.add(label)
    record = read(obj)
    if record is not None:
        found.add(record.run)
    elif unreadable(obj):
        found |= set(_RUN.findall(str(look(obj, join("metadata", "annotations", UNDO)))))
    return found - {""}


def created_by(obj: Obj) -> str:
    """The run that made OBJ, or an empty string.

    Its name says so, and nothing else does: an owner who applies a copy of ours under a name of his own keeps our
    label and note in it, and the object is his.
    """
    return run_of(name_of(obj))


def run_of(name: str) -> str:
    """The run that gave a route or an object its NAME, or an empty string."""
    found = _NAME.fullmatch(name)
    return found[1] if found else ""


def marked(route: Obj) -> tuple[str, str]:
    """Run and cell of the marker that each match of ROUTE asks for: a route of ours, whatever it is called now."""
    matches = route.get("match", route.get("matches"))
    if not isinstance(matches, list) or not matches:
        return "", ""
    found = [_MARKER.search(_headers(match)) for match in matches]
    whose = {(one[1], one[2]) if one else ("", "") for one in found}
    return whose.pop() if len(whose) == 1 else ("", "")


def _headers(match: Any) -> str:
    """What MATCH, of a VirtualService's route or of an HTTPRoute's rule, asks of headers, as a text."""
    headers = look(match, "/headers")
    return "" if headers is ABSENT else msgspec.json.encode(headers).decode()


def patched(patch: Obj) -> tuple[str, str]:
    """Run and cell of the marker that PATCH, one of an EnvoyFilter's, asks for; empty where it asks for none, or for
    several.
    """
    found = set(_markers(patch))
    return found.pop() if len(found) == 1 else ("", "")


def patches_of(obj: Obj) -> list[Obj]:
    """The patches in OBJ, an EnvoyFilter."""
    patches = look(obj, PATCHES_AT)
    return [patch for patch in patches if isinstance(patch, dict)] if isinstance(patches, list) else []


def _markers(value: Any) -> list[tuple[str, str]]:
    return _MARKER.findall(msgspec.json.encode(value).decode())


def routes_at(obj: Obj) -> str:
    """The pointer to the HTTP routes in OBJ; an HTTPRoute of Gateway API calls them rules."""
    return "/spec/rules" if obj.get("kind") == "HTTPRoute" else "/spec/http"


def routes_of(obj: Obj) -> list[Obj]:
    """The HTTP routes in OBJ."""
    routes = look(obj, routes_at(obj))
    return [route for route in routes if isinstance(route, dict)] if isinstance(routes, list) else []


def route_names(obj: Obj) -> list[str]:
    """Their names."""
    return [str(route.get("name", "")) for route in routes_of(obj)]


def name_of(obj: Obj) -> str:
    """OBJ's own name."""
    return str(look(obj, "/metadata/name"))


def in_list(pointer: str) -> tuple[str, int, str] | None:
    """POINTER as list, index and place in the element, where it leads into a list that owners reorder.

    >>> in_list("/spec/http/2/fault")
    ('/spec/http', 2, '/fault')
    """
    keys = split(pointer)
    for position in range(1, len(keys)):
        if keys[position].isdigit() and keys[position - 1] in _LISTS:
            return join(*keys[:position]), int(keys[position]), join(*keys[position + 1 :])
    return None


def digest(value: Any) -> str:
    """Twelve hex digits of VALUE, the same however a server writes its numbers and orders its keys.

    >>> digest({"a": 1.0, "b": []}) == digest({"b": [], "a": 1})
    True
    """
    return hashlib.sha256(msgspec.json.encode(_plain(value), order="sorted")).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value

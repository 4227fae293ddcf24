"""How an object is answered: in which version, and as itself, as a Table's row or by its metadata only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.columns import columns
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.refusals import Refused, bad_request

__all__ = ["View", "in_version", "view"]

_TYPE = ("apiVersion", "kind")
_META = "meta.k8s.io/v1"
_JSON = ("application/json", "application/*", "*/*", "")


def in_version(kind: Kind, obj: Obj, version: str) -> Obj:
    """OBJ as VERSION of its kind: the lab's kinds have one shape in all their versions."""
    return obj if version == kind.version else {**obj, "apiVersion": kind.api_version_of(version)}


class View(msgspec.Struct, frozen=True):
    """One way to answer objects.

    shape: "", Table or PartialObjectMetadata. include: what a Table's rows carry, Object, Metadata or None.
    """

    kind: Kind
    version: str
    shape: str = ""
    include: str = "Metadata"

    def one(self, obj: Obj, *, headed: bool = True) -> Obj:
        """One object, or a bookmark, which has no name; headed: a Table tells its columns, as a watch's first does."""
        match self.shape:
            case "Table":
                rows = [] if "name" not in obj["metadata"] else [obj]
                return self._table(rows, obj["metadata"]["resourceVersion"], headed=headed)
            case "PartialObjectMetadata":
                return _metadata(obj)
        return in_version(self.kind, obj, self.version)

    def many(self, objects: Sequence[Obj], version: int) -> Obj:
        """A list of objects, read at resourceVersion VERSION; those of built-in kinds do not say their type again."""
        match self.shape:
            case "Table":
                return self._table(objects, str(version))
            case "PartialObjectMetadata":
                return _list("PartialObjectMetadataList", _META, version, [_metadata(obj) for obj in objects])
        items = [in_version(self.kind, obj, self.version) for obj in objects]
        if not self.kind.custom:
            items = [{key: value for key, value in obj.items() if key not in _TYPE} for obj in items]
        return _list(f"{self.kind.name}List", self.kind.api_version_of(self.version), version, items)

    def _table(self, objects: Sequence[Obj], version: str, *, headed: bool = True) -> Obj:
        shown = columns(self.kind)
        definitions = [
            {
                "name": column.name,
                "type": column.type,
                "format": "name" if column.name == "Name" else "",
                "description": column.name,
                "priority": int(column.wide),
            }
            for column in shown
        ]
        return {
            "kind": "Table",
            "apiVersion": _META,
            "metadata": {"resourceVersion": version},
            "columnDefinitions": definitions if headed else [],
            "rows": [self._row(obj, [column.cell(obj) for column in shown]) for obj in objects],
        }

    def _row(self, obj: Obj, cells: list[Any]) -> Obj:
        match self.include:
            case "Object":
                return {"cells": cells, "object": in_version(self.kind, obj, self.version)}
            case "Metadata":
                return {"cells": cells, "object": _metadata(obj)}
        return {"cells": cells, "object": None}


def view(kind: Kind, version: str, accept: str, include: str) -> View:
    """The first way that the Accept header names and the lab has.

    Raises Refused: 406 when there is none, 400 when a Table cannot carry what INCLUDE says.
    """
    for wanted in accept.lower().split(","):
        media, *parameters = [part.strip() for part in wanted.split(";")]
        named = dict(part.partition("=")[::2] for part in parameters)
        if media not in _JSON or (named.get("as") and named.get("v", "v1") != "v1"):
            continue
        shape = _SHAPES.get(named.get("as", ""))
        if shape == "Table" and include not in _INCLUDED:
            why = f"includeObject: Invalid value: \"{include}\": must be 'Metadata', 'Object', 'None', or empty"
            raise bad_request(f"Unable to convert to Table as requested: {why}")
        if shape is not None:
            return View(kind, version, shape, include or "Metadata")
    raise Refused(406, "NotAcceptable", "only the following media types are accepted: application/json")


_INCLUDED = ("", "Metadata", "Object", "None")
_SHAPES = {
    "": "",
    "table": "Table",
    "partialobjectmetadata": "PartialObjectMetadata",
    "partialobjectmetadatalist": "PartialObjectMetadata",
}


def _list(kind: str, api_version: str, version: int, items: list[Obj]) -> Obj:
    return {"kind": kind, "apiVersion": api_version, "metadata": {"resourceVersion": str(version)}, "items": items}


def _metadata(obj: Obj) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": obj["metadata"]}

"""What Go's decoder makes of a body: the refusals of values that are not of the type that a field holds."""

from __future__ import annotations

from typing import Any

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.refusals import Undecodable

__all__ = ["decoded", "go_type"]

_TEXTS = ("name", "generateName", "namespace", "resourceVersion", "uid")
_LISTS = (("finalizers", "[]string"), ("ownerReferences", "[]v1.OwnerReference"))
_BYTES = "map[string][]uint8"
_MAPS = {
    "ConfigMap": (("data", "map[string]string"), ("binaryData", _BYTES)),
    "Secret": (("data", _BYTES), ("stringData", "map[string]string")),
}


def decoded(kind: Kind, obj: Obj) -> Obj:
    """The metadata of OBJ; raises Undecodable (400) where they, or a ConfigMap's or Secret's data, or
    what cordons a Node, would not decode.
    """
    metadata = obj.get("metadata")
    version = str(obj.get("apiVersion") or kind.version).rpartition("/")[2]

    def check(value: Any, wanted: type, field: str, name: str) -> None:
        if value is not None and not isinstance(value, wanted):
            why = f"json: cannot unmarshal {go_type(value)} into Go struct field {field} of type {name}"
            raise Undecodable(kind.name, version, kind.name, why)

    def check_map(entries: Any, field: str, name: str) -> None:
        check(entries, dict, field, name)
        for value in (entries or {}).values():
            check(value, str, field, name.removeprefix("map[string]"))

    if metadata is None:
        metadata = {}
    check(metadata, dict, f"{kind.name}.metadata", "v1.ObjectMeta")
    for field in ("labels", "annotations"):
        check_map(metadata.get(field), f"ObjectMeta.metadata.{field}", "map[string]string")
    for field in _TEXTS:
        check(metadata.get(field), str, f"ObjectMeta.metadata.{field}", "string")
    for field, name in _LISTS:
        check(metadata.get(field), list, f"ObjectMeta.metadata.{field}", name)
    for field, name in _MAPS.get(kind.name, ()):
        check_map(obj.get(field), f"{kind.name}.{field}", name)
    if kind.name == "Node" and isinstance(obj.get("spec"), dict):
        check(obj["spec"].get("unschedulable"), bool, "NodeSpec.spec.unschedulable", "bool")
    found: Obj = metadata
    return found


def go_type(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
    return "object"

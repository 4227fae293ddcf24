"""Protobuf messages merged as istiod merges an EnvoyFilter's value, in their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded import wire

__all__ = ["merge"]

_REPLACED = ("Duration", "Any")


def merge(message: Any, target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """TARGET with PATCH merged, both the JSON of a MESSAGE (a generated class) with its own field names.

    Scalars and durations are replaced, lists appended to, messages merged field by field; an entry of a map is
    replaced whole, so that of two patches for one filter's settings the last one has them all. Of a oneof the last one
    stays. A value that is its field's default does nothing where protobuf cannot tell it from none.
    """
    out = dict(target)
    for key, value in patch.items():
        one = wire.lookup(message, key)
        if value is None or (not one.present and wire.is_default(one, value)):
            continue
        for other in wire.others(message, one):
            out.pop(other, None)
        out[key] = _merged(one, out.get(key), value)
    return out


def _merged(one: wire.Field, old: Any, new: Any) -> Any:
    if old is None:
        return new
    if one.key:
        return {**old, **new}
    if one.repeated:
        return [*old, *new]
    if one.kind != "message":
        return new
    if one.wrapper:
        return new or old  # a wrapper is a message, whose only field is unset when it is 0
    if one.message.__module__.endswith(".google.protobuf"):
        return new if one.message.__name__ in _REPLACED else {**old, **new}
    return merge(one.message, old, new)

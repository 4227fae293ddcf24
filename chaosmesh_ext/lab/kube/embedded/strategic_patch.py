"""Strategic merge patch, for the core kinds: lists of objects merge by a key of theirs.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chaosmesh_ext.lab.kube.embedded.jsons import copied, same
from chaosmesh_ext.lab.kube.embedded.refusals import Refused, bad_request

__all__ = ["strategic_merge_patch"]

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"


class _Shape(msgspec.Struct, frozen=True):
    """How a list or an object merges.

    key: objects of this list are told apart by that field; "" where the items are plain values that merge as a set.
    fields: what is inside that does not merge in the default way (objects field by field, lists as a whole).
    """

    key: str | None = None
    fields: dict[str, _Shape] = {}


_SET = _Shape(key="")
_CONDITIONS = _Shape(key="type")
_METADATA = _Shape(fields={"finalizers": _SET, "ownerReferences": _Shape(key="uid")})
_CONTAINERS = _Shape(
    key="name",
    fields={
        "ports": _Shape(key="containerPort"),
        "env": _Shape(key="name"),
        "volumeMounts": _Shape(key="mountPath"),
        "volumeDevices": _Shape(key="devicePath"),
    },
)
_POD_SPEC = _Shape(
    fields={
        "containers": _CONTAINERS,
        "initContainers": _CONTAINERS,
        "ephemeralContainers": _CONTAINERS,
        "volumes": _Shape(key="name"),
        "imagePullSecrets": _Shape(key="name"),
        "hostAliases": _Shape(key="ip"),
        "topologySpreadConstraints": _Shape(key="topologyKey"),
        "schedulingGates": _Shape(key="name"),
        "resourceClaims": _Shape(key="name"),
    }
)
_TEMPLATE = _Shape(fields={"metadata": _METADATA, "spec": _POD_SPEC})
_STATUS = _Shape(
    fields={
        "conditions": _CONDITIONS,
        "podIPs": _Shape(key="ip"),
        "hostIPs": _Shape(key="ip"),
        "addresses": _Shape(key="type"),
    }
)
_KINDS: dict[str, dict[str, _Shape]] = {
    "Pod": {"spec": _POD_SPEC},
    "Deployment": {"spec": _Shape(fields={"template": _TEMPLATE})},
    "ReplicaSet": {"spec": _Shape(fields={"template": _TEMPLATE})},
    "Service": {"spec": _Shape(fields={"ports": _Shape(key="port")})},
    "ServiceAccount": {"secrets": _Shape(key="name")},
    "Node": {"spec": _Shape(fields={"podCIDRs": _SET})},
}
_DEFAULT = _Shape()


def strategic_merge_patch(kind: str, target: dict[str, Any], patch: Any) -> Any:
    """A copy of TARGET, an object of KIND, as PATCH wants it.

    Raises Refused when PATCH is none: 400 for no object, 500 (as a real server has it) for an unknown directive or a
    list item without its key.
    """
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a strategic merge patch is an object")
    shape = _Shape(fields={"metadata": _METADATA, "status": _STATUS, **_KINDS.get(kind, {})})
    return _merge_object(copied(target), patch, shape)


def _merge_object(target: Any, patch: dict[str, Any], shape: _Shape) -> dict[str, Any]:
    match patch.get(_DIRECTIVE):
        case None | "merge":
            pass
        case "replace":
            replaced: dict[str, Any] = _without_directives(patch)
            return replaced
        case "delete":
            return {}
        case unknown:
            raise Refused(500, "", f"unknown patch type: {unknown} in map: {_go_map(patch)}")
    merged: dict[str, Any] = target if isinstance(target, dict) else {}
    retained = patch.get(_RETAIN)
    if retained is not None:
        merged = {key: value for key, value in merged.items() if key in retained}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        inner = shape.fields.get(key, _DEFAULT)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge_object(merged.get(key), value, inner)
        elif isinstance(value, list) and inner.key is not None:
            before = merged.get(key) or []
            wanted = patch.get(f"{_ORDER}{key}", value)
            merged[key] = _ordered(_merge_list(before, value, inner), wanted, before, inner.key)
        else:
            merged[key] = _without_directives(value)
    _directed_lists(merged, patch, shape)
    return merged


def _directed_lists(merged: dict[str, Any], patch: dict[str, Any], shape: _Shape) -> None:
    """Carry out what the patch says of lists beside them: values to delete, the order to keep."""
    for directive, wanted in patch.items():
        if directive.startswith(_DELETE_PRIMITIVES):
            field = directive.removeprefix(_DELETE_PRIMITIVES)
            if isinstance(merged.get(field), list):
                merged[field] = [item for item in merged[field] if item not in wanted]
    for directive, wanted in patch.items():
        if directive.startswith(_ORDER):
            field = directive.removeprefix(_ORDER)
            key = shape.fields.get(field, _DEFAULT).key
            if key is not None and field not in patch and isinstance(merged.get(field), list):
                merged[field] = _ordered(merged[field], wanted, merged[field], key)


def _merge_list(target: list[Any], patch: list[Any], shape: _Shape) -> list[Any]:
    key = shape.key
    if not key:
        return target + [item for item in patch if item not in target]
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" and key not in item for item in patch):
        return [_without_directives(item) for item in patch if item.get(_DIRECTIVE) != "replace"]
    merged = list(target)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise Refused(500, "", f"map: {_go_map(item)} does not contain declared merge key: {key}")
        at = [index for index, one in enumerate(merged) if same(one.get(key), item[key])]
        if item.get(_DIRECTIVE) == "delete":
            merged = [one for index, one in enumerate(merged) if index not in at]
        elif at:
            merged[at[0]] = _merge_object(merged[at[0]], item, shape)
        else:
            merged.append(_merge_object({}, item, shape))
    return merged


def _go_map(value: Any) -> str:
    """How Go prints a map."""
    return f"map[{' '.join(f'{key}:{value[key]}' for key in sorted(value))}]" if isinstance(value, dict) else str(value)


def _ordered(items: list[Any], wanted: Sequence[Any], before: Sequence[Any], key: str) -> list[Any]:
    """ITEMS in the order of WANTED; the others keep the place that they had BEFORE, as far as that says one."""

    def name(item: Any) -> Any:
        return _hashable(item.get(key) if key and isinstance(item, dict) else item)

    rank = {name(item): index for index, item in reversed(list(enumerate(wanted)))}
    was = {name(item): index for index, item in reversed(list(enumerate(before)))}
    named = sorted((item for item in items if name(item) in rank), key=lambda item: rank[name(item)])
    others = sorted((item for item in items if name(item) not in rank), key=lambda item: was.get(name(item), len(was)))
    placed: list[Any] = []
    while named and others:
        first, other = was.get(name(named[0])), was.get(name(others[0]))
        behind = first is None or other is None or other > first
        placed.append((named if behind else others).pop(0))
    return placed + named + others


def _hashable(value: Any) -> tuple[type, Any]:
    return type(value), value


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_directives(item)
            for key, item in value.items()
            if not key.startswith("$") and item is not None
        }
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value

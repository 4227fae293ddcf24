"""JSON patch (RFC 6902) and JSON merge patch (RFC 7396)."""

from __future__ import annotations

import re
from typing import Any

from chaosmesh_ext.lab.kube.embedded.decoding import go_type
from chaosmesh_ext.lab.kube.embedded.jsons import copied, same
from chaosmesh_ext.lab.kube.embedded.refusals import Refused, bad_request, too_large_body, unprocessable_patch

__all__ = ["LIMIT", "json_patch", "merge_patch"]

LIMIT = 10_000
"""Most operations in one JSON patch (Kubernetes' maxJSONPatchOperations)."""

_INDEX = re.compile(r"0|[1-9][0-9]*")


class _CannotApply(Exception):
    """An operation points at what is not there, or a test fails."""


def merge_patch(target: Any, patch: Any) -> Any:
    """TARGET as PATCH wants it; null removes; neither is changed."""
    if not isinstance(patch, dict):
        return copied(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """A copy of TARGET after all OPERATIONS, read as Kubernetes' library reads them: what is not given is null, and
    `replace` may add to an object.

    Raises Refused: 400 when OPERATIONS is no JSON patch, 413 above `LIMIT`, 422 when one cannot be applied.
    """
    if not isinstance(operations, list):
        raise _unmarshal(operations, "[]handlers.jsonPatchOp")
    if len(operations) > LIMIT:
        raise too_large_body(f"The allowed maximum operations in a JSON patch is {LIMIT}, got {len(operations)}")
    for operation in operations:
        if not isinstance(operation, dict):
            raise _unmarshal(operation, "handlers.jsonPatchOp")
    document = copied(target)
    for operation in operations:
        try:
            document = _apply(document, operation)
        except _CannotApply as error:
            raise unprocessable_patch(str(error)) from None
    return document


def _unmarshal(value: Any, wanted: str) -> Refused:
    return bad_request(f"error decoding patch: json: cannot unmarshal {go_type(value)} into Go value of type {wanted}")


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    op, path = operation.get("op"), _pointer(operation.get("path"))
    given = copied(operation.get("value"))
    match op:
        case "add":
            return _add(document, path, given)
        case "remove":
            return _remove(document, path)
        case "replace":
            return given if not path else _set(document, path, given)
        case "move" | "copy":
            source = _pointer(operation.get("from"), "from")
            value = copied(_get(document, source))
            if op == "move":
                if path[: len(source)] == source and path != source:
                    raise _CannotApply(f"move from {operation['from']!r} into its own child {operation['path']!r}")
                document = _remove(document, source)
            return _add(document, path, value)
        case "test":
            _test(document, path, given)
            return document
    raise _CannotApply(f"unexpected kind of operation: {op!r}")


def _pointer(text: Any, field: str = "path") -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise _CannotApply(f"{field} {text!r} is no JSON pointer")
    return [token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:]]


def _shown(path: list[str]) -> str:
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in path)


def _get(document: Any, path: list[str]) -> Any:
    for depth, token in enumerate(path):
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(document, token, path[: depth + 1])]
        else:
            raise _CannotApply(f"path {_shown(path[: depth + 1])!r} is not there")
    return document


def _index(items: list[Any], step: str, path: list[str], *, end: bool = False) -> int:
    """The position that STEP names; END allows the one behind the last."""
    if end and step == "-":
        return len(items)
    if not _INDEX.fullmatch(step):
        raise _CannotApply(f"path {_shown(path)!r}: {step!r} is no index of a list")
    if int(step) >= len(items) + end:
        raise _CannotApply(f"path {_shown(path)!r}: the list has {len(items)} items")
    return int(step)


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        parent.insert(_index(parent, path[-1], path, end=True), value)
        return document
    return _set(document, path, value)


def _set(document: Any, path: list[str], value: Any) -> Any:
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        parent[_index(parent, path[-1], path)] = value
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise _CannotApply(f"path {_shown(path[:-1])!r} is neither an object nor a list")
    return document


def _remove(document: Any, path: list[str]) -> Any:
    _get(document, path)
    if not path:
        return None
    parent = _get(document, path[:-1])
    del parent[_index(parent, path[-1], path) if isinstance(parent, list) else path[-1]]
    return document


def _test(document: Any, path: list[str], wanted: Any) -> None:
    try:
        found = _get(document, path)
    except _CannotApply:
        # Kubernetes' library lets a test for null pass where nothing is
        if wanted is None:
            return
        raise
    if not same(found, wanted):
        raise _CannotApply(f"testing value {_shown(path)} failed")

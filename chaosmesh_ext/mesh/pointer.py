"""JSON pointers (RFC 6901) and JSON patches (RFC 6902), as far as overlays use them."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

__all__ = ["ABSENT", "Op", "apply", "join", "look", "perform", "split"]

Op = dict[str, Any]
"""One operation of a JSON patch: add, remove, replace or test."""


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()
"""There is nothing at that place; None would be JSON's null."""


def split(pointer: str) -> list[str]:
    """The keys in a POINTER.

    >>> split("/metadata/labels/chaosmesh-ext~1run")
    ['metadata', 'labels', 'chaosmesh-ext/run']
    """
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def join(*keys: str | int) -> str:
    """The pointer to KEYS.

    >>> join("spec", "http", 0, "fault")
    '/spec/http/0/fault'
    """
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def look(document: Any, pointer: str) -> Any:
    """What is at POINTER, or ABSENT."""
    here = document
    for key in split(pointer):
        if isinstance(here, dict) and key in here:
            here = here[key]
        elif isinstance(here, list) and key.isdigit() and int(key) < len(here):
            here = here[int(key)]
        else:
            return ABSENT
    return here


def apply(document: Any, ops: Iterable[Op]) -> Any:
    """DOCUMENT after OPS; it is not changed itself.

    Raises ValueError when an operation's place is not there, or a test fails.
    """
    document = deepcopy(document)
    for op in ops:
        perform(document, op)
    return document


def perform(document: Any, op: Op) -> None:
    """Change DOCUMENT by OP, in place; raises ValueError as `apply` does."""
    *way, last = split(op["path"])
    holder = look(document, join(*way))
    if op["op"] == "test":
        if look(document, op["path"]) != op["value"]:
            raise ValueError(f"the test of {op['path']} failed")
        return
    if not isinstance(holder, dict | list) or (op["op"] != "add" and look(document, op["path"]) is ABSENT):
        raise ValueError(f"nothing is at {op['path']}")
    if isinstance(holder, list):
        _in_list(holder, op, last)
    elif op["op"] == "remove":
        del holder[last]
    else:
        holder[last] = deepcopy(op["value"])


def _in_list(holder: list[Any], op: Op, key: str) -> None:
    index = len(holder) if key == "-" else int(key)
    if op["op"] == "remove":
        del holder[index]
    elif op["op"] == "replace":
        holder[index] = deepcopy(op["value"])
    elif index <= len(holder):
        holder.insert(index, deepcopy(op["value"]))
    else:
        raise ValueError(f"{op['path']} is beyond the end of its list")

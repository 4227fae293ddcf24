"""Label and field selectors, as the query strings of a list or watch carry them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.label_selectors import label_selector
from chaosmesh_ext.lab.kube.embedded.refusals import bad_request

__all__ = ["Selector", "everything", "selector"]

Selector = Callable[[Obj], bool]
"""Whether an object is asked for."""

_FIELD = re.compile(r"^(?P<path>[^=!]*?)(?P<op>==|!=|=)(?P<value>.*)$")


def everything(_obj: Obj) -> bool:
    """No selector at all."""
    return True


def selector(kind: Kind, labels: str, fields: str) -> Selector:
    """The objects of KIND that both selectors choose; empty texts choose all.

    Raises Refused (400) when a text is no selector, or KIND cannot be selected by a field.
    """
    chosen = label_selector(labels)
    tests = [*([chosen] if chosen else []), *_fields(kind, fields)]
    if not tests:
        return everything
    return lambda obj: all(test(obj) for test in tests)


def _fields(kind: Kind, text: str) -> list[Selector]:
    tests: list[Selector] = []
    for part in filter(None, re.split(r"(?<!\\),", text)):
        found = _FIELD.match(part)
        if not found:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        path = found["path"].strip()
        if path not in _selectable(kind):
            raise bad_request(_unknown_field(kind, path))
        value = re.sub(r"\\([,=\\])", r"\1", found["value"])
        tests.append(_field(path, value, wanted=found["op"] != "!="))
    return tests


def _selectable(kind: Kind) -> tuple[str, ...]:
    return ("metadata.name", *(("metadata.namespace",) if kind.namespaced else ()), *kind.fields)


def _unknown_field(kind: Kind, path: str) -> str:
    if kind.fields or kind.custom:
        return f"field label not supported: {path}"
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'


_ALIASES = {"name": "metadata.name", "source": "source.component"}


def _field(path: str, value: str, *, wanted: bool) -> Selector:
    keys = _ALIASES.get(path, path).split(".")
    return lambda obj: (_text(obj, keys) == value) is wanted


def _text(obj: Obj, keys: list[str]) -> str:
    found: Any = obj
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, bool):
        return "true" if found else "false"
    return "" if found is None else str(found)

"""Label and field selectors, as the query strings of a list or watch carry them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.refusals import Refused, bad_request
from chaosmesh_ext.lab.kube.embedded.validation import LABEL_VALUE, QUALIFIED_NAME

__all__ = ["Selector", "everything", "selector"]

Selector = Callable[[Obj], bool]
"""Whether an object is asked for."""

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s=!]+)\s*(?P<op>==|!=|=)\s*(?P<value>\S*)$")
_ORDER = re.compile(r"^(?P<key>[^\s<>]+)\s*(?P<op>[<>])\s*(?P<value>\S+)$")
_EXISTS = re.compile(r"^(?P<no>!?)\s*(?P<key>[^\s=!<>()]+)$")
_FIELD = re.compile(r"^(?P<path>[^=!]*?)(?P<op>==|!=|=)(?P<value>.*)$")


def everything(_obj: Obj) -> bool:
    """No selector at all."""
    return True


def selector(kind: Kind, labels: str, fields: str) -> Selector:
    """The objects of KIND that both selectors choose; empty texts choose all.

    Raises Refused (400) when a text is no selector, or KIND cannot be selected by a field.
    """
    tests = [*_labels(labels), *_fields(kind, fields)]
    if not tests:
        return everything
    return lambda obj: all(test(obj) for test in tests)


def _labels(text: str) -> list[Selector]:
    return [_requirement(part.strip(), text) for part in _parts(text)] if text.strip() else []


def _parts(text: str) -> list[str]:
    """Split at the commas that stand outside parentheses."""
    return re.split(r",(?![^()]*\))", text)


def _requirement(part: str, text: str) -> Selector:
    if found := _SET.match(part):
        values = {value.strip() for value in found["values"].split(",")}
        _check(found["key"], values, text)
        return _in(found["key"], values, wanted=found["op"] == "in")
    if found := _EQUAL.match(part):
        _check(found["key"], {found["value"]}, text)
        return _in(found["key"], {found["value"]}, wanted=found["op"] != "!=")
    if found := _ORDER.match(part):
        return _order(found["key"], found["op"], found["value"], text)
    if found := _EXISTS.match(part):
        key, wanted = found["key"], not found["no"]
        _check(key, set(), text)
        return lambda obj: (key in _labels_of(obj)) is wanted
    raise _unparsable(text, f"found '{part}', expected: a key, and one of =, ==, !=, in, notin, <, >")


def _check(key: str, values: set[str], text: str) -> None:
    if not QUALIFIED_NAME.fullmatch(key):
        raise _unparsable(text, f'key: Invalid value: "{key}": name part must consist of alphanumeric characters')
    for value in values:
        if not LABEL_VALUE.fullmatch(value):
            raise _unparsable(text, f'values[0][{key}]: Invalid value: "{value}": a valid label must be empty or name')


def _unparsable(text: str, why: str) -> Refused:
    return bad_request(f'unable to parse requirement: {why} in "{text}"')


def _labels_of(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _in(key: str, values: set[str], *, wanted: bool) -> Selector:
    """An absent label is in no set, so that `!=` and `notin` choose it."""
    return lambda obj: (_labels_of(obj).get(key) in values) is wanted


def _order(key: str, op: str, value: str, text: str) -> Selector:
    if not _integer(value):
        raise _unparsable(text, f"values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, must be an integer")

    def test(obj: Obj) -> bool:
        found = _labels_of(obj).get(key, "")
        return _integer(found) and (int(found) > int(value) if op == ">" else int(found) < int(value))

    return test


def _integer(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", text) is not None


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

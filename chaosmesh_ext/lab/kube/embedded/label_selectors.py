"""Label selectors: ``app=details,tier in (a, b),!old``, read and refused in Kubernetes' way and words."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.names import label_key, label_value
from chaosmesh_ext.lab.kube.embedded.refusals import bad_request

__all__ = ["label_selector"]

_WORDS = re.compile(r"[ \t\r\n]*(?:(?P<symbol>==|!=|[=!(),<>])|(?P<word>[^=!(),<> \t\r\n]+))")
_OPERATORS = ("in", "notin", "=", "==", "!=", "gt", "lt")
_SET = ("in", "notin")
_COMPARED = {"=": "=", "==": "=", "!=": "!=", ">": ">", "<": "<"}
_END = ""


class _Refusal(Exception):
    """What is wrong with the selector."""


class _Requirement(msgspec.Struct, frozen=True):
    """One condition on a label: `op` is exists, absent, in, notin, < or >."""

    key: str
    op: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: dict[str, str]) -> bool:
        """Whether LABELS fulfil it; an absent label is in no set, so that notin chooses it."""
        found = labels.get(self.key)
        match self.op:
            case "exists":
                return found is not None
            case "absent":
                return found is None
            case "in":
                return found in self.values
            case "notin":
                return found not in self.values
        if found is None or not _integer(found):
            return False
        [value] = self.values
        return int(found) > int(value) if self.op == ">" else int(found) < int(value)


def label_selector(text: str) -> Callable[[Obj], bool] | None:
    """The objects that TEXT chooses; None when it chooses all.

    Raises Refused (400) when it is no selector.
    """
    try:
        wanted = _Parser(text).requirements()
    except _Refusal as refusal:
        raise bad_request(str(refusal)) from None
    if not wanted:
        return None
    return lambda obj: all(one.holds(obj["metadata"].get("labels") or {}) for one in wanted)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [found["symbol"] or found["word"] for found in _WORDS.finditer(text)]
        self._at = 0

    def requirements(self) -> list[_Requirement]:
        """Every condition; raises _Refusal."""
        found: list[_Requirement] = []
        while (word := self._seen()) != _END:
            if not (_is_word(word) or word == "!"):
                raise _Refusal(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self._requirement())
            except _Refusal as refusal:
                raise _Refusal(f"unable to parse requirement: {refusal}") from None
            word = self._next()
            if word == ",":
                if not (_is_word(self._seen()) or self._seen() == "!"):
                    raise _Refusal(f"found '{self._seen()}', expected: identifier after ','")
            elif word != _END:
                raise _Refusal(f"found '{word}', expected: ',' or 'end of string'")
        return found

    def _requirement(self) -> _Requirement:
        absent = self._seen() == "!"
        if absent:
            self._next()
        key = self._next()
        if not _is_word(key):
            raise _Refusal(f"found '{key}', expected: identifier")
        if errors := label_key(key):
            raise _Refusal(f'<nil>: Invalid value: "{key}": {"; ".join(errors)}')
        if absent:
            return _Requirement(key, "absent")
        if self._seen() in (_END, ","):
            return _Requirement(key, "exists")
        op = self._next()
        if op in _SET:
            values = self._set()
        elif op in _COMPARED:
            op, values = _COMPARED[op], frozenset({self._value()})
        else:
            raise _Refusal(f"found '{op}', expected: {', '.join(_OPERATORS)}")
        self._check(key, op, values)
        return _Requirement(key, {"=": "in", "!=": "notin"}.get(op, op), values)

    def _check(self, key: str, op: str, values: frozenset[str]) -> None:
        for index, value in enumerate(sorted(values)):
            if op in "<>" and not _integer(value):
                why = "for 'Gt', 'Lt' operators, the value must be an integer"
                raise _Refusal(f'values[{index}]: Invalid value: "{value}": {why}')
            if errors := label_value(value):
                raise _Refusal(f'values[{index}][{key}]: Invalid value: "{value}": {"; ".join(errors)}')

    def _set(self) -> frozenset[str]:
        if (word := self._next()) != "(":
            raise _Refusal(f"found '{word}' expected: '('")
        values: set[str] = set()
        expected = True
        while (word := self._next()) != ")":
            if word == ",":
                if expected:
                    values.add("")
                expected = True
            elif _is_word(word) and expected:
                values.add(word)
                expected = False
                if self._seen() not in (",", ")"):
                    raise _Refusal(f"found '{self._seen()}', expected: ',' or ')'")
            else:
                raise _Refusal(f"found '{word}', expected: ',', ')' or identifier")
        return frozenset(values | {""}) if expected else frozenset(values)

    def _value(self) -> str:
        if self._seen() in (_END, ","):
            return ""
        if not _is_word(word := self._next()):
            raise _Refusal(f"found '{word}', expected: identifier")
        return word

    def _seen(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _next(self) -> str:
        word = self._seen()
        self._at += 1
        return word


def _is_word(word: str) -> bool:
    return word != _END and word[0] not in "=!(),<>"


def _integer(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", text) is not None

"""YAML read node by node, so that every refusal names the line it stands on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

import yaml

from chaosmesh_ext.errors import InvalidInput

__all__ = ["Reader"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_UNIT = {"ms": 1e-3, "s": 1.0, "m": 60.0}
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_LONGEST = 3600.0


class Reader:
    """The document of one file, and the questions that one may ask of its nodes.

    Every method raises InvalidInput ``FILE:LINE: what is wrong`` when a node is not what it should be. WHAT names the
    thing for people, e.g. ``timeout``.
    """

    def __init__(self, file: str) -> None:
        self._file = file

    def refuse(self, node: yaml.Node, problem: str) -> NoReturn:
        """Refuse the file because of NODE."""
        raise InvalidInput(f"{self._file}:{node.start_mark.line + 1}: {problem}")

    def document(self, text: str, what: str = "a Topology") -> yaml.Node:
        """The root of TEXT, which must be one YAML document, of WHAT."""
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise InvalidInput(f"{self._file}:{line}: not YAML: {error.problem or error.context}") from error
        except yaml.YAMLError as error:
            raise InvalidInput(f"{self._file}:1: not YAML: {' '.join(str(error).split())}") from error
        if root is None:
            raise InvalidInput(f"{self._file}:1: the file is empty; {what} was expected")
        return root

    def mapping(
        self, node: yaml.Node, what: str, known: tuple[str, ...], required: tuple[str, ...] = ()
    ) -> dict[str, yaml.Node]:
        """The values of a mapping by key; keys that are not KNOWN, or come twice, are refused."""
        found: dict[str, yaml.Node] = {}
        for key, value in self._pairs(node, what):
            if key.value not in known:
                self.refuse(key, f'unknown key "{key.value}" in {what}; known are {", ".join(known)}')
            found[key.value] = value
        for name in required:
            if name not in found:
                self.refuse(node, f'{what} needs "{name}"')
        return found

    def texts(self, node: yaml.Node, what: str, *, secret: bool = False) -> Mapping[str, tuple[yaml.Node, str]]:
        """A mapping of free keys to text: for each key its node and its text. SECRET: no error shows a text."""
        return {
            key.value: (key, self.text(value, f'{what} "{key.value}"', secret=secret))
            for key, value in self._pairs(node, what)
        }

    def _pairs(self, node: yaml.Node, what: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, f"{what} must be a mapping of keys to values")
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.refuse(key, f"a key in {what} must be a plain word")
            if key.value in seen:
                self.refuse(key, f'"{key.value}" comes twice in {what}')
            seen.add(key.value)
        return list(node.value)

    def items(self, node: yaml.Node, what: str, *, empty: bool = False) -> list[yaml.Node]:
        """The items of a list, which may be empty only where EMPTY says so."""
        if not isinstance(node, yaml.SequenceNode):
            self.refuse(node, f"{what} must be a list")
        if not node.value and not empty:
            self.refuse(node, f"{what} must not be empty")
        return list(node.value)

    def text(self, node: yaml.Node, what: str, *, secret: bool = False) -> str:
        """A text. SECRET: the error does not show it."""
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            self.refuse(node, f"{what} must be text{'; write it in quotes' if secret else _quote(node)}")
        return str(node.value)

    def matching(self, node: yaml.Node, what: str, pattern: re.Pattern[str], words: str) -> str:
        """A text that PATTERN matches as a whole; WORDS says what that is."""
        text = self.text(node, what)
        if not pattern.fullmatch(text):
            self.refuse(node, f'{what} "{text}" must be {words}')
        return text

    def choice(self, node: yaml.Node, what: str, known: tuple[str, ...]) -> str:
        """One of KNOWN."""
        text = self.text(node, what)
        if text not in known:
            self.refuse(node, f'unknown {what} "{text}"; known are {", ".join(known)}')
        return text

    def integer(self, node: yaml.Node, what: str, low: int, high: int) -> int:
        """A whole number from LOW to HIGH."""
        text = _plain(node)
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            self.refuse(node, f"{what} must be a whole number from {low} to {high}{_got(node)}")
        return int(text)

    def number(self, node: yaml.Node, what: str, low: float, high: float) -> float:
        """A number from LOW to HIGH."""
        text = _plain(node)
        if not _NUMBER.fullmatch(text) or not low <= float(text) <= high:
            self.refuse(node, f"{what} must be a number from {low:g} to {high:g}{_got(node)}")
        return float(text)

    def duration(self, node: yaml.Node, what: str, *, zero: bool = False) -> float:
        """Seconds, at most an hour; zero only where ZERO says so, and then it may stand without a unit."""
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        if zero and text == "0":
            return 0.0
        found = _DURATION.fullmatch(text)
        if not found:
            self.refuse(node, f"{what} must be a number with ms, s or m, e.g. 250ms{_got(node)}")
        value = float(found[1]) * _UNIT[found[2]]
        if value > _LONGEST or (value == 0 and not zero):
            self.refuse(node, f"{what} must be {'at most' if zero else 'above 0 and at most'} 60m{_got(node)}")
        return value


def _plain(node: yaml.Node) -> str:
    """A scalar's text when it stands without quotes, else nothing: "3" in quotes is text, not a number."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) and node.style is None else ""


def _got(node: yaml.Node) -> str:
    return f", not {node.value!r}" if isinstance(node, yaml.ScalarNode) else ""


def _quote(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode) and node.value:
        return f'; write it in quotes: "{node.value}"'
    return ""

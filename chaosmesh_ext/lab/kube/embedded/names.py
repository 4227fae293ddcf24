"""What Kubernetes takes as a name, a label, a key: each function returns what is wrong with a text, in its words."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["FIELDS", "NAMES", "config_key", "label_key", "label_value", "subdomain"]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_EMPTY = "must be non-empty"


def _rule(words: str, pattern: str, *examples: str) -> str:
    shown = "".join(f"'{example}',  or " for example in examples[:-1]) + f"'{examples[-1]}'"
    return f"{words} (e.g. {shown}, regex used for validation is '{pattern}')"


_KEY_RULE = _rule(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _KEY, "MyName", "my.name", "123-abc",
)  # fmt: skip
_VALUE_RULE = _rule(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character",
    _VALUE, "MyValue", "my_value", "12345",
)  # fmt: skip
_SUBDOMAIN_RULE = _rule(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character",
    _SUBDOMAIN, "example.com",
)  # fmt: skip
_LABEL_RULE = _rule(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character",
    _LABEL, "my-name", "123-abc",
)  # fmt: skip
_CONFIG_KEY_RULE = _rule(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY, "key.name", "KEY_NAME", "key-name",
)  # fmt: skip


def _too_long(text: str, limit: int, unit: str = "characters") -> list[str]:
    return [f"must be no more than {limit} {unit}"] if len(text) > limit else []


def _unless(text: str, pattern: str, rule: str) -> list[str]:
    return [] if re.fullmatch(pattern, text) else [rule]


def subdomain(text: str) -> list[str]:
    """A DNS subdomain (RFC 1123), as most objects' names are."""
    return _too_long(text, 253) + _unless(text, _SUBDOMAIN, _SUBDOMAIN_RULE)


def _label(text: str) -> list[str]:
    return _too_long(text, 63) + _unless(text, _LABEL, _LABEL_RULE)


def _path(text: str) -> list[str]:
    """Any segment of a path."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{one}'" for one in "/%" if one in text]


NAMES: dict[str, Callable[[str], list[str]]] = {"subdomain": subdomain, "label": _label, "path": _path}
"""What names of a kind are, by `Kind.names`."""
FIELDS = 63
"""Characters of a label's value and of the name in its key."""


def label_key(text: str) -> list[str]:
    """A qualified name: labels', annotations' and finalizers'."""
    prefix, slash, name = text.partition("/")
    if "/" in name:
        return [
            f"a valid label key {_KEY_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    wrong: list[str] = []
    if not slash:
        name = prefix
    elif not prefix:
        wrong = [f"prefix part {_EMPTY}"]
    else:
        wrong = [f"prefix part {why}" for why in subdomain(prefix)]
    if not name:
        wrong.append(f"name part {_EMPTY}")
    wrong += [f"name part {why}" for why in _too_long(name, FIELDS)]
    return wrong + _unless(name, _KEY, f"name part {_KEY_RULE}")


def label_value(text: str, unit: str = "characters") -> list[str]:
    """A label's value; Kubernetes counts bytes where an object is validated, characters in a selector."""
    return _too_long(text, FIELDS, unit) + _unless(text, _VALUE, _VALUE_RULE)


def config_key(text: str) -> list[str]:
    """A key of a ConfigMap's or Secret's data."""
    wrong = _too_long(text, 253) + _unless(text, _CONFIG_KEY, _CONFIG_KEY_RULE)
    if text in (".", ".."):
        wrong.append(f"must not be '{text}'")
    elif text.startswith(".."):
        wrong.append("must not start with '..'")
    return wrong

"""Regular expressions of statuses and of Envoy's response flags.

One that nothing can match would count nothing, and what counts nothing is always well.
"""

from __future__ import annotations

import re
from typing import Final

from chaosmesh_ext.errors import InvalidInput

__all__ = ["refuse_flags", "refuse_statuses"]

_STATUSES: Final = ("0", *map(str, range(100, 1000)))
"""What a response code may be: 0 is no answer, and proxies pass on any number of three digits."""

_NO_LETTERS: Final = re.compile(r"\\.|\(\?[a-zA-Z]*:|\[[^\]]*\]")
"""What of a pattern has letters that stand for no flag: escapes, groups and classes."""


def refuse_statuses(name: str, pattern: str) -> None:
    """Raise InvalidInput where PATTERN, or one of the alternatives that it is written as, matches no status.

    name: of the argument. pattern: as Prometheus reads it, for a whole status: ``5..|0``.
    """
    for part in pattern.split("|") if not re.search(r"[()\[\]\\]", pattern) else [pattern]:
        try:
            found = re.compile(part)
        except re.error as error:
            raise InvalidInput(f"{name} is {pattern!r}, no regular expression: {error}") from None
        if not any(map(found.fullmatch, _STATUSES)):
            which = "" if part == pattern else f", whose {part!r}"
            link = " matches no status" if which else ", which matches no status"
            raise InvalidInput(f"{name} is {pattern!r}{which}{link}: write e.g. 5.. or 503, and 0 for no answer")


def refuse_flags(name: str, pattern: str) -> None:
    """Raise InvalidInput where PATTERN has small letters, which no flag of Envoy's has: ``fi`` is ``FI``."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise InvalidInput(f"{name} is {pattern!r}, no regular expression: {error}") from None
    if "(?i" not in pattern and re.search("[a-z]", _NO_LETTERS.sub("", pattern)):
        raise InvalidInput(f"{name} is {pattern!r}, which matches no response flag: Envoy's are capitals, e.g. FI")

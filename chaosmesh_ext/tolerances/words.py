"""What tolerances say of what they see, and how they read it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["heard", "is_no_data", "number", "say", "text"]

_logger = logging.getLogger("chaostoolkit")
_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Within, what our tolerances say about unmet values goes into the list instead of the log."""
    lines: list[str] = []
    token = _heard.set(lines)
    try:
        yield lines
    finally:
        _heard.reset(token)


def number(value: Any) -> float | None:
    """The number that a value or its text is; None for what is not one, booleans and NaN included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return None if math.isnan(found) else found


def is_no_data(value: Any) -> bool:
    """Whether VALUE is None, NaN or empty."""
    return value in (None, [], {}) or (isinstance(value, float) and math.isnan(value))


def say(met: bool, expected: str, seen: Any) -> bool:
    """MET; where it is not, what was EXPECTED and SEEN is logged, or heard."""
    if not met:
        line = f"expected {expected}, saw {'no data' if is_no_data(seen) else text(seen)}"
        lines = _heard.get()
        if lines is None:
            _logger.warning(line)
        else:
            lines.append(line)
    return met


def text(value: Any) -> str:
    """Numbers to four digits, lists item by item, long things cut."""
    if isinstance(value, bool) or not isinstance(value, (int, float, list, tuple, Mapping)):
        found = str(value)
    elif isinstance(value, Mapping):
        found = ", ".join(f"{key}: {text(item)}" for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        found = ", ".join(map(text, value))
    else:
        found = f"{value:.4g}"
    return found if len(found) <= 200 else found[:197] + "..."

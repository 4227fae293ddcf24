"""What two runs may measure differently though nothing changed: a number within its noise is the same number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from chaosmesh_ext.findings.words import seconds
from chaosmesh_ext.report.saved import SavedFinding

__all__ = ["amount", "further", "same_value"]

_HOW_HARD_WE_TRIED: Final = frozenset({"missing-timeout", "bulkhead"})
"""Rules whose numbers say that: the delay that nobody gave up on, the calls that hung, over how many pods."""

_CLOSE: Final = 0.05
"""Part of a measured value by which it may differ between runs, as calls may that make one finding."""

_CLOSE_S: Final = 0.025
"""Seconds by which any time may differ."""

_FURTHER: Final = 0.1
"""Part, and seconds, by which a rule's further times may differ: as those of two versions that make one finding."""

_OPEN: Final = ("open_s", "open_at_least_s", "open_at_most_s")
"""How long a breaker is open: one number, or the two between which it lies."""


def same_value(old: SavedFinding, new: SavedFinding) -> bool:
    """Whether the values of OLD and NEW, of one rule, differ by no more than they do from run to run."""
    if old.value is None or new.value is None or new.rule in _HOW_HARD_WE_TRIED:
        return True
    if old.unit != new.unit:
        return False
    apart, part = abs(old.value - new.value), _CLOSE * max(abs(old.value), abs(new.value))
    if new.unit == "s":
        return apart <= max(part, _CLOSE_S)
    return apart <= (part if new.unit == "times" else 0.0)


def further(old: SavedFinding, new: SavedFinding) -> Iterator[str]:
    """How the further numbers of OLD and NEW, of one rule, differ beyond their noise, each in a few words.

    Those that only one of them has are not compared: another version of this program may have written the other.
    """
    if new.rule in _HOW_HARD_WE_TRIED:
        return
    was, now = _open(old.numbers), _open(new.numbers)
    if was and now and max(was[0], now[0]) - min(was[1], now[1]) > _noise(*was, *now):
        yield f"open for {_between(*was)} → {_between(*now)}"
    for name in sorted((old.numbers.keys() & new.numbers.keys()) - {*_OPEN}):
        before, after = old.numbers[name], new.numbers[name]
        is_time = name.endswith("_s")
        if abs(before - after) > (_noise(before, after) if is_time else 0.0):
            unit = "s" if is_time else ""
            said = name.removesuffix("_s").replace("_", " ")
            yield f"{said} {amount(before, unit)} → {amount(after, unit)}"


def amount(value: float, unit: str) -> str:
    """VALUE in words."""
    return seconds(value) if unit == "s" else f"{value:g} {unit}".strip()


def _open(numbers: Mapping[str, float]) -> tuple[float, float] | None:
    """Between which seconds the open time lies; None where nothing is said of it."""
    if "open_s" in numbers:
        return numbers["open_s"], numbers["open_s"]
    if "open_at_least_s" in numbers:
        return numbers["open_at_least_s"], numbers.get("open_at_most_s", math.inf)
    return None


def _between(least: float, most: float) -> str:
    if least == most:
        return seconds(least)
    return f"{seconds(least)} or more" if most == math.inf else f"{seconds(least)} to {seconds(most)}"


def _noise(*times: float) -> float:
    """Seconds that such TIMES may lie apart."""
    return max(_FURTHER, _FURTHER * max(abs(time) for time in times if time != math.inf))

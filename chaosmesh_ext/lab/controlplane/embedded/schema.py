"""A small language for saying which fields of an object are implemented, and what may stand in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.durations import seconds

__all__ = [
    "Check",
    "Refusal",
    "boolean",
    "duration",
    "each",
    "fields",
    "integer",
    "one_of",
    "percent",
    "table",
    "text",
]


class Refusal(msgspec.Struct, frozen=True):
    """Why an object is not taken.

    reason: ``NotImplemented`` (Istio has the field, this control plane does not) or ``Invalid`` (Istio refuses it too).
    field: where, e.g. ``spec.http[0].mirror``. message: one line.
    """

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


Check = Callable[[str, Any], Iterator[Refusal]]
"""Yields what is wrong with a value that stands in a field."""


def _invalid(field: str, message: str) -> Refusal:
    return Refusal("Invalid", field, message)


def fields(
    known: Mapping[str, Check], *, required: Collection[str] = (), also: Check | None = None, hint: str = ""
) -> Check:
    """An object with the KNOWN fields, every other refused as not implemented; ALSO judges the fields together.

    hint: what to write instead of a field that is not there.
    """

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if not isinstance(value, dict):
            yield _invalid(field, f"an object is wanted, not {value!r}")
            return
        for name, inner in value.items():
            if name in known:
                yield from known[name](f"{field}.{name}", inner)
            else:
                words = "not implemented by the lab's control plane; the last good version stays in force"
                yield Refusal("NotImplemented", f"{field}.{name}", f"{words}{'; ' + hint if hint else ''}")
        for name in required:
            if name not in value:
                yield _invalid(f"{field}.{name}", "must be given")
        if also is not None:
            yield from also(field, value)

    return check


def each(item: Check, *, least: int = 0) -> Check:
    """A list of ITEMs, at LEAST so many."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if not isinstance(value, list):
            yield _invalid(field, f"a list is wanted, not {value!r}")
            return
        if len(value) < least:
            yield _invalid(field, f"must have at least {least} {'entry' if least == 1 else 'entries'}")
        for index, inner in enumerate(value):
            yield from item(f"{field}[{index}]", inner)

    return check


def table(item: Check) -> Check:
    """An object with any keys, each value an ITEM."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if not isinstance(value, dict):
            yield _invalid(field, f"an object is wanted, not {value!r}")
            return
        for name, inner in value.items():
            yield from item(f"{field}[{name}]", inner)

    return check


def text(field: str, value: Any) -> Iterator[Refusal]:
    """A string."""
    if not isinstance(value, str):
        yield _invalid(field, f"a string is wanted, not {value!r}")


def boolean(field: str, value: Any) -> Iterator[Refusal]:
    """True or false."""
    if not isinstance(value, bool):
        yield _invalid(field, f"true or false is wanted, not {value!r}")


def integer(least: int, most: int) -> Check:
    """A whole number from LEAST to MOST."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if not isinstance(value, int) or isinstance(value, bool):
            yield _invalid(field, f"a whole number is wanted, not {value!r}")
        elif not least <= value <= most:
            yield _invalid(field, f"{value} is not in range {least}-{most}")

    return check


def one_of(*choices: str, elsewhere: Collection[str] = ()) -> Check:
    """One of CHOICES; those ELSEWHERE exist in Istio but not here."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if value in elsewhere:
            yield Refusal(
                "NotImplemented",
                field,
                f"{value} is not implemented by the lab's control plane: {', '.join(choices)} are",
            )
        elif value not in choices:
            yield _invalid(field, f"{value!r} is none of {', '.join(choices)}")

    return check


def duration(*, least: float = 0.001) -> Check:
    """A duration of at LEAST so many seconds, or of 0 when LEAST is 0."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        try:
            length = seconds(value)
        except (InvalidInput, TypeError):
            yield _invalid(field, f"{value!r} is not a duration: write a number with a unit, e.g. 250ms, 3s or 1m")
            return
        if length < least:
            yield _invalid(field, f"duration {value} must be greater than {least * 1000:g}ms")

    return check


def percent(field: str, value: Any) -> Iterator[Refusal]:
    """Istio's Percent message: `{"value": 0.0 … 100.0}`."""
    number = value.get("value", 0.0) if isinstance(value, dict) else None
    if not isinstance(number, int | float) or isinstance(number, bool) or set(value) - {"value"}:
        yield _invalid(field, f"an object with a number `value` is wanted, not {value!r}")
    elif not (number == 0.0 or 0.0001 <= number <= 100.0):
        yield _invalid(f"{field}.value", f"percentage {number:g} is neither 0.0, nor in range [0.0001, 100.0]")

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
    "invalid",
    "judged",
    "not_implemented",
    "one_of",
    "percent",
    "port_selector",
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


def invalid(field: str, message: str) -> Refusal:
    """What Istio refuses too; MESSAGE is in its words where it has any."""
    return Refusal("Invalid", field, message)


def not_implemented(field: str, message: str) -> Refusal:
    """What Istio has and this control plane has not."""
    return Refusal("NotImplemented", field, message)


def fields(
    known: Mapping[str, Check], *, required: Collection[str] = (), also: Check | None = None, hint: str = ""
) -> Check:
    """An object with the KNOWN fields, every other refused as not implemented; ALSO judges the fields together.

    hint: what to write instead of a field that is not there.
    """

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if not isinstance(value, dict):
            yield invalid(field, f"an object is wanted, not {value!r}")
            return
        for name, inner in value.items():
            if name in known:
                yield from known[name](f"{field}.{name}", inner)
            else:
                words = "not implemented by the lab's control plane; the last good version stays in force"
                yield not_implemented(f"{field}.{name}", f"{words}{'; ' + hint if hint else ''}")
        for name in required:
            if name not in value:
                yield invalid(f"{field}.{name}", "must be given")
        if also is not None:
            yield from also(field, value)

    return check


def each(item: Check, *, least: int = 0) -> Check:
    """A list of ITEMs, at LEAST so many."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if not isinstance(value, list):
            yield invalid(field, f"a list is wanted, not {value!r}")
            return
        if len(value) < least:
            yield invalid(field, f"must have at least {least} {'entry' if least == 1 else 'entries'}")
        for index, inner in enumerate(value):
            yield from item(f"{field}[{index}]", inner)

    return check


def table(item: Check, *, key: Check | None = None) -> Check:
    """An object with any keys, or such that KEY finds nothing wrong with; each value an ITEM."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if not isinstance(value, dict):
            yield invalid(field, f"an object is wanted, not {value!r}")
            return
        for name, inner in value.items():
            if key is not None:
                yield from key(f"{field}[{name}]", name)
            yield from item(f"{field}[{name}]", inner)

    return check


def text(field: str, value: Any) -> Iterator[Refusal]:
    """A string."""
    if not isinstance(value, str):
        yield invalid(field, f"a string is wanted, not {value!r}")


def judged(judge: Callable[[str], str]) -> Check:
    """A string; JUDGE says what is wrong with it, or nothing."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if not isinstance(value, str):
            yield from text(field, value)
        elif wrong := judge(value):
            yield invalid(field, wrong)

    return check


def boolean(field: str, value: Any) -> Iterator[Refusal]:
    """True or false."""
    if not isinstance(value, bool):
        yield invalid(field, f"true or false is wanted, not {value!r}")


def integer(least: int, most: int) -> Check:
    """A whole number from LEAST to MOST."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if not isinstance(value, int) or isinstance(value, bool):
            yield invalid(field, f"a whole number is wanted, not {value!r}")
        elif not least <= value <= most:
            yield invalid(field, f"{value} is not in range {least}-{most}")

    return check


def one_of(*choices: str, elsewhere: Collection[str] = ()) -> Check:
    """One of CHOICES; those ELSEWHERE exist in Istio but not here."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if value in elsewhere:
            words = f"{value} is not implemented by the lab's control plane: {', '.join(choices)} are"
            yield not_implemented(field, words)
        elif value not in choices:
            yield invalid(field, f"{value!r} is none of {', '.join(choices)}")

    return check


def duration(*, none: bool = False) -> Check:
    """A duration of whole milliseconds, at least one; with NONE, 0 too."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        negative = isinstance(value, str) and value.startswith("-")
        try:
            length = -seconds(value[1:]) if negative else seconds(value)
        except (InvalidInput, TypeError):
            yield invalid(field, f"{value!r} is not a duration: write a number with a unit, e.g. 250ms, 3s or 1m")
            return
        if none and not length:
            return
        if length < 0.001:
            yield invalid(field, "must be a valid duration greater than 1ms")
        elif round(length * 1e9) % 1_000_000:
            yield invalid(field, "only durations to ms precision are supported")

    return check


def percent(field: str, value: Any) -> Iterator[Refusal]:
    """Istio's Percent message: `{"value": 0.0 … 100.0}`."""
    number = value.get("value", 0.0) if isinstance(value, dict) else None
    if not isinstance(number, int | float) or isinstance(number, bool) or set(value) - {"value"}:
        yield invalid(field, f"an object with a number `value` is wanted, not {value!r}")
    elif not (number == 0.0 or 0.0001 <= number <= 100.0):
        yield invalid(f"{field}.value", f"percentage {number:g} is neither 0.0, nor in range [0.0001, 100.0]")


port_selector = fields({"number": integer(1, 65535)}, required=["number"])
"""`port` of a destination and of a policy."""

"""Durations as Istio and Envoy write them."""

from __future__ import annotations

import re

from chaosmesh_ext.errors import InvalidInput

__all__ = ["duration", "gateway_duration", "seconds"]

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)", re.ASCII)
_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}

_NOISE = 1e-6
"""Milliseconds, by which a float may miss the whole number that was meant."""


def duration(value: float) -> str:
    """VALUE seconds as a protobuf duration, e.g. ``7s`` or ``0.25s``; nanosecond resolution."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def gateway_duration(value: float) -> str:
    """VALUE seconds as Gateway API writes it (GEP-2257: whole numbers, no fractions), in milliseconds.

    Raises InvalidInput for a part of one: what is written is what was asked for.

    >>> gateway_duration(1.5), gateway_duration(86400), gateway_duration(0.25)
    ('1s500ms', '86400s', '250ms')
    """
    if abs(value * 1000 - round(value * 1000)) > _NOISE:
        raise InvalidInput(f"{value * 1000:g} ms: an HTTPRoute's durations are whole milliseconds: write e.g. 2ms")
    whole, rest = divmod(round(value * 1000), 1000)
    return (f"{whole}s" if whole or not rest else "") + (f"{rest}ms" if rest else "")


def seconds(text: str) -> float:
    """The seconds in a Go duration such as ``1h30m``, ``250ms`` or ``2s``.

    Raises InvalidInput when TEXT is none.
    """
    total, end = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        total += float(part[1]) * _UNIT[part[2]]
        end = part.end()
    if end == 0 or end != len(text):
        raise InvalidInput(f"{text!r} is not a duration: write a number with a unit, e.g. 250ms, 3s or 1m")
    return total

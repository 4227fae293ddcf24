"""Percentages as Istio and Envoy write them, and their bounds."""

from __future__ import annotations

import math
from typing import Any

from chaosmesh_ext.errors import InvalidInput

__all__ = ["EVERYBODY", "check", "for_envoy", "for_gateway", "for_virtual_service"]

EVERYBODY = 100.0
"""What an absent percentage means here. In Istio's own API an absent one means nobody, so it is always written."""

_MILLION_PER_PERCENT = 10_000
"""Istio and Envoy resolve a percentage to one millionth (`FractionalPercent.MILLION`, as istiod writes it)."""


def check(percentage: float) -> None:
    """Refuse what is no percentage.

    0 is one: the fault is written and affects nobody. Raises InvalidInput outside 0–100, and for a share so small
    that Envoy would round it to nobody.
    """
    if isinstance(percentage, bool) or not isinstance(percentage, int | float) or not math.isfinite(percentage):
        raise InvalidInput(f"percentage {percentage!r} is not a number: give one from 0 to 100, e.g. 30")
    if not 0 <= percentage <= 100:
        raise InvalidInput(f"percentage {percentage:g} is outside 0–100: give the share of the requests in scope")
    if percentage and round(percentage * _MILLION_PER_PERCENT) == 0:
        raise InvalidInput(f"percentage {percentage:g} would be rounded to nobody: the smallest one is 0.0001")


def for_virtual_service(percentage: float) -> dict[str, Any]:
    """PERCENTAGE as Istio's Percent; whole numbers stay whole, as people write them."""
    return {"value": int(percentage) if float(percentage).is_integer() else percentage}


def for_gateway(percentage: float) -> dict[str, Any]:
    """PERCENTAGE as the fields of Gateway API's RequestMirror that say how much."""
    if float(percentage).is_integer():
        return {"percent": int(percentage)}
    whole = 100 * _MILLION_PER_PERCENT
    return {"fraction": {"numerator": round(percentage * _MILLION_PER_PERCENT), "denominator": whole}}


def for_envoy(percentage: float) -> dict[str, Any]:
    """PERCENTAGE as Envoy's FractionalPercent."""
    return {"numerator": round(percentage * _MILLION_PER_PERCENT), "denominator": "MILLION"}

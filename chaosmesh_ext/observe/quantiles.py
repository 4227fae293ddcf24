"""Quantiles of what was measured."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["quantile"]


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile SHARE (0 to 1) of ORDERED, which is not empty.

    Linear between the two nearest, as most tools do (type 7 of Hyndman and Fan 1996).

    >>> quantile([1.0, 2.0, 3.0, 5.0], 0.5)
    2.5
    """
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)

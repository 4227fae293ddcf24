"""The few numbers that the rules share, and where each comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median, pstdev
from typing import Final

__all__ = [
    "CHANCE",
    "CLOCK",
    "MIN_CALLS",
    "MIN_REQUESTS",
    "agree",
    "by_chance",
    "confidence",
    "epsilon",
    "gap_limit",
    "mostly_agree",
    "tolerance",
]

MIN_CALLS: Final = 3
MIN_REQUESTS: Final = 2
"""A number is stated from at least three calls over at least two requests."""

_MOSTLY: Final = 0.8
"""Of measurements of one clock, how many must agree at least."""

CLOCK: Final = 0.005
"""Seconds by which two spans of one proxy may be recorded out of order: rounding to µs and its event loop."""


CHANCE: Final = 0.01
"""What happens with at most this probability though no fault is in is the fault's work."""


def epsilon(healthy: Sequence[float]) -> float:
    """What healthy durations, in seconds, vary by: max(50 ms, 3σ)."""
    return max(0.050, 3 * pstdev(healthy)) if len(healthy) > 1 else 0.050


def gap_limit(deviation: float) -> float:
    """Gaps below this many seconds are no pause: max(10 ms, 3σ of the control's gaps)."""
    return max(0.010, 3 * deviation)


def tolerance(value: float) -> float:
    """How far from VALUE seconds another measurement of the same clock may lie: max(5 %, 25 ms)."""
    return max(0.05 * value, 0.025)


def agree(samples: Sequence[float]) -> bool:
    """Whether SAMPLES, in seconds, show one clock: none lies further than `tolerance` from their median."""
    middle = median(samples)
    return all(abs(sample - middle) <= tolerance(middle) for sample in samples)


def mostly_agree(samples: Sequence[float]) -> list[float]:
    """Those of SAMPLES that show one clock, where that are four in five and `MIN_CALLS` at least; else none.

    A busy machine looks late at a clock now and then.
    """
    middle = median(samples)
    near = [sample for sample in samples if abs(sample - middle) <= tolerance(middle)]
    return near if len(near) >= max(MIN_CALLS, _MOSTLY * len(samples)) else []


def confidence(agreeing: int, total: int) -> float:
    """How likely the next call does as AGREEING of TOTAL did: Laplace's rule of succession, to two digits."""
    return round((agreeing + 1) / (total + 2), 2)


def by_chance(bad: int, of: int, healthy: int, of_healthy: int) -> float:
    """How probable it is that BAD requests OF so many fail though no fault is in, where HEALTHY ones OF_HEALTHY failed.

    The rate is by Laplace's rule of succession; where no healthy one failed, none is taken to.
    """
    if not healthy:
        return 0.0
    rate = (healthy + 1) / (of_healthy + 2)
    return math.fsum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(bad, of + 1))

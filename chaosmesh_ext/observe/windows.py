"""One number over windows of time: what it usually is, and how far it is from that while a fault is in, and after."""

from __future__ import annotations

import math
import statistics

import msgspec

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.observe.prometheus import Prometheus

__all__ = ["Summary", "Window", "difference", "summary"]

_SAMPLES = 60
"""Moments at which a window is looked at; each second of a short one."""
_ENOUGH = 0.8
"""The share of them that must have data."""
_LEAST = 3
"""Samples without which there is no standard deviation to speak of."""


class Window(msgspec.Struct, frozen=True):
    """From START to END, in seconds since the epoch."""

    name: str
    start: float
    end: float

    def __post_init__(self) -> None:
        """Raise InvalidInput for one that is no span of time."""
        if not self.end - self.start >= _LEAST:
            raise InvalidInput(
                f"the window {self.name} is {max(0.0, self.end - self.start):.3g} s: it must be {_LEAST} s or more"
            )


class Summary(msgspec.Struct, frozen=True):
    """mean, lowest, highest: in the number's own unit. deviation: the standard deviation of the samples."""

    mean: float
    deviation: float
    lowest: float
    highest: float
    samples: int


def summary(prometheus: Prometheus, promql: str, window: Window) -> Summary:
    """What PROMQL, one number, was over WINDOW.

    Raises Inconclusive where more than a fifth of its moments has no data (NaN included), and what `Prometheus` does.
    """
    step = max(1.0, (window.end - window.start) / _SAMPLES)
    expected = int((window.end - window.start) / step) + 1
    found = prometheus.series(promql, window.start, window.end, step)
    values = [value for _, value in found if math.isfinite(value)]
    if len(values) < max(_LEAST, _ENOUGH * expected):
        raise Inconclusive(
            f"no data for {promql!r} at {expected - len(values)} of {expected} moments of the window {window.name} "
            f"({window.end - window.start:.0f} s): does the metric exist, and was there traffic?"
        )
    return Summary(statistics.fmean(values), statistics.stdev(values), min(values), max(values), len(values))


def difference(usual: Summary, now: Summary) -> dict[str, float | None]:
    """By how much NOW's mean differs from the USUAL one.

    number: in its own unit. percent: of the usual mean; None where that is 0 and now is not. deviations: in standard
    deviations of the usual samples; None where they do not vary and now differs.
    """
    number = now.mean - usual.mean
    return {
        "number": number,
        "percent": _over(number * 100, abs(usual.mean)),
        "deviations": _over(number, usual.deviation),
    }


def _over(number: float, by: float) -> float | None:
    if number == 0:
        return 0.0
    return number / by if by else None

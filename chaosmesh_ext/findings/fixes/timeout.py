"""A timeout: for missing-timeout, in the callee's VirtualService."""

from __future__ import annotations

import math
from statistics import quantiles
from typing import Final

from chaosmesh_ext.findings.fixes.manifests import duration, virtual_service
from chaosmesh_ext.findings.fixes.weakness import Fix, Weakness
from chaosmesh_ext.findings.words import seconds

__all__ = ["FACTOR", "SHORTEST", "p99", "timeout"]

FACTOR: Final = 10.0
"""Times the healthy 99th percentile: a few healthy calls do not show how slow a busy hour makes them."""

SHORTEST: Final = 0.25
"""Seconds: below, a pause of a garbage collector or a lost packet would be given up."""


def timeout(weakness: Weakness) -> Fix | None:
    """Ten times the 99th percentile of healthy calls of everybody to that host; None where that is no less than the
    delay that was waited for, or nothing healthy was seen.
    """
    if weakness.draft.kind == "gateway":
        return None  # which takes its routes from its own VirtualServices, not from the host's
    durations = [call.span.duration for call in weakness.healthy()]
    if not durations or weakness.value is None:
        return None
    slowest = p99(durations)
    limit = _rounded_up(max(SHORTEST, FACTOR * slowest))
    if limit >= weakness.value:
        return None
    host = weakness.destination
    how = f"{FACTOR:g} × the p99 of {len(durations)} healthy calls, {seconds(slowest)}"
    if limit <= SHORTEST:
        how = f"the least that is advised; the p99 of {len(durations)} healthy calls is {seconds(slowest)}"
    return Fix(
        virtual_service(host, weakness.namespace, "timeout", [{"timeout": duration(limit)}]),
        f"The fix gives every call to {host} a timeout of {seconds(limit)} ({how}).",
    )


def p99(durations: list[float]) -> float:
    """Seconds that one in a hundred of DURATIONS takes longer than; the longest where they are few."""
    return quantiles(durations, n=100, method="inclusive")[-1] if len(durations) >= 100 else max(durations)


def _rounded_up(value: float) -> float:
    """VALUE to two digits, and never below it."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(round(value / unit, 6)) * unit, 6)

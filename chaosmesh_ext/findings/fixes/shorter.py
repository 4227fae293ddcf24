"""A shorter timeout: for timeout-inversion, on the call that is tried for longer than anybody waits."""

from __future__ import annotations

import math
from typing import Final

from chaosmesh_ext.findings.fixes.manifests import duration, virtual_service
from chaosmesh_ext.findings.fixes.timeout import p99
from chaosmesh_ext.findings.fixes.weakness import Fix, Weakness
from chaosmesh_ext.findings.words import seconds

__all__ = ["shorter"]

_MARGIN: Final = 1.25
"""How many times longer the caller must wait than all attempts take (as the rule has it)."""

_ROOM: Final = 2.0
"""Times the healthy 99th percentile that one attempt must have at least: below, healthy calls would fail."""


def shorter(weakness: Weakness) -> Fix | None:
    """A timeout of one attempt with which all of them, pauses included, end a quarter before the caller leaves; None
    where healthy calls would not have room in it: then the caller must wait longer, which is the application's.
    """
    numbers = weakness.draft.numbers
    waits, healthy = numbers.get("caller_waits_s"), [call.span.duration for call in weakness.healthy()]
    if waits is None or not healthy:
        return None
    attempts = 1 + numbers.get("retries", 0.0)
    each = (waits / _MARGIN - numbers.get("pauses_s", 0.0)) / attempts
    limit = math.floor(round(each * 1000, 6)) / 1000
    slowest = p99(healthy)
    if limit < max(_ROOM * slowest, 0.001):
        return None
    host = weakness.destination
    how = f"the caller's {seconds(waits)} ÷ {_MARGIN:g}"
    if attempts > 1:
        how += f", less the pauses, for {attempts:g} attempts"
    return Fix(
        virtual_service(host, weakness.namespace, "timeout", [{"timeout": duration(limit)}]),
        f"The fix gives every call to {host} a timeout of {seconds(limit)} ({how}); the p99 of"
        f" {len(healthy)} healthy calls is {seconds(slowest)}.",
    )

"""Endings: who ended a delayed call, told from its span and its caller's."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.findings.statistics import CLOCK, MIN_REQUESTS

__all__ = ["Ending", "ending", "goes_on"]

_SURELY: Final = 0.25
"""Seconds: whoever stops when its caller is gone has done so by then, on a busy machine too."""


class Ending(Enum):
    """The value is the reason that coverage gives where nothing can be said from such calls."""

    OWN_CLOCK = "ended by the caller's own clock"
    SIDECAR = "ended by the caller's sidecar (UT)"
    WAITED = "waited for as long as the delay took"
    CALLER_LEFT = "inconclusive: ended when the caller's own caller left"
    ANSWERED_FIRST = "inconclusive: the caller had answered before it dropped the call"
    TOO_CLOSE = "inconclusive: ended too close to the injected delay; inject a longer one"
    TRIED_AGAIN = "inconclusive: the sidecar tried several times within the call"
    NOT_AWAITED = "not awaited: the caller answered without waiting for the call"
    CUT_SHORT = "inconclusive: ended before the delay was over though nobody left"
    NO_CALLER = "trace incomplete: the caller's server span is missing"
    GATEWAY = (
        "the delay acts inside the gateway, before its own timeout and retries: inject at the callee's inbound side"
    )


def ending(call: Call, eps: float, *, nested: bool, goes_on: bool = False) -> Ending:
    """Who ended a delayed CALL. nested: the caller waits for such calls in the control. goes_on: see `goes_on`."""
    c, a = call.span, call.caller
    if "UT" in c.flags:
        # with retries the one span covers all tries, and its length is no single timeout
        return Ending.TRIED_AGAIN if "URX" in c.flags or len(call.callees) > 1 else Ending.SIDECAR
    if call.at_gateway:
        return Ending.CALLER_LEFT if c.gone else Ending.GATEWAY
    if a is None:
        return Ending.NO_CALLER
    if c.gone:
        return _left(call, eps, goes_on=goes_on)
    if c.duration < call.delay - eps:
        return Ending.CUT_SHORT
    if a.gone and a.end < c.end:
        return Ending.WAITED if nested else Ending.NOT_AWAITED
    covers = a.start <= c.start + CLOCK and c.end <= a.end + CLOCK
    return Ending.WAITED if covers else Ending.NOT_AWAITED


def goes_on(made: Iterable[Call], eps: float) -> bool:
    """Whether the caller of MADE, delayed calls, was seen to go on working when its own caller had left: what ends then
    was not ended by that.
    """
    outlasted = {
        call.answer.trace_id
        for call in made
        if call.caller is not None and call.caller.gone and call.span.end > call.caller.end + max(eps, _SURELY)
    }
    return len(outlasted) >= MIN_REQUESTS


def _left(call: Call, eps: float, *, goes_on: bool) -> Ending:
    c, a = call.span, call.caller
    if a is None:
        return Ending.NO_CALLER
    if a.gone and abs(a.end - c.end) < eps and not goes_on:
        return Ending.CALLER_LEFT
    if not a.gone and a.end < c.end - eps:
        return Ending.ANSWERED_FIRST
    return Ending.OWN_CLOCK if c.duration < call.delay - eps else Ending.TOO_CLOSE

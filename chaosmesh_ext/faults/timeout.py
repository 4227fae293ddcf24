"""Timeout: another timeout on the route of a call, or none, to see what the owner's is worth."""

from __future__ import annotations

import math
from typing import ClassVar, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import percentage as share
from chaosmesh_ext.istio.durations import duration, gateway_duration, seconds
from chaosmesh_ext.mesh import Place
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["Timeout"]

_SHORTEST: Final = 0.001
"""Seconds: Istio's validation refuses a timeout below one millisecond."""
_LONGEST: Final = 86_400.0

_EARLY: Final = 0.01
_LATE: Final = 0.25
"""Seconds: Envoy's clock starts when the whole request is in, after the span began; its timers are late when busy."""


class Timeout(msgspec.Struct, frozen=True):
    """The `timeout` of the route: how long the caller's sidecar waits for the whole answer, all attempts included.

    timeout: seconds, 0.001 to 86,400, or 0 for none. Raises InvalidInput for anything else. Only a slow callee lets
    requests meet it.
    """

    timeout: float

    carriers: ClassVar[tuple[str, ...]] = ("virtualservice", "httproute")
    kinds: ClassVar[tuple[str, ...]] = ()
    rarely: ClassVar[bool] = True
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = share.EVERYBODY
    patience: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        known = self.timeout == 0 or _SHORTEST <= self.timeout <= _LONGEST
        if not known or math.isnan(self.timeout):
            raise InvalidInput(
                f"timeout {self.timeout:g} s is none: give 0.001 to {_LONGEST:g} seconds, e.g. 3 or '500ms', or 0 for "
                "no timeout"
            )

    def for_route(self, route: Obj, place: Place) -> Obj:
        """ROUTE with this timeout; Istio's validation refuses 0s, and none is its default."""
        del place
        rest = {key: value for key, value in route.items() if key != "timeout"}
        return {**rest, "timeout": duration(self.timeout)} if self.timeout else rest

    def for_rule(self, rule: Obj, place: Place) -> Obj:
        """RULE of an HTTPRoute with this timeout. What its owner allows one attempt stays where there are retries and
        it is no longer; without them istiod takes it for the whole.
        """
        del place
        theirs = {key: value for key, value in (rule.get("timeouts") or {}).items() if key != "request"}
        each = seconds(theirs["backendRequest"]) if "backendRequest" in theirs else 0.0
        if "retry" not in rule or 0 < self.timeout < each:
            theirs.pop("backendRequest", None)
        ours = {"request": gateway_duration(self.timeout)} if self.timeout else {}
        rest = {key: value for key, value in rule.items() if key != "timeouts"}
        return {**rest, "timeouts": {**theirs, **ours}} if theirs or ours else rest

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call ended by this timeout: Envoy's UT, at its time. One that was removed shows in nothing."""
        return bool(
            self.timeout
            and "UT" in _flags(span, trace)
            and self.timeout - _EARLY <= span.duration <= self.timeout * 1.05 + _LATE
        )

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        return Injected(
            kind="timeout",
            words=f"timeout of {self.timeout:g} s" if self.timeout else "timeout removed",
            destination=destination,
            sources=sources,
            subset=subset,
            carrier=carrier,
        )


def _flags(span: Span, trace: Trace) -> frozenset[str]:
    """Envoy's of the call SPAN. A gateway reports those of what it sent on, whose span has no URL, where it received
    it.
    """
    above = None if span.url else trace.parent(span)
    if above is None or above.kind != "SERVER" or above.workload != span.workload:
        return span.flags
    return span.flags | above.flags

"""Delay: requests wait in the caller's sidecar before they leave it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import percentage as share
from chaosmesh_ext.istio.durations import duration
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["Delay"]

_SHORTEST = 0.001
"""Seconds: Istio's validation refuses a fixedDelay below one millisecond."""

_LONGEST = 86_400.0
"""Seconds: nobody waits for a day, and what is longer by far has no date on which to stop waiting."""


class Delay(msgspec.Struct, frozen=True):
    """A fixed latency for the requests in scope.

    fixed_delay: seconds, 0.001 to 86,400. percentage: of the requests in scope, 0–100; 0 affects nobody.
    Raises InvalidInput for anything else.
    """

    fixed_delay: float
    percentage: float = share.EVERYBODY

    carriers: ClassVar[tuple[str, ...]] = ("envoyfilter", "virtualservice")
    kinds: ClassVar[tuple[str, ...]] = ()
    rarely: ClassVar[bool] = False
    burst: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if math.isnan(self.fixed_delay):
            raise InvalidInput("fixed_delay nan is no duration: give seconds, e.g. 7, or a text, e.g. '250ms'")
        if self.fixed_delay > _LONGEST:
            raise InvalidInput(f"fixed_delay {self.fixed_delay:g} s is longer than a day: give a shorter one, e.g. 7")
        if self.fixed_delay < _SHORTEST:
            raise InvalidInput(
                f"fixed_delay {self.fixed_delay:g} s is too short: give at least 0.001 seconds, e.g. 7 or '250ms'"
            )
        share.check(self.percentage)

    @property
    def patience(self) -> float:
        """Seconds that a request may take on top of its healthy duration."""
        return self.fixed_delay

    def for_virtual_service(self) -> dict[str, Any]:
        """Istio's HTTPFaultInjection."""
        return {
            "delay": {
                "fixedDelay": duration(self.fixed_delay),
                "percentage": share.for_virtual_service(self.percentage),
            }
        }

    def for_envoy(self) -> dict[str, Any]:
        """The words of Envoy's HTTPFault."""
        return {"delay": {"fixed_delay": duration(self.fixed_delay), "percentage": share.for_envoy(self.percentage)}}

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call met it: Envoy sets DI when the delay starts."""
        del trace
        return "DI" in span.flags

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        return Injected(
            kind="delay",
            destination=destination,
            sources=sources,
            delay=self.fixed_delay,
            percentage=self.percentage,
            subset=subset,
            carrier=carrier,
        )

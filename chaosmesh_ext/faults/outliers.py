"""Outliers: callers stop calling pods that answer with errors, for a while."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import percentage as share
from chaosmesh_ext.istio.durations import duration
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["Outliers"]

_SHORTEST: Final = 0.001
_LONGEST: Final = 86_400.0
_MOST: Final = 2**32 - 1


class Outliers(msgspec.Struct, frozen=True):
    """The `outlierDetection` of a DestinationRule: each caller's sidecar ejects pods by what they answered to it.

    consecutive_5xx_errors: errors in a row (statuses 500 to 599, and no answer) after which a pod is ejected;
    consecutive_gateway_errors: the same for 502, 503 and 504 alone; 0 turns that kind off. interval: seconds between
    two looks at who may come back. base_ejection_time: seconds that a pod stays away the first time, twice that the
    second time, and so on. max_ejection_percent: of the host's pods that may be away at once, 0–100; Istio's default of
    10 lets one be. min_health_percent: with fewer pods left than that, ejections do not count, 0–100.
    Raises InvalidInput for anything else.
    """

    consecutive_5xx_errors: int | None = None
    consecutive_gateway_errors: int | None = None
    interval: float | None = None
    base_ejection_time: float | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int | None = None

    carriers: ClassVar[tuple[str, ...]] = ("destinationrule",)
    kinds: ClassVar[tuple[str, ...]] = ("DestinationRule",)
    rarely: ClassVar[bool] = True
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = share.EVERYBODY
    patience: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _whole("consecutive_5xx_errors", self.consecutive_5xx_errors, _MOST)
        _whole("consecutive_gateway_errors", self.consecutive_gateway_errors, _MOST)
        _whole("max_ejection_percent", self.max_ejection_percent, 100)
        _whole("min_health_percent", self.min_health_percent, 100)
        for name in ("interval", "base_ejection_time"):
            value = getattr(self, name)
            if value is not None and (math.isnan(value) or not _SHORTEST <= value <= _LONGEST):
                raise InvalidInput(
                    f"{name} {value:g} s is outside {_SHORTEST:g} to {_LONGEST:g} seconds: give e.g. 5 or '500ms'"
                )
        if not self.for_destination_rule()["outlierDetection"]:
            raise InvalidInput("nothing is said of who is ejected: give e.g. consecutive_5xx_errors: 3")

    def for_destination_rule(self) -> dict[str, Any]:
        """Istio's TrafficPolicy."""
        words: dict[str, Any] = {
            "consecutive5xxErrors": self.consecutive_5xx_errors,
            "consecutiveGatewayErrors": self.consecutive_gateway_errors,
            "interval": None if self.interval is None else duration(self.interval),
            "baseEjectionTime": None if self.base_ejection_time is None else duration(self.base_ejection_time),
            "maxEjectionPercent": self.max_ejection_percent,
            "minHealthPercent": self.min_health_percent,
        }
        return {"outlierDetection": {word: value for word, value in words.items() if value is not None}}

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call found every pod ejected (503, Envoy's UH). That some are away shows in no single call."""
        del trace
        return "UH" in span.flags

    def leads(self, span: Span) -> bool:
        """Whether calls like SPAN's may lead to pods being ejected: it failed, or got no answer."""
        return span.broken or not span.status

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        said = self.for_destination_rule()["outlierDetection"]
        return Injected(
            kind="outliers",
            words=f"ejection of outliers ({', '.join(f'{word} {value}' for word, value in said.items())})",
            destination=destination,
            sources=sources,
            subset=subset,
            carrier=carrier,
        )


def _whole(name: str, value: int | None, most: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most):
        raise InvalidInput(f"{name} {value!r} is no such number: give a whole one from 0 to {most}")

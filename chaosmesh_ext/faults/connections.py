"""Connections: callers may have fewer connections to a host, and fewer requests on their way to it."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import percentage as share
from chaosmesh_ext.istio.durations import duration
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["Connections"]

_MOST: Final = 2**31 - 1
"""Istio's own: the fields are 32-bit integers, and 0 would be Envoy's default, which is no limit."""
_SHORTEST: Final = 0.001
_LONGEST: Final = 3600.0
"""Seconds: what Istio's validation takes for a duration, and an hour for what nobody waits longer for."""
_CROWD: Final = 20
"""Requests at once that a proof sends of its own, at most: what takes more to cross is not crossed by it."""

_TCP: Final = {"max_connections": "maxConnections"}
_HTTP: Final = {
    "http1_max_pending_requests": "http1MaxPendingRequests",
    "http2_max_requests": "http2MaxRequests",
    "max_requests_per_connection": "maxRequestsPerConnection",
}


class Connections(msgspec.Struct, frozen=True):
    """The `connectionPool` of a DestinationRule: limits that each caller's sidecar has towards a host, by itself.

    max_connections: of HTTP/1.1 and TCP, to all pods together. http1_max_pending_requests: that wait for a connection,
    one that is being opened included. http2_max_requests: on their way at once, of HTTP/1.1 too.
    max_requests_per_connection: after which it is closed; 1 is no keep-alive. Each 1 to 2³¹-1. connect_timeout:
    seconds, 0.001 to 3600. At least one of them is given; None leaves what is there. Raises InvalidInput for anything
    else.
    """

    max_connections: int | None = None
    http1_max_pending_requests: int | None = None
    http2_max_requests: int | None = None
    max_requests_per_connection: int | None = None
    connect_timeout: float | None = None

    carriers: ClassVar[tuple[str, ...]] = ("destinationrule",)
    kinds: ClassVar[tuple[str, ...]] = ("DestinationRule",)
    rarely: ClassVar[bool] = True
    percentage: ClassVar[float] = share.EVERYBODY
    patience: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        for name in (*_TCP, *_HTTP):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
                raise InvalidInput(f"{name} {value!r} is no limit: give a whole number from 1 to {_MOST}")
        wait = self.connect_timeout
        if wait is not None and (math.isnan(wait) or not _SHORTEST <= wait <= _LONGEST):
            raise InvalidInput(
                f"connect_timeout {wait:g} s is outside {_SHORTEST:g} to {_LONGEST:g} seconds: give e.g. 1 or '250ms'"
            )
        if not self._limits():
            raise InvalidInput(f"nothing is limited: give one of {', '.join((*_TCP, *_HTTP, 'connect_timeout'))}")

    @property
    def burst(self) -> int:
        """How many requests at once cross a limit; 1 where that takes a crowd, or none is crossed by a number."""
        most = self.http2_max_requests
        if self.max_connections is not None and self.http1_max_pending_requests is not None:
            waiting = self.max_connections + self.http1_max_pending_requests
            most = waiting if most is None else min(most, waiting)
        return most + 1 if most is not None and most < _CROWD else 1

    def for_destination_rule(self) -> dict[str, Any]:
        """Istio's TrafficPolicy."""
        limits = self._limits()
        tcp = {word: limits[name] for name, word in _TCP.items() if name in limits}
        if self.connect_timeout is not None:
            tcp["connectTimeout"] = duration(self.connect_timeout)
        http = {word: limits[name] for name, word in _HTTP.items() if name in limits}
        return {"connectionPool": {**({"tcp": tcp} if tcp else {}), **({"http": http} if http else {})}}

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call was refused for a limit (503, ``x-envoy-overloaded``): by its caller's sidecar, or by the
        called one, which keeps the same limits towards its application.
        """
        return "UO" in span.flags or any(
            child.kind == "SERVER" and child.proxy and "UO" in child.flags for child in trace.children(span)
        )

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        words = ", ".join(f"{name} {value:g}" for name, value in self._limits().items())
        return Injected(
            kind="connections",
            words=f"limits of {words}",
            destination=destination,
            sources=sources,
            subset=subset,
            carrier=carrier,
        )

    def _limits(self) -> dict[str, Any]:
        known = {name: getattr(self, name) for name in (*_TCP, *_HTTP, "connect_timeout")}
        return {name: value for name, value in known.items() if value is not None}

"""Retries: another retry policy on the route of a call, or none, to see what the owner's is worth, and costs."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import percentage as share
from chaosmesh_ext.faults.timeout import Timeout
from chaosmesh_ext.istio.durations import duration, gateway_duration
from chaosmesh_ext.mesh import Place
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["RETRY_ON", "Retries"]

RETRY_ON: Final = (
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
)
"""Envoy's conditions, gRPC's among them (its `x-envoy-retry-on` and `x-envoy-retry-grpc-on`); a status such as ``503``
is one too, by Istio.
"""

_MOST: Final = 20
"""More attempts than that are an attack, not an experiment."""


class Retries(msgspec.Struct, frozen=True):
    """The `retries` of the route: how often the caller's sidecar tries again.

    attempts: besides the first one, 0 to 20; 0 for none. retry_on: conditions with commas between, e.g. ``5xx,reset``;
    empty for Istio's default, which does not try again after an application's own 503. per_try_timeout: seconds, 0 for
    none but the route's. timeout: of the whole call beside it, longer, as `Timeout` has it; None leaves the route's.
    Raises InvalidInput for anything else. Only a failing callee lets requests meet it.
    """

    attempts: int
    retry_on: str = ""
    per_try_timeout: float = 0.0
    timeout: float | None = None

    carriers: ClassVar[tuple[str, ...]] = ("virtualservice", "httproute")
    kinds: ClassVar[tuple[str, ...]] = ()
    rarely: ClassVar[bool] = True
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = share.EVERYBODY
    patience: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or not 0 <= self.attempts <= _MOST:
            raise InvalidInput(f"attempts {self.attempts!r} is no number from 0 to {_MOST}: 0 means no retries")
        if not self.attempts and (self.retry_on or self.per_try_timeout):
            raise InvalidInput("attempts: 0 means no retries: leave out retry_on and per_try_timeout")
        if not (self.per_try_timeout == 0 or 0.001 <= self.per_try_timeout <= 86_400):
            raise InvalidInput(
                f"per_try_timeout {self.per_try_timeout:g} s is none: give 0.001 to 86400 seconds, or leave it out"
            )
        for word in self.retry_on.split(",") if self.retry_on else ():
            if word not in RETRY_ON and not (len(word) == 3 and word.isdecimal() and "100" <= word <= "599"):
                raise InvalidInput(f"retry_on {word!r} is none of {', '.join(RETRY_ON)}, nor an HTTP status")
        if self.timeout is not None:
            Timeout(self.timeout)
        if self.timeout and self.per_try_timeout >= self.timeout:
            raise InvalidInput(
                f"per_try_timeout {self.per_try_timeout:g} s never ends an attempt, since timeout {self.timeout:g} s "
                "ends the whole call first: give a shorter one, or leave it out"
            )

    def for_route(self, route: Obj, place: Place) -> Obj:
        """ROUTE with this policy; attempts 0 is Istio's word for none."""
        if self.timeout is not None:
            route = Timeout(self.timeout).for_route(route, place)
        words: dict[str, Any] = {"attempts": self.attempts}
        if self.retry_on:
            words["retryOn"] = self.retry_on
        if self.per_try_timeout:
            words["perTryTimeout"] = duration(self.per_try_timeout)
        return {**route, "retries": words}

    def for_rule(self, rule: Obj, place: Place) -> Obj:
        """RULE of an HTTPRoute with this policy, of whose conditions Gateway API knows statuses only.

        `retry` is in its experimental channel; without it the API server keeps none, and the run refuses.
        """
        codes = [int(word) for word in self.retry_on.split(",") if word.isdecimal()]
        if len(codes) != len(self.retry_on.split(",") if self.retry_on else ()) or any(code < 400 for code in codes):
            raise InvalidInput(
                f"retry_on {self.retry_on!r}: an HTTPRoute tries again on statuses from 400 on, and always on lost "
                "connections: write e.g. 502,503"
            )
        found = {**rule, "retry": {"attempts": self.attempts, **({"codes": codes} if codes else {})}}
        if self.per_try_timeout:
            each = gateway_duration(self.per_try_timeout)
            found["timeouts"] = {**(rule.get("timeouts") or {}), "backendRequest": each}
        return found if self.timeout is None else Timeout(self.timeout).for_rule(found, place)

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call was tried again by this policy: several arrivals of one call, and URX when none was left.

        A policy that was removed shows in nothing. A timeout beside it shows too.
        """
        if self.timeout is not None and Timeout(self.timeout).shows_in(span, trace):
            return True
        tries = sum(child.kind == "SERVER" and child.proxy for child in trace.children(span))
        if "URX" in span.flags:  # where nobody is there to report arrivals, there are none
            return self.attempts > 0 and tries in (0, self.attempts + 1)
        return 1 < tries <= self.attempts + 1

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        again = f"{self.attempts} retries on {self.retry_on or 'the default conditions'}"
        words = again if self.attempts else "retries removed"
        if self.timeout is not None:
            words += f", timeout of {self.timeout:g} s" if self.timeout else ", timeout removed"
        return Injected(
            kind="retries",
            words=words,
            destination=destination,
            sources=sources,
            subset=subset,
            carrier=carrier,
        )

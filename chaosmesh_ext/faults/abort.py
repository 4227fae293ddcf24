"""Abort: requests are answered with an error by the caller's sidecar and never leave it."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import percentage as share
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["GRPC_STATUS", "Abort"]

GRPC_STATUS = {
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}
"""gRPC's names and numbers; OK (0) is no abort."""


class Abort(msgspec.Struct, frozen=True):
    """An error in place of the callee's answer for the requests in scope.

    http_status: 200–599, or grpc_status: gRPC's name, e.g. ``UNAVAILABLE``; exactly one of them. percentage: of the
    requests in scope, 0–100; 0 affects nobody. Raises InvalidInput for anything else.
    """

    http_status: int | None = None
    grpc_status: str | None = None
    percentage: float = share.EVERYBODY

    carriers: ClassVar[tuple[str, ...]] = ("envoyfilter", "virtualservice")
    kinds: ClassVar[tuple[str, ...]] = ()
    rarely: ClassVar[bool] = False
    burst: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if (self.http_status is None) == (self.grpc_status is None):
            raise InvalidInput("an abort has exactly one status: give either http_status or grpc_status")
        if self.http_status is not None and (
            isinstance(self.http_status, bool) or not isinstance(self.http_status, int)
        ):
            raise InvalidInput(f"http_status {self.http_status!r} is not a whole number: give one from 200 to 599")
        if self.http_status is not None and not 200 <= self.http_status <= 599:
            raise InvalidInput(f"http_status {self.http_status} is outside 200–599, which is all that Envoy can send")
        if self.grpc_status is not None and self.grpc_status not in GRPC_STATUS:
            raise InvalidInput(
                f"grpc_status {self.grpc_status!r} is not one of gRPC's error names: {', '.join(GRPC_STATUS)}"
            )
        share.check(self.percentage)

    @property
    def patience(self) -> float:
        """Seconds that a request may take on top of its healthy duration."""
        return 0.0

    def for_virtual_service(self) -> dict[str, Any]:
        """Istio's HTTPFaultInjection."""
        words: dict[str, Any] = {"percentage": share.for_virtual_service(self.percentage)}
        if self.http_status is not None:
            words["httpStatus"] = self.http_status
        else:
            words["grpcStatus"] = self.grpc_status
        return {"abort": words}

    def for_envoy(self) -> dict[str, Any]:
        """The words of Envoy's HTTPFault."""
        words: dict[str, Any] = {"percentage": share.for_envoy(self.percentage)}
        if self.grpc_status is not None:
            words["grpc_status"] = GRPC_STATUS[self.grpc_status]
        else:
            words["http_status"] = self.http_status
        return {"abort": words}

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call met it: Envoy sets FI on an abort."""
        del trace
        return "FI" in span.flags

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        return Injected(
            kind="abort",
            destination=destination,
            sources=sources,
            status=self.http_status or 0,
            grpc_status=self.grpc_status or "",
            percentage=self.percentage,
            subset=subset,
            carrier=carrier,
        )

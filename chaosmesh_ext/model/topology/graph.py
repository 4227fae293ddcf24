"""The words of a topology, as frozen data; times are seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

__all__ = [
    "APPS",
    "FORWARDS",
    "GRPC",
    "GRPC_METHOD",
    "Breaker",
    "Call",
    "OnFailure",
    "Protocol",
    "Retries",
    "Service",
    "Topology",
    "Trigger",
    "Version",
]

OnFailure = Literal["omit", "default", "fail", "raw", "bug"]
Trigger = Literal["timeout", "connect", "5xx"]
Protocol = Literal["http", "grpc"]

GRPC: Final = "grpc"
GRPC_METHOD: Final = "/chaosmesh.Echo/Call"
"""The gRPC method that a call without a path is of."""

FORWARDS = ("traceparent", "tracestate", "end-user", "cookie", "user-agent")
"""The request headers that a service passes on unless its file says otherwise."""

APPS = (
    "bookinfo-productpage",
    "bookinfo-details",
    "bookinfo-reviews-v1",
    "bookinfo-reviews-v2",
    "bookinfo-reviews-v3",
    "bookinfo-ratings",
)
"""The lab's own applications that a version may name with `app`."""


class _Words(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Plain data that travels as JSON in the file's own spelling."""


class Retries(_Words, frozen=True):
    """Attempts beyond the first, without a call's own timeout running between them.

    backoff: pause before the first of them. growth: factor from one pause to the next, 1 is fixed. on: which failures
    of an attempt are tried again.
    """

    attempts: int
    backoff: float = 0.0
    growth: float = 1.0
    on: tuple[Trigger, ...] = ("timeout", "connect", "5xx")

    def pause(self, retry: int) -> float:
        """Seconds before retry number RETRY, the first being 0."""
        return float(self.backoff * self.growth**retry)


class Breaker(_Words, frozen=True):
    """The application's own circuit breaker: opens after `failures` in a row, for `open` seconds."""

    failures: int
    open: float


class Call(_Words, frozen=True):
    """One call that a service makes for a request.

    timeout: seconds for each attempt, from dispatch to the last body byte; None is none. on_failure: what becomes of
    the answer when the call fails. paths: only for requests to these paths; None is all. pool: most attempts at once
    on this call; None is unbounded.
    """

    to: str
    method: str = "GET"
    path: str = "/"
    timeout: float | None = None
    retries: Retries | None = None
    on_failure: OnFailure = "fail"
    paths: tuple[str, ...] | None = None
    breaker: Breaker | None = None
    pool: int | None = None

    @property
    def rpc(self) -> str:
        """The gRPC method that it calls where its callee speaks gRPC."""
        return GRPC_METHOD if self.path == "/" else self.path

    def concerns(self, path: str) -> bool:
        """Whether it is made for a request to PATH."""
        return self.paths is None or path in self.paths


class Version(_Words, frozen=True):
    """How one version of a service behaves.

    workers: requests handled at once by one replica, None is unbounded. work: seconds of its own before its calls.
    steps: groups of calls, one group after the other, the calls of a group at the same time. forwards: request
    headers that its calls carry on. on_caller_gone: whether it finishes its work when its caller leaves. status: what
    a healthy answer carries. app: one of `APPS` instead of all these words. command, env: any program instead.
    """

    name: str = "v1"
    replicas: int = 1
    workers: int | None = None
    work: float = 0.0
    steps: tuple[tuple[Call, ...], ...] = ()
    forwards: tuple[str, ...] = FORWARDS
    on_caller_gone: Literal["continue", "cancel"] = "continue"
    status: int = 200
    app: str = ""
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = {}

    def calls(self) -> Iterator[Call]:
        """All its calls in the file's order."""
        return (call for step in self.steps for call in step)

    def section(self, call: Call) -> str:
        """The name of CALL's section in the answer.

        The callee's name; where this version calls the same service in several ways, method and path tell them
        apart: ``cart POST /items``.
        """
        alone = sum(other.to == call.to for other in self.calls()) == 1
        return call.to if alone else f"{call.to} {call.method} {call.path}"


class Service(_Words, frozen=True):
    """A Kubernetes Service, and the versions that it balances over. protocol: what its port speaks."""

    name: str
    port: int = 9080
    versions: tuple[Version, ...] = (Version(),)
    protocol: Protocol = "http"

    @property
    def grpc(self) -> bool:
        """Whether it is called over gRPC."""
        return self.protocol == GRPC


class Topology(_Words, frozen=True):
    """A graph without cycles; the ingress gateway sends everything to `entry`."""

    name: str
    entry: str
    services: tuple[Service, ...]

    def service(self, name: str) -> Service:
        """The service called NAME; raises KeyError."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    def methods(self, name: str) -> tuple[str, ...]:
        """The gRPC methods that service NAME has: those that others call, and `GRPC_METHOD`."""
        calls = (call for service in self.services for version in service.versions for call in version.calls())
        return tuple(sorted({GRPC_METHOD, *(call.rpc for call in calls if call.to == name)}))

"""Spans and traces, free of any store's shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import msgspec

from chaosmesh_ext.model.workload import Edge, Workload

__all__ = ["GONE", "GRPC_FAILURES", "Span", "Trace", "edges_of"]

GONE = frozenset({"DC", "DR"})
"""Envoy's flags of a caller that left: DC from HTTP/1, DR from HTTP/2 and gRPC (measured)."""

_HELD_BACK = frozenset({"DI"})

GRPC_FAILURES = frozenset({2, 4, 12, 13, 14, 15})
"""gRPC's statuses that say that the server failed, as 5xx does: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL,
UNAVAILABLE, DATA_LOSS. Those for which OpenTelemetry's conventions for RPC make a server's span an error;
Envoy's tag error=true has RESOURCE_EXHAUSTED besides (measured).
"""


class Span(msgspec.Struct, frozen=True, gc=False):
    """One span of a sidecar or gateway.

    trace_id: 32 lower-case hex digits. span_id, parent_id: 16; parent_id is empty for a root or an unknown parent.
    kind: OpenTelemetry's, ``CLIENT``, ``SERVER`` or ``INTERNAL``. operation: the span's name. start: seconds since
    the epoch. duration: seconds. workload: whose proxy reported it. peer: for a CLIENT span the service that was
    called, without namespace; empty elsewhere. method, url: of the request. status: HTTP status, 0 when there was
    none. grpc_status: or None; a gRPC call that failed has it beside the HTTP status 200. flags: Envoy's response
    flags. error: the proxy called it one. proxy: it came from a proxy, not from an application's own SDK. pod: whose
    proxy it was, from Envoy's node id; empty where the span does not say it.
    """

    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    operation: str
    start: float
    duration: float
    workload: Workload
    peer: str = ""
    method: str = ""
    url: str = ""
    status: int = 0
    grpc_status: int | None = None
    flags: frozenset[str] = frozenset()
    error: bool = False
    proxy: bool = True
    pod: str = ""

    @property
    def end(self) -> float:
        """Seconds since the epoch."""
        return self.start + self.duration

    @property
    def gone(self) -> bool:
        """The caller left before the answer came.

        A gRPC caller that resets with NO_ERROR, as Python's grpclib does, leaves no flag of that (measured); where a
        delay held it back, nothing else ends a call without an answer and without a flag.
        """
        return not GONE.isdisjoint(self.flags) or (self.proxy and self.status == 0 and self.flags == _HELD_BACK)

    @property
    def broken(self) -> bool:
        """The answer says that the callee failed: 5xx, or gRPC's words for that."""
        return self.status >= 500 or self.grpc_status in GRPC_FAILURES

    @property
    def path(self) -> str:
        """The URL's path, without origin and query."""
        rest = self.url.split("://", 1)[-1]
        slash = rest.find("/")
        return rest[slash:].split("?", 1)[0] if slash >= 0 else "/"


class Trace(msgspec.Struct, frozen=True, dict=True):
    """All spans of one trace id, in order of their start."""

    trace_id: str
    spans: tuple[Span, ...]

    @cached_property
    def by_id(self) -> dict[str, Span]:
        return {span.span_id: span for span in self.spans}

    @cached_property
    def _children(self) -> dict[str, list[Span]]:
        children: dict[str, list[Span]] = {}
        for span in self.spans:
            children.setdefault(span.parent_id, []).append(span)
        return children

    def children(self, span: Span) -> list[Span]:
        """The span's children in order of their start."""
        return self._children.get(span.span_id, [])

    def parent(self, span: Span) -> Span | None:
        """The span's parent, or None for a root and for an orphan."""
        return self.by_id.get(span.parent_id)

    @cached_property
    def roots(self) -> tuple[Span, ...]:
        """Spans whose parent is not in the trace; ours starts with a parent that no proxy reported."""
        return tuple(span for span in self.spans if span.parent_id not in self.by_id)

    @cached_property
    def versions(self) -> dict[tuple[str, str], frozenset[str]]:
        """Which versions of each (namespace, service) the request passed, as far as proxies told."""
        seen: dict[tuple[str, str], set[str]] = {}
        for workload in dict.fromkeys(span.workload for span in self.spans if span.proxy):
            if workload.version:
                seen.setdefault((workload.namespace, workload.service), set()).add(workload.version)
        return {service: frozenset(found) for service, found in seen.items()}

    def calls(self) -> Iterator[Span]:
        """The CLIENT spans: one per call, or per attempt where the application itself tries again."""
        return (span for span in self.spans if span.kind == "CLIENT")

    def to_builtins(self) -> Any:
        """Plain lists and dictionaries, for a journal."""
        return msgspec.to_builtins(self)


def edges_of(traces: Iterable[Trace]) -> dict[Edge, int]:
    """The calls that the proxies in TRACES reported, counted by caller and callee."""
    counts: dict[tuple[Workload, str], int] = {}
    for trace in traces:
        for span in trace.spans:
            if span.kind == "CLIENT" and span.proxy:
                key = span.workload, span.peer
                counts[key] = counts.get(key, 0) + 1
    return {Edge(workload, peer): count for (workload, peer), count in counts.items()}

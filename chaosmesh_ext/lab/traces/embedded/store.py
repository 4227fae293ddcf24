"""Spans in memory, by trace and by service; the oldest traces leave first."""

from __future__ import annotations

from collections import Counter, OrderedDict

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from chaosmesh_ext.lab.traces.embedded.convert import KINDS, duration, parent, service_name, texts

__all__ = ["NO_TRACE", "Query", "SpanStore", "Stored"]

NO_TRACE = bytes(16)
"""The id of the spans without one: Jaeger keeps them as one trace."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A span as it came, with what it came with; conversion waits until somebody asks."""

    service: str
    resource: Resource
    scope: InstrumentationScope
    span: Span


class Query(msgspec.Struct, frozen=True):
    """A search: all conditions but the window's speak of one span of `service`.

    start, end: nanoseconds since the epoch, both included. min_duration, max_duration: nanoseconds, 0 for none. tags:
    all of them, as strings. limit: the newest are kept, all when it is not positive.
    """

    service: str
    operation: str
    start: int
    end: int
    min_duration: int
    max_duration: int
    tags: dict[str, str]
    limit: int


class SpanStore:
    """At most `max_spans` spans; whole traces are dropped, the one that came first before the others."""

    def __init__(self, max_spans: int) -> None:
        self._max_spans = max_spans
        self._count = 0
        self._traces: OrderedDict[bytes, list[Stored]] = OrderedDict()
        self._services: dict[str, dict[bytes, None]] = {}
        self._operations: dict[str, set[tuple[str, int]]] = {}

    @property
    def spans(self) -> int:
        """How many spans are held."""
        return self._count

    def add(self, request: ExportTraceServiceRequest) -> None:
        """Take up an export, whose ids have their right lengths."""
        for resource_spans in request.resource_spans:
            resource = resource_spans.resource
            service = service_name(resource)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    trace_id = span.trace_id or NO_TRACE
                    self._traces.setdefault(trace_id, []).append(Stored(service, resource, scope_spans.scope, span))
                    self._services.setdefault(service, {})[trace_id] = None
                    self._operations.setdefault(service, set()).add((span.name, span.kind))
                    self._count += 1
        while self._count > self._max_spans and len(self._traces) > 1:
            trace_id, stored = self._traces.popitem(last=False)
            self._count -= len(stored)
            for service in {item.service for item in stored}:
                self._services[service].pop(trace_id, None)

    def services(self) -> list[str]:
        """Every service that was ever seen."""
        return sorted(self._services)

    def operations(self, service: str) -> list[tuple[str, str]]:
        """The operations of SERVICE with their kinds, lower-case, empty where none was given."""
        return sorted((name, KINDS.get(kind, "")) for name, kind in self._operations.get(service, ()))

    def trace(self, trace_id: bytes) -> list[Stored] | None:
        """A copy of a trace's spans, or None."""
        stored = self._traces.get(trace_id)
        return list(stored) if stored else None

    def search(self, query: Query) -> list[list[Stored]]:
        """The newest traces that hold a span of the service that meets every condition, newest first."""
        of_service = sorted(self._services.get(query.service, ()), key=self._began, reverse=True)
        found: list[list[Stored]] = []
        for trace_id in of_service:
            stored = self._traces[trace_id]
            if any(_matches(item, query) for item in stored):
                found.append(list(stored))
                if len(found) == query.limit:
                    break
        return found

    def _began(self, trace_id: bytes) -> int:
        """The start of the span of a trace that came first: by it Jaeger judges which traces are newer."""
        return self._traces[trace_id][0].span.start_time_unix_nano

    def dependencies(self, start: int, end: int) -> list[tuple[str, str, int]]:
        """Calls between services, a service's own left out, of traces with a span that began between START and END.

        Both are nanoseconds and excluded. Each is the caller, the called, and how often.
        """
        counts: Counter[tuple[str, str]] = Counter()
        for stored in self._traces.values():
            if not any(start < item.span.start_time_unix_nano < end for item in stored):
                continue
            owners = {item.span.span_id: item.service for item in reversed(stored)}
            for item in stored:
                caller = owners.get(parent(item.span), item.service)
                if caller != item.service:
                    counts[caller, item.service] += 1
        return [(caller, called, number) for (caller, called), number in sorted(counts.items())]


def _matches(item: Stored, query: Query) -> bool:
    span = item.span
    if item.service != query.service or (query.operation and span.name != query.operation):
        return False
    took = duration(span)
    return (
        query.start <= span.start_time_unix_nano <= query.end
        and took >= query.min_duration
        and (not query.max_duration or took <= query.max_duration)
        and all(value in texts(key, span, item.scope, item.resource) for key, value in query.tags.items())
    )

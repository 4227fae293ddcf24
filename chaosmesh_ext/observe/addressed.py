"""A trace store as somebody sees it who knows certain services: what is addressed to one of them is a call to it.

By its upstream cluster, a call behind an HTTPRoute goes to the backend that was chosen (`reviews-v1`); who calls
`reviews`, and what a fault on `reviews` was met by, its URL says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from chaosmesh_ext.model import Span, Trace
from chaosmesh_ext.observe.reach import Target
from chaosmesh_ext.observe.tags import peer_of
from chaosmesh_ext.observe.traces import TraceSource

__all__ = ["Addressed", "called", "readdressed"]


def called(span: Span) -> str:
    """The service that SPAN's call is addressed to, whichever it was sent to; empty where the span does not say."""
    if span.kind != "CLIENT" or not span.url:
        return ""
    return peer_of(span.url, "", span.workload.namespace)


def readdressed(trace: Trace, services: Collection[str]) -> Trace:
    """TRACE with calls that are addressed to one of SERVICES having that one as their peer."""
    spans = tuple(
        msgspec.structs.replace(span, peer=service)
        if (service := called(span)) != span.peer and service in services
        else span
        for span in trace.spans
    )
    same = all(one is other for one, other in zip(spans, trace.spans, strict=True))
    return trace if same else Trace(trace.trace_id, spans)


class Addressed:
    """The traces of SOURCE, in which calls that are addressed to one of SERVICES have that one as their peer."""

    def __init__(self, source: TraceSource, services: Collection[str]) -> None:
        self._source, self._services = source, frozenset(services)

    @property
    def name(self) -> str:
        """The store's."""
        return self._source.name

    @property
    def url(self) -> str:
        """The store's."""
        return self._source.url

    @property
    def target(self) -> Target:
        """The store's."""
        return self._source.target

    def services(self) -> list[str]:
        """As `TraceSource.services`."""
        return self._source.services()

    def trace(self, trace_id: str) -> Trace | None:
        """As `TraceSource.trace`."""
        found = self._source.trace(trace_id)
        return self._named(found) if found else None

    def many(self, ids: Iterable[str]) -> dict[str, Trace]:
        """As `TraceSource.many`."""
        return {trace_id: self._named(trace) for trace_id, trace in self._source.many(ids).items()}

    def search(self, service: str, *, start: float, end: float, operation: str = "", limit: int = 100) -> list[Trace]:
        """As `TraceSource.search`."""
        found = self._source.search(service, start=start, end=end, operation=operation, limit=limit)
        return [self._named(trace) for trace in found]

    def _named(self, trace: Trace) -> Trace:
        return readdressed(trace, self._services)

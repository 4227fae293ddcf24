"""Spans put together to traces, whichever store they came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

import msgspec

from chaosmesh_ext.model import Span, Trace

__all__ = ["assemble", "by_trace"]

_DURATION, _START = attrgetter("duration"), attrgetter("start")


def assemble(trace_id: str, spans: Sequence[Span]) -> Trace:
    """The trace of SPANS: in order of their start, of two with one start the longer first; each only once.

    A client and a server that share one id (Zipkin's way; Jaeger mends it unless asked for raw spans) are told apart:
    the server's becomes another, and what the server's workload did below is its child.
    """
    found = list(spans)
    if len({span.span_id for span in found}) < len(found):
        found = _apart(list(dict.fromkeys(found)))
    found.sort(key=_DURATION, reverse=True)
    found.sort(key=_START)
    return Trace(trace_id, tuple(found))


def _apart(spans: list[Span]) -> list[Span]:
    calls = {span.span_id: span for span in spans if span.kind == "CLIENT"}
    shared = {span.span_id: span for span in spans if span.kind == "SERVER" and span.span_id in calls}
    if not shared:
        return spans
    own = {span_id: f"{int(span_id, 16) ^ (1 << 63):016x}" for span_id in shared}
    apart = []
    for span in spans:
        changed = span
        if span.kind == "SERVER" and span.span_id in shared:
            changed = msgspec.structs.replace(span, span_id=own[span.span_id], parent_id=span.span_id)
        elif (server := shared.get(span.parent_id)) is not None and span.workload == server.workload:
            changed = msgspec.structs.replace(span, parent_id=own[span.parent_id])
        apart.append(changed)
    return apart


def by_trace(spans: Iterable[Span]) -> list[Trace]:
    """The traces of SPANS, in the order in which they were met."""
    found: dict[str, list[Span]] = {}
    for span in spans:
        found.setdefault(span.trace_id, []).append(span)
    return [assemble(trace_id, its) for trace_id, its in found.items()]

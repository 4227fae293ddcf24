"""Spans in memory, by trace and by service; the oldest traces leave first."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from chaosmesh_ext.lab.traces.embedded.convert import KINDS, process_tags, service_name, span_json

__all__ = ["Query", "SpanStore", "Stored", "trace_json"]


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A span as it came, with what it came with; conversion waits until somebody asks."""

    service: str
    resource: Resource
    scope: InstrumentationScope
    span: Span


class Query(msgspec.Struct, frozen=True):
    """A search: all conditions but the window's speak of one span of `service`.

    start, end: microseconds since the epoch. min_duration, max_duration: microseconds, 0 for none. tags: all of them,
    as strings. limit: the newest are kept. raw: without the query service's mends.
    """

    service: str
    operation: str
    start: int
    end: int
    min_duration: int
    max_duration: int
    tags: dict[str, str]
    limit: int
    raw: bool = False


class SpanStore:
    """At most `max_spans` spans; whole traces are dropped, the one that came first before the others."""

    def __init__(self, max_spans: int) -> None:
        self._max_spans = max_spans
        self._count = 0
        self._traces: OrderedDict[bytes, list[Stored]] = OrderedDict()
        self._services: dict[str, OrderedDict[bytes, None]] = {}
        self._operations: dict[str, set[tuple[str, int]]] = {}

    @property
    def spans(self) -> int:
        """How many spans are held."""
        return self._count

    def add(self, request: ExportTraceServiceRequest) -> None:
        """Take up an export.

        Raises ValueError when one of its spans has no valid id; then nothing of the export is kept.
        """
        for span in (s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans):
            if len(span.trace_id) != 16 or not any(span.trace_id):
                raise ValueError(f"invalid trace id {span.trace_id.hex()!r} in span {span.name!r}")
            if len(span.span_id) != 8 or not any(span.span_id) or len(span.parent_span_id) not in (0, 8):
                raise ValueError(f"invalid span id {span.span_id.hex()!r} in span {span.name!r}")
        for resource_spans in request.resource_spans:
            service = service_name(resource_spans.resource)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    self._traces.setdefault(span.trace_id, []).append(
                        Stored(service, resource_spans.resource, scope_spans.scope, span)
                    )
                    self._services.setdefault(service, OrderedDict())[span.trace_id] = None
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
        """A copy of a trace's spans, for `trace_json`, or None."""
        stored = self._traces.get(trace_id)
        return list(stored) if stored else None

    def search(self, query: Query) -> list[list[Stored]]:
        """The newest traces that hold a span of the service that meets every condition, for `trace_json`."""
        found: list[bytes] = []
        for trace_id in reversed(self._services.get(query.service, {})):
            if any(_matches(item, query) for item in self._traces[trace_id]):
                found.append(trace_id)
                if len(found) == query.limit:
                    break
        return [list(self._traces[trace_id]) for trace_id in found]

    def dependencies(self, start: int, end: int) -> list[dict[str, Any]]:
        """Calls between services whose child began between START and END (microseconds), self edges included."""
        counts: Counter[tuple[str, str]] = Counter()
        for stored in self._traces.values():
            owners = {item.span.span_id: item.service for item in stored}
            for item in stored:
                if start <= item.span.start_time_unix_nano // 1000 <= end:
                    parent = owners.get(item.span.parent_span_id)
                    if parent is not None:
                        counts[parent, item.service] += 1
        return [{"parent": p, "child": c, "callCount": n} for (p, c), n in sorted(counts.items())]


def _matches(item: Stored, query: Query) -> bool:
    span = item.span
    start = span.start_time_unix_nano // 1000
    duration = (span.end_time_unix_nano - span.start_time_unix_nano) // 1000
    return (
        item.service == query.service
        and (not query.operation or span.name == query.operation)
        and query.start <= start <= query.end
        and duration >= query.min_duration
        and (not query.max_duration or duration <= query.max_duration)
        and all(value in _values(item, key) for key, value in query.tags.items())
    )


def _values(item: Stored, key: str) -> Iterator[str]:
    converted = span_json(item.span, item.scope, "", None)
    logged = [field for log in converted["logs"] for field in log["fields"]]
    for each in [*converted["tags"], *process_tags(item.resource), *logged]:
        if each["key"] == key:
            value = each["value"]
            yield ("true" if value else "false") if isinstance(value, bool) else str(value)


def trace_json(stored: Sequence[Stored], *, raw: bool = False) -> dict[str, Any]:
    """A trace in Jaeger's JSON.

    raw: without the mends that Jaeger's query service makes (a span sent twice, two spans with one id, orphans).
    Raises ValueError for a value that JSON cannot hold.
    """
    stored = list(stored) if raw else _once(stored)
    processes: dict[bytes, str] = {}
    described: dict[str, Any] = {}
    for item in sorted(stored, key=lambda item: item.service):
        key = item.resource.SerializeToString(deterministic=True)
        if key not in processes:
            processes[key] = f"p{len(processes) + 1}"
            described[processes[key]] = {"serviceName": item.service, "tags": process_tags(item.resource)}
    present = {item.span.span_id for item in stored}
    spans = []
    for item in stored:
        parent = item.span.parent_span_id
        orphan = any(parent) and parent not in present and not raw
        words = f"invalid parent span IDs={parent.hex()}; skipping clock skew adjustment"
        process = processes[item.resource.SerializeToString(deterministic=True)]
        spans.append(span_json(item.span, item.scope, process, [words] if orphan else None))
    if not raw:
        _tell_apart(spans, stored)
    return {"traceID": spans[0]["traceID"], "spans": spans, "processes": described, "warnings": None}


def _once(stored: Sequence[Stored]) -> list[Stored]:
    """Without the spans that came a second time: an exporter that got no answer sends again."""
    if len({item.span.span_id for item in stored}) == len(stored):
        return list(stored)
    first: dict[tuple[str, bytes], Stored] = {}
    for item in stored:
        first.setdefault((item.service, item.span.SerializeToString(deterministic=True)), item)
    return list(first.values())


def _tell_apart(spans: list[dict[str, Any]], stored: list[Stored]) -> None:
    """Two different spans with one id: Jaeger takes them for Zipkin's shared ones and gives the server a new id."""
    clients = {item.span.span_id: spans[i] for i, item in enumerate(stored) if item.span.kind == Span.SPAN_KIND_CLIENT}
    taken = {item.span.span_id.hex() for item in stored}
    free = (text for number in count(1) if (text := f"{number:016x}") not in taken)
    moved: dict[str, str] = {}
    for span, item in zip(spans, stored, strict=True):
        client = clients.get(item.span.span_id)
        if client is None or item.span.kind != Span.SPAN_KIND_SERVER:
            continue
        new = next(free)
        moved[span["spanID"]] = new
        references = [r for r in span["references"] if r["refType"] != "CHILD_OF"]
        child_of = {"refType": "CHILD_OF", "traceID": span["traceID"], "spanID": client["spanID"]}
        span.update(spanID=new, references=[child_of, *references], warnings=None)
    for span, item in zip(spans, stored, strict=True):
        if item.span.kind == Span.SPAN_KIND_SERVER and span["spanID"] in moved.values():
            continue
        for reference in span["references"]:
            if reference["refType"] == "CHILD_OF" and reference["spanID"] in moved:
                reference["spanID"] = moved[reference["spanID"]]

"""Spans in OpenTelemetry's JSON, turned into ours: what Jaeger's `/api/v3` and Tempo answer.

Ids are hex, or base64 where a server writes protobuf's own JSON; kinds and statuses numbers or names; 64-bit numbers
are text. Times are cut to microseconds, which is what Jaeger's older API has.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import msgspec

from chaosmesh_ext.model import Span, Trace
from chaosmesh_ext.observe.assembling import by_trace
from chaosmesh_ext.observe.collection import without_collection
from chaosmesh_ext.observe.tags import PROCESS_NODE, Value, peer_of, said_by

__all__ = ["ResourceSpans", "to_traces"]

_KINDS: dict[Any, str] = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_ERROR = (2, "STATUS_CODE_ERROR")


class _Any(msgspec.Struct, frozen=True, gc=False):
    """A value; of lists and maps nothing is read."""

    stringValue: str | None = None  # noqa: N815 OTLP's names
    intValue: int | str | None = None  # noqa: N815
    boolValue: bool | None = None  # noqa: N815
    doubleValue: float | str | None = None  # noqa: N815

    def plain(self) -> Value:
        if self.intValue is not None:
            return int(self.intValue)
        return next((v for v in (self.stringValue, self.boolValue, self.doubleValue) if v is not None), None)


class _Attribute(msgspec.Struct, gc=False):
    key: str
    value: _Any = _Any()


class _Status(msgspec.Struct, gc=False):
    code: int | str = 0


class _Span(msgspec.Struct, gc=False):
    traceId: str  # noqa: N815
    spanId: str  # noqa: N815
    parentSpanId: str = ""  # noqa: N815
    name: str = ""
    kind: int | str = 0
    startTimeUnixNano: int | str = 0  # noqa: N815
    endTimeUnixNano: int | str = 0  # noqa: N815
    attributes: list[_Attribute] | None = None
    status: _Status | None = None


class _Scope(msgspec.Struct, gc=False):
    spans: list[_Span] | None = None


class _Resource(msgspec.Struct, gc=False):
    attributes: list[_Attribute] | None = None


class ResourceSpans(msgspec.Struct, gc=False):
    """What one process reported."""

    resource: _Resource | None = None
    scopeSpans: list[_Scope] | None = None  # noqa: N815
    instrumentationLibrarySpans: list[_Scope] | None = None  # noqa: N815 their name until 2022


def to_traces(found: list[ResourceSpans] | None) -> list[Trace]:
    """The traces in FOUND. Raises ValueError when an id or a time is none."""
    with without_collection():
        return by_trace(span for process in found or () for span in _spans(process))


def _spans(process: ResourceSpans) -> Iterator[Span]:
    attributes = (process.resource.attributes if process.resource else None) or []
    service = next((str(each.value.plain()) for each in attributes if each.key == "service.name"), "")
    node = next((str(each.value.plain()) for each in attributes if each.key in PROCESS_NODE), "")
    for scope in process.scopeSpans or process.instrumentationLibrarySpans or ():
        for span in scope.spans or ():
            yield _span(span, service, node)


def _span(raw: _Span, service: str, node: str) -> Span:
    tags: dict[str, Value] = {each.key: each.value.plain() for each in raw.attributes or ()}
    kind = _KINDS.get(raw.kind) or str(raw.kind).removeprefix("SPAN_KIND_").lower()
    tags["span.kind"] = None if kind in ("0", "unspecified") else kind
    if raw.status is not None and raw.status.code in _ERROR:
        tags["error"] = True
    facts = said_by(tags.get, service, node)
    start, end = int(raw.startTimeUnixNano), int(raw.endTimeUnixNano)
    return Span(
        trace_id=_hex(raw.traceId, 32),
        span_id=_hex(raw.spanId, 16),
        parent_id=_hex(raw.parentSpanId, 16) if raw.parentSpanId.strip("0") else "",
        kind=facts.kind,
        operation=raw.name,
        start=start // 1000 / 1e6,
        duration=max(end - start, 0) // 1000 / 1e6,
        workload=facts.workload,
        peer=peer_of(facts.url, raw.name, facts.workload.namespace) if facts.peer is None else facts.peer,
        method=facts.method,
        url=facts.url,
        status=facts.status,
        grpc_status=facts.grpc_status,
        flags=facts.flags,
        error=facts.error,
        proxy=facts.proxy,
        pod=facts.pod,
    )


def _hex(text: str, digits: int) -> str:
    """TEXT as so many hex digits; protobuf's JSON has base64, which for these lengths ends in ``=``."""
    if text.endswith("="):
        return b64decode(text, validate=True).hex().zfill(digits)
    int(text, 16)
    return text.lower().zfill(digits)

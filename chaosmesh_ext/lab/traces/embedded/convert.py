"""OTLP spans → Jaeger's, as Jaeger 1.76 stores them: what its query service mends is in `mends`."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from chaosmesh_ext.lab.traces.embedded import golang

__all__ = [
    "KINDS",
    "JaegerSpan",
    "convert",
    "duration",
    "parent",
    "parent_reference",
    "plain",
    "process_tags",
    "service_name",
    "texts",
    "trace_hex",
]

Json = dict[str, Any]

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_STATUS = {Status.STATUS_CODE_OK: "OK", Status.STATUS_CODE_ERROR: "ERROR"}
_SAFE_INTEGER = 2**53
"""JavaScript's: int64 values from here on are written as strings."""

_NO_SPAN = bytes(8)
_NO_TRACE = bytes(16)


class JaegerSpan(msgspec.Struct):
    """A span on its way to an answer.

    json: what is written of it. service, tags: of its process; spans of one resource share one list. start, duration:
    nanoseconds, more exact than what is written.
    """

    json: Json
    service: str
    tags: list[Json]
    start: int
    duration: int


def service_name(resource: Resource) -> str:
    """The resource's ``service.name``, or Jaeger's word for what is wrong with it."""
    for attribute in resource.attributes:
        if attribute.key == "service.name":
            if attribute.value.WhichOneof("value") != "string_value":
                return "service-name-wrong-type"
            return attribute.value.string_value or "empty-service-name"
    return "missing-service-name"


def duration(span: Span) -> int:
    """Nanoseconds: one where the end is not after the start, as Jaeger mends it when the span comes in."""
    return max(1, span.end_time_unix_nano - span.start_time_unix_nano)


def trace_hex(trace_id: bytes) -> str:
    """A trace id as Jaeger writes it: 32 hex digits, or 16 where the upper half is empty."""
    whole = trace_id or _NO_TRACE
    return whole[8:].hex() if not any(whole[:8]) else whole.hex()


def parent(span: Span) -> bytes:
    """The id of its parent, empty for a root; a link may name it, as `parent_reference` says."""
    if not span.links:
        return span.parent_span_id
    reference = parent_reference(trace_hex(span.trace_id), _references(span))
    return b"" if reference is None else bytes.fromhex(reference["spanID"])


def parent_reference(trace: str, references: Sequence[Json]) -> Json | None:
    """The reference to a span's parent: the first within its own trace, CHILD_OF before any other."""
    own = [reference for reference in references if reference["traceID"] == trace]
    return next((reference for reference in own if reference["refType"] == "CHILD_OF"), own[0] if own else None)


def process_tags(resource: Resource) -> list[Json]:
    """The tags of a Jaeger process: the resource's attributes but its name."""
    return [_tag(a.key, a.value) for a in resource.attributes if a.key != "service.name"]


def convert(span: Span, scope: InstrumentationScope, service: str, tags: list[Json]) -> JaegerSpan:
    """SPAN as Jaeger stores it; its times are microseconds. SERVICE, TAGS: of its process.

    Raises ValueError for an attribute that JSON cannot hold (NaN, infinity): Jaeger answers 500 then.
    """
    took = duration(span)
    written: Json = {
        "traceID": trace_hex(span.trace_id),
        "spanID": (span.span_id or _NO_SPAN).hex(),
        "operationName": span.name,
        "references": _references(span),
        "startTime": span.start_time_unix_nano // 1000,
        "duration": took // 1000,
        "tags": [
            *(_text_tag(key, value) for key, value in _of_scope(scope)),
            *(_tag(attribute.key, attribute.value) for attribute in span.attributes),
            *_of_span(span),
        ],
        "logs": [
            {
                "timestamp": event.time_unix_nano // 1000,
                "fields": [
                    *(_text_tag("event", name) for name in _event_name(event)),
                    *(_tag(attribute.key, attribute.value) for attribute in event.attributes),
                ],
            }
            for event in span.events
        ],
        "processID": "",
        "warnings": None,
    }
    if span.end_time_unix_nano <= span.start_time_unix_nano:
        was, now = golang.time_text(span.end_time_unix_nano), golang.time_text(span.start_time_unix_nano + took)
        written["warnings"] = [
            f"Negative duration detected, sanitizing end timestamp. Original end timestamp: {was}, adjusted to: {now}"
        ]
    return JaegerSpan(written, service, tags, span.start_time_unix_nano, took)


def texts(key: str, span: Span, scope: InstrumentationScope, resource: Resource) -> Iterator[str]:
    """The values of every tag KEY of the span, its process and its logs, as a search compares them."""
    yield from _values(key, span.attributes)
    if key != "service.name":
        yield from _values(key, resource.attributes)
    yield from (value for name, value in _of_scope(scope) if name == key)
    yield from (_said(tag["value"]) for tag in _of_span(span) if tag["key"] == key)
    for event in span.events:
        yield from _values(key, event.attributes)
        if key == "event":
            yield from _event_name(event)


def _values(key: str, attributes: Any) -> Iterator[str]:
    return (_said(plain(attribute.value)) for attribute in attributes if attribute.key == key)


def _said(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return golang.float_text(value)
        case bytes():
            return value.hex()
        case _:
            return str(value)


def _text_tag(key: str, value: str) -> Json:
    return {"key": key, "type": "string", "value": value}


def _tag(key: str, value: AnyValue) -> Json:
    match value.WhichOneof("value"):
        case "string_value":
            return {"key": key, "type": "string", "value": value.string_value}
        case "int_value":
            number = value.int_value
            return {"key": key, "type": "int64", "value": number if abs(number) < _SAFE_INTEGER else str(number)}
        case "bool_value":
            return {"key": key, "type": "bool", "value": value.bool_value}
        case "double_value":
            return {"key": key, "type": "float64", "value": _number(value.double_value)}
        case "bytes_value":
            encoded = base64.b64encode(value.bytes_value).decode()
            return {"key": key, "type": "binary", "value": encoded or None}
        case _:
            return _text_tag(key, plain(value))


def _number(value: float) -> float | int:
    if not math.isfinite(value):
        golang.json_text(value)  # raises in Go's words
    return int(value) if value.is_integer() and abs(value) < 2**63 else value


def plain(value: AnyValue) -> Any:
    """A tag's value, lists and maps as JSON; empty where JSON cannot hold them, as Jaeger has it."""
    kind = value.WhichOneof("value")
    if kind not in ("array_value", "kvlist_value", None):
        return getattr(value, kind)
    try:
        return golang.json_text(_nested(value)) if kind else ""
    except ValueError:
        return ""


def _nested(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_nested(item) for item in value.array_value.values]
        case "kvlist_value":
            return {item.key: _nested(item.value) for item in value.kvlist_value.values}
        case None:
            return None
        case kind:
            return getattr(value, kind)


def _of_scope(scope: InstrumentationScope) -> Iterator[tuple[str, str]]:
    if scope.name:
        yield "otel.scope.name", scope.name
    if scope.version:
        yield "otel.scope.version", scope.version


def _of_span(span: Span) -> Iterator[Json]:
    """The tags that stand for fields of the span."""
    if span.kind in KINDS:
        yield _text_tag("span.kind", KINDS[span.kind])
    status = span.status
    if status.code in _STATUS:
        yield _text_tag("otel.status_code", _STATUS[status.code])
        if status.code == Status.STATUS_CODE_ERROR:
            yield {"key": "error", "type": "bool", "value": True}
    if status.message:
        yield _text_tag("otel.status_description", status.message)
    if span.trace_state:
        yield _text_tag("w3c.tracestate", span.trace_state)


def _event_name(event: Span.Event) -> Iterator[str]:
    """An event's name is its field ``event``, unless it has an attribute of that name."""
    if event.name and not any(attribute.key == "event" for attribute in event.attributes):
        yield event.name


def _references(span: Span) -> list[Json]:
    """The parent first; a link to the parent is not a second reference but says of what type the first one is."""
    own = trace_hex(span.trace_id)
    found: list[Json] = []
    if any(span.parent_span_id):
        found.append({"refType": "CHILD_OF", "traceID": own, "spanID": span.parent_span_id.hex()})
    for link in span.links:
        trace, identity = trace_hex(link.trace_id), (link.span_id or _NO_SPAN).hex()
        kind = _link_type(link.attributes)
        if any(span.parent_span_id) and (trace, link.span_id) == (own, span.parent_span_id):
            found[0]["refType"] = kind
        else:
            found.append({"refType": kind, "traceID": trace, "spanID": identity})
    return found


def _link_type(attributes: Any) -> str:
    kinds = (a.value.string_value for a in attributes if a.key == "opentracing.ref_type")
    return "CHILD_OF" if next(kinds, "") == "child_of" else "FOLLOWS_FROM"

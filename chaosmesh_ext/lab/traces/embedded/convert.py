"""OTLP spans → Jaeger's JSON, as Jaeger 1.76 writes it (measured on a real one)."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["KINDS", "process_tags", "service_name", "span_json", "tag", "trace_hex"]

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_STATUS = {1: "OK", 2: "ERROR"}
_NO_HTML = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}
_SAFE_INTEGER = 2**53
"""JavaScript's: int64 values from here on are written as strings."""


def service_name(resource: Resource) -> str:
    """The resource's ``service.name``; Jaeger's own word where it has none."""
    for attribute in resource.attributes:
        if attribute.key == "service.name":
            return attribute.value.string_value
    return "OTLPResourceNoServiceName"


def tag(key: str, value: Any) -> dict[str, Any]:
    """One Jaeger tag from a plain value.

    Raises ValueError for a number that JSON cannot hold (NaN, infinity), in the words of Go's encoder.
    """
    if isinstance(value, bool):
        return {"key": key, "type": "bool", "value": value}
    if isinstance(value, int):
        return {"key": key, "type": "int64", "value": value if abs(value) < _SAFE_INTEGER else str(value)}
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"json: unsupported value: {_go_float(value)}")
        return {"key": key, "type": "float64", "value": value}
    if isinstance(value, bytes):
        return {"key": key, "type": "binary", "value": _base64(value)}
    if isinstance(value, list | dict):
        return {"key": key, "type": "string", "value": _go_json(value)}
    return {"key": key, "type": "string", "value": value}


def _go_float(number: float) -> str:
    return "NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf"


def _go_json(value: Any) -> str:
    """Lists and maps become text as Go's encoder writes it: keys in order, letters as they are, no HTML."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_base64)
    return text.translate(_NO_HTML)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return {item.key: _plain(item.value) for item in value.kvlist_value.values}
        case None:
            return ""
        case kind:
            return getattr(value, kind)


def _tags(attributes: Any) -> list[dict[str, Any]]:
    return [tag(attribute.key, _plain(attribute.value)) for attribute in attributes]


def process_tags(resource: Resource) -> list[dict[str, Any]]:
    """The tags of a Jaeger process: the resource's attributes but its name."""
    kept: list[KeyValue] = [a for a in resource.attributes if a.key != "service.name"]
    return sorted(_tags(kept), key=lambda item: str(item["key"]))


def span_json(span: Span, scope: InstrumentationScope, process: str, warnings: list[str] | None) -> dict[str, Any]:
    """One span as Jaeger's query API gives it; its times are microseconds.

    Raises ValueError for an attribute that JSON cannot hold (NaN, infinity): Jaeger answers 500 then.
    """
    trace_id = trace_hex(span.trace_id)
    tags = _tags(span.attributes)
    if scope.name:
        tags.append(tag("otel.scope.name", scope.name))
    if scope.version:
        tags.append(tag("otel.scope.version", scope.version))
    if span.kind in KINDS:
        tags.append(tag("span.kind", KINDS[span.kind]))
    if span.status.code in _STATUS:
        tags.append(tag("otel.status_code", _STATUS[span.status.code]))
        if span.status.code == 2:
            tags = [item for item in tags if item["key"] != "error"]
            tags.append(tag("error", value=True))
    if span.status.message:
        tags.append(tag("otel.status_description", span.status.message))
    if span.trace_state:
        tags.append(tag("w3c.tracestate", span.trace_state))
    references = []
    if any(span.parent_span_id):
        references.append({"refType": "CHILD_OF", "traceID": trace_id, "spanID": span.parent_span_id.hex()})
    references += [
        {"refType": "FOLLOWS_FROM", "traceID": trace_hex(link.trace_id), "spanID": link.span_id.hex()}
        for link in span.links
    ]
    start = span.start_time_unix_nano // 1000
    return {
        "traceID": trace_id,
        "spanID": span.span_id.hex(),
        "operationName": span.name,
        "references": references,
        "startTime": start,
        "duration": max(0, span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
        "tags": sorted(tags, key=lambda item: str(item["key"])),
        "logs": [
            {
                "timestamp": event.time_unix_nano // 1000,
                "fields": [tag("event", event.name), *sorted(_tags(event.attributes), key=lambda t: str(t["key"]))],
            }
            for event in span.events
        ],
        "processID": process,
        "warnings": warnings,
    }


def trace_hex(trace_id: bytes) -> str:
    """A trace id as Jaeger writes it: 32 hex digits, or 16 where the upper half is empty."""
    return trace_id[8:].hex() if len(trace_id) == 16 and not any(trace_id[:8]) else trace_id.hex()

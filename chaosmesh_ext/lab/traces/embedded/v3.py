"""Jaeger's `/api/v3`, as far as the product asks it: traces as they were reported, by id and by search.

Anything else of it is refused: events, links and the scope are not written, so whoever reads those needs a real Jaeger.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from multidict import MultiMapping
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from chaosmesh_ext.lab.traces.embedded import golang
from chaosmesh_ext.lab.traces.embedded.convert import duration, parent, plain
from chaosmesh_ext.lab.traces.embedded.store import NO_TRACE, Query, Stored

__all__ = ["NotHere", "raw_only", "result", "search_query"]

_SEARCH = {
    "query.service_name",
    "query.operation_name",
    "query.start_time_min",
    "query.start_time_max",
    "query.duration_min",
    "query.duration_max",
    "query.num_traces",
    "query.raw_traces",
}


class NotHere(Exception):
    """The embedded store does not know this; the text says what."""


def raw_only(asked: MultiMapping[str], name: str, known: Iterable[str]) -> None:
    """Refuse what is not implemented: other parameters than KNOWN, and traces that would be mended."""
    if unknown := sorted(set(asked) - set(known)):
        raise NotHere(f"the parameter {unknown[0]}")
    if asked.get(name, "") != "true":
        raise NotHere(f"/api/v3 without {name}=true")


def search_query(asked: MultiMapping[str]) -> Query:
    """The search that ASKED describes. Raises NotHere, and ValueError for what cannot be read."""
    raw_only(asked, "query.raw_traces", _SEARCH)
    start, end = asked.get("query.start_time_min", ""), asked.get("query.start_time_max", "")
    if not start or not end:
        raise NotHere("a search without query.start_time_min and query.start_time_max")
    return Query(
        asked.get("query.service_name", ""),
        asked.get("query.operation_name", ""),
        _nanoseconds(start),
        _nanoseconds(end),
        golang.duration(asked.get("query.duration_min", "") or "0"),
        golang.duration(asked.get("query.duration_max", "") or "0"),
        {},
        int(asked.get("query.num_traces", "") or "100"),
    )


def result(stored: Iterable[Stored]) -> dict[str, Any]:
    """The answer with the spans in STORED."""
    by_process: dict[tuple[int, str], list[Stored]] = {}
    for item in stored:
        by_process.setdefault((id(item.resource), item.service), []).append(item)
    return {"result": {"resourceSpans": [_process(items) for items in by_process.values()]}}


def _process(items: list[Stored]) -> dict[str, Any]:
    named = [{"key": "service.name", "value": {"stringValue": items[0].service}}]
    others = [_attribute(a.key, a.value) for a in items[0].resource.attributes if a.key != "service.name"]
    return {
        "resource": {"attributes": [*others, *named]},
        "scopeSpans": [{"scope": {}, "spans": [_span(item) for item in items]}],
    }


def _span(item: Stored) -> dict[str, Any]:
    span = item.span
    written: dict[str, Any] = {
        "traceId": (span.trace_id or NO_TRACE).hex(),
        "spanId": (span.span_id or bytes(8)).hex(),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_time_unix_nano),
        "endTimeUnixNano": str(span.start_time_unix_nano + duration(span)),
        "attributes": [_attribute(a.key, a.value) for a in span.attributes],
        "status": {"code": span.status.code} if span.status.code else {},
    }
    if above := parent(span):
        written["parentSpanId"] = above.hex()
    return written


def _attribute(key: str, value: AnyValue) -> dict[str, Any]:
    return {"key": key, "value": _value(value)}


def _value(value: AnyValue) -> dict[str, Any]:
    """OTLP's; lists and maps are stored as texts."""
    match value.WhichOneof("value"):
        case "string_value":
            return {"stringValue": value.string_value}
        case "bool_value":
            return {"boolValue": value.bool_value}
        case "int_value":
            return {"intValue": str(value.int_value)}
        case "double_value":
            number = value.double_value
            return {"doubleValue": number if math.isfinite(number) else _word(number)}
        case "bytes_value":
            return {"bytesValue": b64encode(value.bytes_value).decode()}
    return {"stringValue": plain(value)}


def _word(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _nanoseconds(text: str) -> int:
    """RFC 3339 to the microsecond."""
    moment = datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * 10**9 + moment.microsecond * 1000

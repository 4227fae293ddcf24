"""A trace as Jaeger's query API writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chaosmesh_ext.lab.traces.embedded.convert import JaegerSpan, convert, process_tags
from chaosmesh_ext.lab.traces.embedded.mends import mend
from chaosmesh_ext.lab.traces.embedded.store import Stored

__all__ = ["trace_json"]


def trace_json(stored: Sequence[Stored], *, raw: bool = False) -> dict[str, Any]:
    """The spans of one trace with their processes. raw: without what Jaeger's query service mends.

    Raises ValueError for a value that JSON cannot hold, in Jaeger's words.
    """
    resources = {id(item.resource): item.resource for item in stored}
    try:
        tags = {key: process_tags(resource) for key, resource in resources.items()}
        spans = [convert(item.span, item.scope, item.service, tags[id(item.resource)]) for item in stored]
    except ValueError as error:
        raise ValueError(f"failed writing HTTP response: failed marshalling HTTP response to JSON: {error}") from error
    if not raw:
        spans = mend(spans)
    return {
        "traceID": spans[0].json["traceID"],
        "spans": [span.json for span in spans],
        "processes": _processes(spans),
        "warnings": None,
    }


def _processes(spans: Sequence[JaegerSpan]) -> dict[str, Any]:
    """The processes by their numbers, which the spans are told."""
    described: dict[str, Any] = {}
    numbers: dict[bytes, str] = {}
    by_identity: dict[tuple[int, str], str] = {}
    for span in spans:
        identity = (id(span.tags), span.service)
        number = by_identity.get(identity)
        if number is None:
            process = {"serviceName": span.service, "tags": span.tags}
            number = numbers.setdefault(msgspec.json.encode(process), f"p{len(numbers) + 1}")
            by_identity[identity] = number
            described[number] = process
        span.json["processID"] = number
    return described

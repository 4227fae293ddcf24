"""OTLP over HTTP: what is taken, and how the rest is refused, as the receiver in Jaeger does."""

from __future__ import annotations

import base64
import json
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chaosmesh_ext.lab.traces.embedded.lenient import with_readable_texts

__all__ = ["LARGEST_EXPORT", "Unreadable", "body_of", "receive", "refusal", "taken"]

LARGEST_EXPORT = 20 * 1024 * 1024
"""Bytes, unpacked: Jaeger's bound."""

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_ENCODINGS = ("", "gzip", "deflate")
_INVALID_ARGUMENT = 3
_BAD_JSON = (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError)
_SPAN_IDS = ("traceId", "spanId", "parentSpanId")


class Unreadable(Exception):
    """The export cannot be taken; the text says why."""


async def body_of(request: web.Request) -> bytes:
    """What was sent, unpacked; raises Unreadable."""
    encoding = request.headers.get("content-encoding", "")
    if encoding not in _ENCODINGS:
        raise Unreadable(f"unsupported Content-Encoding: {encoding}")
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Unreadable("http: request body too large") from None
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise Unreadable(f"{encoding or 'the body'}: cannot be read to its end") from error


def receive(kind: str, body: bytes) -> ExportTraceServiceRequest:
    """The export in BODY, of the content type KIND, each id in it empty or of its right length.

    Raises Unreadable; then nothing of it is to be kept.
    """
    export = ExportTraceServiceRequest()
    if kind == _JSON:
        try:
            json_format.ParseDict(_with_bytes(json.loads(body)), export, ignore_unknown_fields=True)
        except _BAD_JSON as error:
            raise Unreadable(f"cannot read the export: {error}") from error
    else:
        try:
            export.ParseFromString(body)
        except DecodeError as error:
            try:
                export.ParseFromString(with_readable_texts(body))
            except DecodeError:
                raise Unreadable(f"cannot read the export: {str(error).rpartition(': ')[2]}") from error
    _check_ids(export)
    return export


def _check_ids(export: ExportTraceServiceRequest) -> None:
    for span in (s for r in export.resource_spans for scope in r.scope_spans for s in scope.spans):
        traces = [span.trace_id, *(link.trace_id for link in span.links)]
        if any(len(identity) not in (0, 16) for identity in traces):
            raise Unreadable("unmarshal: invalid TraceID length")
        spans = [span.span_id, span.parent_span_id, *(link.span_id for link in span.links)]
        if any(len(identity) not in (0, 8) for identity in spans):
            raise Unreadable("unmarshal: invalid SpanID length")


def _with_bytes(export: Any) -> Any:
    """OTLP's JSON writes ids in hex where protobuf's JSON has base64."""
    export = {} if export is None else export
    for resource in export.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                for holder in (span, *span.get("links", [])):
                    for field in _SPAN_IDS:
                        if holder.get(field):
                            holder[field] = base64.b64encode(bytes.fromhex(holder[field])).decode()
    return export


def taken(kind: str) -> web.Response:
    """The answer to an export that was kept."""
    if kind == _JSON:
        return web.Response(body=b'{"partialSuccess":{}}', headers={"content-type": _JSON})
    return web.Response(body=b"\n\x00", content_type=_PROTOBUF)  # an empty partial_success


def refusal(kind: str, words: str) -> web.Response:
    """A google.rpc.Status, written as the export was."""
    if kind == _JSON:
        text = json.dumps({"code": _INVALID_ARGUMENT, "message": words}, ensure_ascii=False)
        return web.Response(status=400, body=text.encode(), headers={"content-type": _JSON})
    message = words.encode("ascii", "replace")[:127]
    return web.Response(
        status=400, body=bytes([8, _INVALID_ARGUMENT, 18, len(message)]) + message, content_type=_PROTOBUF
    )

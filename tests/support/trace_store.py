"""A trace store under test, and spans as OTLP has them: what is sent and asked goes over real sockets."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["BASE", "KINDS", "PROTOBUF", "Reply", "Store", "an_id", "export", "span"]

PROTOBUF = "application/x-protobuf"
BASE = time.time_ns() // 10**9 * 10**9 - 600 * 10**9
"""Nanoseconds: the whole second, ten minutes ago, from which the times of all spans are counted."""

KINDS = {"": 0, "internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUS = {"": 0, "OK": 1, "ERROR": 2}
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def an_id() -> bytes:
    """A trace id that nobody else has."""
    return secrets.token_bytes(16)


def _fill(value: AnyValue, plain: Any) -> None:
    match plain:
        case None:
            pass
        case bool():
            value.bool_value = plain
        case int():
            value.int_value = plain
        case float():
            value.double_value = plain
        case str():
            value.string_value = plain
        case bytes():
            value.bytes_value = plain
        case dict():
            value.kvlist_value.SetInParent()
            _attributes(value.kvlist_value.values, plain)
        case _:
            value.array_value.SetInParent()
            for item in plain:
                _fill(value.array_value.values.add(), item)


def _attributes(target: Any, pairs: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
    for key, plain in pairs.items() if isinstance(pairs, Mapping) else pairs:
        added = target.add(key=key)
        _fill(added.value, plain)


def span(
    number: int,
    parent: int = 0,
    *,
    name: str = "op",
    kind: str = "server",
    at: float = 0.0,
    took: float = 5.0,
    attributes: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
    links: Iterable[tuple[bytes, int, Mapping[str, Any]]] = (),
    events: Iterable[tuple[str, Mapping[str, Any]]] = (),
    status: str = "",
    message: str = "",
    trace_state: str = "",
) -> Span:
    """A span without its trace. at, took: milliseconds, from `BASE`. links: trace, number of the span, attributes."""
    made = Span(
        span_id=number.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        name=name,
        kind=KINDS[kind],
        start_time_unix_nano=BASE + round(at * 1e6),
        end_time_unix_nano=BASE + round((at + took) * 1e6),
        trace_state=trace_state,
    )
    made.status.code, made.status.message = _STATUS[status], message
    _attributes(made.attributes, attributes)
    for trace, linked, pairs in links:
        _attributes(made.links.add(trace_id=trace, span_id=linked.to_bytes(8, "big")).attributes, pairs)
    for title, pairs in events:
        _attributes(made.events.add(time_unix_nano=made.start_time_unix_nano + 1_500_000, name=title).attributes, pairs)
    return made


def export(
    trace: bytes,
    *spans: Span,
    service: str | None,
    resource: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
    scope: tuple[str, str] = ("", ""),
) -> ExportTraceServiceRequest:
    """SPANS of TRACE by SERVICE; None for a resource without a name."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    if service is not None:
        _attributes(resource_spans.resource.attributes, {"service.name": service})
    _attributes(resource_spans.resource.attributes, resource)
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name, scope_spans.scope.version = scope
    for each in spans:
        made = scope_spans.spans.add()
        made.CopyFrom(each)
        made.trace_id = trace
    return request


@dataclass
class Reply:
    """An HTTP answer. kind: its content type without parameters."""

    status: int
    kind: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def words(self) -> str:
        """Status, content type, and what Jaeger says is wrong."""
        if self.kind.startswith("text/html"):
            return f"{self.status} {self.kind}"
        errors = self.json["errors"] or []
        return " ".join([str(self.status), self.kind, *(error["msg"] for error in errors)])


@dataclass
class Store:
    """A running trace store. side: ``embedded`` or ``real``."""

    side: str
    url: str
    otlp: str
    _sent: Counter[bytes] = field(default_factory=Counter)

    def fetch(self, url: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Reply:
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        request = urllib.request.Request(url, data=body, headers=names, method=method)
        try:
            with _OPENER.open(request, timeout=10) as reply:
                return Reply(reply.status, reply.headers["content-type"], reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers["content-type"], error.read())

    def get(self, path: str, query: Mapping[str, Any] | None = None, **more: Any) -> Reply:
        """Ask Jaeger's API; a list in the query is sent once for each item."""
        asked = urllib.parse.urlencode({**(query or {}), **more}, doseq=True)
        return self.fetch(self.url + path + (f"?{asked}" if asked else ""))

    def post(self, body: bytes, kind: str = PROTOBUF, path: str = "/v1/traces", **headers: str) -> Reply:
        """Export BODY as it is."""
        return self.fetch(self.otlp + path, body, content_type=kind, **headers)

    def send(self, trace: bytes, *spans: Span, service: str | None, **more: Any) -> None:
        """Export SPANS of TRACE and wait until they can be asked for."""
        reply = self.post(export(trace, *spans, service=service, **more).SerializeToString())
        assert reply.status == 200, reply.body
        self.expect(trace, len(spans))

    def expect(self, trace: bytes, more: int) -> None:
        """Wait until MORE spans of TRACE are there than before."""
        trace = trace or bytes(16)
        self._sent[trace] += more
        deadline = time.monotonic() + 60
        while self.count(trace) < self._sent[trace]:
            assert time.monotonic() < deadline, f"{self.count(trace)} of {self._sent[trace]} spans are there"
            time.sleep(0.001)

    def count(self, trace: bytes) -> int:
        """How many spans of TRACE are there; as many as were sent when one of them cannot be written."""
        reply = self.get(f"/api/traces/{trace.hex()}", raw="true")
        if reply.status == 500:
            return self._sent[trace]
        return len(reply.json["data"][0]["spans"]) if reply.status == 200 else 0

    def trace(self, trace: bytes, **query: Any) -> dict[str, Any]:
        """The trace in Jaeger's JSON, its spans by their operations' names."""
        reply = self.get(f"/api/traces/{trace.hex()}", query)
        assert reply.status == 200, reply.body
        (found,) = reply.json["data"]
        found["spans"].sort(key=lambda each: each["operationName"])
        return found

    def one(self, trace: bytes, **query: Any) -> dict[str, Any]:
        """The only span of TRACE."""
        (found,) = self.trace(trace, **query)["spans"]
        return found

    def found(self, service: str, names: Mapping[bytes, str], query: Mapping[str, Any] | None = None) -> str:
        """The traces that a search finds, by the names that the test gave them, in order of the names."""
        reply = self.get("/api/traces", {"service": service, **(query or {})})
        assert reply.status == 200, reply.body
        return (
            " ".join(sorted(names[bytes.fromhex(each["traceID"].zfill(32))] for each in reply.json["data"])) or "none"
        )

"""Zipkin as a source of traces.

Its traps, all met on a real server (3.5): names are lower-cased; a search gives ten traces unless told, and speaks of
when a trace began; a client and a server may share one span id; a span may come in pieces; several traces at once must
be at least two, and no id twice; the low half of a 128-bit id is not found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model import Span, Trace
from chaosmesh_ext.observe.asking import Asker, Refused, padded, wire
from chaosmesh_ext.observe.assembling import assemble
from chaosmesh_ext.observe.collection import without_collection
from chaosmesh_ext.observe.reach import Target
from chaosmesh_ext.observe.tags import Value, peer_of, said_by, service_of

__all__ = ["Zipkin"]

_T = TypeVar("_T")
_BATCH = 40
"""Ids in one request: they stay far below every server's limit for a URL."""

_EARLIER = 60.0
"""Seconds: a search looks at traces that began so much before, of which a later span may be the one that is meant."""


class _Endpoint(msgspec.Struct, gc=False):
    serviceName: str = ""  # noqa: N815 Zipkin's names


class _Span(msgspec.Struct, gc=False):
    traceId: str  # noqa: N815
    id: str
    parentId: str = ""  # noqa: N815
    kind: str = ""
    name: str = ""
    timestamp: int = 0
    duration: int = 0
    shared: bool = False
    localEndpoint: _Endpoint | None = None  # noqa: N815
    remoteEndpoint: _Endpoint | None = None  # noqa: N815
    tags: dict[str, str] = {}

    @property
    def service(self) -> str:
        return self.localEndpoint.serviceName if self.localEndpoint else ""


_SPANS: msgspec.json.Decoder[list[_Span]] = msgspec.json.Decoder(list[_Span])
_LISTS: msgspec.json.Decoder[list[list[_Span]]] = msgspec.json.Decoder(list[list[_Span]])
_NAMES: msgspec.json.Decoder[list[str]] = msgspec.json.Decoder(list[str])


class Zipkin:
    """Reads traces from Zipkin's `/api/v2`.

    url: its base path, without ``/api``, or what `reach.target` makes of the settings. headers: sent with every
    request. timeout: seconds for one request. Every method raises Unreachable when the service does not answer in time,
    or not with sense, and InvalidInput when it refuses what was asked.
    """

    name = "Zipkin"

    def __init__(self, url: str | Target, *, headers: Mapping[str, str] | None = None, timeout: float = 10.0) -> None:
        self._asker = Asker("Zipkin", url, example="http://localhost:9411", headers=headers, timeout=timeout)
        self.target, self.url = self._asker.target, self._asker.url

    def trace(self, trace_id: str) -> Trace | None:
        """The trace with this id (hex, 64-bit ones too), or None when the store does not have it."""
        path = f"/api/v2/trace/{wire(trace_id)}"
        try:
            found = self._get(path, [], _SPANS)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise self._asker.error(refused) from refused
        return _trace(found) if found else None

    def many(self, ids: Iterable[str]) -> dict[str, Trace]:
        """The traces with these ids, by the ids as they were given; absent ones are left out."""
        given = {padded(trace_id): trace_id for trace_id in ids}
        wanted = list(given)
        if len(wanted) == 1:
            alone = self.trace(wanted[0])
            return {given[wanted[0]]: alone} if alone is not None else {}
        found: dict[str, Trace] = {}
        at = 0
        while at < len(wanted):
            # never a last one alone
            size = _BATCH if len(wanted) - at != _BATCH + 1 else _BATCH - 1
            query = [("traceIds", ",".join(wire(trace_id) for trace_id in wanted[at : at + size]))]
            for spans in self._asked("/api/v2/traceMany", query, _LISTS):
                trace = _trace(spans)
                found[given.get(trace.trace_id, trace.trace_id)] = trace
            at += size
        return found

    def search(self, service: str, *, start: float, end: float, operation: str = "", limit: int = 100) -> list[Trace]:
        """Traces with a span of SERVICE (in whichever case) that began from START to END, seconds since the epoch.

        operation: the name of a span of that service. Of more than LIMIT those that began last; traces that began more
        than a minute before START are not looked at.
        """
        if limit < 1:
            raise InvalidInput(f"limit is {limit}: ask for at least one trace")
        last = math.ceil(end * 1000)
        query = [
            ("serviceName", service),
            ("endTs", str(last)),
            ("lookback", str(last - math.floor((start - _EARLIER) * 1000))),
            ("limit", str(limit)),
        ]
        if operation:
            query.append(("spanName", operation))
        name = service.lower()
        traces = [
            _trace(spans)
            for spans in self._asked("/api/v2/traces", query, _LISTS)
            if any(span.service == name and start * 1e6 <= span.timestamp <= end * 1e6 for span in spans)
        ]
        return sorted(traces, key=lambda trace: trace.spans[0].start if trace.spans else 0.0)

    def services(self) -> list[str]:
        """The services that have spans, as Zipkin writes them: in lower case."""
        names = self._asked("/api/v2/services", [], _NAMES)
        return sorted(names)

    def operations(self, service: str) -> list[str]:
        """The names of the spans of SERVICE, in lower case."""
        names = self._asked("/api/v2/spans", [("serviceName", service)], _NAMES)
        return sorted(names)

    def _asked(self, path: str, query: list[tuple[str, str]], decoder: msgspec.json.Decoder[_T]) -> _T:
        try:
            return self._get(path, query, decoder)
        except Refused as refused:
            raise self._asker.error(refused) from refused

    def _get(self, path: str, query: list[tuple[str, str]], decoder: msgspec.json.Decoder[_T]) -> _T:
        body, _ = self._asker.get(path, query)
        try:
            with without_collection():
                return decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise self._asker.nonsense(path, error) from error


def _trace(found: list[_Span]) -> Trace:
    trace_id = found[0].traceId.lower().zfill(32)
    return assemble(trace_id, [_span(span, trace_id) for span in _whole(found)])


def _whole(found: list[_Span]) -> Iterator[_Span]:
    """The spans of FOUND, whose pieces are put together; those of which no piece says when it began are left out."""
    spans: dict[tuple[str, bool, str], _Span] = {}
    for piece in found:
        key = (piece.id, piece.shared, piece.service)
        whole = spans.setdefault(key, piece)
        if whole is not piece:
            whole.tags = whole.tags | piece.tags
            for name in ("parentId", "kind", "name", "timestamp", "duration", "remoteEndpoint"):
                if not getattr(whole, name):
                    setattr(whole, name, getattr(piece, name))
    return (span for span in spans.values() if span.timestamp)


def _span(raw: _Span, trace_id: str) -> Span:
    tags: dict[str, Value] = {**raw.tags, "span.kind": raw.kind.lower() or None}
    if "error" in raw.tags:
        # the tag itself says it: its value is a message, or nothing
        tags["error"] = raw.tags["error"].lower() != "false"
    facts = said_by(tags.get, raw.service, "")
    peer, namespace = facts.peer, facts.workload.namespace
    if peer is None:
        remote = raw.remoteEndpoint.serviceName if raw.remoteEndpoint else ""
        peer = service_of(remote, namespace) if remote else peer_of(facts.url, raw.name, namespace)
    return Span(
        trace_id=trace_id,
        span_id=raw.id.lower().zfill(16),
        parent_id=raw.parentId.lower().zfill(16) if raw.parentId else "",
        kind=facts.kind,
        operation=raw.name,
        start=raw.timestamp / 1e6,
        duration=raw.duration / 1e6,
        workload=facts.workload,
        peer=peer,
        method=facts.method,
        url=facts.url,
        status=facts.status,
        grpc_status=facts.grpc_status,
        flags=facts.flags,
        error=facts.error,
        proxy=facts.proxy,
        pod=facts.pod,
    )

"""Jaeger's query service as a source of traces.

Its traps, all met on real servers (1.76 and 2): an unknown path is answered with the UI's page and 200; errors are JSON
with content type text/plain; an int64 from 2⁵³ up arrives as text; where clock-skew adjustment is on, spans are moved;
one NaN attribute makes every search that includes it a 500.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import msgspec

from chaosmesh_ext.errors import InvalidInput, Unreachable
from chaosmesh_ext.model import Trace
from chaosmesh_ext.observe.reach import SCHEMES, Target
from chaosmesh_ext.observe.spans import JaegerTrace, to_trace

if TYPE_CHECKING:
    import httpx

__all__ = ["Jaeger"]

_T = TypeVar("_T")
_LOG = logging.getLogger("chaosmesh_ext")
_BATCH = 40
"""Ids in one request: their 40 × 41 characters stay far below every server's limit for a URL."""

_NARROWEST = 0.001
"""Seconds: the smallest window that a search is cut into to get around a trace that Jaeger cannot write."""

_TRACE_ID = re.compile(r"[0-9a-f]{1,32}")


class _Problem(msgspec.Struct, frozen=True):
    msg: str = ""
    code: int = 0
    traceID: str = ""  # noqa: N815 Jaeger's name


class _Envelope(msgspec.Struct, frozen=True):
    data: list[JaegerTrace] | None = None
    errors: list[_Problem] | None = None


class _Names(msgspec.Struct, frozen=True):
    data: list[str] | None = None
    errors: list[_Problem] | None = None


class _Errors(msgspec.Struct, frozen=True):
    errors: list[_Problem] | None = None


_TRACES: msgspec.json.Decoder[_Envelope] = msgspec.json.Decoder(_Envelope)
_NAMES: msgspec.json.Decoder[_Names] = msgspec.json.Decoder(_Names)
_ERRORS: msgspec.json.Decoder[_Errors] = msgspec.json.Decoder(_Errors)


class _Refused(Exception):
    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Jaeger:
    """Reads traces from Jaeger's `/api` (version 1 or 2).

    url: its base path, without ``/api``, or what `reach.target` makes of the settings. headers: sent with every
    request, e.g. Authorization. timeout: seconds for one request. Every method raises Unreachable when the service does
    not answer in time, or not with sense, and InvalidInput when it refuses what was asked.
    """

    def __init__(self, url: str | Target, *, headers: Mapping[str, str] | None = None, timeout: float = 10.0) -> None:
        shown = url.url if isinstance(url, Target) else url
        if not shown.startswith(SCHEMES):
            raise InvalidInput(f"{shown!r} is not Jaeger's address: set JAEGER_URL, e.g. to http://localhost:16686")
        self.target = Target.of(url, headers)
        self.url = self.target.url.rstrip("/")
        self._headers = self.target.headers
        self._timeout = timeout

    def trace(self, trace_id: str) -> Trace | None:
        """The trace with this id (hex, 64-bit ones too), or None when the store does not have it."""
        wire = _wire(trace_id)
        try:
            envelope = self._traces(f"/api/traces/{wire}", [])
        except _Refused as refused:
            if refused.status == 404:
                return None
            raise self._error(refused) from refused
        return next(iter(self._converted(envelope)), None)

    def many(self, ids: Iterable[str]) -> dict[str, Trace]:
        """The traces with these ids, by the ids as they were given; absent ones are left out."""
        given = {_padded(trace_id): trace_id for trace_id in ids}
        found: dict[str, Trace] = {}
        padded = list(given)
        for at in range(0, len(padded), _BATCH):
            query = [("traceID", _wire(trace_id)) for trace_id in padded[at : at + _BATCH]]
            try:
                envelope = self._traces("/api/traces", query)
            except _Refused as refused:
                raise self._error(refused) from refused
            if problems := [p.msg for p in envelope.errors or () if "not found" not in p.msg]:
                raise Unreachable(f"Jaeger at {self.url} could not read traces: {problems[0]}")
            for trace in self._converted(envelope):
                found[given.get(trace.trace_id, trace.trace_id)] = trace
        return found

    def search(
        self,
        service: str,
        *,
        start: float,
        end: float,
        operation: str = "",
        limit: int = 100,
        tags: Mapping[str, str] | None = None,
        min_duration: float = 0.0,
        max_duration: float = 0.0,
    ) -> list[Trace]:
        """Traces with a span of SERVICE, Jaeger's name for it, e.g. ``productpage.default``.

        start, end: seconds since the epoch, of that span's start. operation, tags, min_duration, max_duration
        (seconds, 0 for no limit): of one and the same span. limit: the newest are kept. A tag ``error`` is judged
        here, on any span of the trace, because Jaeger 2 answers it wrongly.
        """
        wanted = dict(tags or {})
        error = wanted.pop("error", None)
        if limit < 1:
            raise InvalidInput(f"limit is {limit}: ask for at least one trace")
        query = [("service", service), ("limit", str(limit))]
        if operation:
            query.append(("operation", operation))
        if wanted:
            query.append(("tags", json.dumps(wanted)))
        query += [
            (name, f"{round(value * 1e6)}us")
            for name, value in (("minDuration", min_duration), ("maxDuration", max_duration))
            if value > 0
        ]
        found = {trace.trace_id: trace for trace in self._windows(query, start, end)}
        traces = sorted(found.values(), key=_began)[-limit:]
        if error is not None:
            traces = [t for t in traces if any(span.error for span in t.spans) == (error == "true")]
        return traces

    def services(self) -> list[str]:
        """The services that have spans, Jaeger's names for them."""
        return self._names("/api/services")

    def operations(self, service: str) -> list[str]:
        """The names of the spans of SERVICE."""
        return self._names(f"/api/services/{quote(service, safe='')}/operations")

    def _windows(self, query: list[tuple[str, str]], start: float, end: float) -> Iterator[Trace]:
        window = [("start", str(int(start * 1e6))), ("end", str(int(end * 1e6) + 1))]
        try:
            envelope = self._traces("/api/traces", query + window)
        except _Refused as refused:
            if refused.status != 500 or "unsupported value" not in str(refused):
                raise self._error(refused) from refused
            if end - start <= _NARROWEST:
                _LOG.warning("Jaeger cannot write a trace of %s (%s): it is left out", dict(query)["service"], refused)
                return
        else:
            yield from self._converted(envelope)
            return
        middle = (start + end) / 2
        yield from self._windows(query, start, middle)
        yield from self._windows(query, middle, end)

    def _names(self, path: str) -> list[str]:
        try:
            body = self._get(path, [])
        except _Refused as refused:
            raise self._error(refused) from refused
        return sorted(self._decoded(_NAMES, body, path).data or ())

    def _traces(self, path: str, query: list[tuple[str, str]]) -> _Envelope:
        return self._decoded(_TRACES, self._get(path, query), path)

    def _converted(self, envelope: _Envelope) -> Iterator[Trace]:
        for raw in envelope.data or ():
            if not raw.adjusted:
                yield to_trace(raw)
                continue
            try:
                again = self._traces(f"/api/traces/{raw.traceID}", [("raw", "true")])
            except _Refused as refused:
                raise self._error(refused) from refused
            yield from (to_trace(trace) for trace in again.data or ())

    def _decoded(self, decoder: msgspec.json.Decoder[_T], body: bytes, path: str) -> _T:
        try:
            return decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise Unreachable(f"{self.url}{path} is not what Jaeger's query service answers ({error})") from error

    @cached_property
    def _client(self) -> httpx.Client:
        return self.target.client(keep=True)

    def _get(self, path: str, query: list[tuple[str, str]]) -> bytes:
        import httpx

        try:
            reply = self._client.get(
                self.url + path, params=tuple(query) or None, headers=self._headers, timeout=self._timeout
            )
        except httpx.TimeoutException as error:
            raise Unreachable(
                f"Jaeger at {self.url} did not answer within {self._timeout:g} s: check JAEGER_URL"
            ) from error
        except httpx.HTTPError as error:
            raise Unreachable(f"Jaeger at {self.url} cannot be reached ({error}): check JAEGER_URL") from error
        if reply.status_code == 200 and reply.headers.get("content-type", "").startswith("text/html"):
            raise Unreachable(
                f"{self.url} is not Jaeger's query service: check the base path, without /api or trailing slash"
            )
        if reply.status_code == 200:
            return reply.content
        raise _Refused(reply.status_code, _words(reply.content))

    def _error(self, refused: _Refused) -> Exception:
        if refused.status == 400:
            return InvalidInput(f"Jaeger at {self.url} refused the question: {refused}")
        if refused.status in (401, 403):
            return Unreachable(
                f"Jaeger at {self.url} wants credentials ({refused.status}): set JAEGER_TOKEN or JAEGER_HEADERS"
            )
        return Unreachable(
            f"Jaeger at {self.url} answered {refused.status}: {refused}; look at its log, or check JAEGER_URL"
        )


def _words(body: bytes) -> str:
    try:
        problems = _ERRORS.decode(body).errors or []
    except msgspec.MsgspecError:
        return body[:200].decode(errors="replace").strip() or "nothing"
    return "; ".join(problem.msg for problem in problems) or "nothing"


def _padded(trace_id: str) -> str:
    lower = trace_id.lower()
    if not _TRACE_ID.fullmatch(lower):
        raise InvalidInput(f"{trace_id!r} is not a trace id: give up to 32 hex digits")
    return lower.zfill(32)


def _wire(trace_id: str) -> str:
    """A 64-bit id without its zeros, as stores that keep ids as text have it."""
    padded = _padded(trace_id)
    return padded[16:] if padded.startswith("0" * 16) else padded


def _began(trace: Trace) -> float:
    return trace.spans[0].start if trace.spans else 0.0

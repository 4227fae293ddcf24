"""Jaeger's query service as a source of traces.

Its traps, all met on real servers (1.76 and 2): an unknown path is answered with the UI's page and 200; errors are JSON
with content type text/plain; an int64 from 2⁵³ up arrives as text; where clock-skew adjustment is on, spans are moved;
one NaN attribute makes every search that includes it a 500, which `/api/v3` does answer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import quote

import msgspec

from chaosmesh_ext.errors import ChaosMeshError, InvalidInput, Unreachable
from chaosmesh_ext.model import Trace
from chaosmesh_ext.observe.asking import Asker, Refused, padded, wire
from chaosmesh_ext.observe.jaeger_v3 import JaegerV3
from chaosmesh_ext.observe.reach import Target
from chaosmesh_ext.observe.spans import Problem, decode, to_trace

__all__ = ["Jaeger"]

_LOG = logging.getLogger("chaosmesh_ext")
_BATCH = 40
"""Ids in one request: their 40 × 41 characters stay far below every server's limit for a URL."""

_NARROWEST = 0.001
"""Seconds: the smallest window that a search is cut into to get around a trace that Jaeger cannot write."""


class _Names(msgspec.Struct, frozen=True):
    data: list[str] | None = None


class _Errors(msgspec.Struct, frozen=True):
    errors: list[Problem] | None = None


_NAMES: msgspec.json.Decoder[_Names] = msgspec.json.Decoder(_Names)
_ERRORS: msgspec.json.Decoder[_Errors] = msgspec.json.Decoder(_Errors)


class Jaeger:
    """Reads traces from Jaeger's `/api` (version 1 or 2), and from `/api/v3` what that cannot write.

    url: its base path, without ``/api``, or what `reach.target` makes of the settings. headers: sent with every
    request, e.g. Authorization. timeout: seconds for one request. Every method raises Unreachable when the service does
    not answer in time, or not with sense, and InvalidInput when it refuses what was asked.
    """

    name = "Jaeger"

    def __init__(self, url: str | Target, *, headers: Mapping[str, str] | None = None, timeout: float = 10.0) -> None:
        self._asker = Asker("Jaeger", url, example="http://localhost:16686", headers=headers, timeout=timeout)
        self._v3 = JaegerV3(self._asker)
        self.target, self.url = self._asker.target, self._asker.url

    def trace(self, trace_id: str) -> Trace | None:
        """The trace with this id (hex, 64-bit ones too), or None when the store does not have it."""
        try:
            traces, _ = self._traces(f"/api/traces/{wire(trace_id)}", [])
        except Refused as refused:
            if refused.status == 404:
                return None
            return self._rewritten(trace_id, refused)
        return next(iter(traces), None)

    def many(self, ids: Iterable[str]) -> dict[str, Trace]:
        """The traces with these ids, by the ids as they were given; absent ones are left out."""
        given = {padded(trace_id): trace_id for trace_id in ids}
        found: dict[str, Trace] = {}
        wanted = list(given)
        for at in range(0, len(wanted), _BATCH):
            batch = wanted[at : at + _BATCH]
            try:
                traces, problems = self._traces("/api/traces", [("traceID", wire(trace_id)) for trace_id in batch])
            except Refused as refused:
                traces = [t for t in (self._rewritten(trace_id, refused) for trace_id in batch) if t is not None]
                problems = []
            if words := [problem.msg for problem in problems if "not found" not in problem.msg]:
                raise Unreachable(f"Jaeger at {self.url} could not read traces: {words[0]}")
            for trace in traces:
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
        found = {
            trace.trace_id: trace
            for trace in self._found(
                query,
                start,
                end,
                None
                if wanted
                else lambda: self._v3.search(
                    service,
                    start=start,
                    end=end,
                    operation=operation,
                    limit=limit,
                    min_duration=min_duration,
                    max_duration=max_duration,
                ),
            )
        }
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

    def _found(
        self, query: list[tuple[str, str]], start: float, end: float, otherwise: Callable[[], list[Trace]] | None
    ) -> Iterable[Trace]:
        """What QUERY finds; what OTHERWISE does where Jaeger cannot write a trace of it, or all traces but that one."""
        try:
            return self._window(query, start, end)
        except Refused as refused:
            if not _unwritable(refused):
                raise self._error(refused) from refused
        if otherwise is not None:
            try:
                return otherwise()
            except (Refused, Unreachable) as problem:
                _LOG.debug("Jaeger's /api/v3 does not help: %s", problem)
        return list(self._around(query, start, end))

    def _window(self, query: list[tuple[str, str]], start: float, end: float) -> list[Trace]:
        window = [("start", str(int(start * 1e6))), ("end", str(int(end * 1e6) + 1))]
        return self._traces("/api/traces", query + window)[0]

    def _around(self, query: list[tuple[str, str]], start: float, end: float) -> Iterator[Trace]:
        """Halve the window until what cannot be written is alone."""
        try:
            yield from self._window(query, start, end)
        except Refused as refused:
            if not _unwritable(refused):
                raise self._error(refused) from refused
            if end - start <= _NARROWEST:
                _LOG.warning("Jaeger cannot write a trace of %s (%s): it is left out", dict(query)["service"], refused)
                return
        else:
            return
        middle = (start + end) / 2
        yield from self._around(query, start, middle)
        yield from self._around(query, middle, end)

    def _rewritten(self, trace_id: str, refused: Refused) -> Trace | None:
        """The trace as `/api/v3` writes it, where that is what `/api` cannot; raises what REFUSED means otherwise."""
        if _unwritable(refused):
            try:
                return self._v3.trace(trace_id)
            except (Refused, Unreachable) as problem:
                _LOG.debug("Jaeger's /api/v3 does not help: %s", problem)
        raise self._error(refused) from refused

    def _names(self, path: str) -> list[str]:
        try:
            body = self._get(path, [])
        except Refused as refused:
            raise self._error(refused) from refused
        try:
            return sorted(_NAMES.decode(body).data or ())
        except msgspec.MsgspecError as error:
            raise self._nonsense(path, error) from error

    def _traces(self, path: str, query: list[tuple[str, str]]) -> tuple[list[Trace], list[Problem]]:
        """The traces, clocks as they were, and the errors beside them. Raises Refused."""
        body = self._get(path, query)
        try:
            adjusted, traces, problems = decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._nonsense(path, error) from error
        for moved in adjusted:
            if ("raw", "true") in query:
                traces.append(to_trace(moved))
            else:
                traces += self._traces(f"/api/traces/{moved.traceID}", [("raw", "true")])[0]
        return traces, problems

    def _get(self, path: str, query: list[tuple[str, str]]) -> bytes:
        body, kind = self._asker.get(path, query)
        if kind.startswith("text/html"):
            raise Unreachable(
                f"{self.url} is not Jaeger's query service: check the base path, without /api or trailing slash"
            )
        return body

    def _nonsense(self, path: str, error: Exception) -> Unreachable:
        return Unreachable(f"{self.url}{path} is not what Jaeger's query service answers ({error})")

    def _error(self, refused: Refused) -> ChaosMeshError:
        return self._asker.error(Refused(refused.status, _words(str(refused))))


def _unwritable(refused: Refused) -> bool:
    return refused.status == 500 and "unsupported value" in str(refused)


def _words(said: str) -> str:
    try:
        problems = _ERRORS.decode(said).errors or []
    except msgspec.MsgspecError:
        return said[:200]
    return "; ".join(problem.msg for problem in problems) or "nothing"


def _began(trace: Trace) -> float:
    return trace.spans[0].start if trace.spans else 0.0

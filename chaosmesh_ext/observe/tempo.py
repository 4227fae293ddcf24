"""Tempo as a source of traces; built from its documented shapes, and never run against a real one.

Its traps, as documented and as people report them: a trace is OTLP with base64 ids under `batches`, and only since its
second API under `resourceSpans`; a search gives summaries, twenty unless told, whose ids have lost their leading zeros;
start and end are whole seconds; a trace may be only a part of what there is, and the second API says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from chaosmesh_ext.errors import InvalidInput, Unreachable
from chaosmesh_ext.model import Trace
from chaosmesh_ext.observe.asking import Asker, Refused, padded
from chaosmesh_ext.observe.otlp import ResourceSpans, to_traces
from chaosmesh_ext.observe.reach import Target

__all__ = ["Tempo"]

_T = TypeVar("_T")


class _Found(msgspec.Struct, frozen=True):
    """A trace of `/api/traces/…`, by both names of its list; `/api/v2/traces/…` has it below `trace`."""

    batches: list[ResourceSpans] | None = None
    resourceSpans: list[ResourceSpans] | None = None  # noqa: N815 OTLP's name


class _Second(msgspec.Struct, frozen=True):
    trace: _Found | None = None
    status: str | int = ""
    message: str = ""


class _Summary(msgspec.Struct, frozen=True):
    traceID: str  # noqa: N815 Tempo's names


class _Summaries(msgspec.Struct, frozen=True):
    traces: list[_Summary] | None = None


class _Value(msgspec.Struct, frozen=True):
    value: str = ""


class _Values(msgspec.Struct, frozen=True):
    tagValues: list[_Value | str] | None = None  # noqa: N815


_FOUND: msgspec.json.Decoder[_Found] = msgspec.json.Decoder(_Found)
_SECOND: msgspec.json.Decoder[_Second] = msgspec.json.Decoder(_Second)
_SUMMARIES: msgspec.json.Decoder[_Summaries] = msgspec.json.Decoder(_Summaries)
_VALUES: msgspec.json.Decoder[_Values] = msgspec.json.Decoder(_Values)


class Tempo:
    """Reads traces from Tempo's HTTP API.

    url: its base path, without ``/api``, or what `reach.target` makes of the settings. headers: sent with every
    request, e.g. X-Scope-OrgID. timeout: seconds for one request. Every method raises Unreachable when the service does
    not answer in time, or not with sense, and InvalidInput when it refuses what was asked.
    """

    name = "Tempo"

    def __init__(self, url: str | Target, *, headers: Mapping[str, str] | None = None, timeout: float = 10.0) -> None:
        self._asker = Asker("Tempo", url, example="http://localhost:3200", headers=headers, timeout=timeout)
        self.target, self.url = self._asker.target, self._asker.url
        self._second = True
        """It has, as far as is known, the second API for traces (from 2.7 on)."""

    def trace(self, trace_id: str) -> Trace | None:
        """The trace with this id (hex, 64-bit ones too), or None when the store does not have it.

        Raises Unreachable when it is only a part.
        """
        whole = padded(trace_id)
        if self._second:
            path = f"/api/v2/traces/{whole}"
            try:
                found = self._decoded(path, self._asker.get(path)[0], _SECOND)
            except Refused as refused:
                if refused.status != 404:
                    raise self._asker.error(refused) from refused
            else:
                if str(found.status).lower() in ("partial", "1"):
                    raise Unreachable(f"Tempo at {self.url} has only a part of trace {whole}: {found.message}")
                return self._one(path, found.trace)
        path = f"/api/traces/{whole}"
        try:
            first = self._decoded(path, self._asker.get(path)[0], _FOUND)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise self._asker.error(refused) from refused
        # found by the first API alone: there is no second
        self._second = False
        return self._one(path, first)

    def many(self, ids: Iterable[str]) -> dict[str, Trace]:
        """The traces with these ids, by the ids as they were given, one request each; absent ones are left out."""
        found = {trace_id: self.trace(trace_id) for trace_id in ids}
        return {trace_id: trace for trace_id, trace in found.items() if trace is not None}

    def search(self, service: str, *, start: float, end: float, operation: str = "", limit: int = 100) -> list[Trace]:
        """Traces with a span of SERVICE from START to END, seconds since the epoch.

        operation: the name of a span of that service. Of more than LIMIT, Tempo chooses.
        """
        if limit < 1:
            raise InvalidInput(f"limit is {limit}: ask for at least one trace")
        asked = f"resource.service.name = {json.dumps(service, ensure_ascii=False)}"
        if operation:
            asked += f" && name = {json.dumps(operation, ensure_ascii=False)}"
        query = [
            ("q", f"{{ {asked} }}"),
            ("start", str(math.floor(start))),
            ("end", str(max(math.ceil(end), math.floor(start) + 1))),
            ("limit", str(limit)),
        ]
        summaries = self._asked("/api/search", query, _SUMMARIES).traces or ()
        found = self.many(dict.fromkeys(summary.traceID for summary in summaries)).values()
        traces = [trace for trace in found if any(start <= span.start <= end for span in trace.spans)]
        return sorted(traces, key=lambda trace: trace.spans[0].start if trace.spans else 0.0)

    def services(self) -> list[str]:
        """The services that have spans."""
        return self._values("resource.service.name", "service.name")

    def _values(self, scoped: str, name: str) -> list[str]:
        path = f"/api/v2/search/tag/{scoped}/values"
        try:
            found = self._decoded(path, self._asker.get(path)[0], _VALUES)
        except Refused as refused:
            if refused.status != 404:
                raise self._asker.error(refused) from refused
            found = self._asked(f"/api/search/tag/{name}/values", [], _VALUES)
        return sorted(each if isinstance(each, str) else each.value for each in found.tagValues or ())

    def _asked(self, path: str, query: list[tuple[str, str]], decoder: msgspec.json.Decoder[_T]) -> _T:
        try:
            return self._decoded(path, self._asker.get(path, query)[0], decoder)
        except Refused as refused:
            raise self._asker.error(refused) from refused

    def _decoded(self, path: str, body: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
        try:
            return decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise self._asker.nonsense(path, error) from error

    def _one(self, path: str, found: _Found | None) -> Trace | None:
        try:
            return next(iter(to_traces((found.resourceSpans or found.batches) if found else None)), None)
        except ValueError as error:
            raise self._asker.nonsense(path, error) from error

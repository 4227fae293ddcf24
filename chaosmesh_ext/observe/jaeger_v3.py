"""Jaeger's `/api/v3`: read where `/api` cannot write a trace, because a number in it is NaN or infinite.

Its traps: OTLP as text/plain; nothing found is a 404; start and end are required, and a number of traces by version 2;
it has no filter for tags; an unknown path is answered with the UI's page, as everywhere in Jaeger.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from chaosmesh_ext.model import Trace
from chaosmesh_ext.observe.asking import Asker, Refused, wire
from chaosmesh_ext.observe.otlp import ResourceSpans, to_traces

__all__ = ["JaegerV3"]


class _Result(msgspec.Struct, frozen=True):
    resourceSpans: list[ResourceSpans] | None = None  # noqa: N815 OTLP's name


class _Reply(msgspec.Struct, frozen=True):
    result: _Result


_REPLY: msgspec.json.Decoder[_Reply] = msgspec.json.Decoder(_Reply)


class JaegerV3:
    """Asks the server of ASKER. Every method raises Refused, and Unreachable for an answer that makes no sense."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def trace(self, trace_id: str) -> Trace | None:
        """The trace with this id, its times as they were reported, or None."""
        return next(iter(self._traces(f"/api/v3/traces/{wire(trace_id)}", [("raw_traces", "true")])), None)

    def search(
        self,
        service: str,
        *,
        start: float,
        end: float,
        operation: str = "",
        limit: int = 100,
        min_duration: float = 0.0,
        max_duration: float = 0.0,
    ) -> list[Trace]:
        """As `Jaeger.search`, without tags."""
        query = [
            ("query.service_name", service),
            ("query.start_time_min", _moment(start)),
            ("query.start_time_max", _moment(end + 1e-6)),
            ("query.num_traces", str(limit)),
            ("query.raw_traces", "true"),
        ]
        if operation:
            query.append(("query.operation_name", operation))
        query += [
            (name, f"{round(value * 1e6)}us")
            for name, value in (("query.duration_min", min_duration), ("query.duration_max", max_duration))
            if value > 0
        ]
        return self._traces("/api/v3/traces", query)

    def _traces(self, path: str, query: list[tuple[str, str]]) -> list[Trace]:
        try:
            body, _ = self._asker.get(path, query)
        except Refused as refused:
            if refused.status == 404:
                return []
            raise
        try:
            return to_traces(_REPLY.decode(body).result.resourceSpans)
        except (msgspec.MsgspecError, ValueError) as error:
            raise self._asker.nonsense(path, error) from error


def _moment(seconds: float) -> str:
    """RFC 3339, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

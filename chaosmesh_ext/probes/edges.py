"""The calls on one edge, in traces of the run or of everybody."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.model import Span, Trace
from chaosmesh_ext.observe.jaeger import Jaeger
from chaosmesh_ext.observe.reach import target
from chaosmesh_ext.run import Run

__all__ = ["calls", "jaeger", "most_retries", "traces"]

_MOST = 1000
"""Traces that a search looks at, the newest."""


def jaeger(run: Run, url: str) -> Jaeger:
    """The Jaeger at URL, or the run's own; raises Inconclusive when neither is known."""
    if not (url or run.settings.jaeger_url):
        raise Inconclusive("no trace store is known: set JAEGER_URL, or give jaeger_url")
    return Jaeger(target(run.settings, "jaeger", url))


def traces(run: Run, source: str, cell: str, lookback: float, url: str) -> list[Trace]:
    """The traces of the requests that RUN sent in CELL, by default its current one, once they are complete.

    lookback: seconds; above 0 instead everybody's traces of that time, in which SOURCE took part.
    """
    if lookback < 0 or (lookback and cell):
        raise InvalidInput(f"lookback {lookback!r} is seconds of everybody's traffic: 0 or more, and then without cell")
    store = jaeger(run, url)
    if lookback:
        now = time.time()
        service = _service(store, source)
        return store.search(service, start=now - lookback, end=now, limit=_MOST)
    wanted = cell or run.marker.cell
    for found in run.cells(store):
        if found.id == str(wanted):
            return list(found.traces.values())
    raise InvalidInput(f"this run has no cell {wanted}: 0 is without a fault, 1 the first fault that was injected")


def calls(found: Iterable[Trace], source: str, destination: str) -> list[Span]:
    """The calls from SOURCE (workload or service) to DESTINATION, by their start; raises Inconclusive for none."""
    spans = sorted(
        (
            span
            for trace in found
            for span in trace.calls()
            if span.proxy and source in (str(span.workload), span.workload.service) and span.peer == destination
        ),
        key=lambda span: span.start,
    )
    if not spans:
        raise Inconclusive(
            f"no data: no trace has a call {source} → {destination}; send requests that lead to it, and check the names"
        )
    return spans


def most_retries(found: Sequence[Trace], source: str, destination: str) -> int:
    """The most attempts beyond the first in one request: calls with one parent, method and path that began after one
    of them had failed.
    """
    groups: dict[tuple[str, str, str, str], list[Span]] = {}
    for span in calls(found, source, destination):
        groups.setdefault((span.trace_id, span.parent_id, span.method, span.path), []).append(span)
    return max(_retries(group) for group in groups.values())


def _retries(attempts: Sequence[Span]) -> int:
    return sum(
        any(_failed(earlier) and earlier.end <= later.start for earlier in attempts[:at])
        for at, later in enumerate(attempts)
    )


def _failed(span: Span) -> bool:
    return span.error or span.gone or span.status == 0 or span.status >= 400


def _service(store: Jaeger, source: str) -> str:
    """Jaeger's name for the service that SOURCE is, or is a version of: ``productpage.default``."""
    names = {name.partition(".")[0]: name for name in store.services()}
    fitting = [short for short in names if source == short or source.startswith(f"{short}-")]
    if not fitting:
        raise Inconclusive(f"Jaeger at {store.url} knows no service {source}; it knows {', '.join(sorted(names))}")
    return names[max(fitting, key=len)]

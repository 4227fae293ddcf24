"""The calls on one edge, in traces of the run or of everybody."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.model import Span, Trace
from chaosmesh_ext.observe.jaeger import Jaeger
from chaosmesh_ext.observe.reach import target
from chaosmesh_ext.observe.stores import has_store, store_at, store_of
from chaosmesh_ext.observe.traces import TraceSource
from chaosmesh_ext.probes.configured import number
from chaosmesh_ext.run import Run

__all__ = ["calls", "counts", "failed", "jaeger", "most_retries", "of_proxies", "store", "traces"]

_MOST = 1000
"""Traces that a search looks at, the newest."""


def jaeger(run: Run, url: str) -> Jaeger:
    """The Jaeger at URL, or the run's own; raises Inconclusive when neither is known."""
    if not (url or run.settings.jaeger_url):
        raise Inconclusive("no trace store is known: set JAEGER_URL, or give jaeger_url")
    return Jaeger(target(run.settings, "jaeger", url))


def store(run: Run, url: str, traces_url: str) -> TraceSource:
    """The Jaeger at URL, whatever store is at TRACES_URL, or the one that the settings name."""
    if url and traces_url:
        raise InvalidInput("jaeger_url and traces_url are both given: leave one, traces_url where it may be any store")
    if traces_url:
        return store_at(run.settings, traces_url)
    if url or not has_store(run.settings):
        return jaeger(run, url)
    return store_of(run.settings)


def traces(
    run: Run, source: str, cell: str, lookback: float, url: str = "", traces_url: str = "", *, settled: float = 0.0
) -> list[Trace]:
    """The traces of the requests that RUN sent in CELL, by default its current one, once they are complete.

    lookback: seconds; above 0 instead everybody's traces of that time, in which SOURCE took part. settled: of these
    only those whose last span ended so many seconds ago. Raises Inconclusive when there is none.
    """
    back = number("lookback", lookback)
    if back and cell:
        raise InvalidInput(f"lookback {lookback!r} is seconds of everybody's traffic: 0 or more, and then without cell")
    if back and not source:
        raise InvalidInput("lookback needs a workload whose traces to look at: give service, e.g. productpage")
    asked = store(run, url, traces_url)
    if back:
        now = time.time()
        service = _service(asked, source)
        everybody = asked.search(service, start=now - back, end=now, limit=_MOST)
        found = [t for t in everybody if t.spans and max(span.end for span in t.spans) <= now - settled]
        if not found:
            raise Inconclusive(f"no data: {asked.name} at {asked.url} has no trace of {service} of the last {back:g} s")
        return found
    wanted = str(cell or run.marker.cell)
    cells = {each.id: each for each in run.cells(asked)}
    if wanted not in cells:
        raise InvalidInput(f"this run has no cell {wanted}: 0 is without a fault, 1 the first fault that was injected")
    if not cells[wanted].traces:
        sent = len(cells[wanted].answers)
        raise Inconclusive(f"no data: {asked.name} at {asked.url} has no trace of the {sent} requests of cell {wanted}")
    return list(cells[wanted].traces.values())


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


def counts(found: Iterable[Trace], source: str, destination: str) -> list[int]:
    """By request that came to SOURCE, how many calls to DESTINATION it made; raises Inconclusive for none."""
    made = [
        sum(span.kind == "CLIENT" and span.proxy and span.peer == destination for span in its)
        for trace in found
        if (its := [span for span in trace.spans if source in (str(span.workload), span.workload.service)])
    ]
    if not made:
        raise Inconclusive(
            f"no data: no trace has a span of {source}; send requests that lead to it, or check the name"
        )
    if not any(made) and not any(span.peer == destination for trace in found for span in trace.calls()):
        known = sorted({span.peer for trace in found for span in trace.calls() if span.peer})
        raise Inconclusive(f"no data: nobody calls {destination}; called are {', '.join(known) or 'none'}")
    return made


def of_proxies(found: Iterable[Trace], source: str, destination: str) -> list[Span]:
    """The spans of proxies, of calls from SOURCE or to DESTINATION where given; raises Inconclusive for none."""
    spans = [
        span
        for trace in found
        for span in trace.spans
        if span.proxy
        and (not source or source in (str(span.workload), span.workload.service))
        and (not destination or span.peer == destination)
    ]
    if not spans:
        what = f" {source or '*'} → {destination or '*'}" if source or destination else ""
        raise Inconclusive(f"no data: no span of a proxy{what}; send requests that lead to it, and check the names")
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
        any(failed(earlier) and earlier.end <= later.start for earlier in attempts[:at])
        for at, later in enumerate(attempts)
    )


def failed(span: Span) -> bool:
    """Whether the caller saw a failure: an error, 4xx and every gRPC error included, no answer, or it left before."""
    return span.error or span.gone or span.status == 0 or span.status >= 400 or span.grpc_status not in (None, 0)


def _service(store: TraceSource, source: str) -> str:
    """The store's name for the service that SOURCE is, or is a version of: ``productpage.default``."""
    names = {name.partition(".")[0]: name for name in store.services()}
    fitting = [short for short in names if source == short or source.startswith(f"{short}-")]
    if not fitting:
        known = ", ".join(sorted(names)) or "none"
        raise Inconclusive(f"{store.name} at {store.url} knows no service {source}; it knows {known}")
    return names[max(fitting, key=len)]

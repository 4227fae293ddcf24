"""What the mesh's own counters say of the calls that our requests cause: an edge in them that is in none of our traces
is one where the trace, and our marker with it, was lost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Final, TypeVar

from chaosmesh_ext.model import Edge, Propagated, Workload
from chaosmesh_ext.observe.prometheus import SCRAPED, Prometheus
from chaosmesh_ext.observe.reach import target
from chaosmesh_ext.settings import Settings

__all__ = ["Counters", "caused", "counters"]

_CALLS: Final = (
    "sum by (source_canonical_service, source_canonical_revision, source_workload_namespace, destination_service_name)"
    ' (istio_requests_total{reporter="source"})'
)
_SERVED: Final = (
    "sum by (destination_canonical_service, destination_canonical_revision, destination_workload_namespace)"
    ' (istio_requests_total{reporter="destination"})'
)
_SCRAPE: Final = 20.0
"""Seconds that a scrape is waited for: the usual interval is 15."""

_FOUND: Final = 6.0
"""Seconds that Prometheus gets to find new pods: it looks for them every five."""

_PAUSE: Final = 0.1
_NOWHERE: Final = frozenset({"", "unknown", "PassthroughCluster", "BlackHoleCluster"})
_STRANGERS: Final = 1.1
"""Requests that a workload may have served for one of ours, so that the others do not count: a scrape is not exact."""

T = TypeVar("T")
_SIGMAS: Final = 3
"""Standard deviations (of Poisson's counts) by which calls must exceed what others cause by themselves."""

_FEWEST: Final = 3
"""Requests that a source must have served for us before what it calls is told from what it does by itself."""

Calls = dict[Edge, float]
Served = dict[Workload, float]


class Counters:
    """The mesh's counters at one moment, to be compared with a later one."""

    def __init__(self, prometheus: Prometheus) -> None:
        """Raises what `Prometheus` does."""
        self._prometheus = prometheus
        self._at = self._now()
        self._calls, self._served = self._read(self._at)

    def compared(
        self, traced: Mapping[Edge, int], served: Mapping[Workload, int], *, over: float | None = None
    ) -> tuple[Propagated, ...]:
        """What our requests caused since then, edge by edge; those without traces only where they must be ours.

        TRACED: our calls in traces. SERVED: how many of our requests each workload served. Waits until every proxy was
        scraped since these were OVER (epoch; None: now), and for those that Prometheus has not found yet. Raises what
        `Prometheus` does.
        """
        ago = 0.0 if over is None else max(0.0, time.time() - over)
        asked, end = self._now() - ago, time.monotonic() + _SCRAPE
        while (self._prometheus.scalar(SCRAPED) or 0.0) < asked and time.monotonic() < end:
            time.sleep(_PAUSE)
        end = time.monotonic() + _FOUND
        # whoever calls in our traces is known by that; of the others their own proxies must have told
        callers = {edge.source for edge in traced}
        silent = {workload: count for workload, count in served.items() if workload not in callers}
        while True:
            now = self._now()
            calls, all_served = self._read(now)
            grown, grown_served = _growth(self._calls, calls), _growth(self._served, all_served)
            told = all(grown.get(edge, 0.0) >= count for edge, count in traced.items())
            if told and all(grown_served.get(workload, 0.0) >= count for workload, count in silent.items()):
                break
            if time.monotonic() > end:
                break
            time.sleep(_PAUSE)
        earlier = self._read(2 * self._at - now)
        return caused(
            grown,
            grown_served,
            traced,
            served,
            before=(_growth(earlier[0], self._calls), _growth(earlier[1], self._served)),
        )

    def _now(self) -> float:
        return self._prometheus.scalar("time()") or time.time()

    def _read(self, at: float) -> tuple[Calls, Served]:
        calls: Calls = {}
        for sample in self._prometheus.query(_CALLS, at):
            source = _workload(sample.labels, "source")
            destination = sample.labels.get("destination_service_name", "")
            if destination not in _NOWHERE:
                calls[Edge(source, destination)] = sample.value
        found = self._prometheus.query(_SERVED, at)
        return calls, {_workload(sample.labels, "destination"): sample.value for sample in found}


def counters(settings: Settings) -> Counters | None:
    """The mesh's counters now; None where SETTINGS name no Prometheus. Raises what `Prometheus` does."""
    return Counters(Prometheus(target(settings, "prometheus"))) if settings.prometheus_url else None


def caused(
    calls: Mapping[Edge, float],
    all_served: Mapping[Workload, float],
    traced: Mapping[Edge, int],
    served: Mapping[Workload, int],
    *,
    before: tuple[Mapping[Edge, float], Mapping[Workload, float]] = ({}, {}),
) -> tuple[Propagated, ...]:
    """What of CALLS, by which the counters grew, was caused by our requests: pure.

    ALL_SERVED: by how much the counters of served requests grew. TRACED, SERVED: ours, by our traces. BEFORE: by how
    much the counters grew in as many seconds before our requests. An edge that is not traced counts where its source
    served ours, and it grew by at least as many calls. Where others called that source meanwhile, only our share of the
    calls is taken to be ours; and calls that it makes though nobody calls it are its own. What a gateway serves is not
    counted: all its calls stand for that.
    """
    found = []
    for edge in sorted({*calls, *traced}):
        ours = served.get(edge.source, 0)
        grew = calls.get(edge, 0.0)
        everybody = all_served.get(edge.source, 0.0)
        if not everybody and ours:  # a gateway, whose proxy does not count what it serves: a call a request
            everybody = sum(count for other, count in calls.items() if other.source == edge.source)
        elif not before[1].get(edge.source, 0.0):
            grew = max(grew - before[0].get(edge, 0.0), 0.0)
        if everybody > ours * _STRANGERS + 1:
            theirs = (everybody - ours) * _rate(before, edge)
            beyond = grew - theirs
            grew *= ours / everybody
            if theirs:  # as much as it varies by itself is not ours
                grew = min(grew, beyond) if beyond >= _SIGMAS * math.sqrt(theirs) else 0.0
        counted = round(grew)
        if edge in traced:  # what others do besides is a guess, and what our traces show is not
            counted = max(counted, min(round(calls.get(edge, 0.0)), traced[edge]))
            found.append(Propagated(edge, counted, traced[edge]))
        elif ours >= _FEWEST and counted >= ours:
            found.append(Propagated(edge, counted))
    return tuple(found)


def _rate(before: tuple[Mapping[Edge, float], Mapping[Workload, float]], edge: Edge) -> float:
    """How often a request of others that its source served led to a call on EDGE, BEFORE ours; 0 where none was."""
    served = before[1].get(edge.source, 0.0)
    return before[0].get(edge, 0.0) / served if served else 0.0


def _workload(labels: Mapping[str, str], side: str) -> Workload:
    """As spans name it."""
    version = labels.get(f"{side}_canonical_revision", "")
    return Workload(
        labels.get(f"{side}_canonical_service", ""),
        "" if version in ("unknown", "latest") else version,
        labels.get(f"{side}_workload_namespace", ""),
    )


def _growth(before: Mapping[T, float], now: Mapping[T, float]) -> dict[T, float]:
    """How much more there is NOW than BEFORE; a counter that began anew grew from zero."""
    found = {}
    for key, value in now.items():
        earlier = before.get(key, 0.0)
        found[key] = value - earlier if earlier <= value else value
    return found

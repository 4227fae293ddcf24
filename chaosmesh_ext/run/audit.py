"""Whom the run's faults met, by Istio's own counters (D4): nobody but whom they were meant for.

The proof of one fault looks at the run's own requests; this looks at everybody's, from before the first fault until
after the last undo.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.model import Trace
from chaosmesh_ext.observe.prometheus import SCRAPED, Prometheus
from chaosmesh_ext.run.evidence import INJECTED
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.problems import Problem
from chaosmesh_ext.run.requests import Sent

__all__ = ["Audit", "allowed", "strangers"]

_FAULTED: Final = 'istio_requests_total{reporter="source",response_flags=~".*(DI|FI).*"}'
_BY: Final = "source_workload, source_workload_namespace, destination_service_name"
_LATE: Final = 20.0
"""Seconds that a scrape is waited for: the usual interval is 15."""
_SOON: Final = 2.0
"""Seconds that it is waited for when the run was interrupted."""
_PAUSE: Final = 0.25


class Audit:
    """Faulted calls since it was made, by edge."""

    def __init__(self, prometheus: Prometheus) -> None:
        """Raises what `Prometheus` does."""
        self._prometheus = prometheus
        self._before = self._counts()

    def strangers(
        self, most: Mapping[str, float], namespace: str, *, over: float | None = None, hurry: bool = False
    ) -> list[tuple[str, str]]:
        """Called services that met more faults than they may, each with a line that says so.

        MOST: by called service, how many faulted calls from NAMESPACE there may be. Other services are not looked at:
        other runs may be at work there, and the proof of each fault looks at what the run's own requests met. Waits
        until every proxy was scraped since all was OVER (epoch; None: now); with HURRY only for a moment. Raises what
        `Prometheus` does.
        """
        self._wait(_SOON if hurry else _LATE, 0.0 if over is None else max(0.0, time.time() - over))
        grown: dict[str, Counter[str]] = {}
        for edge, count in self._counts().items():
            workload, where, service = edge
            more = count - self._before.get(edge, 0.0)
            if more > 0 and where == namespace and service in most:
                grown.setdefault(service, Counter())[workload] += round(more)
        return [
            (
                service,
                (
                    f"{by.total()} calls of {', '.join(sorted(by))} to {service} met an injected fault, and only "
                    f"{most[service]:.0f} of them were this run's"
                ),
            )
            for service, by in sorted(grown.items())
            if by.total() > most[service]
        ]

    def _counts(self) -> dict[tuple[str, str, str], float]:
        names = [name.strip() for name in _BY.split(",")]
        return {
            (labels[0], labels[1], labels[2]): sample.value
            for sample in self._prometheus.query(f"sum by ({_BY}) ({_FAULTED})")
            if (labels := [sample.labels.get(name, "") for name in names])
        }

    def _wait(self, seconds: float, ago: float) -> None:
        """Until Prometheus, by its own clock, has looked at every proxy that answers since so long AGO; SECONDS at
        most.
        """
        now = (self._prometheus.scalar("time()") or 0.0) - ago
        end = time.monotonic() + seconds
        while (self._prometheus.scalar(SCRAPED) or 0.0) < now and time.monotonic() < end:
            time.sleep(_PAUSE)


def allowed(sent: Iterable[Sent], unlimited: Iterable[str] = ()) -> dict[str, float]:
    """How many faulted calls there may be by called service: those that requests of the run SENT may have met.

    UNLIMITED: services of which that cannot be said, e.g. with a fault for everybody's requests. A request without a
    whole trace, or one that was cut off, may have met as many as the one that met most.
    """
    most: dict[str, float] = {}
    for cell in sent:
        met = [_met(trace) for trace in cell.whole]
        partly = [_met(trace) for trace in cell.partly]
        for counts in (*met, *partly):
            for service, count in counts.items():
                most[service] = most.get(service, 0) + count
        service = cell.destination
        usual = max((counts[service] for counts in (*met, *partly)), default=0) or 1
        lacking = usual * (cell.count - len(met)) - sum(counts[service] for counts in partly)
        most[service] = most.get(service, 0) + lacking
    return {**most, **dict.fromkeys(unlimited, math.inf)}


def _met(trace: Trace) -> Counter[str]:
    """Calls in TRACE that met a fault, by called service."""
    return Counter(span.peer for span in trace.spans if not INJECTED.isdisjoint(span.flags))


def strangers(
    audit: Audit,
    grown: Sequence[Growing],
    sent: Callable[[], Iterable[Sent]],
    *,
    beside: Callable[[], Mapping[str, Collection[str]]] = dict,
    hurry: bool = False,
) -> tuple[list[Problem], list[str]]:
    """Whom the faults of the cells GROWN met that they were not meant for; not to know that is a problem too.

    SENT: the run's own requests, and what they met. BESIDE: by called service, the runs that may have a fault of
    theirs on it meanwhile; asked only where there is something to explain. HURRY: somebody waits for the end. Returns
    the problems, and as notes what cannot be told because of other runs.
    """
    everybody = [cell.place.destination.service for cell in grown if cell.place.marker is None]
    try:
        most = allowed(sent(), everybody)
        over = max((cell.ended for cell in grown), default=0.0) or None
        found = [
            (service, line)
            for namespace in sorted({cell.place.namespace for cell in grown})
            for service, line in audit.strangers(most, namespace, over=over, hurry=hurry)
        ]
        others = beside() if found else {}
    except ChaosMeshError as error:
        return [Problem(f"whom else the faults met is not known: {error}")], []
    problems = [
        Problem(f"the run's faults were not met by its own requests alone: {line}")
        for service, line in found
        if not others.get(service)
    ]
    notes = [
        f"{line}; faults on {service} were also those of {', '.join(sorted(others[service]))}, and the counters do not "
        "tell whose was met"
        for service, line in found
        if others.get(service)
    ]
    return problems, notes

"""Whom the run's faults met, by Istio's own counters (D4): nobody but whom they were meant for.

The proof of one fault looks at the run's own requests; this looks at everybody's, from before the first fault until
after the last undo.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.model import Cell
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.run.evidence import INJECTED
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.problems import Problem

__all__ = ["Audit", "allowed", "strangers"]

_FAULTED: Final = 'istio_requests_total{reporter="source",response_flags=~".*(DI|FI).*"}'
_BY: Final = "source_workload, source_workload_namespace, destination_service_name"
_LATE: Final = 20.0
"""Seconds that a scrape is waited for: the usual interval is 15."""
_PAUSE: Final = 0.25


class Audit:
    """Faulted calls since it was made, by edge."""

    def __init__(self, prometheus: Prometheus) -> None:
        """Raises what `Prometheus` does."""
        self._prometheus = prometheus
        self._before = self._counts()

    def strangers(self, most: Mapping[str, float], namespace: str) -> list[str]:
        """Calls that met more faults than they may, one line a called service.

        MOST: by called service, how many faulted calls from NAMESPACE there may be. Other services are not looked at:
        other runs may be at work there, and the proof of each fault looks at what the run's own requests met. Waits
        until every proxy was scraped once more. Raises what `Prometheus` does.
        """
        self._wait()
        grown: dict[str, Counter[str]] = {}
        for edge, count in self._counts().items():
            workload, where, service = edge
            more = count - self._before.get(edge, 0.0)
            if more > 0 and where == namespace and service in most:
                grown.setdefault(service, Counter())[workload] += round(more)
        return [
            f"{by.total()} calls of {', '.join(sorted(by))} to {service} met an injected fault, and only "
            f"{most[service]:.0f} of them were this run's"
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

    def _wait(self) -> None:
        """Until Prometheus has looked at every proxy that answers, by its own clock."""
        now = self._prometheus.scalar("time()") or 0.0
        end = time.monotonic() + _LATE
        while (self._prometheus.scalar("min(timestamp(up == 1))") or 0.0) < now and time.monotonic() < end:
            time.sleep(_PAUSE)


def allowed(cells: Iterable[Cell], everybody: Iterable[str], seen: Mapping[str, int]) -> dict[str, float]:
    """How many faulted calls there may be by called service: those that CELLS' traces show, and those SEEN beside.

    EVERYBODY: services with a fault for everybody's requests: any number. An answer whose trace never came may have
    met as many as the one that met most.
    """
    most: dict[str, float] = dict(seen)
    for cell in cells:
        if cell.injected is None:
            continue
        met = {
            one: Counter(span.peer for span in trace.spans if not INJECTED.isdisjoint(span.flags))
            for one, trace in cell.traces.items()
        }
        lost = sum(answer.trace_id not in met for answer in cell.answers)
        for counts in met.values():
            for service, count in counts.items():
                most[service] = most.get(service, 0) + count
        service = cell.injected.destination
        most[service] = most.get(service, 0) + lost * max((counts[service] for counts in met.values()), default=1)
    return {**most, **dict.fromkeys(everybody, math.inf)}


def strangers(audit: Audit, grown: Sequence[Growing], cells: Callable[[], Iterable[Cell]]) -> list[Problem]:
    """Whom the faults of the cells GROWN met that they were not meant for; not to know that is a problem too.

    CELLS: gathers their answers' traces.
    """
    late: Counter[str] = Counter()
    for cell in grown:
        late += cell.prover.met_late if cell.prover else Counter()
    everybody = [cell.place.destination.service for cell in grown if cell.place.marker is None]
    try:
        most = allowed(cells(), everybody, late)
        return [
            Problem(f"the run's faults were not met by its own requests alone: {line}")
            for namespace in sorted({cell.place.namespace for cell in grown})
            for line in audit.strangers(most, namespace)
        ]
    except ChaosMeshError as error:
        return [Problem(f"whom else the faults met is not known: {error}")]

"""Proof by metrics: where there is no trace store, Istio's own counters of responses with injected faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Final

from chaosmesh_ext.errors import LeftBehind, NotProven
from chaosmesh_ext.mesh import Fault
from chaosmesh_ext.model import CONTROL, Answer, Marker
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.run.evidence import Watched
from chaosmesh_ext.run.proof import MOST, Live, enough
from chaosmesh_ext.run.traffic import Errand, Traffic, pace

__all__ = ["MetricsProver"]

_FAULTED: Final = 'reporter="source",response_flags=~".*(DI|FI).*"'
_SCRAPE: Final = 30.0
"""Seconds that a counter may be late: two of Prometheus' usual intervals."""

_CALLS: Final = 3
"""Calls that must be counted before the fault, and without it afterwards."""

_PAUSE: Final = 0.25


class MetricsProver:
    """Proof by `istio_requests_total`; an ERRAND leads to the call, without one the mesh's own traffic must."""

    def __init__(
        self,
        prometheus: Prometheus,
        traffic: Traffic,
        errand: Errand | None,
        *,
        fault: Fault,
        watched: Watched,
        sources: tuple[str, ...],
        marker: Marker,
        timeout: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """SOURCES: the callers' names as Istio's label source_workload has them; empty for all. TIMEOUT: seconds."""
        self._prometheus, self._traffic, self._errand = prometheus, traffic, errand
        self._fault, self._watched, self._marker = fault, watched, marker
        self._timeout, self._stopped = timeout, stopped
        self._edge = f'destination_service_name="{watched.destination}",source_workload_namespace="{watched.namespace}"'
        if sources:
            self._edge += f',source_workload=~"{"|".join(sources)}"'
        self._start = (0.0, 0.0)

    def before(self) -> tuple[Answer, ...]:
        """See that Prometheus knows the call and keeps up with it, and how often it met a fault so far."""
        control = Marker(self._marker.run, CONTROL)
        start = self._total()
        sent = [self._traffic.send(self._errand, control) for _ in range(_CALLS)] if self._errand else []
        answers = tuple(future.result() for future in sent)
        end = time.time() + _SCRAPE
        while self._total() <= start:
            if time.time() >= end or self._stopped():
                raise NotProven(
                    f"istio_requests_total counts no call {self._watched} within {_SCRAPE:g} s: give a URL that leads "
                    "to it, and see whether Prometheus scrapes the sidecars"
                )
            time.sleep(_PAUSE)
        self._start = self._counts()
        return answers

    def live(self, written: float) -> Live:
        """See the call's counter of faults grow, and no other call's."""
        sent: list[Future[Answer]] = []
        nobody = self._fault.percentage == 0
        for _ in self._rounds(sent, written + self._timeout, written + self._timeout + _SCRAPE, self._stopped):
            edge, others = (now - start for now, start in zip(self._counts(), self._start, strict=True))
            if others > 0:
                raise NotProven(
                    f"the fault meant for {self._watched} was also met on other calls (istio_requests_total)"
                )
            if edge > 0 and nobody:
                raise NotProven(f"a fault for 0 % of the requests was met on {self._watched}")
            if edge > 0:
                answers = tuple(future.result() for future in sent)
                return Live("metrics", time.time() - written, (), len(sent), answers)
        if nobody:
            return Live("metrics", None, (), len(sent), tuple(future.result() for future in sent))
        raise NotProven(
            f"the fault on {self._watched} did not show in istio_requests_total within {self._timeout + _SCRAPE:g} s"
            + (
                f" of {len(sent)} requests to {self._errand.url}"
                if self._errand
                else ": the mesh's own traffic did not meet it"
            )
        )

    def gone(self) -> float | None:
        """See the call's counter grow, and its counter of faults not.

        A call is counted when it ends: those that are delayed yet must have come back, and been counted, before others
        may speak.
        """
        began = time.time()
        sent: list[Future[Answer]] = []
        need = max(_CALLS, min(enough(self._fault.percentage), MOST))
        last, changed, since = self._counts()[0], began, self._total()
        back, scraped, fresh = self._errand is None, self._scraped(), 0
        for _ in self._rounds(sent, began + self._timeout, began + self._timeout + _SCRAPE):
            now, total = self._counts()[0], self._total()
            if now > last:
                last, changed, since = now, time.time(), total
                back, scraped, fresh = self._errand is None, self._scraped(), len(sent)
            elif not back:
                ours = sent[fresh : fresh + need]
                back, scraped = len(ours) == need and all(future.done() for future in ours), self._scraped()
            elif total >= since + need and self._scraped() > scraped:
                return changed - began
        raise LeftBehind(
            f"the fault on {self._watched} was removed, but istio_requests_total could not show that it is gone within "
            f"{self._timeout + _SCRAPE:g} s: are the sidecars in sync with istiod (`istioctl proxy-status`)?"
        )

    def _rounds(
        self, sent: list[Future[Answer]], last_sent: float, end: float, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Send what shows a fault for certain, spread until LAST_SENT, and look until END."""
        most = max(MOST, enough(self._fault.percentage))
        pauses, due = pace(lambda: self._timeout / most), 0.0
        while (now := time.time()) < end:
            if stopped():
                raise NotProven("the run was stopped before the proof was complete")
            under_way = sum(not future.done() for future in sent)
            if self._errand and due <= now < last_sent and len(sent) < most and under_way < self._traffic.budget:
                sent.append(self._traffic.send(self._errand, self._marker))
                due = now + next(pauses)
            yield
            time.sleep(_PAUSE if len(sent) >= most or now >= last_sent else min(_PAUSE, 0.05))

    def _total(self) -> float:
        """Watched calls so far, faulted or not."""
        return self._prometheus.scalar(f'sum(istio_requests_total{{reporter="source",{self._edge}}})') or 0.0

    def _scraped(self) -> float:
        """When the caller that was looked at longest ago was looked at, by Prometheus' own clock."""
        return self._prometheus.scalar(f'min(timestamp(istio_requests_total{{reporter="source",{self._edge}}}))') or 0.0

    def _counts(self) -> tuple[float, float]:
        """Faulted calls so far: those that are watched, and all others. A counter that is not there counts nothing."""
        everywhere = self._prometheus.scalar(f"sum(istio_requests_total{{{_FAULTED}}})") or 0.0
        here = self._prometheus.scalar(f"sum(istio_requests_total{{{_FAULTED},{self._edge}}})") or 0.0
        return here, max(everywhere - here, 0.0)

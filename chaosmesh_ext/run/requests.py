"""What a run asks of the application, and what the traces of its requests say."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model import CONTROL, Answer, Cell, Injected, Marker, Trace, new_trace_id
from chaosmesh_ext.observe.addressed import Addressed
from chaosmesh_ext.observe.load import MOST_REQUESTS
from chaosmesh_ext.observe.stores import store_of
from chaosmesh_ext.observe.traces import Expected, TraceSource, gather, gather_all
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.traffic import Errand, Traffic, application
from chaosmesh_ext.settings import Settings

__all__ = ["Requests", "Sent"]

_LOOKED_AT: Final = 1000
"""Requests of a cell, the last ones, whose traces are asked for to see whom the fault met: a minute of a real store."""
_PATIENCE: Final = 10.0
"""Seconds that their traces may take, and twice the longest delay."""


class Begun(msgspec.Struct, frozen=True):
    """A request that was sent. started: epoch."""

    trace_id: str
    started: float


class Sent(msgspec.Struct, frozen=True):
    """The requests of one cell. destination: the called service of its fault. count: how many were sent.

    whole, partly: the traces of those that were looked at; of the others none was there, or they were too many.
    """

    destination: str
    count: int
    whole: tuple[Trace, ...] = ()
    partly: tuple[Trace, ...] = ()


class Requests:
    """A run's requests.

    traces: where their traces are; by default the settings' Jaeger, from the first time that it is asked. control:
    what those got that no fault was meant for. expected: by URL, what traces of those hold, as far as is known. whole:
    traces that were waited for already, by id.
    """

    def __init__(self, settings: Callable[[], Settings], traces: TraceSource | None) -> None:
        self.traces = traces
        self.control: list[Answer] = []
        self.expected: dict[str, Expected] = {}
        self.whole: dict[str, Trace] = {}
        self._settings = settings
        self._traffic: Traffic | None = None
        self._spacing = 0.0
        self._begun: dict[str, list[Begun]] = {}

    @property
    def traffic(self) -> Traffic:
        """What sends them, within the budget of the settings."""
        if self._traffic is None:
            self._traffic = Traffic(self._settings().request_budget, self.begin)
            self._traffic.spacing = self._spacing
        return self._traffic

    def calm(self, spacing: float, without: Collection[str] = ()) -> None:
        """From now on requests that are to meet a fault begin SPACING seconds apart at least, and control requests
        WITHOUT these trace ids count for what is healthy.
        """
        self._spacing = self.traffic.spacing = max(self._spacing, spacing)
        self.control = [one for one in self.control if one.trace_id not in without]

    @property
    def count(self) -> int:
        """How many requests with a marker were sent."""
        return sum(map(len, self._begun.values()))

    def begin(self, marker: Marker) -> str:
        """The trace id of a request with MARKER that is about to be sent.

        Whatever becomes of it, and whether or not anybody hears of its answer: it is this run's. From any thread.
        """
        trace_id = new_trace_id()
        self._begun.setdefault(marker.cell, []).append(Begun(trace_id, time.time()))
        return trace_id

    def send(
        self,
        url: str,
        count: int,
        marker: Marker,
        *,
        headers: Mapping[str, str] | None,
        method: str,
        timeout: float,
        body: str = "",
    ) -> Iterator[Answer]:
        """Send COUNT requests with MARKER, as many at once as the budget allows; their answers as they come.

        url: whole, or a path on the setting app_url. timeout: seconds. Once `calm`, one at a time. Who stops asking, or
        is interrupted, gets no more sent: the rest would only go before what shows that the faults are gone. Raises
        InvalidInput for a URL without origin.
        """
        if not 1 <= count <= MOST_REQUESTS:
            raise InvalidInput(f"count {count} is not possible: send 1 to {MOST_REQUESTS} requests")
        errand = Errand.to(application(self._settings(), url), headers or {}, method, timeout, body)
        return self._answers(self.traffic, errand, marker, count)

    @staticmethod
    def _answers(traffic: Traffic, errand: Errand, marker: Marker, left: int) -> Iterator[Answer]:
        under_way: set[Future[Answer]] = set()
        try:
            while left or under_way:
                while left and len(under_way) < (1 if traffic.spacing else traffic.budget):
                    under_way.add(traffic.send(errand, marker))
                    left -= 1
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            if left or under_way:
                traffic.abandon()

    def cells(self, grown: Iterable[Growing], source: TraceSource | None = None) -> list[Cell]:
        """The control, then those of GROWN that were injected, with their answers and, from SOURCE, their traces.

        Waits until the traces are complete. Raises Inconclusive where no trace store is known.
        """
        grown = list(grown)
        store = Addressed(source or self.store(), {cell.place.destination.service for cell in grown})
        control = gather(store, self.control).traces if self.control else {}
        expected = Expected.of(control.values())
        injected = [cell for cell in grown if cell.injected is not None]
        seen = gather_all(store, [(cell.injected, cell.answers) for cell in injected], expected=expected).traces
        return [
            Cell(CONTROL, None, tuple(self.control), control),
            *(Cell(cell.id, cell.injected, tuple(cell.answers), _those(seen, cell.answers)) for cell in injected),
        ]

    def sent(self, grown: Iterable[Growing], patience: float | None = None) -> list[Sent]:
        """What became of every request with a marker of the cells GROWN, whoever sent it for this run.

        PATIENCE: seconds in all that the traces may take; by default as long as is usual for each cell. Raises
        Inconclusive where no trace store is known, Unreachable when it does not answer.
        """
        end = math.inf if patience is None else time.monotonic() + patience
        store, grown = self.store(), list(grown)
        control = self.control[-_LOOKED_AT:]
        expected = Expected()
        if control and all(one.url in self.expected for one in control):
            for url in {one.url for one in control}:
                expected |= self.expected[url]
        elif control:
            expected = Expected.of(gather(store, control, timeout=_at_most(_PATIENCE, end)).traces.values())
        looked_at = [(fault, _young(self._begun.get(cell.id, []), cell)) for cell in grown for fault in [_facts(cell)]]
        unknown = [(fault, [one for one in several if one.trace_id not in self.whole]) for fault, several in looked_at]
        patience = _PATIENCE + 2 * max((fault.delay for fault, _ in looked_at), default=0.0)
        seen = gather_all(store, unknown, expected=expected, timeout=_at_most(patience, end))
        known = {**self.whole, **seen.traces}
        found = []
        for cell, (_, answers) in zip(grown, looked_at, strict=True):
            traces = _those(known, answers)
            whole = tuple(trace for one, trace in traces.items() if one not in seen.incomplete)
            partly = tuple(trace for one, trace in traces.items() if one in seen.incomplete)
            found.append(Sent(cell.place.destination.service, len(self._begun.get(cell.id, [])), whole, partly))
        return found

    def close(self) -> None:
        """Send nothing any more."""
        if self._traffic is not None:
            self._traffic.close()
            self._traffic = None

    def store(self) -> TraceSource:
        """Where the traces are. Raises Inconclusive where that is not known."""
        if self.traces is None:
            self.traces = store_of(self._settings())
        return self.traces


def _facts(cell: Growing) -> Injected:
    return cell.fault.facts(cell.place.destination.service, cell.place.sources, cell.place.subset, "")


def _young(begun: Sequence[Begun], cell: Growing) -> list[Answer]:
    """The last of the requests that were BEGUN for CELL and may be in a trace."""
    unheard = _unheard(cell)
    last = [one for one in begun[-_LOOKED_AT:] if one.trace_id not in unheard]
    return [Answer(one.trace_id, "", one.started, 0.0, 0) for one in last]


def _those(traces: Mapping[str, Trace], answers: Iterable[Answer]) -> dict[str, Trace]:
    return {one.trace_id: traces[one.trace_id] for one in answers if one.trace_id in traces}


def _unheard(cell: Growing) -> set[str]:
    """The traces of requests that ended before HTTP began: a handshake that is refused is in no trace."""
    if not getattr(cell.fault, "plain", False):
        return set()
    return {answer.trace_id for answer in cell.answers if answer.status == 0}


def _at_most(seconds: float, end: float) -> float:
    """SECONDS, or until END of the monotonic clock, where that is sooner."""
    return max(0.0, min(seconds, end - time.monotonic()))

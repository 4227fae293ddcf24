"""Marked requests sent one after the other, and their traces as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Final

from chaosmesh_ext.errors import InvalidInput, NotProven
from chaosmesh_ext.model import Answer, Marker, Trace
from chaosmesh_ext.observe.traces import TraceSource, gather
from chaosmesh_ext.run.evidence import Watched
from chaosmesh_ext.run.proof import MOST
from chaosmesh_ext.run.traffic import Errand, Traffic, pace

__all__ = ["LATEST", "Hunt"]

LATEST: Final = 8.0
"""Seconds that a trace may take to become visible: a proxy's and an SDK's default batches wait for 5 s."""

_POLL: Final = 0.03
"""Seconds between two looks at what came."""

_GROWS: Final = 1.0
"""Seconds after its answer during which a trace that is there is looked at again."""

_SLOW: Final = 0.5
"""Seconds from which an answer is worth waiting for its trace before another request is sent."""


class Hunt:
    """Marked requests sent one after the other, and their traces as they come."""

    def __init__(
        self,
        store: TraceSource,
        traffic: Traffic,
        errand: Errand,
        marker: Marker,
        *,
        watched: Watched,
        shows: Callable[[Trace], bool],
        began: float,
        burst: int = 1,
    ) -> None:
        """WATCHED: the calls that are looked for. SHOWS: whether a trace shows the fault on them. BEGAN: epoch. BURST:
        how many requests are sent at once. Raises InvalidInput where the budget does not have so many.
        """
        if burst > traffic.budget:
            raise InvalidInput(
                f"{burst} requests at once are needed to meet this, and the budget is {traffic.budget}: lower the "
                "limit that is to be crossed, or raise CHAOSMESH_REQUEST_BUDGET"
            )
        self._burst = burst
        self._store, self._traffic, self._errand, self._marker = store, traffic, errand, marker
        self._watched, self._shows, self._began = watched, shows, began
        self._open: list[Future[Answer]] = []
        self._done: list[Answer] = []
        self._came: dict[str, float] = {}
        self.traces: dict[str, Trace] = {}

    @property
    def sent(self) -> int:
        """Requests sent so far."""
        return len(self._open) + len(self._done)

    def answers(self) -> list[Answer]:
        """The answers that came, in the order of arrival."""
        return self._done

    def calls(self, since: float) -> list[str]:
        """The traces with a watched call, of requests that were sent after SINCE (epoch) and show no fault."""
        return [
            answer.trace_id
            for answer in self._done
            if answer.started > since
            and (trace := self.traces.get(answer.trace_id)) is not None
            and self._watched.calls(trace)
            and not self._shows(trace)
        ]

    @property
    def reach(self) -> float:
        """The share of the requests so far that led to a watched call, as far as their traces came: above 0, at most 1.

        Other versions of a caller may have got the rest.
        """
        told = [self.traces[answer.trace_id] for answer in self._done if answer.trace_id in self.traces]
        return (sum(bool(self._watched.calls(trace)) for trace in told) + 1) / (len(told) + 1)

    def rounds(
        self, deadline: float, slowest: Callable[[], float], *, spare: int, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Send until DEADLINE, then wait for what is under way and its traces; one look at it all after the other.

        SLOWEST: the longest pause between two requests, in seconds, as it is known by now. SPARE: places in the budget
        to leave free. STOPPED: give up now.
        """
        pauses, due = pace(slowest), self._began
        room = max(self._traffic.budget - spare, self._burst)
        ended: float | None = None
        while True:
            now = time.time()
            if stopped():
                raise NotProven("the run was stopped before the proof was complete")
            if due <= now < deadline and len(self._open) + self._burst <= room and not self._about_to_tell(now):
                self._open += [self._traffic.send(self._errand, self._marker) for _ in range(self._burst)]
                due = now + next(pauses)
            self._collect()
            yield
            if now >= deadline and not self._open:
                ended = now if ended is None else ended
                waits = any(answer.trace_id not in self.traces for answer in self._done[-room:])
                if now - ended > (LATEST if waits else 1.0):
                    return
            time.sleep(_POLL)

    def _about_to_tell(self, now: float) -> bool:
        """A slow answer has just come and its trace has not: the next one would only be another slow one."""
        return any(
            answer.duration > _SLOW
            and now - self._came[answer.trace_id] < _GROWS
            and answer.trace_id not in self.traces
            for answer in self._done[-2:]
        )

    def land(self) -> None:
        """Wait for the answers to the requests under way."""
        self._took([(future, future.result()) for future in self._open])

    def finish(self) -> None:
        """Wait for the requests under way, and for their traces as long as is usual."""
        self.land()
        lacking = [answer for answer in self._done if answer.trace_id not in self.traces]
        self.traces.update(gather(self._store, lacking, timeout=2.0).traces)
        self._look()

    def _took(self, came: list[tuple[Future[Answer], Answer]]) -> None:
        gone = {future for future, _ in came}
        self._open = [future for future in self._open if future not in gone]
        for _, answer in came:
            self._done.append(answer)
            self._came[answer.trace_id] = time.time()

    def _collect(self) -> None:
        self._took([(future, future.result()) for future in self._open if future.done()])
        self._look()

    def _look(self) -> None:
        """Ask for the traces that may still grow: their parts arrive in any order."""
        now = time.time()
        young = [
            trace_id
            for trace_id, came in self._came.items()
            if now - came < (_GROWS if trace_id in self.traces else LATEST)
        ]
        if young:
            self.traces.update(self._store.many(young[-MOST:]))

"""Failures one after the other, until a breaker was seen to open and to open again, or there is none.

First healthy requests, so that every pod's count of failures starts at nothing; then requests that all meet the
fault; and where something opened, healthy ones again until every pod calls as before: what they get meanwhile is what a
breaker does to everybody. While failures are counted nothing else is sent: a call that succeeds would end the row.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.stimulus import LONGEST, called, enough, opened, pause, silent_for
from chaosmesh_ext.model import Answer, Cell, Edge
from chaosmesh_ext.run.stimulus import Due
from chaosmesh_ext.run.traffic import Errand

__all__ = ["Breaking"]

_HEALTHY: Final = 60
"""Healthy requests before the first failing one, at most: pods that none of them came by have not failed lately."""

_UNMET: Final = 40
"""Requests of which none met the fault, before it is given up."""

_VISIBLE: Final = 3.0
"""Seconds that their traces may take then."""

_CUT_OFF: Final = 40
"""Requests in a row that do not come by the caller any more: somebody above has stopped calling it."""

_LATELY: Final = 60
"""So many of the last requests should have come by the caller, where somebody above lets one through now and then."""

_RARELY: Final = 0.25
"""Of as many as healthy requests would: somebody above has stopped calling it."""

_MOST: Final = 2000
"""Failing requests, at most."""

_LAST: Final = 3
"""Healthy requests after the failing ones, at least: how others fare is to be said in any case."""

_BETWEEN: Final = 0.1
"""Seconds between two healthy requests afterwards."""

_CLOSING: Final = 5.0
"""Seconds that a breaker may take to close, beyond twice as long as it was seen open."""


class Breaking:
    """An `Experiment` on EDGES, of several versions of a caller. others: what requests got that were not to fail, from
    the first failure on.
    """

    def __init__(
        self,
        baseline: Baseline,
        edges: Collection[Edge],
        healthy: Sequence[Errand],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """HEALTHY: control requests that lead to the call. BASELINE: of the control."""
        self._baseline, self._edges, self._healthy, self._clock = baseline, tuple(edges), tuple(healthy), clock
        self._pods = {edge: frozenset(called(baseline, baseline.control, edge)) for edge in self._edges}
        self._sure, self._share = self._always(), self._usual_share()
        self._phase: Literal["healthy", "failing", "closing", "over"] = "healthy"
        self._sent: dict[str, int] = defaultdict(int)
        self._began = self._since = clock()
        self._answered = 0.0
        self._silent = 0.0
        self._met = self._enough = self._cut_off = False
        self._called: dict[Edge, dict[str, float]] = {}
        self._opened: dict[tuple[Edge, str], float | None] = {}
        self.others: list[Answer] = []

    def _always(self) -> bool:
        """Whether one healthy request is sure to come by every pod: there is one, and all requests do."""
        answers = self._baseline.control.answers
        asked = {errand.url for errand in self._healthy}
        traced = {one.trace_id for one in answers if one.url in asked and one.trace_id in self._baseline.control.traces}
        made = {call.trace.trace_id for call in self._baseline.calls if call.edge in self._edges}
        return sum(map(len, self._pods.values())) == 1 and len(asked) == 1 and traced <= made

    # --- what an Experiment is asked ----------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """See `Experiment`."""
        return self._phase == "over"

    def due(self, now: float, cell: int, others: int) -> Due:
        """See `Experiment`: always one after the other."""
        if cell or others:
            return Due()
        if self._phase == "healthy" and self._starts_at_nothing():
            self._enter("failing", now)
        if self._phase == "failing" and self._failed_enough(now):
            self._enter("closing", now)
        if self._phase == "closing" and self._closed(now):
            self._enter("over", now)
        if self._phase == "over":
            return Due()
        if self._phase == "failing":
            return self._fails(now)
        if self._phase == "closing" and now < self._answered + _BETWEEN:
            return Due()
        errand = self._healthy[self._sent[self._phase] % len(self._healthy)]
        self._sent[self._phase] += 1
        return Due(others=(errand,))

    def came(self, answer: Answer, *, marked: bool) -> None:
        """See `Experiment`."""
        self._answered = self._clock()
        if not marked and self._phase == "closing":
            self.others.append(answer)

    def seen(self, cell: Cell, others: Cell) -> None:
        """See `Experiment`."""
        self._called = {edge: called(self._baseline, others, edge) for edge in self._edges}
        if self._phase == "failing" and cell.answers:
            self._opened = opened(self._baseline, cell)
            self._silent = silent_for(self._baseline, cell)
            self._met = True
            self._cut_off = self._passed_by(cell)
            self._enough = enough(self._baseline, cell)

    def _passed_by(self, cell: Cell) -> bool:
        """Whether CELL's last requests did not come by any of the callers, or few of those that should have."""
        answers = sorted(cell.answers, key=lambda one: one.started, reverse=True)
        came = [self._came_by(cell, one) for one in answers]
        lately = came[: math.ceil(_LATELY / self._share)]
        rarely = len(lately) * self._share >= _LATELY and sum(lately) < _RARELY * _LATELY
        return rarely or next((count for count, by in enumerate(came) if by), len(came)) >= _CUT_OFF

    def _came_by(self, cell: Cell, answer: Answer) -> bool:
        sources = {edge.source for edge in self._edges}
        trace = cell.traces.get(answer.trace_id)
        return trace is not None and any(span.workload in sources for span in trace.spans)

    def _usual_share(self) -> float:
        """Of healthy requests, those that come by any of the callers."""
        control, asked = self._baseline.control, {errand.url for errand in self._healthy}
        sent = [one for one in control.answers if one.url in asked and one.trace_id in control.traces]
        return (sum(self._came_by(control, one) for one in sent) or 1) / max(1, len(sent))

    # --- how it goes on -----------------------------------------------------------------------------------------------

    def _enter(self, phase: Literal["failing", "closing", "over"], now: float) -> None:
        self._phase, self._since, self._answered = phase, now, 0.0

    def _starts_at_nothing(self) -> bool:
        sent = self._sent["healthy"]
        if sent >= _HEALTHY or (sent and self._sure):
            return True
        return sent > 0 and all(self._pods[edge] <= self._called.get(edge, {}).keys() for edge in self._edges)

    def _fails(self, now: float) -> Due:
        pods = sum(map(len, self._pods.values()))
        if not self._met and self._sent["failing"] >= _UNMET:
            return Due()
        if now < self._answered + pause(self._silent, max(1, pods)):
            return Due()
        self._sent["failing"] += 1
        return Due(cell=1)

    def _failed_enough(self, now: float) -> bool:
        sent = self._sent["failing"]
        if self._enough or self._cut_off or sent >= _MOST or now > self._since + 2 * LONGEST:
            return True
        return not self._met and sent >= _UNMET and now > self._answered + _VISIBLE

    def _closed(self, now: float) -> bool:
        """Whether every pod that had opened makes the call again, or does not for too long."""
        if self._sent["closing"] < _LAST:
            return False
        known = [seconds for seconds in self._opened.values() if seconds is not None]
        patience = 2 * max(known) if len(known) == len(self._opened) and known else LONGEST
        if now > self._since + patience + _CLOSING:
            return True
        again = any(at > self._since for pods in self._called.values() for at in pods.values())
        return (again or not self._cut_off) and all(
            self._called.get(edge, {}).get(pod, 0.0) > self._since for edge, pod in self._opened
        )

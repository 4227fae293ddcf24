"""What the requests of a wave's cells have shown, and that its faults are gone when it is out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Final

from chaosmesh_ext.errors import LeftBehind
from chaosmesh_ext.mesh import INBOUND
from chaosmesh_ext.model import CONTROL, Answer, Marker, Trace
from chaosmesh_ext.observe.traces import Expected, TraceSource
from chaosmesh_ext.run.cases import IN_A_ROW
from chaosmesh_ext.run.evidence import Shows, Watched
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.proof import MOST, Live
from chaosmesh_ext.run.traffic import Errand, Traffic
from chaosmesh_ext.run.volley import Aim, Volley

__all__ = ["Goner", "Witnessed"]

_CLEAN: Final = 3
"""Calls in a row that meet no fault after an undo; a workload may have several replicas."""

_ROUNDS: Final = 3
"""Times as many requests as may be in flight: a wave had up to so many connections at once, and some more over time."""


class Witnessed:
    """What requests of one CELL showed.

    parts: the calls that all its faults are meant for; watched: the last of them, those that the cell is about.
    errands: that were sent. first: when the first request began that met the fault, 0 for none. callers: whose calls
    met it. sent: how many requests. share: of them that make a watched call, as far as is known.
    """

    def __init__(self, cell: Growing, parts: Sequence[Watched], shows: Shows, errands: tuple[Errand, ...]) -> None:
        self.cell, self.parts, self.shows, self.errands = cell, tuple(parts), shows, errands
        self.watched = self.parts[-1]
        self.first, self.share = 0.0, 1.0
        self.callers: frozenset[str] = frozenset()
        self.sent = self._clean = self._late = 0

    @property
    def went_by(self) -> bool:
        """Whether calls went by the fault since it was met first."""
        return self._late > 0

    @property
    def instead(self) -> str:
        """What requests showed that met nothing."""
        if self._clean:
            return f"{self._clean} calls {self.watched} went by the fault in {self.sent} requests"
        return f"no call {self.watched} was made in {self.sent} requests"

    def keep(self, aim: Aim, traces: dict[str, Trace]) -> list[Answer]:
        """Count for the cell what its requests on AIM got, from the first one on that met the fault."""
        starts = [self.first] if self.first else []
        starts += [answer.started for answer in aim.of("met")]
        self.sent += len(aim.answers)
        self._clean += len(aim.of("clean"))
        if not starts:
            return []
        self.first, self.cell.proven = min(starts), True
        self._late += sum(answer.started > self.first for answer in aim.of("clean"))
        self.callers |= {str(span.workload) for span in aim.met_calls(traces)}
        kept = sorted((one for one in aim.answers if one.started >= self.first), key=lambda one: one.started)
        self.cell.answers += kept
        return kept


class Goner:
    """Sees that the faults of several cells are gone, together: the prover of each of them once it is out."""

    def __init__(
        self,
        store: TraceSource,
        traffic: Traffic,
        *,
        expected: Mapping[str, Expected],
        timeout: float,
        cells: Sequence[Witnessed],
    ) -> None:
        """EXPECTED: by URL, in traces of requests that meet no fault. TIMEOUT: seconds."""
        self._store, self._traffic, self._expected, self._timeout = store, traffic, expected, timeout
        self._cells = cells
        self._seen: set[str] = set()

    def before(self) -> tuple[Answer, ...]:
        """Nothing: the wave looked at all cells at once."""
        return ()

    def live(self, written: float) -> Live:
        """Nothing: the wave's own requests show it."""
        del written
        return Live("traces", None, (), 0)

    def gone(self) -> float | None:
        """Send requests of the cells that are out, all at once, until none meets its fault any more; see `Prover`."""
        out = [one for one in self._cells if one.cell.leaving and one.cell.proven and one.cell.id not in self._seen]
        if not out:
            return None
        self._use_up([one for one in out if one.cell.carrier == INBOUND])
        began = time.time()
        aims = {id(aim): (aim, one) for one in out for aim in [self._aim(one)]}
        volley = Volley(self._store, self._traffic, expected=self._expected, stopped=lambda: False)

        def unseen(aim: Aim) -> frozenset[str]:
            """Callers that met the fault, and of which no clean call was seen since."""
            clean = [volley.traces[answer.trace_id] for answer in aim.of("clean") if answer.trace_id in volley.traces]
            one = aims[id(aim)][1]
            return one.callers - {str(span.workload) for trace in clean for span in one.watched.calls(trace)}

        volley.fly(
            [aim for aim, _ in aims.values()],
            patience=self._timeout + max(map(_lingers, out)),
            enough=lambda aim: aim.got >= aim.want and not unseen(aim),
        )
        left = [words for aim, one in aims.values() if (words := self._left(aim, one, unseen(aim), volley))]
        if left:
            raise LeftBehind("; ".join(left))
        self._seen |= {one.cell.id for one in out}
        return max(max(aim.last - began, 0.0) for aim, _ in aims.values())

    def _use_up(self, out: Sequence[Witnessed]) -> None:
        """Let requests that no fault is for be those that meet, one on each warm connection, what was before: ours
        would be held back by it.
        """
        errands = {errand.url: errand for one in out for errand in one.errands if errand.method in ("GET", "HEAD")}
        if not errands:
            return
        marker, several = Marker(out[0].cell.place.run, CONTROL), cycle(errands.values())
        try:
            sent = [self._traffic.send(next(several), marker) for _ in range(_ROUNDS * self._traffic.budget)]
            for future in sent:
                future.result()
        except BaseException:
            self._traffic.abandon()
            raise

    def _aim(self, one: Witnessed) -> Aim:
        inbound = one.cell.carrier == INBOUND
        return Aim(
            one.cell.place.sent,
            one.errands,
            watched=one.watched,
            shows=one.shows,
            injected=None,
            want=max(IN_A_ROW if inbound else _CLEAN, len(one.callers)),
            verdict="clean",
            most=MOST * max(1, len(one.callers)),
            share=one.share,
            arrives=inbound,
        )

    def _left(self, aim: Aim, one: Witnessed, unseen: frozenset[str], volley: Volley) -> str:
        """What cannot be said to be gone; empty where all is."""
        if aim.got >= aim.want and not unseen:
            return ""
        if still := {str(span.workload): span.trace_id for span in aim.met_calls(volley.traces)}:
            where = "; ".join(f"{proxy} (trace {trace})" for proxy, trace in sorted(still.items()))
            return (
                f"the fault on {one.watched} was removed, but these proxies still inject it after {self._timeout:g} s: "
                f"{where}; are they in sync with istiod (`istioctl proxy-status`)?"
            )
        why = f"no call of {', '.join(sorted(unseen))}, which met it, was" if unseen else f"{aim.got} calls were"
        return (
            f"the fault on {one.watched} was removed, but could not be shown to be gone: {why} seen in "
            f"{len(aim.answers)} requests, too few to tell"
        )


def _lingers(one: Witnessed) -> float:
    """Seconds for which requests that still meet what is out hold back their answers: each may make two such calls."""
    return 2 * one.cell.fault.patience if one.cell.carrier == INBOUND else 0.0

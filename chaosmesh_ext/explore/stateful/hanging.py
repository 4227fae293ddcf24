"""Calls that hang, as many as may be at once, and beside them requests that do without the call.

The load is kept up until all requests beside are sent: a caller that gives up makes room for others otherwise. Then,
when nothing hangs any more, the very same requests at the same pace, none of them faulted: what a busy machine does to
those beside is not laid at the door of what hung.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from chaosmesh_ext.findings.bulkhead import MIN_BESIDE
from chaosmesh_ext.model import Answer, Cell
from chaosmesh_ext.run.stimulus import Due
from chaosmesh_ext.run.traffic import Errand

__all__ = ["Hanging"]

_BESIDE: Final = MIN_BESIDE + 12
"""Requests beside for each workload: some come before half of the calls hang, go elsewhere, or have no trace."""

_EVERY: Final = 0.05
"""Seconds from one of them to the next, for each workload."""

_SETTLE: Final = 0.7
"""Seconds from the first request that is to hang to the first one beside."""

_AFTER: Final = 0.5
"""Seconds from the last call's end, however long it may take, to the first of the same requests again."""

_CANARY: Final = 0.5
"""Seconds from one request that needs the call, and is not held up, to the next (rules, 10)."""

_LONGEST: Final = 120.0
"""Seconds for everything."""


class Hanging:
    """An `Experiment`. beside: what requests beside got while calls hung; healthy: what they got afterwards. others:
    what those got meanwhile that need the call and are not held up by the fault.
    """

    def __init__(
        self,
        beside: Errand,
        needing: Sequence[Errand],
        load: int,
        delay: float,
        *,
        workloads: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """BESIDE: does without the call. NEEDING: make it. LOAD: requests at once, and as many beside, for each of so
        many WORKLOADS that share them. DELAY: seconds by which the fault holds a call up.
        """
        self._errand, self._needing, self._load, self._delay = beside, tuple(needing), load * workloads, delay
        self._count, self._every = _BESIDE * workloads, _EVERY / workloads
        self._canary = next((one for one in needing if one.method in ("GET", "HEAD") and one.url != beside.url), None)
        self._began = clock()
        self._phase: Literal["hanging", "ending", "again", "over"] = "hanging"
        self._ends = 0.0
        self._look = self._began + _SETTLE
        self._loads: list[float] = []
        self._besides: list[float] = []
        self._later = 0.0
        self.healthy: list[Answer] = []
        self.beside: list[Answer] = []
        self.others: list[Answer] = []

    @property
    def over(self) -> bool:
        """See `Experiment`."""
        return self._phase == "over"

    def due(self, now: float, cell: int, others: int) -> Due:
        """See `Experiment`."""
        if now > self._began + _LONGEST:
            self._phase = "over"
        if self._phase == "hanging":
            if len(self._besides) < self._wanted:
                return self._hangs(now, cell, others)
            if not cell and not others:
                self._phase, self._ends = "ending", max(now, self._loads[-1] + self._delay) + _AFTER
        if self._phase == "ending" and now >= self._ends:
            self._phase, self._later = "again", now - self._loads[0]
        if self._phase == "again":
            return self._again(now, others)
        return Due()

    @property
    def _wanted(self) -> int:
        """Requests beside: more where callers give up, since between two attempts nothing hangs."""
        soon = len(self._loads) > self._load and self._loads[self._load] < self._loads[0] + self._delay / 2
        return self._count * (2 if soon else 1)

    def came(self, answer: Answer, *, marked: bool) -> None:
        """See `Experiment`."""
        if marked:
            return
        beside = answer.url == self._errand.url
        if self._phase == "again":
            self.healthy += [answer] if beside else []
        elif beside:
            self.beside.append(answer)
        else:
            self.others.append(answer)

    def seen(self, cell: Cell, others: Cell) -> None:
        """See `Experiment`: what traces say is judged afterwards."""

    def _hangs(self, now: float, cell: int, others: int) -> Due:
        more = max(0, self._load - cell)
        self._loads += [now] * more
        send: list[Errand] = []
        if self._canary is not None and now >= self._look and others < self._load:
            self._look = now + _CANARY
            send.append(self._canary)
        due = (self._besides[-1] + self._every) if self._besides else self._loads[0] + _SETTLE
        if now >= due and others + len(send) < self._load:
            self._besides.append(now)
            send.append(self._errand)
        return Due(cell=more, others=tuple(send))

    def _again(self, now: float, others: int) -> Due:
        """The same once more, at the same times."""
        if not self._loads and not self._besides and not others:
            self._phase = "over"
        send: list[Errand] = []
        for times, errands in ((self._loads, self._needing), (self._besides, (self._errand,))):
            while times and times[0] + self._later <= now and others + len(send) < self._load:
                times.pop(0)
                send.append(errands[len(times) % len(errands)])
        return Due(others=tuple(send))

"""Requests of one cell of a wave that are sent as an experiment asks: one after the other, or all at once and kept up.

Traces are collected meanwhile in a thread of their own, so that nobody waits for them between two requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import partial
from typing import Final, Protocol

import msgspec

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.model import CONTROL, Answer, Cell, Marker, Trace
from chaosmesh_ext.observe.traces import Gathering
from chaosmesh_ext.run.evidence import Shows, met
from chaosmesh_ext.run.pool import Pool
from chaosmesh_ext.run.traffic import Errand, Traffic
from chaosmesh_ext.run.volley import Aim

__all__ = ["Due", "Experiment", "Stimulus"]

_TICK: Final = 0.004
"""Seconds between two looks at what was answered: a tenth of the shortest pause that an experiment asks for."""

_LOOK: Final = 0.2
"""Seconds from one question for traces to the next, at least: what asks more often slows the requests down."""


_PATIENCE: Final = 5.0
"""Seconds that the last question may take, once somebody has interrupted."""


class Due(msgspec.Struct, frozen=True):
    """What is to be sent now: so many requests of the CELL, and control requests to OTHERS."""

    cell: int = 0
    others: tuple[Errand, ...] = ()


class Experiment(Protocol):
    """Says what is sent when; told of one thing after the other, in this order: `came`, `seen`, `due`."""

    @property
    def over(self) -> bool:
        """Nothing more is to be sent, and nothing waited for."""

    def due(self, now: float, cell: int, others: int) -> Due:
        """What is to be sent at NOW, seconds since the epoch, when so many of the CELL's requests and so many control
        requests have no answer yet.
        """

    def came(self, answer: Answer, *, marked: bool) -> None:
        """A request of the cell (MARKED), or a control request, was answered."""

    def seen(self, cell: Cell, others: Cell) -> None:
        """What traces tell by now of the CELL's requests, from the first one on that met the fault, and of control
        requests: of those that are whole, or met the fault. From another thread than the rest.
        """


class Stimulus:
    """One cell's requests and the control requests beside. others: what the latter got. traces: of all, by id."""

    def __init__(
        self,
        aim: Aim,
        gathering: Gathering,
        traffic: Traffic,
        beside: Traffic,
        *,
        shows: Shows,
        check: Callable[[Sequence[Answer], Mapping[str, Trace]], None],
        stopped: Callable[[], bool],
    ) -> None:
        """AIM: at what the cell's requests are sent. TRAFFIC: sends them, and BESIDE control requests; both are closed
        at the end. SHOWS: whether a call met the fault. CHECK: raises where the traces of some of the cell's requests
        show what must not be.
        """
        self._aim, self._gathering, self._traffic, self._beside = aim, gathering, traffic, beside
        self._shows, self._check, self._stopped = shows, check, stopped
        self._control = Marker(aim.marker.run, CONTROL)
        self._open: list[Future[Answer]] = []
        self._known: set[str] = set()
        self._met: set[str] = set()
        self.others: list[Answer] = []

    @property
    def traces(self) -> dict[str, Trace]:
        """Those that came, whole or not."""
        return self._gathering.traces

    def go(self, experiment: Experiment) -> None:
        """Send what EXPERIMENT asks for until it is over.

        Raises Inconclusive when the run was stopped, Unreachable when the store is gone, and what CHECK raises.
        """
        looks, looking, look = Pool[None](1, "traces"), Future[None](), 0.0
        looking.set_result(None)
        try:
            while not experiment.over:
                if self._stopped():
                    raise Inconclusive("the run was stopped before the wave was through")
                now = time.time()
                for answer in self._aim.collect():
                    experiment.came(answer, marked=True)
                for answer in self._came():
                    experiment.came(answer, marked=False)
                if looking.done() and now >= look:
                    looking.result()
                    looking = looks.submit(
                        partial(self._look, experiment, tuple(self._aim.answers), tuple(self.others))
                    )
                    look = now + _LOOK
                due = experiment.due(now, self._aim.flying, len(self._open))
                for _ in range(due.cell):
                    self._aim.send(self._traffic)
                self._open += [self._beside.send(errand, self._control) for errand in due.others]
                time.sleep(_TICK)
            looking.result()
        finally:
            wait([looking], _PATIENCE)  # from here on nobody else looks at traces
            for pool in (looks, self._traffic, self._beside):
                pool.close()
            self._aim.collect()  # interrupted: what came until then came
            self._came()

    def _came(self) -> list[Answer]:
        done = [future for future in self._open if future.done()]
        self._open = [future for future in self._open if future not in done]
        new = [future.result() for future in done if not future.cancelled()]
        self.others += new
        return new

    def _look(self, experiment: Experiment, answers: Sequence[Answer], others: Sequence[Answer]) -> None:
        for injected, each in ((self._aim.injected, answers), (None, others)):
            for answer in each:
                if answer.trace_id not in self._known:
                    self._known.add(answer.trace_id)
                    self._gathering.add(answer, injected)
        before = self._gathering.waiting
        self._gathering.look()
        new = [one for one in answers if one.trace_id in before]
        self._check(new, self.traces)
        for answer in new:
            trace = self.traces.get(answer.trace_id)
            if trace is not None and any(met(self._aim.watched, [trace], self._shows)):
                self._met.add(answer.trace_id)
        first = min((one.started for one in answers if one.trace_id in self._met), default=None)
        mine = [one for one in answers if first is not None and one.started >= first and self._tells(one)]
        beside = [one for one in others if self._tells(one)]
        experiment.seen(
            Cell(self._aim.marker.cell, self._aim.injected, tuple(mine), self._those(mine)),
            Cell(CONTROL, None, tuple(beside), self._those(beside)),
        )

    def _tells(self, answer: Answer) -> bool:
        """Whether what its trace lacks is not there."""
        if answer.trace_id in self._met:
            return True
        return answer.trace_id in self.traces and answer.trace_id not in self._gathering.waiting

    def _those(self, answers: Sequence[Answer]) -> dict[str, Trace]:
        return {one.trace_id: self.traces[one.trace_id] for one in answers}

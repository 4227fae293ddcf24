"""A run: what was injected, what met it, and how it comes out again. No fault is injected without one (D3).

Its life: the first injection opens it (`run.opened`: Lease, watchdog, keeper), each injection is proven or rolled back,
each undo is proven too, and closing it undoes what is left. Everything else of Kubernetes is in `mesh`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypedDict

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.mesh import Client, Fault, Place
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.model import CONTROL, Answer, Cell, Injected, Marker, Scope, new_run_token
from chaosmesh_ext.observe.traces import TraceSource
from chaosmesh_ext.run.cases import Case
from chaosmesh_ext.run.cells import Cells, Undone
from chaosmesh_ext.run.configuration import settings_of
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.guardrails import Guardrails
from chaosmesh_ext.run.keeper import refuse_halted
from chaosmesh_ext.run.newest import outdone
from chaosmesh_ext.run.opened import Opened
from chaosmesh_ext.run.opening import Opening
from chaosmesh_ext.run.problems import Problem
from chaosmesh_ext.run.proof import Proof, for_nobody
from chaosmesh_ext.run.requests import Requests
from chaosmesh_ext.run.single import start_fault
from chaosmesh_ext.run.stopping import Stopping
from chaosmesh_ext.run.tokens import Tokens, filled
from chaosmesh_ext.run.traffic import Errand
from chaosmesh_ext.run.wave import Wave
from chaosmesh_ext.run.wave_plan import Faults
from chaosmesh_ext.run.waves import start_wave
from chaosmesh_ext.settings import Settings, load

__all__ = ["Run"]

_logger = logging.getLogger("chaostoolkit")

_NOTHING: Final = "nothing is injected any more"


class _Means(TypedDict):
    client: Client
    cells: Cells
    requests: Requests
    settings: Settings
    open_run: Callable[[Place], Opened]
    stopped: Callable[[], bool]
    undo: Callable[[Sequence[Growing]], Undone]


class Run:
    """One run. Not meant for several threads, but for `send`.

    token: eight hex digits that tell it from all others. problems: what went wrong, one line each, with an exit code.
    notes: what else is to be said of it. tokens: that the newest require_jwt asks for; see `tokens.filled`.
    controlled: whether our Chaos Toolkit control looks after it, and so makes its failures count. experiment: its
    title. length: seconds that the experiment is expected to take, or None. interrupt: called from another thread when
    the run was stopped (halted, say) and rolled back, to end the experiment too.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        connect: Callable[[], Client] = mesh.connect,
        traces: TraceSource | None = None,
        token: str | None = None,
    ) -> None:
        """CONNECT makes a client of its own each time. TRACES: instead of the settings' Jaeger."""
        self.token = token or new_run_token()
        self.settings = settings or load()
        self.connect = connect
        self.requests = Requests(lambda: self.settings, traces)
        self._secrets: dict[str, Any] = {}
        self.tokens: Tokens | None = None
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.controlled = False
        self.experiment = ""
        self.length: float | None = None
        self.guardrails: Guardrails | None = None
        self.interrupt: Callable[[ChaosMeshError], None] = _nobody
        self._client: Client | None = None
        self._surroundings: Surroundings | None = None
        self._cells = Cells(self.token)
        self._stopping = Stopping(self.token, out=lambda: self._cells.out_at_once(self.connect), told=self.failed)
        self._opening = Opening(self, self._cells, self._stopping, self._stop)

    # --- what is asked of it ------------------------------------------------------------------------------------------

    def configure(self, configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None) -> None:
        """Take the settings of the experiment's CONFIGURATION, and its SECRETS; those that were given once remain."""
        self._secrets |= secrets or {}
        if configuration or self._secrets:
            self.settings = settings_of(configuration or {}, self._secrets)
        if cluster := self.settings.cluster:
            self.connect = lambda: mesh.connect(cluster)

    @property
    def marker(self) -> Marker:
        """What requests carry now: the newest live cell's, else the control's."""
        return self._cells.marker

    @property
    def stopped(self) -> bool:
        """Whether it was ended before its end: nothing is injected any more."""
        return self._stopping.error is not None

    @property
    def client(self) -> Client:
        """The cluster."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    @property
    def live(self) -> list[Injected]:
        """What is injected now."""
        return self._cells.injected

    @property
    def faulted(self) -> list[tuple[float, float | None]]:
        """When each fault was written and taken out, in seconds since the epoch; None: it is in."""
        return self._cells.faulted

    def send(
        self,
        url: str = "",
        count: int = 1,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        timeout: float = 30.0,
        control: bool = False,
        body: str = "",
    ) -> list[Answer]:
        """Send COUNT marked requests and keep their answers for the findings, in the current cell.

        url: whole, or a path on the setting app_url. timeout: seconds. control: in the cell that no fault is meant for
        instead. Raises InvalidInput for a URL without origin.
        """
        marker = Marker(self.token, CONTROL) if control else self.marker
        answers: list[Answer] = []
        coming = self.requests.send(
            url, count, marker, headers=filled(headers, self.tokens), method=method, timeout=timeout, body=body
        )
        try:
            answers.extend(coming)
        finally:  # interrupted: what came until then came
            self.keep(marker, answers)
        return answers

    def keep(self, marker: Marker, answers: Iterable[Answer]) -> None:
        """Count ANSWERS, which requests with MARKER of this run got, for the findings."""
        if not self._cells.keep(marker.cell, answers := list(answers)):
            self.requests.control += answers

    def make_ready(self) -> None:
        """A fault will be injected soon: what its safety takes longest for begins now. Nothing is written.

        Raises Inconclusive where there can be no watchdog.
        """
        self._opening.make_ready()

    def inject(
        self,
        fault: Fault,
        scope: Scope,
        *,
        url: str = "",
        request_headers: Mapping[str, str] | None = None,
        carrier: str = "",
        prove: bool = True,
        cases: Sequence[Case] = (),
    ) -> Proof:
        """Put FAULT where SCOPE says, and prove it.

        A fault of the same sort that this run has on the same call is replaced, and a note says so. url: leads to the
        call; whole, or a path on app_url. request_headers: what requests to it need besides. carrier: auto or one of
        mesh.CARRIERS; the setting's by default. prove: False makes the run inconclusive. cases: what else must be
        answered, for the proof.

        Raises InvalidInput (nothing was written), NotProven (rolled back), ApiError, Unreachable, and LeftBehind when
        the roll-back failed too.
        """
        self._opening.refuse(_NOTHING)
        self._surroundings = self._surroundings or Surroundings(self.client)
        before = list(self._cells.live)
        cell, proof = start_fault(
            fault,
            scope,
            carrier,
            url=url,
            headers=request_headers or {},
            prove=prove,
            cases=cases,
            around=self._surroundings,
            refuse=self._refuse_halted,
            **self._means,
        )
        self.notes += [*for_nobody(proof.injected), *outdone(cell, before, self._cells.live)]
        if not prove:
            self.problems.append(Problem(f"the fault on {cell.place} was not proven, as asked (prove: false)"))
        _logger.info("%s is live on %s (%s)", type(fault).__name__, cell.place, proof.carrier)
        return proof

    def inject_wave(self, cells: Sequence[Faults], *, carrier: str = "", errands: Sequence[Errand] = ()) -> Wave:
        """Put the faults of many CELLS in at once, each for the marked requests of its own cell; all, or none.

        errands: that lead to their calls; the application's root by default. They are seen to be answered, and to meet
        no fault, before anything is written; that the faults are met, the wave's own requests show (`Wave.send`). Two
        cells of the same callers and host are refused. Raises as `inject`, naming the cell.
        """
        self._opening.refuse(_NOTHING)
        return start_wave(cells, carrier, errands, refuse=self._refuse_halted, **self._means)

    def undo(self) -> Undone:
        """Take every fault of this run out, and prove that it is gone.

        That a fault's pod was gone already is a problem: what was asked lately may have met no fault.
        Raises LeftBehind, naming what is left and how to recover it.
        """
        if not self.stopped:
            for cell in [one for one in self._cells.live if one.pods]:
                with suppress(ChaosMeshError):  # whoever cannot ask undoes it all the same
                    if lost := cell.pod_lost(self.client):
                        self.failed(mesh.Disturbed(lost))
        return self._undo(list(self._cells.live), sweep=self._opening.opened is not None)

    def close(self, *, hurry: bool = False) -> None:
        """Undo what is left, and inject nothing any more. Again is no error; raises LeftBehind.

        hurry: somebody waits for the end, so that traces which are late are not waited for.
        Where something is left, the run's Lease stays, so that the watchdog and the janitor go on trying.
        """
        self._opening.close(self.undo, hurry=hurry)

    def cells(self, source: TraceSource | None = None) -> list[Cell]:
        """The control, then every cell that was injected, with their answers and, from SOURCE, their traces.

        Waits until the traces are complete. SOURCE: by default the run's own.
        """
        return self.requests.cells(self._cells.every, source)

    # --- how it does it -----------------------------------------------------------------------------------------------

    @property
    def _means(self) -> _Means:
        """What puts faults in."""
        return {
            "client": self.client,
            "cells": self._cells,
            "requests": self.requests,
            "settings": self.settings,
            "open_run": self._opening.open,
            "stopped": lambda: self.stopped,
            "undo": self._undo,
        }

    def _refuse_halted(self, what: str) -> None:
        """Raise, saying WHAT follows, when the run is over, or the cluster says that all are."""
        refuse_halted(self.client, self.settings.system_namespace)
        self._opening.refuse(what)

    def _stop(self, error: ChaosMeshError) -> None:
        """End the run because of ERROR; from the keeper's threads and the guardrails'."""
        if self._stopping.stop(error):
            self.interrupt(error)

    def _undo(self, cells: Sequence[Growing], *, sweep: bool = False) -> Undone:
        return self._cells.undo(self.client, cells, self._opening.opened, sweep=sweep) if cells or sweep else Undone()

    def failed(self, error: BaseException) -> Problem:
        """Remember an ERROR: Chaos Toolkit forgets that an action failed."""
        problem = Problem.of(error)
        if problem not in self.problems:
            self.problems[:] = [*(one for one in self.problems if not problem.says_more_than(one)), problem]
        return problem


def _nobody(error: ChaosMeshError) -> None:
    """Nothing else is to be ended because of ERROR."""

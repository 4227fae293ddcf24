"""A run: what was injected, what met it, and how it comes out again. No fault is injected without one (D3).

Its life: the first injection opens it (`run.opened`: Lease, watchdog, keeper), each injection is proven or rolled back,
each undo is proven too, and closing it undoes what is left. Everything else of Kubernetes is in `mesh`.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import (
    Aborted,
    ChaosMeshError,
    Inconclusive,
    InvalidInput,
    LeftBehind,
    NotRemoved,
)
from chaosmesh_ext.mesh import Client, Fault, Place
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.model import CONTROL, Answer, Cell, Injected, Marker, Scope, new_run_token
from chaosmesh_ext.observe.traces import TraceSource
from chaosmesh_ext.run import guard
from chaosmesh_ext.run.acceptance import accepted
from chaosmesh_ext.run.audit import strangers
from chaosmesh_ext.run.cases import Case
from chaosmesh_ext.run.configuration import settings_of
from chaosmesh_ext.run.growing import Growing, Plans, plans_for
from chaosmesh_ext.run.guardrails import Guardrails
from chaosmesh_ext.run.keeper import refuse_halted
from chaosmesh_ext.run.opened import Opened
from chaosmesh_ext.run.problems import Problem
from chaosmesh_ext.run.proof import Live, Proof, Prover
from chaosmesh_ext.run.provers import prover_for
from chaosmesh_ext.run.removal import at_once, remove, seen_gone
from chaosmesh_ext.run.requests import Requests
from chaosmesh_ext.run.signals import Signals
from chaosmesh_ext.run.tokens import Tokens, filled
from chaosmesh_ext.settings import Settings, load

__all__ = ["Run", "Undone"]

_logger = logging.getLogger("chaostoolkit")

_UNANSWERED: Final = 3.0
"""Seconds during which a write that got no answer may still arrive."""

_HURRY: Final = 3.0
"""Seconds that a run that was interrupted waits for the traces of what it had sent."""


class Undone(msgspec.Struct, frozen=True):
    """What an undo did. objects: that are clean again. cells: whose faults are out. gone_after: seconds until the last
    request that still met a fault; None where that was not asked.
    """

    objects: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    gone_after: float | None = None


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
        self._signals = Signals(self._emergency)
        self._opened: Opened | None = None
        self._closed = False
        self._stopped: ChaosMeshError | None = None
        self._stopping = threading.Lock()
        self._cells: list[Growing] = []
        self._live: list[Growing] = []
        self._namespaces: set[str] = set()
        self._kinds: set[str] = set(mesh.ROUTED_BY)

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
        return Marker(self.token, self._live[-1].id if self._live else CONTROL)

    @property
    def stopped(self) -> bool:
        """Whether it was ended before its end: nothing is injected any more."""
        return self._stopped is not None

    @property
    def client(self) -> Client:
        """The cluster."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    @property
    def live(self) -> list[Injected]:
        """What is injected now."""
        return [cell.injected for cell in self._live if cell.injected]

    @property
    def faulted(self) -> list[tuple[float, float | None]]:
        """When each fault was written and taken out, in seconds since the epoch; None: it is in."""
        return [(cell.began, cell.ended or None) for cell in self._cells if cell.injected and cell.began]

    def send(
        self,
        url: str = "",
        count: int = 1,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        timeout: float = 30.0,
        control: bool = False,
    ) -> list[Answer]:
        """Send COUNT marked requests and keep their answers for the findings, in the current cell.

        url: whole, or a path on the setting app_url. timeout: seconds. control: in the cell that no fault is meant for
        instead. Raises InvalidInput for a URL without origin.
        """
        marker = Marker(self.token, CONTROL) if control else self.marker
        answers: list[Answer] = []
        coming = self.requests.send(
            url, count, marker, headers=filled(headers, self.tokens), method=method, timeout=timeout
        )
        try:
            answers.extend(coming)
        finally:  # interrupted: what came until then came
            self.keep(marker, answers)
        return answers

    def keep(self, marker: Marker, answers: Iterable[Answer]) -> None:
        """Count ANSWERS, which requests with MARKER of this run got, for the findings."""
        of_cells = {cell.id: cell.answers for cell in self._cells}
        of_cells.get(marker.cell, self.requests.control).extend(answers)

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

        A fault of the same sort that this run has on the same call is replaced. url: leads to the call; whole, or a
        path on app_url. request_headers: what requests to it need besides. carrier: auto or one of mesh.CARRIERS; the
        setting's by default. prove: False makes the run inconclusive. cases: what else must be answered, for the proof.

        Raises InvalidInput (nothing was written), NotProven (rolled back), ApiError, Unreachable, and LeftBehind when
        the roll-back failed too.
        """
        if self._closed:
            raise Inconclusive(f"the run {self.token} is closed: nothing is injected any more")
        self._refuse_stopped("nothing is injected any more")
        place, replaced, plans = self._prepare(fault, scope, carrier)
        refuse_halted(self.client, self.settings.system_namespace)
        prover = self._prover(fault, place, url, request_headers or {}, carrier, replaced, cases) if prove else None
        self._undo(replaced)
        if prover:
            self.requests.control += prover.before()
        opened = self._open(place)
        opened.lock(self.client, place)
        cell = Growing(place, fault, prover)
        self._cells.append(cell)
        self._live.append(cell)
        try:
            self._namespaces |= {place.namespace, place.destination.namespace} - {""}
            self._kinds |= {
                change.target[0] for _, plan in plans if not isinstance(plan, InvalidInput) for change in plan
            }
            written, name, replaces = cell.write(self.client, plans, opened.witness)
            cell.carrier = name
            cell.injected = fault.facts(place.destination.service, place.sources, place.subset, name)
            # once more: whoever halted between the first look and the write has not been heard yet
            refuse_halted(self.client, self.settings.system_namespace)
            self._refuse_stopped("the fault was removed")
            live = prover.live(written) if prover else Live("nothing", None, (), 0)
        except BaseException as error:
            self._roll_back(cell, error)
            raise
        cell.proven, cell.standing = prover is not None, True
        opened.announce(self.client, cell)
        cell.answers += live.answers
        self.requests.control += live.controls
        if prover is None:
            self.problems.append(Problem(f"the fault on {place} was not proven, as asked (prove: false)"))
        _logger.info("%s is live on %s (%s)", type(fault).__name__, place, name)
        return Proof(
            run=self.token,
            cell=cell.id,
            injected=cell.injected,
            carrier=name,
            objects=tuple(map(str, cell.holdings)),
            by=live.by,
            live_after=live.live_after,
            traces=live.traces,
            requests=live.requests,
            replaces=replaces,
        )

    def undo(self) -> Undone:
        """Take every fault of this run out, and prove that it is gone.

        Raises LeftBehind, naming what is left and how to recover it.
        """
        return self._undo(list(self._live), sweep=self._opened is not None)

    def close(self) -> None:
        """Undo what is left, and inject nothing any more. Again is no error; raises LeftBehind.

        Where something is left, the run's Lease stays, so that the watchdog and the janitor go on trying.
        """
        try:
            if self._opened is not None and not self._closed:
                self._opened.end(self.client, self.undo, self._namespaces)
                self.problems[:] = [problem.mended() for problem in self.problems]
                self._audit()
        finally:
            self._closed = True
            if self.guardrails is not None:
                self.guardrails.stop()
            self._signals.uninstall()
            self.requests.close()

    def cells(self, source: TraceSource | None = None) -> list[Cell]:
        """The control, then every cell that was injected, with their answers and, from SOURCE, their traces.

        Waits until the traces are complete. SOURCE: by default the run's own.
        """
        return self.requests.cells(self._cells, source)

    # --- how it does it -----------------------------------------------------------------------------------------------

    def _open(self, place: Place) -> Opened:
        """Before the first write: whatever ends this process, the faults go first."""
        if self._opened is None:
            if self.guardrails is not None:
                self.guardrails.check()
            self._signals.install()
            self._opened = Opened.open(
                self.client,
                self.token,
                place.namespace,
                settings=self.settings,
                experiment=self.experiment,
                length=self.length,
                connect=self.connect,
                disturbed=self._disturbed,
                stop=self._stop,
            )
            if self.guardrails is not None:
                self.guardrails.start(self._stop)
        return self._opened

    def _prepare(self, fault: Fault, scope: Scope, carrier: str) -> tuple[Place, list[Growing], Plans]:
        """Where FAULT goes, the cells that it replaces, and what each carrier would write; raises what is refused."""
        carrier = carrier or self.settings.carrier
        if carrier not in ("auto", *mesh.CARRIERS):
            raise InvalidInput(f"carrier {carrier!r} is none: choose auto, {' or '.join(mesh.CARRIERS)}")
        place = mesh.place(self.client, scope, run=self.token, cell=str(len(self._cells) + 1))
        if isinstance(fault, mesh.Divided):
            versions = mesh.versions_of(self.client, place, fault.subsets)
            place = msgspec.structs.replace(place, versions=versions)
        replaced = [cell for cell in self._live if cell.stands_where(fault, place, carrier)]
        self._surroundings = around = self._surroundings or Surroundings(self.client)
        guard.allow(
            self.client,
            place,
            fault,
            settings=self.settings,
            live=[cell.place for cell in self._live if cell not in replaced],
            carrier=carrier,
            surroundings=around,
        )
        plans = plans_for(self.client, fault, place, carrier, replaced)
        return place, replaced, guard.allowed(plans, place, around, self.settings)

    def _audit(self) -> None:
        """Whether anybody met the faults whom they were not meant for; that is a problem, and so is not to know."""
        opened = self._opened
        if self.problems or opened is None or opened.audit is None:
            return
        problems, notes = strangers(
            opened.audit,
            self._cells,
            lambda: self.requests.sent(self._cells, _HURRY if self.stopped else None),
            beside=lambda: self._beside(opened),
            hurry=self.stopped,
        )
        self.problems += problems
        self.notes += notes

    def _beside(self, opened: Opened) -> dict[str, set[str]]:
        """By called service, the other runs with a fault on it."""
        found = opened.beside(self.client)
        return {cell.place.destination.service: found.get(cell.place.destination.host, set()) for cell in self._cells}

    def _disturbed(self, client: Client) -> str:
        return next(filter(None, (cell.disturbed(client) for cell in list(self._live))), "")

    def _refuse_stopped(self, what: str) -> None:
        if self._stopped is not None:
            raise type(self._stopped)(f"the run {self.token} was stopped: {self._stopped}; {what}")

    def _stop(self, error: ChaosMeshError) -> None:
        """End the run because of ERROR; from the keeper's threads and the guardrails'."""
        with self._stopping:
            if self._stopped is not None or self._closed:
                return
            self._stopped = error
        self.failed(error)
        _logger.critical("the run %s is stopped: %s", self.token, error)
        self._emergency()
        self.interrupt(error)

    def _prover(
        self,
        fault: Fault,
        place: Place,
        url: str,
        headers: Mapping[str, str],
        carrier: str,
        replaced: Sequence[Growing],
        cases: Sequence[Case],
    ) -> Prover:
        def taken(written: float) -> None:
            mine = next((cell.holdings for cell in self._cells if cell.id == place.cell), [])
            timeout = self.settings.proof_timeout
            accepted(self.client, mine, place.namespace, written, timeout, lambda: self.stopped)

        stays = [cell for cell in self._live if cell not in replaced]
        return prover_for(
            fault,
            place,
            url=url,
            headers=headers,
            settings=self.settings,
            traces=self.requests.traces,
            traffic=self.requests.traffic,
            stopped=lambda: self._stopped is not None,
            carrier=carrier,
            beside=[cell.place for cell in stays if cell.place.marker is None or not cell.place.marker.cell],
            taken=taken,
            cases=cases,
        )

    def _roll_back(self, cell: Growing, error: BaseException) -> None:
        """Take CELL out because of ERROR; raises LeftBehind when that fails too."""
        # a write that was cut off may arrive yet: look for it a little longer
        deadline = time.time() + (_UNANSWERED if cell.unanswered else 0.0)
        cell.prover = None
        cell.injected = None
        while True:
            try:
                self._undo([cell], sweep=True)
            except ChaosMeshError as second:
                kind = NotRemoved if isinstance(second, NotRemoved) else LeftBehind
                raise kind(f"{error}; rolling back failed too: {second}") from error
            if time.time() >= deadline:
                cell.unanswered = False
                return
            time.sleep(0.2)

    def _undo(self, cells: Sequence[Growing], *, sweep: bool = False) -> Undone:
        """Take CELLS out; SWEEP: and whatever else bears this run's name, when no other cell is live."""
        if not cells and not sweep:
            return Undone()  # and no cluster is asked
        rest = [cell for cell in self._live if cell not in cells]
        witness = self._opened.witness if self._opened is not None else mesh.NOBODY
        removed = remove(
            self.client,
            self.token,
            cells,
            self._namespaces,
            sweep=sweep and not rest,
            kinds=sorted(self._kinds),
            witness=witness,
        )
        if not removed.failed:
            self._live = rest  # a conflict is for a person: to try again would change nothing
        if self._opened is not None:
            for cell in cells:
                self._opened.announce(self.client, cell, removed=True)
        removed.check(self.token)
        gone = [after for cell in cells if (after := seen_gone(cell)) is not None]
        return Undone(removed.objects, tuple(cell.id for cell in cells), max(gone, default=None))

    def _emergency(self) -> None:
        """Take everything out on a connection of its own; the run's may be in the middle of something."""
        if self._closed or self._opened is None:
            return
        self._stopped = self._stopped or Aborted("its process was ended")
        late = _UNANSWERED if any(cell.unanswered for cell in self._cells) else 0.0
        if left := self._out_at_once(time.time() + late):
            # not through logging: a signal may have interrupted it
            sys.stderr.write(
                f"run {self.token} left something in the mesh: {'; '.join(left)}; "
                f"recover: chaos mesh recover --run {self.token}\n"
            )

    def _out_at_once(self, until: float) -> list[str]:
        return at_once(self.connect, self.token, list(self._live), self._namespaces, until, sorted(self._kinds))

    def failed(self, error: BaseException) -> Problem:
        """Remember an ERROR: Chaos Toolkit forgets that an action failed."""
        problem = Problem.of(error)
        if problem not in self.problems:
            self.problems.append(problem)
        return problem


def _nobody(error: ChaosMeshError) -> None:
    """Nothing else is to be ended because of ERROR."""

"""The explorer: what calls what, every fault that can teach something, and what it taught.

Discovery, a plan, its waves one after the other, calls that only failures bring out, and the rules. The control is
asked again after each wave: where it no longer looks as it did, the wave proves nothing and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.explore.bystanders import Effect
from chaosmesh_ext.explore.discovery import Discovered, discover
from chaosmesh_ext.explore.further import further
from chaosmesh_ext.explore.gateways import Entrances, entrances
from chaosmesh_ext.explore.hidden import hidden
from chaosmesh_ext.explore.likely import likely
from chaosmesh_ext.explore.plan import DELAY, STATUS, plan, refuse
from chaosmesh_ext.explore.propagation import measure, scope_of
from chaosmesh_ext.explore.recheck import recheck
from chaosmesh_ext.explore.recipe import Recipe
from chaosmesh_ext.explore.second_order import second_order
from chaosmesh_ext.explore.selection import selection
from chaosmesh_ext.explore.splitting import split
from chaosmesh_ext.explore.stimulating import Stimulating
from chaosmesh_ext.explore.waves import CALLS_EACH, Plan, PlannedCell, Wave
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.findings import judge
from chaosmesh_ext.findings.retry import MIN_FAILURES_FOR_ZERO
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.model import CarriedBy, Cell, Edge, Graph, Judgement, Propagated, Scope, Skipped
from chaosmesh_ext.run.proof import Proof
from chaosmesh_ext.run.traffic import Errand, application

if TYPE_CHECKING:
    from chaosmesh_ext.mesh import Fault
    from chaosmesh_ext.run import Run
    from chaosmesh_ext.run.wave import Wave as Injection

__all__ = ["LAB_BUDGET", "Explored", "Explorer", "Options", "Watcher", "kinds", "wanted"]

_SPARE: Final = 1
"""Requests that meet a fault beyond those that rules need: one trace may come too late."""

LAB_BUDGET: Final = 16
"""Marked requests at once in a lab, where nobody else is harmed (rules, "What decides validity" 10)."""

_PATIENCE: Final = 30.0
"""Seconds that a faulted request gets besides what it takes healthy and what its fault takes: for callers' retries."""

_AGAIN: Final = 3
"""Control requests to each URL after a wave."""


_PATIENT: Final = 15.0
"""Seconds that a wave may take to leave everything as it was: breakers close by themselves, after 5 s most often."""


class Options(msgspec.Struct, frozen=True):
    """What is injected; see `plan`. carrier: auto, or one of mesh.CARRIERS. in_flight: marked requests at once; None
    where nobody said: `LAB_BUDGET` in a lab, else the setting request_budget. stateful: None where nobody said: in a
    lab.
    """

    delay: float = DELAY
    status: int = STATUS
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    carrier: str = ""
    in_flight: int | None = None
    stateful: bool | None = None


class Watcher(Protocol):
    """Is told how far an exploration is."""

    def discovered(self, found: Discovered, plan: Plan, in_flight: int) -> None:
        """What calls what is known, and what will be injected, with so many requests IN_FLIGHT at once."""

    def wave(self, wave: Wave) -> None:
        """WAVE is about to be injected."""

    def met(self, wave: Wave, calls: Mapping[str, int]) -> None:
        """So many requests met the fault of each cell of WAVE, by its number; called again and again."""

    def judged(self, wave: Wave, judgement: Judgement) -> None:
        """WAVE is over, and this is known by now."""


class Explored(msgspec.Struct, frozen=True):
    """What an exploration came to.

    cells: the control first. proofs: one for each cell that was met. problems: what makes it inconclusive. notes: what
    else is to be said. seconds: by part, how long it took. effects: of stateful waves on others.
    """

    found: Discovered
    plan: Plan
    cells: tuple[Cell, ...]
    judgement: Judgement
    proofs: tuple[Proof, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    effects: tuple[Effect, ...] = ()


class Explorer:
    """One exploration in RUN; its parts are asked for in turn, so that whoever is interrupted still has the rest."""

    def __init__(self, run: Run, recipe: Recipe, options: Options, watcher: Watcher) -> None:
        self._run, self._recipe, self._options, self._watcher = run, recipe, options, watcher
        self._found: Discovered | None = None
        self._plan = Plan((), 0)
        self._cells: list[Cell] = []
        self._proofs: list[Proof] = []
        self._skipped: list[Skipped] = []
        self._problems: list[str] = []
        self._notes: list[str] = []
        self._unmet: dict[int, tuple[Skipped, ...]] = {}
        self._propagation: dict[Edge, Propagated] = {}
        self._carried: dict[Edge, CarriedBy] = {}
        self._entrances = Entrances()
        self._seconds: dict[str, float] = {}
        self._stimulating: Stimulating | None = None
        refuse(options.delay, options.status)
        self._chosen = selection(options.only, options.skip)

    # --- what is asked of it ------------------------------------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether discovery got to its end, so that there is something to tell."""
        return self._found is not None

    def discover(self) -> Discovered:
        """Wave 0, and the plan. Raises what `discover` and `plan` raise."""
        began = time.monotonic()
        self._afford()
        found = discover(self._run, self._recipe)
        self._entrances = entrances(self._run, found, self._options.carrier)
        made = self._planned(found)
        self._found, self._plan = found, made
        self._skipped += [*found.skipped, *made.skipped]
        self._notes += (*found.notes, *filter(None, [made.note]))
        self._propagation = {one.edge: one for one in found.propagation}
        self._seconds["discovery"] = time.monotonic() - began
        self._watcher.discovered(found, self._plan, self._run.settings.request_budget)
        return found

    def _planned(self, found: Discovered) -> Plan:
        """The plan for what was FOUND. Raises Inconclusive where no call can be faulted, and what `plan` raises."""
        if not set(found.graph.edges) - self._entrances.barred.keys():
            if any(one.orphaned for one in found.propagation):
                return Plan((), 0)
            raise Inconclusive(_nothing(found, self._entrances.barred))
        made = plan(
            found.graph,
            delay=self._options.delay,
            status=self._options.status,
            stateful=self._stateful,
            findings=(),
            only=self._options.only,
            skip=self._options.skip,
            barred=self._entrances.barred.keys(),
            hosts=self._run.settings.max_hosts,
        )
        if not made.cells:
            why = "; ".join(dict.fromkeys(self._entrances.barred.values()))
            raise Inconclusive(f"--only and --skip leave only what a gateway calls, and {why}")
        return made

    def inject(self) -> None:
        """Every wave of the plan, then what these bring up: operations that none of them met, new calls, and what more
        requests may tell.

        Raises InvalidInput for what cannot be written, and LeftBehind; what makes a wave inconclusive is a problem.
        """
        assert self._found is not None  # noqa: S101
        self._one_by_one([wave for wave in self._plan.waves if wave.cells])
        delays, statuses = self._options.delay, self._options.status
        for more in (
            partial(hidden, self._found.graph, self._cells),
            partial(second_order, self._found.graph, self._found.control, self._cells, delay=delays, status=statuses),
        ):
            self._follow(more)
        self._follow(partial(further, self._found.graph, self._cells, self._judgement()))
        if self._stateful:
            self._stimulating = Stimulating(self._run, self._found)
            self._follow(self._stateful_waves)

    def _stateful_waves(self, **more: Any) -> tuple[Wave, ...]:
        """Those that what is known by now makes worth it."""
        assert self._found is not None and self._stimulating is not None  # noqa: S101, PT018
        delays, statuses = self._options.delay, self._options.status
        findings = judge(self._control, self._cells, list(self._propagation.values())).findings
        waves, skipped = self._stimulating.waves(findings, delay=delays, status=statuses, **more)
        self._skipped += skipped
        return waves

    def _one_by_one(self, waves: Sequence[Wave]) -> None:
        """Inject WAVES. While spans of one are still coming in, the next one goes on; but not where calls went by its
        faults: what becomes of the marker is found out first.
        """
        before: _Sent | None = None
        try:
            for wave in waves:
                sent = self._over(wave)
                learnt, before = before, sent
                if learnt is not None:
                    self._learn(learnt)
                if sent is not None and sent.injection.went_by:
                    before = None
                    self._learn(sent)
        except BaseException:  # what is there is judged
            if before is not None and not self._run.stopped:
                self._learn(before, again=False)
            raise
        if before is not None:
            self._learn(before)

    def _follow(self, more: Callable[..., tuple[Wave, ...]]) -> None:
        """Inject what MORE the waves until now have brought up."""
        numbers = [cell.number for cell in self._plan.cells]
        found = more(wave=len(self._plan.waves), cell=max(numbers, default=0) + 1, chosen=self._chosen)
        waves = split(found, self._run.settings.max_hosts)
        self._plan = msgspec.structs.replace(self._plan, waves=(*self._plan.waves, *waves))
        for wave in waves:
            self._wave(wave)

    def explored(self) -> Explored:
        """What is known by now. Raises Inconclusive where discovery did not get to its end."""
        if self._found is None:
            raise Inconclusive("nothing was discovered, so nothing can be judged")
        return Explored(
            found=self._found,
            plan=self._plan,
            cells=(self._control, *self._cells),
            judgement=self._judgement(),
            proofs=tuple(self._proofs),
            problems=tuple(self._problems),
            notes=tuple(dict.fromkeys(self._notes)),
            seconds=dict(self._seconds),
            effects=tuple(self._stimulating.effects) if self._stimulating is not None else (),
        )

    @property
    def _control(self) -> Cell:
        assert self._found is not None  # noqa: S101
        return self._stimulating.control if self._stimulating is not None else self._found.control

    @property
    def _stateful(self) -> bool:
        """Whether workloads may be held up for everybody."""
        asked = self._options.stateful
        return bool(Surroundings(self._run.client).lab) if asked is None else asked

    # --- how it does it -----------------------------------------------------------------------------------------------

    def _afford(self) -> None:
        """Settle how many requests may be in flight."""
        in_flight = self._options.in_flight
        if in_flight is None and Surroundings(self._run.client).lab:
            in_flight = LAB_BUDGET
        if in_flight is not None:
            self._run.settings = msgspec.structs.replace(self._run.settings, request_budget=in_flight)

    def _wave(self, wave: Wave) -> None:
        if sent := self._over(wave):
            self._learn(sent)

    def _over(self, wave: Wave) -> _Sent | None:
        """Inject WAVE, and wait until its faults are out, its calls over and the control as it was; nothing where that
        failed.
        """
        assert self._found is not None  # noqa: S101
        began = time.monotonic()
        self._watcher.wave(wave)
        try:
            sent = self._injected(wave)
            sent.injection.land()
            changed = recheck(self._run, self._found, _AGAIN, patience=_PATIENT)
            return msgspec.structs.replace(sent, changed=changed)
        except Inconclusive as error:
            self._failed(wave, error)
            return None
        finally:
            self._seconds[f"wave {wave.number}"] = time.monotonic() - began

    def _learn(self, sent: _Sent, *, again: bool = True) -> None:
        """Wait for the traces of what was SENT, and judge it; AGAIN: see `run.wave.Wave.cells`."""
        assert self._found is not None  # noqa: S101
        began, wave, changed = time.monotonic(), sent.wave, sent.changed
        try:
            cells = self._gathered(sent, again=again)
            if lost := set() if wave.stateful or not again else self._lost(wave, cells):
                cells = {number: cell for number, cell in cells.items() if number not in lost}
                second = tuple(one for one in wave.cells if one.number in lost)
                cells |= self._gathered(self._injected(msgspec.structs.replace(wave, cells=second)))
                changed = changed or recheck(self._run, self._found, _AGAIN, patience=_PATIENT)
        except Inconclusive as error:
            self._failed(wave, error)
            return
        finally:
            self._seconds["traces"] = self._seconds.get("traces", 0.0) + time.monotonic() - began
        if changed:
            self._problems.append(f"wave {wave.number}, {wave.name}: {changed}: what it taught is left out")
            return
        self._cells += cells.values()
        self._watcher.judged(wave, self._judgement())

    def _failed(self, wave: Wave, error: Inconclusive) -> None:
        """WAVE proves nothing because of ERROR, which is raised where the run is over."""
        if self._run.stopped:
            raise error
        self._problems.append(f"wave {wave.number}, {wave.name}: {error}")

    def _injected(self, wave: Wave) -> _Sent:
        """What was sent for WAVE, once its faults are out again."""
        assert self._found is not None  # noqa: S101
        errands = self._errands(wave.cells)
        by_url = {errand.url: errand for several in errands for errand in several}
        injection = self._run.inject_wave(
            [faults(cell, self._carried, self._entrances.scopes) for cell in wave.cells],
            carrier=self._options.carrier,
            errands=list(by_url.values()),
        )
        planned = dict(zip(injection.numbers, wave.cells, strict=True))
        asked = dict(zip(injection.numbers, errands, strict=True))
        stimulating = self._stimulating if wave.stateful else None
        # who is waited for by nobody else may hang for longest
        graph = self._found.graph
        outermost = sorted(planned, key=lambda each: len(graph.above(planned[each].edge)))
        try:
            if stimulating is not None:
                stimulating.go(wave, injection, planned, asked)
            else:
                injection.send(
                    asked,
                    {number: wanted(planned[number]) for number in outermost},
                    kinds={number: kinds(self._found.graph, cell) for number, cell in planned.items()},
                    shares={number: likely(self._found.control, cell) for number, cell in planned.items()},
                    seen=lambda met: self._watcher.met(wave, met),
                )
        finally:
            injection.undo()
        return _Sent(wave, injection, planned)

    def _gathered(self, sent: _Sent, *, again: bool = True) -> dict[int, Cell]:
        """The cells of what was SENT that were met, by their number in the plan."""
        injection, planned = sent.injection, sent.planned
        stimulating = self._stimulating if sent.wave.stateful else None
        cells = injection.cells(again=again)
        for number, why in injection.unmet.items():
            cell = planned[number]
            self._unmet[cell.number] = tuple(Skipped(str(edge), f"{cell.kind}: {why}") for edge in cell.edges)
        self._proofs += self._proven(injection)
        self._notes += injection.replaces
        if stimulating is not None:
            cells = [stimulating.finished(planned[cell.id], cell) for cell in cells]
        each = ((planned[cell.id], cell) for cell in cells if cell.answers)
        return {one.number: self._entrances.told(cell, one.edge) for one, cell in each}

    def _lost(self, wave: Wave, cells: Mapping[int, Cell]) -> set[int]:
        """The cells of WAVE, by number, that are worth another try: with another header, where the marker is lost.

        Where calls went by a fault, what became of the marker is measured, once for each edge.
        """
        assert self._found is not None  # noqa: S101
        suspects = {
            one.number: {
                edge
                for edge in set(one.edges) - self._found.gateways
                if one.number not in cells or (not one.alone and _went_by(cells[one.number], edge))
            }
            for one in wave.cells
        }
        fresh = set[Edge]().union(*suspects.values()) - self._carried.keys()
        if not fresh:
            return set()
        measured = measure(self._run, self._found, only=fresh)
        self._skipped += measured.skipped
        self._propagation |= {one.edge: one for one in measured.edges if one.edge in fresh}
        for edge in fresh:
            self._carried[edge] = measured.carrier(edge) or "tracestate"
        again = {
            number
            for number, edges in suspects.items()
            if edges & fresh and (number not in cells or any(self._carried[edge] != "tracestate" for edge in edges))
        }
        for number in again:
            self._unmet.pop(number, None)
        return again

    def _errands(self, cells: Sequence[PlannedCell]) -> list[list[Errand]]:
        assert self._found is not None  # noqa: S101
        made: dict[str, Errand] = {}
        slowest = max((answer.duration for answer in self._found.control.answers), default=0.0)
        lasts = _PATIENCE + slowest + max((cell.lasts for cell in cells), default=0.0)
        for url, one in self._found.requests.items():
            target = application(self._run.settings, url)
            made[url] = Errand.to(target, one.sent, one.method, lasts, one.body)
        return [[made[url] for url in cell.urls] or list(made.values()) for cell in cells]

    @staticmethod
    def _proven(injection: Injection) -> Iterable[Proof]:
        live = injection.live_after
        for number, injected in injection.injected.items():
            answers = injection.answers[number]
            if number in live:
                yield Proof(
                    run=injection.run,
                    cell=number,
                    injected=injected,
                    carrier=injection.carriers[number],
                    objects=injection.objects,
                    by="traces",
                    live_after=live[number],
                    traces=tuple(answer.trace_id for answer in answers),
                    requests=len(answers),
                )

    def _judgement(self) -> Judgement:
        assert self._found is not None  # noqa: S101
        judgement = judge(self._control, self._cells, list(self._propagation.values()))
        skipped = map(self._entrances.reasons, judgement.coverage.skipped)
        every = tuple(
            dict.fromkeys((*skipped, *self._skipped, *(one for several in self._unmet.values() for one in several)))
        )
        return Judgement(
            tuple(each for each in judgement.findings if self._chosen.rule(each.rule)),
            msgspec.structs.replace(judgement.coverage, skipped=every),
        )


class _Sent(msgspec.Struct, frozen=True):
    """A wave whose faults are out again. planned: by the number of the run's cell. changed: what it left changed."""

    wave: Wave
    injection: Injection
    planned: Mapping[str, PlannedCell]
    changed: str = ""


def faults(
    cell: PlannedCell, carried: Mapping[Edge, CarriedBy] | None = None, scopes: Mapping[Edge, Scope] | None = None
) -> list[tuple[Fault, Scope]]:
    """What CELL injects, the fault that it is about last.

    CARRIED: by edge, the header that the marker arrives in, where it is not tracestate. SCOPES: of what gateways call.
    """

    def at(edge: Edge) -> Scope:
        return (scopes or {}).get(edge) or scope_of(edge, (carried or {}).get(edge, "tracestate"))

    first = cell.given
    given = [(_fault(first.delay, first.status), at(edge)) for edge in first.edges] if first else []
    own = _fault(cell.delay, cell.status)
    return [*given, *((own, msgspec.structs.replace(at(edge), match=cell.match)) for edge in cell.edges)]


def kinds(graph: Graph, cell: PlannedCell) -> frozenset[tuple[str, str]]:
    """The callers in CELL with their operations: of each, `wanted` calls must meet the fault."""
    return frozenset(
        (str(edge.source), operation)
        for edge in cell.edges
        for operation in graph.operations(edge) or cell.operations
        if operation in cell.operations
    )


def wanted(cell: PlannedCell) -> int:
    """How many calls of each kind must meet the fault of CELL before every rule that reads it can speak."""
    return ((MIN_FAILURES_FOR_ZERO if cell.status else CALLS_EACH) + _SPARE) * cell.times


def _nothing(found: Discovered, barred: Mapping[Edge, str]) -> str:
    """Why there is nothing to fault."""
    urls = ", ".join(found.requests)
    why = "; ".join(
        dict.fromkeys(f"{one.edge}: {one.reason}" if one.edge != "*" else one.reason for one in found.skipped)
    )
    return f"no call that could be faulted was seen behind {urls}" + (
        f": {why}"
        if why
        else "".join((": what answers there calls nobody", *(f", and {one}" for one in dict.fromkeys(barred.values()))))
    )


def _went_by(cell: Cell, edge: Edge) -> bool:
    """Whether some calls on EDGE did not meet the fault of CELL, though its requests began when it was in."""
    calls = [span for trace in cell.traces.values() for span in trace.calls() if span.proxy]
    return any(Edge(span.workload, span.peer) == edge and span.flags.isdisjoint(("DI", "FI")) for span in calls)


def _fault(delay: float, status: int) -> Fault:
    return Delay(delay) if delay else Abort(status)

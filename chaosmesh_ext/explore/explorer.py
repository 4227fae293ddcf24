"""The explorer: what calls what, every fault that can teach something, and what it taught.

Discovery, a plan, its waves one after the other, calls that only failures bring out, and the rules. The control is
asked again after each wave: where it no longer looks as it did, the wave proves nothing and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.explore.calming import spacing
from chaosmesh_ext.explore.crowded import with_limits
from chaosmesh_ext.explore.discovery import Discovered, discover
from chaosmesh_ext.explore.explored import Explored, Watcher, nothing
from chaosmesh_ext.explore.further import further
from chaosmesh_ext.explore.gateways import Entrances, entrances
from chaosmesh_ext.explore.hidden import hidden
from chaosmesh_ext.explore.markers import Markers
from chaosmesh_ext.explore.options import Options, affording
from chaosmesh_ext.explore.plan import plan, refuse
from chaosmesh_ext.explore.recheck import recheck, settle
from chaosmesh_ext.explore.recipe import Recipe
from chaosmesh_ext.explore.second_order import second_order
from chaosmesh_ext.explore.second_try import SecondTry
from chaosmesh_ext.explore.selection import selection
from chaosmesh_ext.explore.sending import Sending, Sent
from chaosmesh_ext.explore.splitting import split
from chaosmesh_ext.explore.stateful.stimulating import Stimulating
from chaosmesh_ext.explore.unfinished import unfinished
from chaosmesh_ext.explore.waves import Plan, Wave
from chaosmesh_ext.findings import judge
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.model import Cell, Judgement, Skipped
from chaosmesh_ext.run.proof import Proof

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run

__all__ = ["Explorer"]

_AGAIN: Final = 3
"""Control requests to each URL after a wave."""

_PATIENT: Final = 15.0
"""Seconds that a wave may take to leave everything as it was: breakers close by themselves, after 5 s most often."""


class Explorer:
    """One exploration in RUN; its parts are asked for in turn, so that whoever is interrupted still has the rest."""

    _markers: Markers
    _sending: Sending
    """Of what was discovered."""

    def __init__(self, run: Run, recipe: Recipe, options: Options, watcher: Watcher) -> None:
        self._run, self._recipe, self._options, self._watcher = run, recipe, options, watcher
        self._found: Discovered | None = None
        self._plan = Plan((), 0)
        self._cells: list[Cell] = []
        self._proofs: list[Proof] = []
        self._skipped: list[Skipped] = []
        self._second = SecondTry()
        self._notes: list[str] = []
        self._unmet: dict[int, tuple[Skipped, ...]] = {}
        self._entrances = Entrances()
        self._seconds: dict[str, float] = {}
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
        settings = self._run.settings
        self._run.settings = affording(settings, self._options.in_flight, lab=self._lab)
        found = discover(self._run, self._recipe)
        self._entrances = entrances(self._run, found, self._options.carrier)
        made = self._planned(found)
        self._markers = Markers(self._run, found)
        self._sending = Sending(self._run, found, self._entrances, self._markers, self._options.carrier, self._watcher)
        self._found, self._plan = found, made
        self._skipped += [*found.skipped, *made.skipped]
        self._notes += (*found.notes, *filter(None, [made.note]))
        self._seconds["discovery"] = time.monotonic() - began
        self._watcher.discovered(found, self._plan, self._run.settings.request_budget)
        return found

    def _planned(self, found: Discovered) -> Plan:
        """The plan for what was FOUND. Raises Inconclusive where no call can be faulted, and what `plan` raises."""
        if not set(found.graph.edges) - self._entrances.barred.keys():
            if any(one.orphaned for one in found.propagation):
                return Plan((), 0)
            raise Inconclusive(nothing(found, self._entrances.barred))
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
        if not made.cells and self._entrances.barred:
            why = "; ".join(dict.fromkeys(self._entrances.barred.values()))
            raise Inconclusive(f"--only and --skip leave only what a gateway calls, and {why}")
        return made

    def inject(self) -> None:
        """Every wave of the plan, then what these bring up: operations that none of them met, new calls, and what more
        requests may tell.

        Raises InvalidInput for what cannot be written, and LeftBehind; what makes a wave inconclusive is a problem.
        """
        found, delays, statuses = self._known, self._options.delay, self._options.status
        self._one_by_one([wave for wave in self._plan.waves if wave.cells])
        self._try_again()
        for more in (
            partial(hidden, found.graph, self._cells),
            partial(second_order, found.graph, found.control, self._cells, delay=delays, status=statuses),
        ):
            self._follow(more)
        self._follow(partial(further, found.graph, self._cells, self._judgement()))
        if self._stateful:
            self._sending.stimulating = Stimulating(self._run, found)
            self._follow(partial(self._stateful_waves, self._sending.stimulating))

    def _stateful_waves(self, stimulating: Stimulating, **more: Any) -> tuple[Wave, ...]:
        """Those that what is known by now makes worth it."""
        findings = judge(self._control, self._cells, list(self._markers.propagation.values())).findings
        asked = self._options
        waves, skipped = stimulating.waves(findings, delay=asked.delay, status=asked.status, **more)
        self._skipped += skipped
        return waves

    def _one_by_one(self, waves: Sequence[Wave]) -> None:
        """Inject WAVES. While spans of one are still coming in, the next one goes on; but not where calls went by its
        faults: what becomes of the marker is found out first.
        """
        before: Sent | None = None
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
        self._try_again()

    def _try_again(self) -> None:
        """Those waves once more that proved nothing, their requests one after the other."""
        for wave, why in self._second.take():
            self._notes.append(why)
            self._run.requests.calm(spacing(self._control))
            settle(self._run, self._known, _AGAIN)
            numbers = {one.number for one in wave.cells}
            self._unmet = {each: why for each, why in self._unmet.items() if each not in numbers}
            self._wave(wave)

    def explored(self) -> Explored:
        """What is known by now. Raises Inconclusive where discovery did not get to its end."""
        found = self._known
        ended = self._stateful and self._sending.stimulating is None
        return Explored(
            found=found,
            plan=self._plan,
            cells=(self._control, *self._cells),
            judgement=unfinished(self._judgement(), self._plan, self._second.judged, self._chosen, stateful=ended),
            proofs=tuple(self._proofs),
            problems=self._second.problems,
            notes=tuple(dict.fromkeys(self._notes)),
            seconds=dict(self._seconds),
            effects=tuple(self._sending.stimulating.effects) if self._sending.stimulating is not None else (),
        )

    @property
    def _known(self) -> Discovered:
        if self._found is None:
            raise Inconclusive("nothing was discovered, so nothing can be judged")
        return self._found

    @property
    def _control(self) -> Cell:
        """With the healthy requests of stateful waves."""
        stimulating = self._sending.stimulating
        return self._known.control if stimulating is None else stimulating.control

    @property
    def _stateful(self) -> bool:
        """Whether workloads may be held up for everybody."""
        asked = self._options.stateful
        return self._lab if asked is None else asked

    @cached_property
    def _lab(self) -> bool:
        """Whether nobody else is harmed."""
        return bool(Surroundings(self._run.client).lab)

    # --- how it does it -----------------------------------------------------------------------------------------------

    def _wave(self, wave: Wave) -> None:
        if sent := self._over(wave):
            self._learn(sent)

    def _over(self, wave: Wave) -> Sent | None:
        """Inject WAVE, and wait until its faults are out, its calls over and the control as it was; nothing where that
        failed.
        """
        began = time.monotonic()
        self._watcher.wave(wave)
        try:
            sent = self._sending.send(wave)
            sent.injection.land()
            return msgspec.structs.replace(sent, changed=self._changed())
        except Inconclusive as error:
            self._failed(wave, error)
            return None
        finally:
            self._seconds[f"wave {wave.number}"] = time.monotonic() - began

    def _learn(self, sent: Sent, *, again: bool = True) -> None:
        """Wait for the traces of what was SENT, and judge it; AGAIN: see `run.wave.Wave.cells`."""
        began, wave, changed = time.monotonic(), sent.wave, sent.changed
        try:
            cells = self._gathered(sent, again=again)
            if lost := set() if wave.stateful or not again else self._markers.lost(wave, cells):
                cells = {number: cell for number, cell in cells.items() if number not in lost}
                self._unmet = {number: why for number, why in self._unmet.items() if number not in lost}
                second = tuple(one for one in wave.cells if one.number in lost)
                cells |= self._gathered(self._sending.send(msgspec.structs.replace(wave, cells=second)))
                changed = changed or self._changed()
        except Inconclusive as error:
            self._failed(wave, error)
            return
        finally:
            self._seconds["traces"] = self._seconds.get("traces", 0.0) + time.monotonic() - began
        if changed:
            self._second.failed(wave, f"{changed}: what it taught is left out")
            return
        self._cells += cells.values()
        self._second.taught(wave)
        self._watcher.judged(wave, self._judgement())

    def _gathered(self, sent: Sent, *, again: bool = True) -> dict[int, Cell]:
        """The cells of what was SENT that were met, by their number in the plan."""
        gathered = self._sending.gather(sent, again=again)
        self._unmet |= gathered.unmet
        self._proofs += gathered.proofs
        self._notes += gathered.notes
        return gathered.cells

    def _changed(self) -> str:
        """What is no longer as it was, by requests like those of discovery; empty where all is."""
        return recheck(self._run, self._known, _AGAIN, patience=_PATIENT)

    def _failed(self, wave: Wave, error: Inconclusive) -> None:
        """WAVE proves nothing because of ERROR, which is raised where the run is over."""
        if self._run.stopped:
            raise error
        self._second.failed(wave, error)

    def _judgement(self) -> Judgement:
        judgement = judge(self._control, self._cells, list(self._markers.propagation.values()))
        skipped = map(self._entrances.reasons, judgement.coverage.skipped)
        unmet = (one for several in self._unmet.values() for one in several)
        every = tuple(dict.fromkeys((*skipped, *self._skipped, *self._markers.skipped, *unmet)))
        findings = with_limits(judgement.findings, self._known.crowded)
        chosen = tuple(each for each in findings if self._chosen.rule(each.rule))
        return Judgement(chosen, msgspec.structs.replace(judgement.coverage, skipped=every))

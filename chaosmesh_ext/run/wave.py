"""A wave: many cells at once, each with requests of its own, in few writes and one run.

It is written by `run.waves` and rolled back whole when that fails half-way. Its own requests are its witnesses: each
cell's must meet the fault on the call that was meant, and nothing anywhere else; a cell whose fault no request met is
told, and is no error. When it comes out, the requests of all its cells must be clean again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from chaosmesh_ext.errors import Inconclusive, InvalidInput, NotProven
from chaosmesh_ext.mesh import INBOUND
from chaosmesh_ext.model import CONTROL, Answer, Cell, Injected, Marker
from chaosmesh_ext.observe.traces import Gathering
from chaosmesh_ext.run.canary import Canary
from chaosmesh_ext.run.cells import Undone
from chaosmesh_ext.run.evidence import Watched
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.proof import MOST
from chaosmesh_ext.run.provers import shows_by
from chaosmesh_ext.run.stimulus import Experiment, Stimulus
from chaosmesh_ext.run.traffic import Errand, Traffic
from chaosmesh_ext.run.volley import Aim, Volley
from chaosmesh_ext.run.wave_plan import Part
from chaosmesh_ext.run.wave_proof import Goner, Witnessed
from chaosmesh_ext.run.wave_traces import WaveTraces

__all__ = ["Wave"]

_EACH: Final = 3
"""Requests that must meet the fault of each cell, where nothing else is asked for: as many as most rules need."""

Errands = Errand | Sequence[Errand]


class Wave:
    """The cells of one batch, while they are in and afterwards.

    run: its token. written: when the last write was answered, in seconds since the epoch. replaces: carriers that were
    preferred and not used, and why. answers: by cell, of its requests from the first one on that met the fault.
    canary: the control requests that were sent meanwhile.
    """

    def __init__(
        self,
        run: str,
        grown: Sequence[Growing],
        parts: Mapping[str, Sequence[Part]],
        *,
        errands: Sequence[Errand],
        traces: WaveTraces,
        traffic: Traffic,
        control: Sequence[Answer],
        timeout: float,
        stopped: Callable[[], bool],
        undo: Callable[[Sequence[Growing]], Undone],
        roll_back: Callable[[Sequence[Growing], BaseException], None],
    ) -> None:
        """ERRANDS: that lead to the calls, where `send` is not told others. TRACES: of its requests, none yet. CONTROL:
        healthy answers to ERRANDS. TIMEOUT: seconds in which a fault must be met.
        """
        self.run = run
        self.written = max((cell.began for cell in grown), default=0.0)
        self.replaces: tuple[str, ...] = ()
        self.canary: list[Answer] = []
        self._grown = {cell.id: cell for cell in grown}
        self._seen = {
            cell.id: Witnessed(
                cell,
                (*(Watched.of(part.place) for part in parts[cell.id]), Watched.of(cell.place)),
                shows_by(cell.fault, cell.place, cell.carrier) or cell.fault.shows_in,
                tuple(errands),
            )
            for cell in grown
        }
        self._errands, self._control, self._traces = errands, control, traces
        self._traffic, self._stopped, self._timeout = traffic, stopped, timeout
        self._undo, self._roll_back = undo, roll_back
        goner = Goner(traces.store, traffic, expected=traces.expected, timeout=timeout, cells=list(self._seen.values()))
        for cell in grown:
            cell.prover = goner

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def numbers(self) -> tuple[str, ...]:
        """Of its cells."""
        return tuple(self._grown)

    @property
    def injected(self) -> dict[str, Injected]:
        """By cell, what is or was in; nothing once the wave was rolled back."""
        return {number: cell.injected for number, cell in self._grown.items() if cell.injected}

    @property
    def carriers(self) -> dict[str, str]:
        """By cell, what carried its fault."""
        return {number: cell.carrier for number, cell in self._grown.items()}

    @property
    def objects(self) -> tuple[str, ...]:
        """That carry it, each once."""
        return tuple(dict.fromkeys(str(one) for cell in self._grown.values() for one in cell.holdings))

    @property
    def answers(self) -> dict[str, tuple[Answer, ...]]:
        """By cell."""
        return {number: tuple(cell.answers) for number, cell in self._grown.items()}

    @property
    def live_after(self) -> dict[str, float]:
        """By cell that was met, the seconds from the write to the start of the first request that met it."""
        return {
            number: max(0.0, seen.first - cell.began)
            for number, seen in self._seen.items()
            for cell in [self._grown[number]]
            if seen.first
        }

    @property
    def unmet(self) -> dict[str, str]:
        """By cell that was sent requests, of which none met its fault, what they showed instead."""
        return {number: seen.instead for number, seen in self._seen.items() if seen.sent and not seen.first}

    @property
    def went_by(self) -> bool:
        """Whether calls of its requests went by a fault, or none was made."""
        return bool(self.unmet) or any(seen.went_by for seen in self._seen.values())

    # --- what is done with it -----------------------------------------------------------------------------------------

    def send(
        self,
        errands: Errands | Mapping[str, Errands] | None = None,
        counts: int | Mapping[str, int] = _EACH,
        *,
        kinds: Mapping[str, Collection[tuple[str, str]]] | None = None,
        shares: Mapping[str, float] | None = None,
        in_turn: Collection[str] = (),
        seen: Callable[[Mapping[str, int]], None] = lambda _met: None,
    ) -> dict[str, list[Answer]]:
        """Send the requests of all cells at once, within the budget, until COUNTS of each met its fault.

        errands: what to send, for all cells or by cell, several in turn; by default what the wave was made with.
        counts: for all cells or by cell, the first ones first; cells that are not named get none. A request that went
        another way, or by a fault that was not there yet, is made up for: 40 of a cell are the most. kinds: by cell,
        callers (as spans name them) with their operations, so many of whose calls are to meet the fault each; 40 for
        each caller are the most.
        shares: by cell, of its requests that make its calls, as far as is known. in_turn: cells whose requests come one
        after the other, with a healthy one between two; those of aborts with KINDS always do. seen: is told again and
        again how many of each cell met the fault.

        Returns the answers of each cell from the first one on that met its fault. Cells that none met until the proof's
        timeout are in `unmet`. Raises NotProven, rolled back, where a fault was met on a call that was not meant;
        Inconclusive where the run was stopped or the canary is harmed: then the wave is out.
        """
        of_each = kinds or {}
        for number, share in (shares or {}).items():
            self._seen[number].share = share
        aims = {
            number: aim
            for number in (counts if isinstance(counts, Mapping) else self._grown)
            if number in self._grown
            and (aim := self._aim(number, errands, counts, of_each.get(number, ()), in_turn=number in in_turn))
            is not None
        }
        if unknown := (set(counts) if isinstance(counts, Mapping) else set()) - set(self._grown):
            raise InvalidInput(f"no cell {', '.join(sorted(unknown))} in this wave: it has {', '.join(self._grown)}")
        harmless = next((one for one in self._errands if one.method in ("GET", "HEAD")), self._errands[0])
        canary = Canary(self._traffic, harmless, Marker(self.run, CONTROL), self._control)
        volley = Volley(
            self._traces.store,
            self._traffic,
            expected=self._traces.expected,
            stopped=self._stopped,
            canary=canary,
            known=self._traces.known,
        )

        def look() -> None:
            for number, aim in aims.items():
                self._traces.nowhere_else(self._seen[number], aim.answers, volley.traces)
            seen({number: aim.got for number, aim in aims.items()})

        try:
            volley.fly(list(aims.values()), patience=self._timeout, seen=look)
            canary.land()
            volley.glimpse()
        except NotProven as error:
            self._roll_back(list(self._grown.values()), error)
            raise
        except Inconclusive:
            if canary.stops:
                self.undo()
            raise
        finally:  # interrupted: what came until then came
            self.canary += canary.answers
            new = {number: self._seen[number].keep(aim, volley.traces) for number, aim in aims.items()}
        return new

    def drive(self, number: str, errands: Errands, experiment: Experiment, *, workloads: int = 1) -> list[Answer]:
        """Send the requests of the cell with this NUMBER, ERRANDS in turn, as EXPERIMENT asks, until that is over.

        WORKLOADS: share them, so that as many times the budget may be in flight.

        Returns what its control requests got. No canary goes along: EXPERIMENT does harm, and sees to it itself. Raises
        NotProven, rolled back, as `send`; Inconclusive where the run was stopped; Unreachable.
        """
        aim = self._aim(number, errands, 1)
        assert aim is not None  # noqa: S101
        stimulus = Stimulus(
            aim,
            Gathering(self._traces.store, expected=self._traces.expected),
            self._traffic.another(workloads),
            self._traffic.another(workloads),
            shows=self._seen[number].shows,
            check=lambda answers, traces: self._traces.nowhere_else(self._seen[number], answers, traces),
            stopped=self._stopped,
        )
        try:
            stimulus.go(experiment)
        except NotProven as error:
            self._roll_back(list(self._grown.values()), error)
            raise
        finally:  # interrupted: what came until then came
            self.canary += stimulus.others
            aim.judge(stimulus.traces, (), time.time())
            self._seen[number].keep(aim, stimulus.traces)
        return stimulus.others

    def land(self) -> None:
        """Wait for the known ends of all calls; spans may still come then, and a caller may try again: see `cells`."""
        self._traces.land(list(self._grown.values()))

    def cells(self, *, again: bool = True) -> list[Cell]:
        """Its cells with their answers and traces, which are waited for until they are whole, all at once.

        again: also for calls that a caller, whom nobody waits for any more, may make again after one that failed, for
        as long as that one took, or until its sidecars are seen to hold no call: without, a retry on a timeout may be
        overlooked there, and `Run.cells` later sees it.
        Raises NotProven, rolled back, where a fault was met on a call that was not meant; Unreachable.
        """
        grown = [cell for cell in self._grown.values() if cell.injected is not None]
        try:
            return self._traces.cells(grown, self._seen, self.canary, again=again)
        except NotProven as error:
            self._roll_back(grown, error)
            raise

    def undo(self) -> Undone:
        """Take all its faults out, each object in one write, and see that those that were met are gone.

        Again is no error. Raises LeftBehind, naming the proxies or what is left.
        """
        return self._undo([cell for cell in self._grown.values() if not cell.ended])

    # --- how it does it -----------------------------------------------------------------------------------------------

    def _aim(
        self,
        number: str,
        errands: Errands | Mapping[str, Errands] | None,
        counts: int | Mapping[str, int],
        kinds: Collection[tuple[str, str]] = (),
        *,
        in_turn: bool = False,
    ) -> Aim | None:
        want = counts.get(number, 0) if isinstance(counts, Mapping) else counts
        if want < 1:
            return None
        mine = errands.get(number) if isinstance(errands, Mapping) else errands
        several = (mine,) if isinstance(mine, Errand) else tuple(mine or self._errands)
        seen, cell = self._seen[number], self._grown[number]
        patience = cell.fault.patience
        seen.errands = tuple(msgspec.structs.replace(one, timeout=one.timeout + patience) for one in several)
        return Aim(
            cell.place.sent,
            seen.errands,
            watched=seen.watched,
            shows=seen.shows,
            injected=cell.injected,
            want=want,
            arrives=cell.carrier == INBOUND,
            most=MOST * max(1, len({source for source, _ in kinds})),
            in_turn=in_turn or (cell.injected is not None and cell.injected.status >= 500 and bool(kinds)),
            kinds=kinds,
            share=seen.share,
        )

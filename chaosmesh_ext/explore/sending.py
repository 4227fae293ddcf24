"""One wave: its faults go in, its requests are sent, its faults go out; and what its requests came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from chaosmesh_ext.explore.cells import faults, kinds, wanted
from chaosmesh_ext.explore.discovery import Discovered
from chaosmesh_ext.explore.explored import Watcher
from chaosmesh_ext.explore.gateways import Entrances
from chaosmesh_ext.explore.likely import likely
from chaosmesh_ext.explore.markers import Markers
from chaosmesh_ext.explore.stateful.stimulating import Stimulating
from chaosmesh_ext.explore.waves import PlannedCell, Wave
from chaosmesh_ext.model import Cell, Skipped
from chaosmesh_ext.run.proof import Proof
from chaosmesh_ext.run.traffic import Errand, application

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run
    from chaosmesh_ext.run.wave import Wave as Injection

__all__ = ["Gathered", "Sending", "Sent"]

_PATIENCE: Final = 30.0
"""Seconds that a faulted request gets besides what it takes healthy and what its fault takes: for callers' retries."""


class Sent(msgspec.Struct, frozen=True):
    """A wave whose faults are out again. planned: by the number of the run's cell. changed: what it left changed."""

    wave: Wave
    injection: Injection
    planned: Mapping[str, PlannedCell]
    changed: str = ""


class Gathered(msgspec.Struct, frozen=True):
    """What a wave's requests came to, by the cells' numbers in the plan. unmet: why a cell was not met, of each of its
    edges. notes: what else is to be said.
    """

    cells: dict[int, Cell]
    unmet: dict[int, tuple[Skipped, ...]]
    proofs: tuple[Proof, ...]
    notes: tuple[str, ...]


class Sending:
    """Sends the waves of one exploration of what was FOUND in RUN; WATCHER hears what meets the faults.

    carrier: of the faults; empty for the one that fits. stimulating: who sends the requests of stateful waves.
    """

    def __init__(
        self, run: Run, found: Discovered, entrances: Entrances, markers: Markers, carrier: str, watcher: Watcher
    ) -> None:
        self._run, self._found, self._entrances, self._markers = run, found, entrances, markers
        self._carrier, self._watcher = carrier, watcher
        self.stimulating: Stimulating | None = None

    def send(self, wave: Wave) -> Sent:
        """WAVE, once its faults are out again. Raises what `Run.inject_wave` and its wave raise."""
        errands = self._errands(wave.cells)
        by_url = {errand.url: errand for several in errands for errand in several}
        injection = self._run.inject_wave(
            [faults(cell, self._markers.carried, self._entrances.scopes) for cell in wave.cells],
            carrier=self._carrier,
            errands=list(by_url.values()),
        )
        planned = dict(zip(injection.numbers, wave.cells, strict=True))
        asked = dict(zip(injection.numbers, errands, strict=True))
        stimulating = self.stimulating if wave.stateful else None
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
                    kinds={number: kinds(graph, cell) for number, cell in planned.items()},
                    in_turn=[number for number, cell in planned.items() if cell.in_turn],
                    shares={number: likely(self._found.control, cell) for number, cell in planned.items()},
                    seen=lambda met: self._watcher.met(wave, met),
                )
        finally:
            injection.undo()
        return Sent(wave, injection, planned)

    def gather(self, sent: Sent, *, again: bool = True) -> Gathered:
        """What became of what was SENT, once its traces are whole. AGAIN: see `run.wave.Wave.cells`."""
        injection, planned = sent.injection, sent.planned
        stimulating = self.stimulating if sent.wave.stateful else None
        cells = injection.cells(again=again)
        if stimulating is not None:
            cells = [stimulating.finished(planned[cell.id], cell) for cell in cells]
        each = ((planned[cell.id], cell) for cell in cells if cell.answers)
        unmet = {
            planned[number].number: tuple(
                Skipped(str(edge), f"{planned[number].kind}: {why}") for edge in planned[number].edges
            )
            for number, why in injection.unmet.items()
        }
        return Gathered(
            {one.number: self._entrances.told(cell, one.edge) for one, cell in each},
            unmet,
            tuple(_proven(injection)),
            tuple(injection.replaces),
        )

    def _errands(self, cells: Sequence[PlannedCell]) -> list[list[Errand]]:
        made: dict[str, Errand] = {}
        slowest = max((answer.duration for answer in self._found.control.answers), default=0.0)
        lasts = _PATIENCE + slowest + max((cell.lasts for cell in cells), default=0.0)
        for url, one in self._found.requests.items():
            target = application(self._run.settings, url)
            made[url] = Errand.to(target, one.sent, one.method, lasts, one.body)
        return [[made[url] for url in cell.urls] or list(made.values()) for cell in cells]


def _proven(injection: Injection) -> Iterator[Proof]:
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

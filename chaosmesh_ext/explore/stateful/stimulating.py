"""How the cells of a stateful wave are stimulated, once its faults are in, and what their requests came to.

All faults of a wave are in at once, each for the requests of its own cell, and its cells take their turns: a request of
one cell makes the healthy calls that another one must not see, and starts a breaker's count anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chaosmesh_ext.explore.discovery import Discovered
from chaosmesh_ext.explore.stateful.breaking import Breaking
from chaosmesh_ext.explore.stateful.bystanders import Effect, effect
from chaosmesh_ext.explore.stateful.cells import stateful_waves
from chaosmesh_ext.explore.stateful.hanging import Hanging
from chaosmesh_ext.explore.waves import CALLS_EACH, Kind, PlannedCell, Wave
from chaosmesh_ext.findings import bulkhead, circuit_breaker, unsafe_retry
from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.visits import sparing, visits
from chaosmesh_ext.model import Answer, Cell, Edge, Finding, Skipped, Trace
from chaosmesh_ext.observe.addressed import Addressed
from chaosmesh_ext.observe.traces import Expected, gather
from chaosmesh_ext.run.traffic import Errand, application

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run
    from chaosmesh_ext.run.wave import Wave as Injection

__all__ = ["PURPOSES", "Stimulating"]

PURPOSES: Final[Mapping[Kind, str]] = {
    "breaker": circuit_breaker.RULE,
    "bulkhead": bulkhead.RULE,
    "unsafe-retry": unsafe_retry.RULE,
}
"""Kind of cell → the rule that alone reads it."""

_STARVED: Final = 60.0
"""Seconds that a request beside may wait for those that hang."""

_SPARE: Final = 1
"""Requests that meet an unsafe retry's fault beyond those that the rule needs."""


class Stimulating:
    """The stateful waves of one exploration. control: what was FOUND, with the healthy requests that were sent since.
    effects: on others, of each wave.
    """

    def __init__(self, run: Run, found: Discovered) -> None:
        self._run, self._found = run, found
        self.control = found.control
        self.effects: list[Effect] = []
        self._beside: dict[int, tuple[Answer, ...]] = {}
        self._store = Addressed(run.requests.store(), {edge.destination for edge in found.graph.edges})

    @cached_property
    def _baseline(self) -> Baseline:
        return Baseline(self._found.control)

    def waves(self, findings: Sequence[Finding], **more: Any) -> tuple[tuple[Wave, ...], list[Skipped]]:
        """What `stateful_waves` gives for the FINDINGS of the stateless ones; nothing that a gateway calls."""
        graph, gateways = self._found.graph, self._found.gateways
        spared = {edge for edge in graph.edges if edge not in gateways and self.spare(edge) is not None}
        waves, skipped = stateful_waves(graph, findings, spared=spared, apart=gateways, **more)
        return tuple(waves), skipped

    def go(
        self,
        wave: Wave,
        injection: Injection,
        cells: Mapping[str, PlannedCell],
        errands: Mapping[str, Sequence[Errand]],
    ) -> None:
        """Send the requests of CELLS, those of INJECTION by number, whose faults are in. ERRANDS: that lead there.

        Raises NotProven, rolled back, where a fault was met elsewhere; Inconclusive where the run was stopped.
        """
        others: list[Answer] = []
        try:
            for number, cell in _of("breaker", cells):
                breaking = Breaking(self._baseline, cell.edges, errands[number])
                try:
                    injection.drive(number, errands[number], breaking)
                finally:
                    others += breaking.others
            if plain := dict(_of("unsafe-retry", cells)):
                before = len(injection.canary)
                try:
                    injection.send({each: errands[each] for each in plain}, dict.fromkeys(plain, CALLS_EACH + _SPARE))
                finally:
                    others += injection.canary[before:]
            for number, cell in _of("bulkhead", cells):
                others += self._hang(injection, number, cell, errands[number])
        finally:
            self.effects.append(effect(wave.number, wave.name, self.control, others))

    def _hang(self, injection: Injection, number: str, cell: PlannedCell, errands: Sequence[Errand]) -> list[Answer]:
        beside, count = self.spare(cell.edge), len(cell.edges)
        assert beside is not None  # noqa: S101
        hanging = Hanging(beside, errands, self._run.settings.request_budget, cell.delay, workloads=count)
        try:
            injection.drive(number, errands, hanging, workloads=count)
        finally:
            self._beside[cell.number] = tuple(hanging.beside)
        traces = {**self.control.traces, **self._traces(hanging.healthy)}
        usual = (*self.control.beside, *hanging.healthy)
        self.control = msgspec.structs.replace(self.control, beside=usual, traces=traces)
        return [*hanging.beside, *hanging.others]

    def finished(self, planned: PlannedCell, cell: Cell) -> Cell:
        """CELL, which was PLANNED, for the rule that it was made for, with the requests beside."""
        beside = self._beside.get(planned.number, ())
        traces = {**cell.traces, **self._traces(beside)} if beside else cell.traces
        return msgspec.structs.replace(cell, purpose=PURPOSES[planned.kind], beside=beside, traces=traces)

    def _traces(self, answers: Sequence[Answer]) -> dict[str, Trace]:
        """Theirs, once they are whole; requests that were starved may have been given up by whoever sent them."""
        expected = Expected.of(self._found.control.traces.values())
        return dict(gather(self._store, answers, expected=expected).traces)

    def spare(self, edge: Edge) -> Errand | None:
        """A request that has EDGE's source serve others without a call on EDGE; None where every one makes it."""
        spare = sparing(self._baseline, edge)
        control = self._found.control
        urls = {answer.trace_id: answer.url for answer in control.answers}
        seen = Counter(
            urls[visit.span.trace_id]
            for visit in visits(control, control.answers, edge.source)
            if visit.operation in spare
        )
        known = [(url, self._found.requests[url]) for url, _ in seen.most_common() if url in self._found.requests]
        known.sort(key=lambda each: each[1].method not in ("GET", "HEAD"))
        for url, one in known:
            target = application(self._run.settings, url)
            return Errand.to(target, one.sent, one.method, _STARVED, one.body)
        return None


def _of(kind: Kind, cells: Mapping[str, PlannedCell]) -> Iterable[tuple[str, PlannedCell]]:
    return [(number, cell) for number, cell in cells.items() if cell.kind == kind]

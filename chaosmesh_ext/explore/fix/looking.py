"""Looking at one weakness: the load or the fault that shows it, the same without its fix and with it.

What is asked of the callee happens at its own side wherever the fix is in its callers' sidecars: a fault there comes
before their pools and their counts of errors, and shows nothing of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Final

from chaosmesh_ext.explore.cells import faults
from chaosmesh_ext.explore.discovery import Discovered
from chaosmesh_ext.explore.fix.failing import Failing
from chaosmesh_ext.explore.fix.mended import Seen, left_alone
from chaosmesh_ext.explore.fix.mending import Weak, patience
from chaosmesh_ext.explore.plan import STATUS
from chaosmesh_ext.explore.selection import Selection
from chaosmesh_ext.explore.sites import alike, cell_for
from chaosmesh_ext.explore.stateful.cells import HANG
from chaosmesh_ext.explore.stateful.stimulating import Stimulating
from chaosmesh_ext.explore.waves import CALLS_EACH, Kind, PlannedCell, Wave
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import CONTROL, Cell, Edge, Marker, Scope
from chaosmesh_ext.observe.addressed import Addressed
from chaosmesh_ext.observe.traces import Expected, gather
from chaosmesh_ext.run.traffic import Errand, application

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run
    from chaosmesh_ext.run.wave import Wave as Injection
    from chaosmesh_ext.run.wave_plan import Faults

__all__ = ["Looking"]

_SPARE: Final = 1
"""Requests beyond those that a rule needs: one trace may come too late."""

_LASTS: Final = 60.0
"""Seconds that a request may take: those that wait for the ones that hang."""

_CROWDS: Final = 3
"""Times as many requests as may be sent at once, for a pool that refuses healthy ones."""

_VISIBLE: Final = 8.0
"""Seconds that a trace may take to become visible."""


class Looking:
    """Looks at WEAK, of the calls on EDGES of what was FOUND in RUN. KNOWN: all findings of its exploration.

    told: how it shows. Where that cannot be seen `cannot` says why.
    """

    def __init__(self, run: Run, found: Discovered, weak: Weak, edges: Sequence[Edge], known: Sequence[Weak]) -> None:
        self._run, self._found, self._weak, self._edges, self._known = run, found, weak, tuple(edges), known
        self._look, self.told = {
            "unsafe-retry": (self._slow_below, f"what {weak.destination} calls is slow"),
            "bulkhead": (self._hang, f"calls to {weak.destination} hang"),
            "retry-amplification": (self._fail, f"{weak.destination} fails"),
            "connection-limit": (self._crowd, f"many healthy calls to {weak.destination} at once"),
        }[weak.rule]

    @property
    def cannot(self) -> str:
        """Why the lab cannot show it; empty where it can."""
        graph, weak = self._found.graph, self._weak
        if not any(weak.operation in graph.operations(edge) for edge in self._edges):
            return f"no healthy request makes the call {weak.operation}"
        if weak.rule == "unsafe-retry" and not self._below():
            return f"{weak.destination} calls nobody who could be slow"
        if weak.rule == "bulkhead" and not Stimulating(self._run, self._found).spare(self._edges[0]):
            return f"every request to {weak.source} needs the call, so none can be starved by it"
        return ""

    def look(self, *, mended: bool) -> Seen:
        """What is seen of it now; MENDED: with its fix in.

        Raises what `Run.inject_wave` and its wave raise. With a fix in, what was injected is left to `Run.undo`: what
        callers' sidecars remember of errors goes with the fix, and before, no call shows that the fault is gone.
        """
        return self._look(mended)

    # --- how each shows -----------------------------------------------------------------------------------------------

    def _slow_below(self, mended: bool) -> Seen:
        """The callee's own calls take longer than its caller's sidecar waits for an attempt."""
        cells = [
            cell_for(
                self._found.graph,
                Selection(),
                children,
                number,
                "unsafe-retry",
                operations=[self._weak.operation],
                delay=min(patience(child, self._known) for child in children),
                judged=self._edges[0],
            )
            for number, children in enumerate(self._below(), 1)
        ]
        return self._stimulated(cells, [faults(cell) for cell in cells], mended, carrier="")

    def _below(self) -> list[tuple[Edge, ...]]:
        return alike(edge for edge in self._found.graph.edges if edge.source.service == self._weak.destination)

    def _hang(self, mended: bool) -> Seen:
        """As many calls as may be hang at the callee, beside requests that do without."""
        cell = self._cell("bulkhead", delay=HANG)
        return self._stimulated([cell], [(Delay(HANG), self._scope())], mended)

    def _fail(self, mended: bool) -> Seen:
        """The callee answers errors: to a few requests, or to so many that it is left alone."""
        cell = self._cell("abort", status=STATUS)
        errands = self._errands(cell)
        wave = self._run.inject_wave([(Abort(STATUS), self._scope())], carrier="inbound", errands=errands)
        (number,) = wave.numbers
        try:
            if mended:
                wave.drive(number, errands, Failing(self._left_alone))
            else:
                kinds = frozenset((str(edge.source), self._weak.operation) for edge in self._edges)
                wave.send({number: errands}, CALLS_EACH + _SPARE, kinds={number: kinds})
            cells = wave.cells(again=not mended)
        finally:
            self._out(wave, mended)
        return self._seen(self._found.control, cells)

    def _left_alone(self, cell: Cell) -> bool:
        reaching, _ = left_alone(self._weak, self._edges, self._found.control, [cell])
        return not reaching

    def _crowd(self, mended: bool) -> Seen:
        """Healthy requests, as many at once as may be, however calmly others are sent."""
        del mended
        found, marker = self._found, Marker(self._run.token, CONTROL)
        errands, traffic = self._errands(self._cell("abort")), self._run.requests.traffic.another()
        try:
            count = _CROWDS * traffic.budget * len(errands)
            sent = [traffic.send(errand, marker) for errand, _ in zip(cycle(errands), range(count), strict=False)]
            answers = [one.result() for one in sent]
        finally:
            traffic.close()
        store = Addressed(self._run.requests.store(), {edge.destination for edge in found.graph.edges})
        expected = Expected.of(found.control.traces.values())
        traces = gather(store, answers, expected=expected, timeout=_VISIBLE).traces
        return self._seen(Cell(found.control.id, None, tuple(answers), dict(traces)), [])

    # --- what they share ----------------------------------------------------------------------------------------------

    def _stimulated(
        self, cells: Sequence[PlannedCell], what: Sequence[Faults], mended: bool, carrier: str = "inbound"
    ) -> Seen:
        """CELLS with their faults WHAT, as a stateful wave of an exploration has them."""
        stimulating = Stimulating(self._run, self._found)
        errands = [self._errands(cell) for cell in cells]
        every = {errand.url: errand for several in errands for errand in several}
        injection = self._run.inject_wave(what, carrier=carrier, errands=list(every.values()))
        planned = dict(zip(injection.numbers, cells, strict=True))
        try:
            wave = Wave(1, cells[0].kind, tuple(cells), stateful=True)
            stimulating.go(wave, injection, planned, dict(zip(injection.numbers, errands, strict=True)))
            made = [stimulating.finished(planned[cell.id], cell) for cell in injection.cells()]
        finally:
            self._out(injection, mended)
        return self._seen(stimulating.control, made)

    def _seen(self, control: Cell, cells: Sequence[Cell]) -> Seen:
        judgement = judge(control, cells, self._found.propagation, on_arrival=True)
        return Seen(judgement, control, tuple(cells))

    def _out(self, wave: Injection, mended: bool) -> None:
        if not mended:
            wave.undo()

    def _cell(self, kind: Kind, *, delay: float = 0.0, status: int = 0) -> PlannedCell:
        said = [self._weak.operation]
        return cell_for(
            self._found.graph, Selection(), self._edges, 1, kind, operations=said, delay=delay, status=status
        )

    def _scope(self) -> Scope:
        edge = self._edges[0]
        return Scope(edge.destination, namespace=edge.source.namespace)

    def _errands(self, cell: PlannedCell) -> list[Errand]:
        found = []
        for url in cell.urls or tuple(self._found.requests):
            one = self._found.requests[url]
            target = application(self._run.settings, url)
            found.append(Errand.to(target, one.sent, one.method, _LASTS + cell.lasts, one.body))
        return found

"""The traces of a wave's requests: waited for all at once, and seen to show its faults only where they are meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from chaosmesh_ext.errors import Astray
from chaosmesh_ext.model import Answer, Cell, Injected, Trace
from chaosmesh_ext.observe.traces import Expected, Free, Gathering, TraceSource, gather_all
from chaosmesh_ext.run.evidence import Watched, elsewhere
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.wave_proof import Witnessed

__all__ = ["WaveTraces"]


class WaveTraces:
    """Those in STORE of one wave. expected: by URL, what those of healthy requests hold. known: what came until now.
    whole: by id, those that were waited for.
    """

    def __init__(
        self,
        store: TraceSource,
        *,
        expected: Mapping[str, Expected],
        foreign: Collection[str],
        beside: Sequence[Watched],
        whole: dict[str, Trace],
        free: Free | None = None,
    ) -> None:
        """FOREIGN: calls that had faults of others before. BESIDE: those on which the run's requests may meet faults of
        its own. FREE: see `observe.wholeness.missing`.
        """
        self.store, self.expected, self.known, self.whole = store, expected, Gathering(store), whole
        self._foreign, self._beside, self._free = frozenset(foreign), tuple(beside), free

    def land(self, grown: Sequence[Growing]) -> None:
        """Wait for the known ends of all calls of the cells GROWN."""
        gather_all(self.store, _wanted(grown), expected=self.expected, again=False, quiet=0.0, known=self.known)

    def cells(
        self, grown: Sequence[Growing], seen: Mapping[str, Witnessed], canary: Sequence[Answer], *, again: bool
    ) -> list[Cell]:
        """What the cells GROWN, with what was SEEN of them by number, and the CANARY came to; AGAIN: see `Wave.cells`.

        Raises Astray where a fault was met on a call that was not meant; Unreachable.
        """
        wanted = [*_wanted(grown), (None, canary)]
        found = gather_all(self.store, wanted, expected=self.expected, again=again, free=self._free, known=self.known)
        traces = found.traces
        ids = {one.trace_id for _, answers in wanted for one in answers} - found.incomplete.keys()
        self.whole.update({one: traces[one] for one in ids if again and one in traces})
        for cell in grown:
            self.nowhere_else(seen[cell.id], cell.answers, traces)
        self.nowhere_else(None, canary, traces)
        return [
            Cell(cell.id, cell.injected, tuple(cell.answers), {one: traces[one] for one in mine if one in traces})
            for cell in grown
            for mine in [[answer.trace_id for answer in cell.answers]]
        ]

    def nowhere_else(self, seen: Witnessed | None, answers: Sequence[Answer], traces: Mapping[str, Trace]) -> None:
        """Raise Astray where TRACES of ANSWERS, of the cell SEEN or of no cell, show a fault on another call."""
        found = [traces[one.trace_id] for one in answers if one.trace_id in traces]
        meant = (*seen.parts, *self._beside) if seen else ()
        wrong = elsewhere(found, meant, seen.shows) if seen else elsewhere(found, ())
        wrong = {call: trace for call, trace in wrong.items() if call not in self._foreign}
        if wrong:
            call, trace = next(iter(wrong.items()))
            others = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            if seen is None:
                raise Astray(f"a fault of the wave was also met on {call}{others} by control requests (trace {trace})")
            whose = f"the fault of the cell {seen.cell.id}, meant for {seen.watched},"
            raise Astray(f"{whose} was also met on {call}{others} (trace {trace})")


def _wanted(grown: Sequence[Growing]) -> list[tuple[Injected | None, Sequence[Answer]]]:
    return [(cell.injected, cell.answers) for cell in grown if cell.injected is not None]

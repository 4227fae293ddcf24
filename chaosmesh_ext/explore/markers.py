"""Which header our marker arrives in, by edge: found out where calls went by a fault that they should have met."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from chaosmesh_ext.explore.discovery import Discovered
from chaosmesh_ext.explore.propagation import measure
from chaosmesh_ext.explore.waves import Wave
from chaosmesh_ext.model import CarriedBy, Cell, Edge, Propagated, Skipped

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run

__all__ = ["Markers"]


class Markers:
    """Those of one exploration of what was FOUND in RUN.

    propagation: what is known of each edge. carried: the header, by edge, where it was measured. skipped: edges of
    which it could not be.
    """

    def __init__(self, run: Run, found: Discovered) -> None:
        self._run, self._found = run, found
        self.propagation: dict[Edge, Propagated] = {one.edge: one for one in found.propagation}
        self.carried: dict[Edge, CarriedBy] = {}
        self.skipped: list[Skipped] = []

    def lost(self, wave: Wave, cells: Mapping[int, Cell]) -> set[int]:
        """The cells of WAVE, by number, that are worth another try: with another header, where the marker is lost.

        CELLS: what those that were met came to. What became of the marker is measured once for each edge.
        """
        suspects = {
            one.number: {
                edge
                for edge in set(one.edges) - self._found.gateways
                if one.number not in cells or (not one.alone and _went_by(cells[one.number], edge))
            }
            for one in wave.cells
        }
        fresh = set[Edge]().union(*suspects.values()) - self.carried.keys()
        if not fresh:
            return set()
        measured = measure(self._run, self._found, only=fresh)
        self.skipped += measured.skipped
        self.propagation |= {one.edge: one for one in measured.edges if one.edge in fresh}
        for edge in fresh:
            self.carried[edge] = measured.carrier(edge) or "tracestate"
        return {
            number
            for number, edges in suspects.items()
            if edges & fresh and (number not in cells or any(self.carried[edge] != "tracestate" for edge in edges))
        }


def _went_by(cell: Cell, edge: Edge) -> bool:
    """Whether some calls on EDGE did not meet the fault of CELL, though its requests began when it was in."""
    calls = [span for trace in cell.traces.values() for span in trace.calls() if span.proxy]
    return any(Edge(span.workload, span.peer) == edge and span.flags.isdisjoint(("DI", "FI")) for span in calls)

"""Hidden operations: calls on an edge that are not made once another call on the same edge has failed.

A cell faults all calls of its edge. Where a service looks up a cart and then adds to it, and gives up when the first
fails, nobody learns what happens when the second does. So each of those is faulted once more, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final

from chaosmesh_ext.explore.selection import Selection
from chaosmesh_ext.explore.sites import alike, cell_for
from chaosmesh_ext.explore.waves import Kind, PlannedCell, Wave
from chaosmesh_ext.findings.calls import calls
from chaosmesh_ext.model import Cell, Edge, Graph

__all__ = ["hidden"]

_KINDS: Final[tuple[Kind, ...]] = ("delay", "abort")


def hidden(
    graph: Graph, cells: Sequence[Cell], *, wave: int, cell: int, chosen: Selection | None = None
) -> tuple[Wave, ...]:
    """Waves for the operations of GRAPH whose edge was faulted in CELLS and which never met that fault.

    Only where another operation of the edge met it: where none did, the fault or the requests failed. An edge is in a
    wave once, so several operations of one take several waves; delays and aborts have their own. wave, cell: the first
    numbers that are free.
    """
    chosen = chosen or Selection()
    numbers = count(cell)
    waves: list[Wave] = []
    for kind in _KINDS:
        turns: list[list[PlannedCell]] = []
        for each in cells:
            injected = each.injected
            if injected is None or injected.kind != kind:
                continue
            missed: dict[str, list[Edge]] = {}
            for edge, operations in _missed(graph, each, chosen):
                for operation in operations:
                    missed.setdefault(operation, []).append(edge)
            for turn, (operation, edges) in enumerate(missed.items()):
                if turn == len(turns):
                    turns.append([])
                turns[turn] += [
                    cell_for(
                        graph,
                        chosen,
                        those,
                        next(numbers),
                        kind,
                        delay=injected.delay,
                        status=injected.status,
                        operations=[operation],
                        alone=True,
                    )
                    for those in alike(edges)
                ]
        waves += [Wave(wave + len(waves) + at, f"hidden {kind}", tuple(those)) for at, those in enumerate(turns)]
    return tuple(waves)


def _missed(graph: Graph, cell: Cell, chosen: Selection) -> Iterator[tuple[Edge, list[str]]]:
    """The operations of each edge that CELL faulted in vain."""
    injected = cell.injected
    if injected is None or not injected.at_the_caller:
        return
    met = {(call.edge, call.operation) for call in calls(cell, frozenset(graph.edges)) if call.faulted}
    for edge in graph.edges:
        if not injected.covers(edge):
            continue
        operations = graph.operations(edge)
        missed = [each for each in operations if (edge, each) not in met and chosen.call(edge, each) and " " in each]
        if len(missed) < len(operations) and any((edge, each) in met for each in operations):
            yield edge, missed

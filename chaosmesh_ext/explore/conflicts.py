"""Conflicts between stateful cells, and waves without any.

A breaker that opens, a pool that fills up and a queue that grows are shared by all requests, marked or not. So two such
cells cannot be in at once when they hold up the same workload, or when the requests of one pass the other's fault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from chaosmesh_ext.explore.waves import PlannedCell
from chaosmesh_ext.model import Edge, Graph

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["coloured", "conflict", "conflict_graph"]

_STRATEGIES: Final = ("smallest_last", "largest_first")
"""Orders in which to colour greedily; neither is best for every graph."""

_SLOW: Final = "saturation_largest_first"
"""Often the best (DSATUR), in the square of the number of cells."""

_FEW: Final = 200
"""Cells up to which the slow one takes less than a tenth of a second."""

_AT_ONCE: Final = 2000
"""Cells that are coloured together. A graph of all pairs of more would need gigabytes; waves do not reach across."""


def conflict(graph: Graph, one: PlannedCell, other: PlannedCell) -> bool:
    """Whether ONE and OTHER share a source workload, or an edge of one lies on the path to the other's."""
    return any(_disturb(graph, mine, yours) for mine in one.touches for yours in other.touches)


def _disturb(graph: Graph, one: Edge, other: Edge) -> bool:
    return one.source == other.source or graph.leads(one, other) or graph.leads(other, one)


def conflict_graph(graph: Graph, cells: Sequence[PlannedCell]) -> nx.Graph:
    """The places of CELLS as nodes, and an edge between every two that conflict."""
    import networkx as nx

    found: nx.Graph = nx.Graph()
    found.add_nodes_from(range(len(cells)))
    by_workload: dict[object, list[int]] = defaultdict(list)
    by_service: dict[str, list[int]] = defaultdict(list)
    for place, cell in enumerate(cells):
        for edge in cell.touches:
            by_workload[edge.source].append(place)
            by_service[edge.source.service].append(place)
    for place, cell in enumerate(cells):
        for edge in cell.touches:
            found.add_edges_from((place, other) for other in by_workload[edge.source] if other != place)
            for service in graph.reached(edge.destination) & by_service.keys():
                found.add_edges_from((place, other) for other in by_service[service] if other != place)
    return found


def coloured(graph: Graph, cells: Iterable[PlannedCell]) -> list[tuple[PlannedCell, ...]]:
    """CELLS in as few groups as greedy colouring finds; no two of a group conflict.

    Cells with equally much below them go together: those seldom conflict.
    """
    import networkx as nx

    ordered = sorted(cells, key=lambda cell: (len(graph.reached(cell.edge.destination)), cell.number))
    groups: list[tuple[PlannedCell, ...]] = []
    for start in range(0, len(ordered), _AT_ONCE):
        some = ordered[start : start + _AT_ONCE]
        conflicts = conflict_graph(graph, some)
        strategies = (_SLOW, *_STRATEGIES) if len(some) <= _FEW else _STRATEGIES
        colourings = [nx.greedy_color(conflicts, strategy=strategy) for strategy in strategies]
        best = min(colourings, key=lambda colours: max(colours.values(), default=-1))
        by_colour: dict[int, list[PlannedCell]] = defaultdict(list)
        for place, colour in best.items():
            by_colour[colour].append(some[place])
        groups += [tuple(sorted(by_colour[colour], key=lambda c: c.number)) for colour in sorted(by_colour)]
    return groups

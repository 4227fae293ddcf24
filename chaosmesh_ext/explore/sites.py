"""From the sites of an edge to its cell."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from chaosmesh_ext.explore.selection import Selection
from chaosmesh_ext.explore.waves import Given, Kind, PlannedCell
from chaosmesh_ext.model import CallSite, Edge, Graph

__all__ = ["alike", "cell_for", "fewest_urls", "in_a_row"]


def alike(edges: Iterable[Edge]) -> list[tuple[Edge, ...]]:
    """EDGES, those of one service to another together: the same call of several versions."""
    found: dict[tuple[str, str, str], list[Edge]] = defaultdict(list)
    for edge in edges:
        found[edge.source.namespace, edge.source.service, edge.destination].append(edge)
    return [tuple(those) for those in found.values()]


def cell_for(
    graph: Graph,
    chosen: Selection,
    edges: Edge | Sequence[Edge],
    number: int,
    kind: Kind,
    *,
    delay: float = 0.0,
    status: int = 0,
    operations: Collection[str] | None = None,
    judged: Edge | None = None,
    given: Given | None = None,
    alone: bool = False,
    times: int = 1,
    in_turn: bool = False,
) -> PlannedCell:
    """The cell that faults EDGES of GRAPH, the same call of several versions, for the operations that are CHOSEN.

    operations: fewer than the edges have; with JUDGED those of the judged edge, whose requests are sent. alone: no
    other operation is to meet the fault. times: as many requests as usual. in_turn: one after the other.
    """
    every = (edges,) if isinstance(edges, Edge) else tuple(edges)
    on = [site for edge in every for site in graph.by_edge[edge]]
    sites = [site for site in (graph.by_edge[judged] if judged else on) if chosen.operation(site.operation)]
    if operations is not None:
        sites = [site for site in sites if site.operation in operations]
    return PlannedCell(
        number,
        every[0],
        kind,
        delay=delay,
        status=status,
        operations=tuple(dict.fromkeys(site.operation for site in sites)),
        urls=fewest_urls(sites),
        judged=judged,
        given=given,
        in_a_row=in_a_row(sites if alone else on),
        alone=alone,
        also=every[1:],
        times=times,
        in_turn=in_turn,
    )


def in_a_row(sites: Iterable[CallSite]) -> int:
    """How many calls one request of a source makes on its edge of SITES, at most: maybe one after the other."""
    by_url: dict[tuple[Edge, str], float] = defaultdict(float)
    for site in sites:
        by_url[site.edge, site.url] += site.calls
    return max(1, math.ceil(max(by_url.values(), default=1.0)))


def fewest_urls(sites: Iterable[CallSite]) -> tuple[str, ...]:
    """Entry URLs whose requests together make all calls of SITES, as few as choosing greedily gives."""
    reached: dict[str, set[tuple[Edge, str]]] = defaultdict(set)
    for site in sites:
        if site.url:
            reached[site.url].add((site.edge, site.operation))
    missing = set[tuple[Edge, str]]().union(*reached.values())
    chosen: list[str] = []
    while missing:
        best = max(sorted(reached), key=lambda url: len(reached[url] & missing))
        chosen.append(best)
        missing -= reached[best]
    return tuple(chosen)

"""From the sites of an edge to its cell."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable

from chaosmesh_ext.explore.selection import Selection
from chaosmesh_ext.explore.waves import Given, Kind, PlannedCell
from chaosmesh_ext.model import CallSite, Edge, Graph

__all__ = ["cell_for", "fewest_urls", "in_a_row"]


def cell_for(
    graph: Graph,
    chosen: Selection,
    edge: Edge,
    number: int,
    kind: Kind,
    *,
    delay: float = 0.0,
    status: int = 0,
    operations: Collection[str] | None = None,
    judged: Edge | None = None,
    given: Given | None = None,
    alone: bool = False,
) -> PlannedCell:
    """The cell that faults EDGE of GRAPH, for the operations that are CHOSEN.

    operations: fewer than the edge has; with JUDGED those of the judged edge, whose requests are sent. alone: no other
    operation is to meet the fault.
    """
    sites = [site for site in graph.by_edge[judged or edge] if chosen.operation(site.operation)]
    if operations is not None:
        sites = [site for site in sites if site.operation in operations]
    return PlannedCell(
        number,
        edge,
        kind,
        delay=delay,
        status=status,
        operations=tuple(dict.fromkeys(site.operation for site in sites)),
        urls=fewest_urls(sites),
        judged=judged,
        given=given,
        in_a_row=in_a_row(sites if alone else graph.by_edge[edge]),
        alone=alone,
    )


def in_a_row(sites: Iterable[CallSite]) -> int:
    """How many calls one request of the source makes on the edge of SITES: maybe one after the other."""
    by_url: dict[str, float] = defaultdict(float)
    for site in sites:
        by_url[site.url] += site.calls
    return max(1, math.ceil(max(by_url.values(), default=1.0)))


def fewest_urls(sites: Iterable[CallSite]) -> tuple[str, ...]:
    """Entry URLs whose requests together make all calls of SITES, as few as choosing greedily gives."""
    reached: dict[str, set[str]] = defaultdict(set)
    for site in sites:
        if site.url:
            reached[site.url].add(site.operation)
    missing = set().union(*reached.values())
    chosen: list[str] = []
    while missing:
        best = max(sorted(reached), key=lambda url: len(reached[url] & missing))
        chosen.append(best)
        missing -= reached[best]
    return tuple(chosen)

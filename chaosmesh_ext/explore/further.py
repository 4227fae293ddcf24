"""Further requests: where those of the first waves were too few to tell.

How many meet a fault can be asked for, not what happens to each: one caller in four may have a caller of its own that
leaves first, and a rule then has one call where it needs three. So what was too little is asked for once more; and what
was cut off by callers further up, where others of them are known to wait longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from typing import Final

from chaosmesh_ext.explore.conflicts import coloured
from chaosmesh_ext.explore.selection import TAUGHT_BY, Selection
from chaosmesh_ext.explore.sites import alike, cell_for
from chaosmesh_ext.explore.waves import Kind, Wave
from chaosmesh_ext.model import Cell, Edge, Finding, Graph, Judgement

__all__ = ["TIMES", "further"]

TIMES: Final = 4
"""As many requests as at first."""

_LONGER: Final = 1.25
"""Times as long as another one waits whoever waits longer than that: closer ones cannot be told apart."""

_CONDITION: Final[dict[Kind, str]] = {"delay": "slow", "abort": "status"}

_WHAT_IS_LOST: Final = ("fallback", "missing-fallback")
"""Rules of which each call has one finding under each condition."""


def further(
    graph: Graph,
    cells: Sequence[Cell],
    judgement: Judgement,
    *,
    wave: int,
    cell: int,
    chosen: Selection | None = None,
) -> tuple[Wave, ...]:
    """Waves for the edges of GRAPH that CELLS faulted, and of which the JUDGEMENT says that calls were too few.

    wave, cell: the first numbers that are free.
    """
    chosen = chosen or Selection()
    numbers = count(cell)
    waves: list[Wave] = []
    for kind, condition in _CONDITION.items():
        faults = [each.injected for each in cells if each.injected is not None and each.injected.kind == kind]
        edges = [
            edge
            for edge in graph.edges
            if any(fault.covers(edge) for fault in faults) and _lacks(graph, edge, kind, condition, judgement)
        ]
        # a version that is spared ends the retries of requests that come to it
        several = {_call(edge) for edge in edges if _amplifies(edge, judgement)}
        edges += [
            edge
            for edge in graph.edges
            if edge not in edges and _call(edge) in several and any(fault.covers(edge) for fault in faults)
        ]
        in_turn = [edge for edge in graph.edges if kind == "delay" and _in_turn(edge, judgement)]
        in_turn = [edge for edge in in_turn if any(fault.covers(edge) for fault in faults)]
        planned, apart = (
            tuple(
                cell_for(
                    graph,
                    chosen,
                    those,
                    next(numbers),
                    kind,
                    delay=faults[0].delay,
                    status=faults[0].status,
                    times=times,
                    in_turn=times == 1,
                )
                for those in alike(some)
            )
            for some, times in (([each for each in edges if each not in in_turn], TIMES), (in_turn, 1))
        )
        # what fails below a call fails it, too, and would open its breaker meanwhile
        for together in (planned, *coloured(graph, apart)):
            if together:
                waves.append(Wave(wave + len(waves), f"further {kind}", together))
    return tuple(waves)


def _lacks(graph: Graph, edge: Edge, kind: Kind, condition: str, judgement: Judgement) -> bool:
    """Whether more faults of this KIND may tell more of EDGE."""
    rules = {
        each.rule
        for each in judgement.coverage.skipped
        if each.edge == str(edge) and each.lacking in ("calls", "one-version") and kind in TAUGHT_BY.get(each.rule, ())
        # a whole delay is much for what only chance would show
        if not (kind == "delay" and each.rule in _WHAT_IS_LOST and each.lacking == "one-version")
    }
    if rules - {*_WHAT_IS_LOST}:
        return True
    if kind == "delay" and _cut_off(edge, judgement) and _some_wait_longer(graph, edge, judgement):
        return True
    known = {
        each.operation
        for each in judgement.findings
        if each.rule in _WHAT_IS_LOST and each.condition == condition and _about(each, edge)
    }
    return bool(rules) and not known.issuperset(graph.operations(edge))


def _in_turn(edge: Edge, judgement: Judgement) -> bool:
    return any(each.edge == str(edge) and each.lacking == "in-turn" for each in judgement.coverage.skipped)


def _amplifies(edge: Edge, judgement: Judgement) -> bool:
    return any(
        each.edge == str(edge) and each.rule == "retry-amplification" and each.lacking
        for each in judgement.coverage.skipped
    )


def _call(edge: Edge) -> tuple[str, str, str]:
    """What the versions of a caller have in common."""
    return edge.source.namespace, edge.source.service, edge.destination


def _cut_off(edge: Edge, judgement: Judgement) -> bool:
    return any(
        each.edge == str(edge) and each.rule == "timeout" and each.lacking == "patient-caller"
        for each in judgement.coverage.skipped
    )


def _some_wait_longer(graph: Graph, edge: Edge, judgement: Judgement) -> bool:
    """Whether of the callers of one service on the way to EDGE some wait longer for it than others, as far as the
    JUDGEMENT knows: a request that comes by those may show more.
    """
    patience: dict[str, list[float]] = {}
    for above in {site.edge for site in graph.above(edge)}:
        limits = [each.value for each in judgement.findings if each.rule == "timeout" and _about(each, above)]
        patience.setdefault(above.destination, []).append(min(filter(None, limits), default=math.inf))
    return any(max(each) > _LONGER * min(each) for each in patience.values())


def _about(finding: Finding, edge: Edge) -> bool:
    return finding.destination == edge.destination and finding.source in (str(edge.source), edge.source.service)

"""Stateful cells: experiments that hold up a workload for everybody, so they are few and kept apart.

Which of them are worth it follows from what the stateless waves found.

breaker: where the caller was seen to meet the abort. Aborts, until calls stop being made or enough have failed.
bulkhead: where the caller was seen to wait. A delay on all calls of a load, beside requests that do without the call.
unsafe-retry: where a POST or PATCH is tried again after a timeout, and its callee calls others. A delay on one of
    those, longer than the caller waits for the callee and shorter than the callee waits.
metastable: where calls are tried again. A delay under load, alone in its wave; planned only if asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Any, Final

from chaosmesh_ext.explore.conflicts import coloured
from chaosmesh_ext.explore.selection import Selection
from chaosmesh_ext.explore.sites import alike, cell_for
from chaosmesh_ext.explore.waves import Kind, PlannedCell, Wave
from chaosmesh_ext.model import Edge, Finding, Graph, Skipped

__all__ = ["HANG", "KINDS", "UNSAFE", "stateful_waves"]

KINDS: Final[tuple[Kind, ...]] = ("breaker", "bulkhead", "unsafe-retry")
"""What is planned unless more is asked for."""

UNSAFE: Final = ("POST", "PATCH")
"""Methods of operations that must not be done twice (RFC 9110: neither is idempotent)."""

HANG: Final = 3.5
"""Seconds by which the calls of a bulkhead's load are held back, at most: longer than it takes to ask those beside."""

_APART: Final = 1.25
"""A delay between two timeouts is this many times the lower one, and no more than the higher one by the same factor."""

_NOBODY_BESIDE: Final = "every request of the control needs the call, so none can be starved by it"


def stateful_waves(
    graph: Graph,
    findings: Sequence[Finding] | None,
    chosen: Selection,
    *,
    delay: float,
    status: int,
    wave: int,
    cell: int,
    kinds: Collection[Kind] = KINDS,
    spared: Collection[Edge] | None = None,
    apart: Collection[Edge] = (),
) -> tuple[list[Wave], list[Skipped]]:
    """The waves for what FINDINGS of the stateless waves make worth it, and what cannot be tried and why.

    findings: None where nothing is known yet: then all that may turn out to be worth it. delay, status: of the
    stateless waves. wave, cell: the first numbers that are free. spared: edges that some requests of their source do
    without; None where that is not known. apart: edges that nothing is tried on.
    """
    planner = _Planner(graph, _Known(findings), chosen, delay, status, count(cell))
    cells: list[PlannedCell] = []
    skipped: list[Skipped] = []
    planners = {
        "breaker": planner.breakers,
        "bulkhead": lambda edges: planner.bulkheads(edges, spared),
        "metastable": planner.metastable,
        "unsafe-retry": planner.unsafe_retries,
    }
    for edges in alike(edge for edge in graph.edges if edge in graph.reachable and edge not in apart):
        for kind, plan in planners.items():
            if kind in kinds and chosen.kind(kind):  # type: ignore[arg-type]
                for each in plan(edges):
                    if isinstance(each, Skipped):
                        skipped.append(each)
                    else:
                        cells.append(each)
    together = coloured(graph, [each for each in cells if each.kind != "metastable"])
    groups = [*together, *((each,) for each in cells if each.kind == "metastable")]
    waves = [Wave(wave + at, _name(group), group, stateful=True) for at, group in enumerate(groups)]
    return waves, skipped


def _name(cells: Sequence[PlannedCell]) -> str:
    return ", ".join(dict.fromkeys(cell.kind for cell in cells))


class _Planner:
    """Plans the cells of several versions' EDGES, which are the same call."""

    def __init__(
        self, graph: Graph, known: _Known, chosen: Selection, delay: float, status: int, numbers: Iterator[int]
    ) -> None:
        self._graph, self._known, self._chosen = graph, known, chosen
        self._delay, self._status, self._numbers = delay, status, numbers

    def _operations(self, edge: Edge) -> list[str]:
        return [each for each in self._graph.operations(edge) if self._chosen.call(edge, each)]

    def _cell(self, edges: Sequence[Edge], kind: Kind, operations: Collection[str], **more: Any) -> PlannedCell:
        return cell_for(self._graph, self._chosen, edges, next(self._numbers), kind, operations=operations, **more)

    def breakers(self, edges: Sequence[Edge]) -> Iterator[PlannedCell]:
        """One for all versions: a request that met none of them, when it is tried again, would start a count anew."""
        met = {edge: [each for each in self._operations(edge) if self._known.met(edge, each)] for edge in edges}
        if operations := {each for those in met.values() for each in those}:
            yield self._cell([edge for edge in edges if met[edge]], "breaker", operations, status=self._status)

    def bulkheads(self, edges: Sequence[Edge], spared: Collection[Edge] | None) -> Iterator[PlannedCell | Skipped]:
        """One for all versions: with one of them spared, requests beside would go there."""
        waited = {edge: [each for each in self._operations(edge) if self._known.waited(edge, each)] for edge in edges}
        those = [edge for edge in edges if waited[edge] and (spared is None or edge in spared)]
        yield from (
            Skipped(str(edge), _NOBODY_BESIDE, "bulkhead") for edge in edges if waited[edge] and edge not in those
        )
        if operations := {each for edge in those for each in waited[edge]}:
            yield self._cell(those, "bulkhead", operations, delay=min(self._delay, HANG))

    def metastable(self, edges: Sequence[Edge]) -> Iterator[PlannedCell]:
        for edge in edges:
            if operations := [each for each in self._operations(edge) if self._known.retried(edge, each)]:
                yield self._cell([edge], "metastable", operations, delay=self._delay)

    def unsafe_retries(self, edges: Sequence[Edge]) -> Iterator[PlannedCell | Skipped]:
        """One for each call of the callee: it must complete after its caller gave up."""
        if not self._chosen.rule("unsafe-retry"):
            return
        for operation in sorted({each for edge in edges for each in self._operations(edge)}):
            if operation.split(" ", 1)[0] not in UNSAFE:
                continue
            retried = [edge for edge in edges if self._known.retried(edge, operation, "slow")]
            if retried:
                yield from self._unsafe(retried, operation)

    def _unsafe(self, edges: Sequence[Edge], operation: str) -> Iterator[PlannedCell | Skipped]:
        callee = edges[0].destination
        calls = alike(each for each in self._graph.edges if each.source.service == callee)
        if not calls:
            why = f"{callee} calls nobody who could be slow: whether it completes after its caller left is not seen"
            yield from (Skipped(str(edge), why, "unsafe-retry") for edge in edges)
        for children in calls:
            held = {child: self._known.between(edges, operation, child, self._delay) for child in children}
            slow = max((seconds for seconds in held.values() if seconds is not None), default=None)
            if slow is None:
                why = f"{callee} waits no longer for {children[0].destination} than its own caller for it"
                yield from (Skipped(str(edge), why, "unsafe-retry") for edge in edges)
                continue
            those = [child for child in children if held[child] is not None]
            yield self._cell(those, "unsafe-retry", [operation], delay=slow, judged=edges[0])


class _Known:
    """What the stateless waves found, asked by edge and operation; everything may be where nothing is known."""

    def __init__(self, findings: Sequence[Finding] | None) -> None:
        self._findings = findings

    def _about(self, edge: Edge, operation: str, *rules: str) -> Iterator[Finding]:
        names = (str(edge.source), edge.source.service)
        for finding in self._findings or ():
            same = finding.destination == edge.destination and (not operation or finding.operation == operation)
            if same and finding.source in names and (not rules or finding.rule in rules):
                yield finding

    def met(self, edge: Edge, operation: str) -> bool:
        """An abort reached the call."""
        return self._findings is None or any(f.condition == "status" for f in self._about(edge, operation))

    def waited(self, edge: Edge, operation: str) -> bool:
        """The caller waits for the call, with or without a limit."""
        return self._findings is None or any(self._about(edge, operation, "timeout", "missing-timeout"))

    def retried(self, edge: Edge, operation: str, condition: str | None = None) -> bool:
        """The call is tried again, after a failure of CONDITION."""
        return self._findings is None or any(
            bool(f.value) and (condition is None or f.condition == condition)
            for f in self._about(edge, operation, "retry")
        )

    def between(self, edges: Sequence[Edge], operation: str, child: Edge, delay: float) -> float | None:
        """Seconds after which the callers on EDGES have given up and their callee still waits for CHILD; None: there
        are none.

        Without a timeout that is known, DELAY.
        """
        timeouts = [f.value for edge in edges for f in self._about(edge, operation, "timeout") if f.value is not None]
        if not timeouts:
            return delay
        held = max(timeouts) * _APART
        limits = [f.value for f in self._about(child, "", "timeout") if f.value is not None]
        return None if limits and held * _APART > min(limits) else held

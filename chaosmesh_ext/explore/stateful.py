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
from typing import Final

from chaosmesh_ext.explore.conflicts import coloured
from chaosmesh_ext.explore.selection import Selection
from chaosmesh_ext.explore.sites import cell_for
from chaosmesh_ext.explore.waves import Kind, PlannedCell, Wave
from chaosmesh_ext.model import Edge, Finding, Graph, Skipped

__all__ = ["KINDS", "UNSAFE", "stateful_waves"]

KINDS: Final[tuple[Kind, ...]] = ("breaker", "bulkhead", "unsafe-retry")
"""What is planned unless more is asked for."""

UNSAFE: Final = ("POST", "PATCH")
"""Methods of operations that must not be done twice (RFC 9110: neither is idempotent)."""

_APART: Final = 1.25
"""A delay between two timeouts is this many times the lower one, and no more than the higher one by the same factor."""


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
) -> tuple[list[Wave], list[Skipped]]:
    """The waves for what FINDINGS of the stateless waves make worth it, and what cannot be tried and why.

    findings: None where nothing is known yet: then all that may turn out to be worth it. delay, status: of the
    stateless waves. wave, cell: the first numbers that are free.
    """
    known = _Known(findings)
    numbers = count(cell)
    cells: list[PlannedCell] = []
    skipped: list[Skipped] = []
    for edge in graph.edges:
        if edge not in graph.reachable:
            continue
        operations = [each for each in graph.operations(edge) if chosen.call(edge, each)]
        wanted: dict[Kind, list[str]] = {
            "breaker": [each for each in operations if known.met(edge, each, "status")],
            "bulkhead": [each for each in operations if known.waited(edge, each)],
            "metastable": [each for each in operations if known.retried(edge, each)],
        }
        for kind, those in wanted.items():
            if those and kind in kinds and chosen.kind(kind):
                fault = {"status": status} if kind == "breaker" else {"delay": delay}
                cells.append(cell_for(graph, chosen, edge, next(numbers), kind, operations=those, **fault))
        if "unsafe-retry" in kinds and chosen.rule("unsafe-retry"):
            for operation in operations:
                if operation.split(" ", 1)[0] in UNSAFE and known.retried(edge, operation, "slow"):
                    for each in _unsafe(graph, known, chosen, edge, operation, delay, numbers):
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


def _unsafe(
    graph: Graph, known: _Known, chosen: Selection, edge: Edge, operation: str, delay: float, numbers: Iterator[int]
) -> Iterator[PlannedCell | Skipped]:
    """One cell for each call of EDGE's callee: the callee must complete after its caller gave up."""
    children = [each for each in graph.edges if each.source.service == edge.destination]
    if not children:
        why = (
            f"{edge.destination} calls nobody who could be slow: whether it completes after its caller left is not seen"
        )
        yield Skipped(str(edge), why, "unsafe-retry")
    for child in children:
        held = known.between(edge, operation, child, delay)
        if held is None:
            why = f"{edge.destination} waits no longer for {child.destination} than its own caller for it"
            yield Skipped(str(edge), why, "unsafe-retry")
        else:
            yield cell_for(
                graph, chosen, child, next(numbers), "unsafe-retry", delay=held, operations=[operation], judged=edge
            )


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

    def met(self, edge: Edge, operation: str, condition: str) -> bool:
        """A fault of this CONDITION reached the call."""
        return self._findings is None or any(f.condition == condition for f in self._about(edge, operation))

    def waited(self, edge: Edge, operation: str) -> bool:
        """The caller waits for the call, with or without a limit."""
        return self._findings is None or any(self._about(edge, operation, "timeout", "missing-timeout"))

    def retried(self, edge: Edge, operation: str, condition: str | None = None) -> bool:
        """The call is tried again, after a failure of CONDITION."""
        return self._findings is None or any(
            bool(f.value) and (condition is None or f.condition == condition)
            for f in self._about(edge, operation, "retry")
        )

    def between(self, edge: Edge, operation: str, child: Edge, delay: float) -> float | None:
        """Seconds after which EDGE's caller has given up and its callee still waits for CHILD; None: there are none.

        Without a timeout that is known, DELAY.
        """
        timeouts = [f.value for f in self._about(edge, operation, "timeout") if f.value is not None]
        if not timeouts:
            return delay
        held = max(timeouts) * _APART
        limits = [f.value for f in self._about(child, "", "timeout") if f.value is not None]
        return None if limits and held * _APART > min(limits) else held

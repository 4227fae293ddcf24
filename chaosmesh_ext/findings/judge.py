"""Judging a run: every rule on everything that met a fault, and what could not be decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import calls
from chaosmesh_ext.findings.draft import Draft
from chaosmesh_ext.findings.merge import merge
from chaosmesh_ext.findings.registry import RULES
from chaosmesh_ext.findings.subject import Subject, subjects
from chaosmesh_ext.findings.words import amount
from chaosmesh_ext.model import Cell, Coverage, Edge, Judgement, Skipped, Workload

__all__ = ["judge"]


def judge(control: Cell, cells: Sequence[Cell]) -> Judgement:
    """What CELLS, each one fault, teach against CONTROL, the same requests without one.

    The same traces give the same judgement, in whatever order they come. Cells of one edge are judged together. Faults
    that are no delay and no abort at the caller teach what the experiment asks of them itself: they are skipped.
    """
    baseline = Baseline(control)
    skipped = [
        Skipped(
            _about(cell),
            f"a {cell.injected.kind} by {cell.injected.carrier} is for the experiment's own probes to judge",
        )
        for cell in cells
        if cell.injected is not None and not cell.injected.at_the_caller
    ]
    cells = [cell for cell in cells if cell.injected is None or cell.injected.at_the_caller]
    about = list(subjects(baseline, cells))
    drafts: list[Draft] = []
    for subject in about:
        for rule in RULES:
            for outcome in rule(subject):
                if isinstance(outcome, Draft):
                    drafts.append(outcome)
                else:
                    skipped.append(outcome)
    tested = {subject.edge for subject in about}
    skipped += _untested(baseline, cells, tested)
    skipped += _without_traces(control, cells)
    edges = baseline.edges | tested
    return Judgement(
        findings=tuple(merge(drafts, _callers(baseline, about))),
        coverage=Coverage(len(edges), len(tested), tuple(sorted(set(skipped), key=_order))),
    )


def _order(skipped: Skipped) -> tuple[str, str, str]:
    return skipped.edge, skipped.rule, skipped.reason


def _callers(baseline: Baseline, about: Sequence[Subject]) -> dict[tuple[str, str, str, str], set[Workload]]:
    """Which versions make each call, by (namespace, service, destination, operation), healthy or faulted."""
    found: dict[tuple[str, str, str, str], set[Workload]] = {}
    made = [(call.edge, call.operation) for call in baseline.calls]
    for edge, operation in [*made, *((subject.edge, subject.operation) for subject in about)]:
        key = (edge.source.namespace, edge.source.service, edge.destination, operation)
        found.setdefault(key, set()).add(edge.source)
    return found


def _untested(baseline: Baseline, cells: Sequence[Cell], tested: set[Edge]) -> Iterator[Skipped]:
    """Edges without a faulted call, and those that appear only once something fails."""
    for edge in baseline.edges - tested:
        met = [cell.id for cell in cells if cell.injected is not None and cell.injected.covers(edge)]
        if met:
            yield Skipped(str(edge), "no call met the fault that was injected on it")
        else:
            yield Skipped(str(edge), "no fault was injected on it")
    faulted = [cell for cell in cells if cell.injected is not None]
    for edge in {call.edge for cell in faulted for call in calls(cell)} - baseline.edges:
        yield Skipped(str(edge), "appeared only while another call was faulted: not in the control")


def _about(cell: Cell) -> str:
    return f"{', '.join(cell.injected.sources) or '*'} → {cell.injected.destination}" if cell.injected else "*"


def _without_traces(control: Cell, cells: Sequence[Cell]) -> Iterator[Skipped]:
    for cell in (control, *cells):
        missing = sum(1 for answer in cell.answers if answer.trace_id not in cell.traces)
        if not missing:
            continue
        asked = amount(len(cell.answers), "request")
        yield Skipped(
            _about(cell), f"the trace missing: the store lacks those of {missing} of {asked} in cell {cell.id}"
        )

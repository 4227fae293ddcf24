"""Judging a run: every rule on everything that met a fault, and what could not be decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.broken_propagation import RULE as BROKEN
from chaosmesh_ext.findings.broken_propagation import blind
from chaosmesh_ext.findings.calls import Call, calls
from chaosmesh_ext.findings.draft import Draft
from chaosmesh_ext.findings.exploration import Exploration
from chaosmesh_ext.findings.fixes import mend
from chaosmesh_ext.findings.merge import merge
from chaosmesh_ext.findings.registry import RULES, WHOLE_RULES
from chaosmesh_ext.findings.subject import Subject, subjects
from chaosmesh_ext.findings.words import amount
from chaosmesh_ext.model import Cell, Coverage, Edge, Judgement, Propagated, Skipped, Workload

__all__ = ["judge"]


def judge(
    control: Cell, cells: Sequence[Cell], propagation: Sequence[Propagated] = (), *, on_arrival: bool = False
) -> Judgement:
    """What CELLS, each one fault, teach against CONTROL, the same requests without one.

    The same traces give the same judgement, in whatever order they come. Cells of one edge are judged together. Faults
    that are no delay and no abort at the caller teach what the experiment asks of them itself: they are skipped, and so
    are cells with a purpose but by the rule that they were made for. propagation: what was measured of the marker;
    where it is lost (rule 9) no other rule is heard. on_arrival: delays and aborts at the callee's side are read too:
    the caller's sidecar knows nothing of those, so what it does by itself (its timeout, its retries) shows as well.
    """
    baseline = Baseline(control)
    made = {cell.id: _in_order(calls(cell, baseline.edges)) for cell in cells}
    alone = [cell for cell in cells if not cell.purpose]
    skipped = [
        Skipped(
            _about(cell),
            f"a {cell.injected.kind} by {cell.injected.carrier} is for the experiment's own probes to judge",
        )
        for cell in alone
        if cell.injected is not None and not _readable(cell, on_arrival)
    ]
    alone = [cell for cell in alone if _readable(cell, on_arrival)]
    blinded = blind(propagation)
    about = tuple(subject for subject in subjects(baseline, alone, made) if subject.edge not in blinded)
    drafts: list[Draft] = []
    for subject in about:
        for rule in RULES:
            _sort(rule(subject), drafts, skipped)
    whole = Exploration(baseline, tuple(cells), made, about, tuple(drafts), tuple(propagation))
    for whole_rule in WHOLE_RULES:
        _sort(whole_rule(whole), drafts, skipped)
    tested = {subject.edge for subject in about}
    skipped += _untested(baseline, alone, made, tested)
    drafts = [each for each in drafts if each.rule == BROKEN or Edge(each.source, each.destination) not in blinded]
    lost = {str(edge): reason for edge, reason in blinded.items()}
    skipped = [each for each in skipped if each.rule == BROKEN or each.edge not in lost]
    skipped += [Skipped(edge, reason) for edge, reason in lost.items()]
    skipped += _without_traces(control, cells)
    edges = baseline.edges | tested | set(blinded)
    return Judgement(
        findings=tuple(merge(drafts, _callers(baseline, about, propagation), partial(mend, baseline=baseline))),
        coverage=Coverage(len(edges), len(tested), tuple(sorted(set(skipped), key=_order))),
    )


def _readable(cell: Cell, on_arrival: bool) -> bool:
    """Whether the rules know what to make of CELL's fault."""
    injected = cell.injected
    return injected is None or injected.at_the_caller or (on_arrival and injected.kind in ("delay", "abort"))


def _in_order(made: Iterable[Call]) -> tuple[Call, ...]:
    return tuple(sorted(made, key=lambda call: (call.span.start, call.span.span_id)))


def _sort(outcomes: Iterable[Draft | Skipped], drafts: list[Draft], skipped: list[Skipped]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, Draft):
            drafts.append(outcome)
        else:
            skipped.append(outcome)


def _order(skipped: Skipped) -> tuple[str, str, str]:
    return skipped.edge, skipped.rule, skipped.reason


def _callers(
    baseline: Baseline, about: Sequence[Subject], propagation: Sequence[Propagated]
) -> dict[tuple[str, str, str, str], set[Workload]]:
    """Which versions make each call, by (namespace, service, destination, operation), healthy or faulted.

    An empty operation stands for all of them: what was measured of propagation knows none.
    """
    found: dict[tuple[str, str, str, str], set[Workload]] = {}
    made = {(call.edge, call.operation) for call in baseline.calls}
    made |= {(subject.edge, subject.operation) for subject in about} | {(one.edge, "") for one in propagation}
    for edge, operation in made:
        key = (edge.source.namespace, edge.source.service, edge.destination, operation)
        found.setdefault(key, set()).add(edge.source)
    return found


def _untested(
    baseline: Baseline, cells: Sequence[Cell], made: Mapping[str, Sequence[Call]], tested: set[Edge]
) -> Iterator[Skipped]:
    """Edges without a faulted call, and those that appear only once something fails."""
    for edge in baseline.edges - tested:
        met = [cell.id for cell in cells if cell.injected is not None and cell.injected.covers(edge)]
        if met:
            yield Skipped(str(edge), "no call met the fault that was injected on it")
        else:
            yield Skipped(str(edge), "no fault was injected on it")
    faulted = [cell for cell in cells if cell.injected is not None]
    for edge in {call.edge for cell in faulted for call in made[cell.id]} - baseline.edges:
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

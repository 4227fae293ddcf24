"""Visits: the requests that a workload served, each with the calls that it made for them, or did not make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.findings.operations import operation
from chaosmesh_ext.model import Answer, Cell, Edge, Evidence, Span, Workload

__all__ = ["Visit", "by_pod", "lead", "needing", "sparing", "visits"]


class Visit(msgspec.Struct, frozen=True):
    """A request that A served.

    span: A's server span. calls: those on the edge in question that A made for it, in order of start. cell: in which.
    """

    span: Span
    calls: tuple[Call, ...]
    cell: str

    @property
    def operation(self) -> str:
        """A's."""
        return operation(self.span)

    @property
    def proof(self) -> Evidence:
        return Evidence(self.span.trace_id, self.cell)


def visits(cell: Cell, answers: Iterable[Answer], source: Workload, calls: Sequence[Call] = ()) -> list[Visit]:
    """What SOURCE served for ANSWERS, in order of start; CALLS are handed to those that made them."""
    made: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in calls:
        if call.caller is not None:
            made[call.trace.trace_id, call.caller.span_id].append(call)
    found = [
        Visit(span, tuple(made[span.trace_id, span.span_id]), cell.id)
        for answer in answers
        for span in _served(cell, answer, source)
    ]
    return sorted(found, key=lambda visit: (visit.span.start, visit.span.span_id))


def by_pod(served: Iterable[Visit]) -> dict[str, list[Visit]]:
    """SERVED by the pod that served it; in one list where the spans do not say the pod."""
    found: dict[str, list[Visit]] = {}
    for visit in served:
        found.setdefault(visit.span.pod, []).append(visit)
    return dict(sorted(found.items()))


def needing(baseline: Baseline, edge: Edge, said: str) -> frozenset[str]:
    """A's operations for which, in the control, every request made a call of operation SAID on EDGE."""
    return frozenset(name for name, each in _made(baseline, edge).items() if all(said in made for made in each))


def sparing(baseline: Baseline, edge: Edge) -> frozenset[str]:
    """A's operations for which, in the control, no request made a call on EDGE."""
    return frozenset(name for name, each in _made(baseline, edge).items() if not any(each))


def lead(baseline: Baseline, edge: Edge, said: str) -> float:
    """Seconds from A's server span's start to its first call of operation SAID on EDGE, the least in the control."""
    healthy = [call for call in baseline.healthy(edge, said) if call.caller is not None]
    return max(0.0, min((call.span.start - call.caller.start for call in healthy if call.caller), default=0.0))


def _made(baseline: Baseline, edge: Edge) -> dict[str, list[set[str]]]:
    """By A's operation, what each request of the control made it call on EDGE."""
    found: dict[str, list[set[str]]] = defaultdict(list)
    for span in baseline.served.get(edge.source, ()):
        found[operation(span)].append(baseline.made_for(edge, span))
    return found


def _served(cell: Cell, answer: Answer, source: Workload) -> Iterator[Span]:
    trace = cell.traces.get(answer.trace_id)
    if trace is not None:
        yield from (s for s in trace.spans if s.kind == "SERVER" and s.proxy and s.workload == source)

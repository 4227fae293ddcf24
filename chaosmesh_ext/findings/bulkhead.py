"""Rule 8, bulkhead: whether requests of A that do not need B suffer while A's calls to B hang."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import quantiles
from typing import Final

import msgspec

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.findings.draft import Draft, Tally, Words, too_few
from chaosmesh_ext.findings.exploration import Exploration
from chaosmesh_ext.findings.statistics import CLOCK, epsilon
from chaosmesh_ext.findings.visits import Visit, lead, needing, sparing, visits
from chaosmesh_ext.findings.words import amount, calls, seconds
from chaosmesh_ext.model import Cell, Edge, Skipped

__all__ = ["MIN_BESIDE", "RULE", "bulkhead"]

RULE: Final = "bulkhead"
"""The purpose of the cells that it reads, and its name."""

MIN_BESIDE: Final = 20
"""Requests beside, and as many healthy ones: the fewest of which a 95th percentile is more than the slowest."""

_SLOWER: Final = 2.0
"""Times the healthy 95th percentile from which on requests suffer."""

_POINT: Final = 0.01
"""Of success, less than the healthy share, from which on requests suffer."""

_AT_LEAST: Final = 2
"""Failed requests beside, before they say anything: one may fail for its own reasons."""


class _Beside(msgspec.Struct, frozen=True):
    """Requests of one operation of A: healthy ones, and those served while A's calls hung."""

    healthy: tuple[Visit, ...]
    hung: tuple[Visit, ...]

    @property
    def before(self) -> float:
        return _p95(self.healthy)

    @property
    def meanwhile(self) -> float:
        return _p95(self.hung)

    @property
    def slower(self) -> bool:
        """Twice as slow, and by more than healthy requests vary."""
        eps = epsilon([visit.span.duration for visit in self.healthy])
        return self.meanwhile > max(_SLOWER * self.before, self.before + eps)

    @property
    def failed(self) -> int:
        return sum(_failed(visit) for visit in self.hung)

    @property
    def fewer(self) -> bool:
        """Fewer succeed, by more than a point."""
        usual = sum(_failed(visit) for visit in self.healthy) / len(self.healthy)
        return self.failed / len(self.hung) > usual + _POINT

    @property
    def suffers(self) -> bool:
        return self.slower or (self.fewer and self.failed >= _AT_LEAST)


def bulkhead(whole: Exploration) -> Iterator[Draft | Skipped]:
    """State whether A's other requests are served as ever while N of its calls to B hang: isolated, or starved.

    Precondition: a cell made for it: a delay on A's calls to B so long that they hang together, and beside them
    requests without the marker (`Cell.beside`) of an operation of A that in the control never calls B; `MIN_BESIDE` of
    them, and as many in the control, which may hold them among its answers or beside. They are measured by A's server
    span, so that what hangs above A is not laid at its door, and count while the pod that serves them has at least half
    as many calls hanging as at its worst.

    N is the most calls to B that hung together, counted by pod of A and added up. Isolated: the 95th percentile is at
    most twice the healthy one (or within eps of it) and success within a point, and A held calls back: some requests
    waited before they made theirs, or did without. Where nobody suffers and nothing was held back there is no bulkhead
    to be seen, which is no finding. Limit: it holds for N calls; a larger pool may run out at more. Calls that others
    have hanging are in no trace of ours.
    """
    for cell in whole.made_for(RULE):
        if cell.injected is None:
            continue
        for edge in sorted(edge for edge in whole.baseline.edges if cell.injected.covers(edge)):
            hanging = [call for call in whole.calls[cell.id] if call.edge == edge and call.faulted]
            yield _judge(whole.baseline, cell, edge, hanging)


def _judge(baseline: Baseline, cell: Cell, edge: Edge, hanging: Sequence[Call]) -> Draft | Skipped:
    if not hanging:
        return Skipped(str(edge), "no call met the fault that was injected on it", RULE)
    spare = sparing(baseline, edge)
    if not spare:
        return Skipped(str(edge), "every request of the control needs the call, so none can be starved by it", RULE)
    worst = {pod: max(_hanging(hanging, pod, c.span.start) for c in hanging) for pod in {c.span.pod for c in hanging}}
    seen = defaultdict[str, tuple[list[Visit], list[Visit]]](lambda: ([], []))
    control = baseline.control
    for visit in visits(control, (*control.answers, *control.beside), edge.source):
        seen[visit.operation][0].append(visit)
    for visit in visits(cell, cell.beside, edge.source):
        most = worst.get(visit.span.pod, 0)
        if most and 2 * _hanging(hanging, visit.span.pod, visit.span.start) >= most:
            seen[visit.operation][1].append(visit)
    beside = {name: _Beside(tuple(one), tuple(two)) for name, (one, two) in sorted(seen.items()) if name in spare}
    enough = {n: b for n, b in beside.items() if len(b.healthy) >= MIN_BESIDE and len(b.hung) >= MIN_BESIDE}
    if not enough:
        most_seen = max((min(len(b.healthy), len(b.hung)) for b in beside.values()), default=0)
        return too_few(edge, f"{amount(most_seen, 'request')} beside, {MIN_BESIDE} of one operation are needed", RULE)
    suffers = {name: each for name, each in enough.items() if each.suffers}
    if not suffers and any(each.fewer for each in enough.values()):
        return Skipped(str(edge), "inconclusive: one request beside failed; send more of them", RULE, "calls")
    name, shown = max((suffers or enough).items(), key=lambda pair: pair[1].meanwhile / max(pair[1].before, CLOCK))
    most = sum(worst.values())
    if not suffers and not _held_back(baseline, cell, edge, hanging):
        return Skipped(str(edge), f"nobody suffered and nothing was held back while {calls(most)} hung", RULE)
    return _draft(edge, hanging, len(worst), most, name, shown, starved=bool(suffers))


def _held_back(baseline: Baseline, cell: Cell, edge: Edge, hanging: Sequence[Call]) -> bool:
    """Whether requests of A that need the call waited before they made it, or made none, while others hung."""
    for said in {call.operation for call in hanging}:
        due, usual, eps = needing(baseline, edge, said), lead(baseline, edge, said), baseline.eps(edge, said)
        those = [call for call in hanging if call.operation == said]
        for visit in visits(cell, cell.answers, edge.source, those):
            waits_from = visit.span.start + usual + eps
            first = min((call.span.start for call in visit.calls), default=visit.span.end)
            if visit.operation in due and first > waits_from and _hanging(hanging, visit.span.pod, waits_from):
                return True
    return False


def _hanging(calls: Sequence[Call], pod: str, at: float) -> int:
    """How many of CALLS were on their way from POD at that time."""
    return sum(1 for call in calls if call.span.pod == pod and call.span.start <= at < call.span.end)


def _failed(visit: Visit) -> bool:
    return visit.span.gone or visit.span.status == 0 or visit.span.broken


def _p95(served: Sequence[Visit]) -> float:
    """Seconds that one in twenty takes longer than."""
    return quantiles([visit.span.duration for visit in served], n=20, method="inclusive")[-1]


def _draft(
    edge: Edge, hanging: Sequence[Call], pods: int, most: int, name: str, shown: _Beside, *, starved: bool
) -> Draft:
    slowest = sorted(shown.hung, key=lambda v: (-v.span.duration, v.span.trace_id))
    typical = slowest if starved else slowest[len(slowest) // 2 :]
    said = min(call.operation for call in hanging)
    return Draft(
        rule=RULE,
        condition="slow",
        severity="warning" if starved else "info",
        source=edge.source,
        destination=edge.destination,
        operation=said,
        value=float(most),
        unit="calls",
        agreeing=len(shown.hung),
        total=len(shown.hung),
        evidence=tuple(dict.fromkeys(visit.proof for visit in typical))[:3],
        say=lambda tally: _words(tally, edge.destination, name, shown, starved=starved),
        who="application",
        kind="starved" if starved else "isolated",
        numbers={"pods": float(pods)},
    )


def _words(tally: Tally, destination: str, name: str, shown: _Beside, *, starved: bool) -> Words:
    hang = f"while {amount(int(tally.value or 0), 'call')} to {destination} hang"
    took = f"p95 {seconds(shown.meanwhile)} instead of {seconds(shown.before)}"
    failed = f", {shown.failed} of {len(shown.hung)} failed" if shown.failed else ""
    if not starved:
        clause = f"still serves its other requests {hang}"
        advice = "Keep it; more calls than these may hang, and were not tried."
    else:
        clause = f"starves its other requests {hang}"
        advice = (
            f"Give the calls to {destination} fewer of the workers of {tally.source} than there are, by a pool of their"
            f" own or a `connectionPool` in {destination}'s DestinationRule, and a timeout."
        )
    return Words(
        summary=f"{tally.source} {clause} ({name}, {amount(len(shown.hung), 'request')}: {took}{failed}).",
        advice=advice,
        clause=clause,
    )

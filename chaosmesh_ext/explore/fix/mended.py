"""Mended: whether a weakness that load, errors or a slow callee's callee shows is gone with its fix. Pure.

That a rule is silent shows nothing: what the fix is to do must have been seen, of every caller that the weakness is of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from chaosmesh_ext.explore.fix.mending import Outcome, Verified, Weak, callers, joined, like
from chaosmesh_ext.findings.calls import Call, below, calls, group
from chaosmesh_ext.findings.ejections import refused
from chaosmesh_ext.findings.statistics import MIN_CALLS
from chaosmesh_ext.findings.words import amount
from chaosmesh_ext.model import Cell, Edge, Finding, Judgement, Span

__all__ = ["Seen", "found_again", "left_alone", "mended"]


class Seen(msgspec.Struct, frozen=True):
    """What a look at a weakness came to. control: healthy requests. cells: of those that met what shows it."""

    judgement: Judgement
    control: Cell
    cells: tuple[Cell, ...] = ()


_Result = tuple[Outcome, str, str]
"""The outcome, what was seen with the fix, and what makes it inconclusive."""


def mended(weak: Weak, before: Seen, after: Seen, edges: Collection[Edge]) -> Verified:
    """Whether WEAK, found again BEFORE the fix was in, is gone AFTER, under the same load. EDGES: of the graph."""
    there = found_again(weak, before, edges)
    if not there:
        why = "; ".join(_reasons(weak, before, edges)) or "nothing shows it"
        return Verified(weak, "inconclusive", why=f"without the fix it was not found again: {why}")
    outcome, shown, why = _WITH_THE_FIX[weak.rule](weak, after, sorted(callers(weak, edges)))
    return Verified(weak, outcome, joined(there), shown, f"with the fix it cannot be told: {why}" if why else "")


def found_again(weak: Weak, seen: Seen, edges: Collection[Edge]) -> list[Finding]:
    """What was SEEN of WEAK; a strength that the same rule finds is none of it."""
    return [one for one in like(weak, weak.rule, seen.judgement, edges) if one.severity != "info"]


def left_alone(
    weak: Weak, edges: Collection[Edge], control: Cell, cells: Sequence[Cell]
) -> tuple[list[Edge], list[str]]:
    """The callers on EDGES whose last requests in CELLS still reach the failing callee of WEAK, and what all did.

    The others refused the calls of three requests in a row (UH), and no more arrived than of a healthy one of CONTROL.
    """
    reaching, words = [], []
    for edge in edges:
        healthy = max((count for _, count in _arrivals(weak, edge, [control])), default=0)
        arrivals = _arrivals(weak, edge, cells)
        spared = 0
        while spared < len(arrivals) and arrivals[-1 - spared][0] and arrivals[-1 - spared][1] <= healthy:
            spared += 1
        reached = len(arrivals) - spared
        arrived = sum(count for _, count in arrivals[:reached])
        if spared < MIN_CALLS:
            reaching.append(edge)
        then = f", and in none of the next {spared}, whose calls its sidecar refuses (UH)" if spared else ""
        often = f"{amount(arrived, 'time')} in {amount(reached, 'request')} that fail"
        words.append(f"{edge.source} reaches {edge.destination} {often}{then}")
    return reaching, words


# --- what each fix must be seen to do ---------------------------------------------------------------------------------


def _asked_once(weak: Weak, after: Seen, ours: Sequence[Edge]) -> _Result:
    """The callee is asked once for each request, though what it calls is slow."""
    if still := found_again(weak, after, ours):
        return "still there", joined(still), ""
    words = []
    for edge in ours:
        attempts: dict[tuple[str, ...], list[Call]] = defaultdict(list)
        for call in _made(weak, [edge], after.cells):
            attempts[group(call)].append(call)
        runs = [sum(len(call.callees) for call in those) for those in attempts.values() if any(map(_slow, those))]
        once = runs.count(1)
        if once < MIN_CALLS or once < len(runs):
            return (
                "inconclusive",
                "",
                f"{edge}: {weak.destination} was asked once in {once} of {len(runs)} slow requests",
            )
        words.append(f"{edge.source} has {weak.destination} asked once for each of {amount(once, 'slow request')}")
    return "gone", _sentences(words), ""


def _others_served(weak: Weak, after: Seen, ours: Sequence[Edge]) -> _Result:
    """Nobody beside suffers, while calls hang and the caller's sidecar refuses further ones."""
    if still := found_again(weak, after, ours):
        return "still there", joined(still), ""
    names = {str(edge) for edge in ours}
    skipped = [one for one in after.judgement.coverage.skipped if one.rule == weak.rule and one.edge in names]
    if doubts := [f"{one.edge}: {one.reason}" for one in skipped if one.lacking]:
        return "inconclusive", "", "; ".join(doubts)
    for edge in ours:
        if sum(call.faulted for call in _made(weak, [edge], after.cells)) < MIN_CALLS:
            return "inconclusive", "", f"{edge}: fewer than {MIN_CALLS} calls hung"
    limits = [one for one in after.judgement.findings if one.rule == "connection-limit" and _by(one, ours)]
    if not limits:
        return "inconclusive", "", "no call was refused, so the pool's limit was not met"
    isolated = like(weak, weak.rule, after.judgement, ours)
    return "gone", " ".join((joined(isolated) or _sentences([one.reason for one in skipped]), joined(limits))), ""


def _spared(weak: Weak, after: Seen, ours: Sequence[Edge]) -> _Result:
    """The failing callee gets no calls any more, however often they are tried again."""
    reaching, words = left_alone(weak, ours, after.control, after.cells)
    if not reaching:
        return "gone", _sentences(words), ""
    met = {edge: {call.trace.trace_id for call in _made(weak, [edge], after.cells) if call.aborted} for edge in ours}
    if all(len(met[edge]) >= MIN_CALLS for edge in reaching):
        return "still there", _sentences(words), ""
    return "inconclusive", _sentences(words), f"too few calls met the fault by {', '.join(map(str, reaching))}"


def _none_refused(weak: Weak, after: Seen, ours: Sequence[Edge]) -> _Result:
    """More calls are on their way than were when healthy ones were refused, and none is."""
    if still := found_again(weak, after, ours):
        return "still there", joined(still), ""
    needed, words = int(weak.value or 0), []
    for edge in ours:
        those = [call.span for call in _made(weak, [edge], [after.control])]
        most = max((_together(those, one.pod, one.start) for one in those), default=0)
        if most <= needed:
            return (
                "inconclusive",
                "",
                f"{edge}: {most} calls were on their way at once, and it takes more than {needed}",
            )
        words.append(f"{edge.source} has {amount(most, 'call')} to {edge.destination} on their way at once")
    return "gone", _sentences([*words, "none is refused"]), ""


_WITH_THE_FIX: Final[Mapping[str, Callable[[Weak, Seen, Sequence[Edge]], _Result]]] = {
    "unsafe-retry": _asked_once,
    "bulkhead": _others_served,
    "retry-amplification": _spared,
    "connection-limit": _none_refused,
}


# --- what they read ---------------------------------------------------------------------------------------------------


def _made(weak: Weak, edges: Collection[Edge], cells: Sequence[Cell]) -> Iterator[Call]:
    """The calls of WEAK's operation on EDGES."""
    for cell in cells:
        yield from (call for call in calls(cell) if call.edge in edges and call.operation == weak.operation)


def _slow(call: Call) -> bool:
    """Whether a call that its callee made for it was held back."""
    return any("DI" in span.flags for callee in call.callees for span in below(call.trace, callee))


def _arrivals(weak: Weak, edge: Edge, cells: Sequence[Cell]) -> list[tuple[bool, int]]:
    """Of each request in turn, whether a call was refused for want of a pod, and how often the callee was reached."""
    requests: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(_made(weak, [edge], cells), key=lambda one: one.answer.started):
        requests[call.trace.trace_id].append(call)
    return [(any(map(refused, those)), sum(len(one.callees) for one in those)) for those in requests.values()]


def _together(spans: Sequence[Span], pod: str, at: float) -> int:
    return sum(1 for span in spans if span.pod == pod and span.start <= at < span.end)


def _by(finding: Finding, edges: Collection[Edge]) -> bool:
    return any(
        finding.destination == edge.destination and finding.source in (str(edge.source), edge.source.service)
        for edge in edges
    )


def _reasons(weak: Weak, seen: Seen, edges: Collection[Edge]) -> list[str]:
    names = {str(edge) for edge in callers(weak, edges)}
    found = [one for one in seen.judgement.coverage.skipped if one.rule == weak.rule and one.edge in names]
    return [f"{one.edge}: {one.reason}" for one in found]


def _sentences(words: Sequence[str]) -> str:
    return f"{'; '.join(words)}." if words else ""

"""Rule 10, unsafe-retry: B does twice, or more often, what A asked once, and what must not be done twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call, group
from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence, too_few
from chaosmesh_ext.findings.exploration import Exploration
from chaosmesh_ext.findings.statistics import MIN_CALLS, MIN_REQUESTS
from chaosmesh_ext.findings.words import amount, times
from chaosmesh_ext.model import Edge, Skipped, Span, Trace

__all__ = ["NOT_IDEMPOTENT", "RULE", "unsafe_retry"]

RULE: Final = "unsafe-retry"
"""Its name, and the purpose of cells that are made for it alone; every other cell is read too."""

NOT_IDEMPOTENT: Final = frozenset({"POST", "PATCH"})
"""Methods of which HTTP does not promise that twice is as once (RFC 9110, 9.2.2; RFC 5789, 2)."""


class _Repeated(msgspec.Struct, frozen=True):
    """One request of A for which B ran more than once. first: A's first call. runs: of B. who: tried again."""

    first: Call
    runs: int
    who: str


def unsafe_retry(whole: Exploration) -> Iterator[Draft | Skipped]:
    """State which operations B repeats for one request because A, or A's sidecar, gave up and tried again.

    Precondition: B was really called, so the fault is below B: a delay on B's own calls, longer than A's timeout and
    shorter than what B waits. Fires when, in three requests or more, a POST or PATCH of A ended without an answer,
    B went on and completed it, and B was called again with the same method and URL (m is 1). B completed when each call
    that it always makes in the control is there and was answered, the last one after A had given up.

    Limits: gRPC is POST throughout, and says nothing of what is idempotent, so it is left out. Keys by which B knows a
    repetition are in no trace: where B has them, two completions do no harm. A callee without calls of its own cannot
    be slowed, so nothing is said of it.
    """
    found: dict[tuple[Edge, str], list[_Repeated]] = defaultdict(list)
    given_up: Counter[tuple[Edge, str]] = Counter()
    for made in whole.calls.values():
        groups: dict[tuple[str, str, str, str], list[Call]] = defaultdict(list)
        for call in made:
            if call.span.method.upper() in NOT_IDEMPOTENT and call.span.grpc_status is None and call.caller is not None:
                groups[group(call)].append(call)
        for attempts in groups.values():
            first = attempts[0]
            if any(call.aborted for call in attempts) or whole.baseline.multiplicity(first) != 1:
                continue
            repeated = _look(whole.baseline, attempts)
            if repeated is not None:
                found[first.edge, first.operation].append(repeated)
            elif len(attempts) > 1:
                given_up[first.edge, first.operation] += 1
    for (edge, said), those in sorted(found.items()):
        if len(those) < MIN_CALLS or len({each.first.trace.trace_id for each in those}) < MIN_REQUESTS:
            seen = f"B completed what A gave up in {amount(len(those), 'request')}, {MIN_CALLS} are needed"
            yield too_few(edge, seen, RULE)
            continue
        yield _draft(edge, said, those, given_up[edge, said])


def _look(baseline: Baseline, attempts: Sequence[Call]) -> _Repeated | None:
    """What one group of calls shows, where an attempt that was given up was completed and followed by another."""
    runs = [(call, callee) for call in attempts for callee in sorted(call.callees, key=lambda span: span.start)]
    for i, (call, callee) in enumerate(runs[:-1]):
        again, _ = runs[i + 1]
        by_sidecar = again is call
        left = callee.gone if by_sidecar else call.span.gone
        if left and _completed(baseline, call, callee):
            return _Repeated(attempts[0], len(runs), "sidecar" if by_sidecar else "application")
    return None


def _completed(baseline: Baseline, call: Call, callee: Span) -> bool:
    """Whether B made and got answered all that it does for such a request, though whom it did it for had left."""
    usual = _usual(baseline, call, callee)
    if not usual:
        return False
    made = list(_calls_below(call.trace, callee))
    answered = {span.peer for span in made if not span.gone and 0 < span.status < 500 and not span.broken}
    return usual <= answered and max(span.end for span in made) > callee.end


def _usual(baseline: Baseline, call: Call, callee: Span) -> frozenset[str]:
    """The services that B's version calls for every healthy call of this operation."""
    every = [
        frozenset(span.peer for span in _calls_below(healthy.trace, one))
        for healthy in baseline.healthy(call.edge, call.operation)
        if healthy.operation == call.operation
        for one in healthy.callees
        if one.workload == callee.workload
    ]
    return frozenset.intersection(*every) if every else frozenset()


def _calls_below(trace: Trace, served: Span, depth: int = 32) -> Iterator[Span]:
    """The calls that B made for the request that SERVED is, SDK's spans between them aside."""
    for child in trace.children(served):
        if child.proxy:
            if child.kind == "CLIENT":
                yield child
        elif depth:
            yield from _calls_below(trace, child, depth - 1)


def _draft(edge: Edge, said: str, those: Sequence[_Repeated], others: int) -> Draft:
    runs, _ = Counter(each.runs for each in those).most_common(1)[0]
    who, _ = Counter(each.who for each in those).most_common(1)[0]
    return Draft(
        rule=RULE,
        condition="slow",
        severity="warning",
        source=edge.source,
        destination=edge.destination,
        operation=said,
        value=float(runs),
        unit="runs",
        agreeing=len(those),
        total=len(those) + others,
        evidence=evidence([each.first for each in those if each.runs == runs]),
        say=lambda tally: _words(tally, edge.destination, said, who),
        who=who,
    )


def _words(tally: Tally, destination: str, said: str, who: str) -> Words:
    runs = int(tally.value or 0)
    doing = "has its sidecar repeat" if who == "sidecar" else "repeats"
    clause = f"{doing} {said} to {destination}, which completes what was given up"
    return Words(
        summary=f"{tally.source} {clause}: for one request {destination} is asked {times(runs)}"
        f" ({amount(tally.agreeing, 'request')}).",
        advice=f"Do not retry {said} after a timeout, or let {destination} know a repetition by a key that each request"
        " carries.",
        clause=clause,
    )

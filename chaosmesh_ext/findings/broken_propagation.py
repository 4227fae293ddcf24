"""Rule 9, broken-propagation: A does not pass our trace, or our marker in it, on to what it calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.draft import Draft, Tally, Words, too_few
from chaosmesh_ext.findings.exploration import Exploration
from chaosmesh_ext.findings.statistics import MIN_CALLS
from chaosmesh_ext.findings.words import amount, calls, joined
from chaosmesh_ext.model import Edge, Evidence, Propagated, Skipped

__all__ = ["RULE", "blind", "broken_propagation"]

RULE: Final = "broken-propagation"


def broken_propagation(whole: Exploration) -> Iterator[Draft | Skipped]:
    """State on which call the trace, or the marker, is lost first.

    Precondition: it was measured (`Propagated`). `orphaned`: the mesh's metrics counted at least three calls that our
    requests caused, and most are in none of our traces. `unmarked`: at least three calls are in our traces, and some
    arrived without the marker in `tracestate`. Only the first such call on a way is stated; what lies below is
    coverage. Limit: metrics know no operations, so it speaks of all calls from A to B; without metrics nothing is known
    to be orphaned.
    """
    lost = {one.edge: one for one in whole.propagation if one.orphaned or one.unmarked}
    incoming: dict[tuple[str, str], set[Edge]] = defaultdict(set)
    for edge in whole.baseline.edges | {one.edge for one in whole.propagation}:
        incoming[edge.source.namespace, edge.destination].add(edge)
    for edge, one in sorted(lost.items()):
        number = one.counted if one.orphaned else one.traced
        if number < MIN_CALLS:
            yield too_few(edge, f"{number}, {MIN_CALLS} are needed", RULE)
            continue
        above = incoming[edge.source.namespace, edge.source.service]
        if above and all(each in lost for each in above):
            yield Skipped(str(edge), f"below a call on which our marker is lost: {min(above)}", RULE)
            continue
        yield _draft(whole.baseline, edge, one)


def blind(propagation: Sequence[Propagated]) -> Mapping[Edge, str]:
    """Edges on which no other rule may judge, because a fault cannot be told to meet our requests, and why."""
    return {
        one.edge: "our marker is lost on it, so nothing else can be judged there"
        for one in propagation
        if one.orphaned or (one.unmarked and not one.survives)
    }


def _draft(baseline: Baseline, edge: Edge, one: Propagated) -> Draft:
    missing, total = (one.counted - one.traced, one.counted) if one.orphaned else (one.unmarked, one.traced)
    return Draft(
        rule=RULE,
        condition=None,
        severity="info" if one.survives else "warning",
        source=edge.source,
        destination=edge.destination,
        operation="",
        value=None,
        unit="",
        agreeing=missing,
        total=total,
        evidence=_evidence(baseline, edge, orphaned=one.orphaned),
        say=lambda tally: _words(tally, edge.destination, one.survives, orphaned=one.orphaned),
        who="application",
        kind="orphaned" if one.orphaned else "unmarked",
        same=one.survives,
    )


def _evidence(baseline: Baseline, edge: Edge, *, orphaned: bool) -> tuple[Evidence, ...]:
    """Healthy requests that A served and in whose traces the call is missing; or those that have it, unmarked."""
    traces = baseline.control.traces
    ids = [
        trace_id
        for trace_id in sorted(traces)
        if any(
            span.workload == edge.source and (span.kind == "SERVER" if orphaned else span.peer == edge.destination)
            for span in traces[trace_id].spans
        )
    ]
    return tuple(Evidence(trace_id, baseline.control.id) for trace_id in ids[:3])


def _words(tally: Tally, destination: str, survives: Sequence[str], *, orphaned: bool) -> Words:
    share = f"{tally.agreeing} of " if tally.agreeing < tally.total else ""
    if orphaned:
        lost, headers = "trace", "`traceparent` and `tracestate`"
        seen = f"the mesh counted {calls(tally.total)}, and our traces hold {tally.total - tally.agreeing or 'none'}"
    else:
        lost, headers = "marker", "`tracestate`"
        seen = f"{share}{amount(tally.total, 'call')} arrived without it"
    advice = f"Let {tally.source} copy {headers} from each request that it serves to the calls that it makes for it"
    if survives:
        does = joined([f"`{each}`" for each in survives])
        return Words(
            summary=f"{tally.source} does not pass our {lost} on to {destination}: {seen}, though {does} did arrive.",
            advice=f"{advice}; what arrives in {does} is enough to explore it meanwhile.",
            clause=f"does not pass our {lost} on to {destination}",
        )
    return Words(
        summary=f"{tally.source} does not pass our {lost} on to {destination}: {seen}.",
        advice=f"{advice}: until then nothing that lies behind can be tested, or followed when it fails.",
        clause=f"does not pass our {lost} on to {destination}",
    )

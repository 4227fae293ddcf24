"""Connection limit: A's sidecar refuses calls beyond its pool towards B (Envoy's UO). No breaker: nothing failed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence, too_few
from chaosmesh_ext.findings.exploration import Exploration
from chaosmesh_ext.findings.statistics import MIN_CALLS, MIN_REQUESTS
from chaosmesh_ext.findings.words import amount, calls
from chaosmesh_ext.model import Edge, Skipped

__all__ = ["connection_limit"]

RULE: Final = "connection-limit"


def connection_limit(whole: Exploration) -> Iterator[Draft | Skipped]:
    """State how many calls to B were on their way when A's sidecar refused further ones.

    Precondition: at least three calls over two requests ended with UO, in whatever cell or in the control. The value is
    the most calls of one pod of A that were on their way, none of them refused or still held back by an injected delay
    (the fault acts before the pool), when one was refused.

    Limits: calls of others count in the pool and are in no trace of ours, so the limit may be higher; those that waited
    for a connection count as on their way. Where spans do not say the pod, replicas are added up. Without a call that
    was refused nothing is said: a pool may be there and larger.
    """
    found: dict[Edge, list[Call]] = defaultdict(list)
    every = [*whole.baseline.calls, *(call for made in whole.calls.values() for call in made)]
    for call in every:
        if _overflown(call):
            found[call.edge].append(call)
    for edge, refused in sorted(found.items()):
        if len(refused) < MIN_CALLS or len({call.trace.trace_id for call in refused}) < MIN_REQUESTS:
            yield too_few(edge, f"{len(refused)} refused by the sidecar's pool (UO), {MIN_CALLS} are needed", RULE)
            continue
        held = [call for call in every if call.edge == edge and not _overflown(call) and "DI" not in call.span.flags]
        yield _draft(edge, refused, held, healthy=any(call.cell == whole.baseline.control.id for call in refused))


def _draft(edge: Edge, refused: Sequence[Call], held: Sequence[Call], *, healthy: bool) -> Draft:
    ways = {call.span.span_id: _on_the_way(call, held) for call in refused}
    most = max(ways.values())
    name, _ = max(Counter(call.operation for call in refused).items(), key=lambda pair: (pair[1], pair[0]))
    return Draft(
        rule=RULE,
        condition=None,
        severity="warning" if healthy else "info",
        source=edge.source,
        destination=edge.destination,
        operation=name,
        value=float(most),
        unit="calls",
        agreeing=len(refused),
        total=len(refused),
        evidence=evidence(refused, near=lambda call: most - ways[call.span.span_id]),
        say=lambda tally: _words(tally, edge.destination, healthy=healthy),
        who="sidecar",
    )


def _overflown(call: Call) -> bool:
    return "UO" in call.span.flags


def _on_the_way(refused: Call, held: Sequence[Call]) -> int:
    """How many of HELD the pod of REFUSED had on their way when that was refused."""
    return sum(
        1
        for call in held
        if call.span.pod == refused.span.pod and call.span.start <= refused.span.start < call.span.end
    )


def _words(tally: Tally, destination: str, *, healthy: bool) -> Words:
    way = amount(int(tally.value or 0), "other")
    clause = f"has its sidecar refuse calls to {destination} while {way} are on their way"
    if tally.value == 1:
        clause = f"has its sidecar refuse calls to {destination} while another is on its way"
    when = ", in healthy traffic too" if healthy else ""
    advice = (
        f"Raise the `connectionPool` in {destination}'s DestinationRule: it refuses what {destination} could serve."
        if healthy
        else f"Keep it where {destination} or {tally.source} could not bear more; it is a pool's limit, no breaker."
    )
    return Words(summary=f"{tally.source} {clause}{when} ({calls(tally.total)} with UO).", advice=advice, clause=clause)

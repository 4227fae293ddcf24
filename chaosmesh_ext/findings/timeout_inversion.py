"""Rule 12, timeout-inversion: A's caller gives up on A before A gives up on B, so that A goes on for nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

from chaosmesh_ext.findings.calls import Call, above, group
from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence, too_few
from chaosmesh_ext.findings.exploration import Exploration
from chaosmesh_ext.findings.statistics import CLOCK, MIN_CALLS, MIN_REQUESTS
from chaosmesh_ext.findings.subject import Subject
from chaosmesh_ext.findings.words import amount, seconds, times
from chaosmesh_ext.model import Edge, Skipped

__all__ = ["timeout_inversion"]

_MARGIN: Final = 1.25
"""How many times longer A must try than its caller waits: closer than that, noise may turn them round (rules, 12)."""

Site = tuple[Edge, str]


class _Patience(msgspec.Struct, frozen=True):
    """How long A tries B. timeout: of one attempt. retries: after a timeout. pauses: between attempts, all together."""

    timeout: float
    retries: int
    pauses: float

    @property
    def total(self) -> float:
        return (1 + self.retries) * self.timeout + self.pauses


class _Orphan(msgspec.Struct, frozen=True):
    """One request of A whose caller left. work: seconds that A went on."""

    call: Call
    work: float


def timeout_inversion(whole: Exploration) -> Iterator[Draft | Skipped]:
    """State that A's caller waits for A less long than A tries B, and how long A works for nobody.

    Precondition: the timeouts of both calls, one right above the other in the same traces, are findings of this run.
    Fires when A's attempts on B, (1 + retries after a timeout) x timeout + pauses, take 1.25 times as long as A's
    caller waits or more, and in at least three calls over two requests A's caller left and A's last attempt ended more
    than eps later. Retries that could not be counted are taken for none, so the patience is the least there is.
    Where A's caller left, but its own call was not held back in this run, its patience is said to be unknown.
    Limit: adjacent calls only; a caller further up that leaves first shows as an inversion of the call below it.
    """
    drafted: dict[tuple[str, Site], Draft] = {
        (draft.rule, (Edge(draft.source, draft.destination), draft.operation)): draft
        for draft in whole.drafts
        if draft.condition == "slow"
    }
    slowed = {(each.edge, each.operation) for each in whole.subjects if each.slow()}
    by_span: dict[tuple[str, str, str], Call] | None = None
    for subject in whole.subjects:
        site = subject.edge, subject.operation
        own = drafted.get(("timeout", site))
        if own is None or own.value is None:
            continue
        if by_span is None:  # most runs have few timeouts, and many none
            by_span = {
                (call.cell, call.trace.trace_id, call.span.span_id): call
                for made in whole.calls.values()
                for call in made
            }
        retry = drafted.get(("retry", site))
        whole_request = own.kind == "request deadline"  # it ends all attempts together
        # where they differ (a breaker ends them, say), some request was tried as often as that all the same
        seen = max(map(len, _groups(subject)), default=1) - 1 if _tried_in_turn(subject) else 0
        retries = 0 if whole_request else seen if retry is None or retry.value is None else int(retry.value)
        yield from _judge(subject, own.value, retries, drafted, slowed, by_span)


def _judge(
    subject: Subject,
    timeout: float,
    retries: int,
    drafted: Mapping[tuple[str, Site], Draft],
    slowed: Collection[Site],
    by_span: Mapping[tuple[str, str, str], Call],
) -> Iterator[Draft | Skipped]:
    found: dict[Site, list[_Orphan]] = defaultdict(list)
    parents: set[Site] = set()
    pauses: list[float] = []
    for made in _groups(subject):
        first, last = made[0], made[-1]
        if len(made) == retries + 1:
            pauses.append(sum(after.span.start - before.span.end for before, after in pairwise(made)))
        parent = _parent(first, by_span)
        if parent is None or first.caller is None:
            continue
        parents.add(parent)
        work = last.span.end - first.caller.end
        if first.caller.gone and work > subject.eps:
            found[parent].append(_Orphan(first, work))
    patience = _Patience(timeout, retries, max(median(pauses), 0.0) if pauses else 0.0)
    inverted: list[tuple[float, Site, list[_Orphan]]] = []
    edge = str(subject.edge)
    for parent in sorted(parents):
        above_it = drafted.get(("timeout", parent))
        if found[parent] and parent not in slowed:
            reason = (
                f"{parent[0].source} left before {subject.edge.source} gave up, but how long it waits is not known:"
                f" its own call of {parent[0].destination} was not held back"
            )
            yield Skipped(edge, reason, "timeout-inversion")
        if above_it is None or above_it.value is None or patience.total <= above_it.value:
            continue
        if patience.total < _MARGIN * above_it.value:
            reason = (
                f"inconclusive: {parent[0].source} waits {seconds(above_it.value)}, {subject.edge.source} tries for"
                f" {seconds(patience.total)}, too close to tell which ends first"
            )
            yield Skipped(edge, reason, "timeout-inversion")
            continue
        orphans = found[parent]
        if len(orphans) >= MIN_CALLS and len({each.call.trace.trace_id for each in orphans}) >= MIN_REQUESTS:
            inverted.append((above_it.value, parent, orphans))
        elif orphans:
            few = f"{len(orphans)} went on after the caller left, {MIN_CALLS} are needed"
            yield too_few(subject.edge, few, "timeout-inversion")
    if inverted:
        yield _draft(subject, patience, inverted)


def _groups(subject: Subject) -> list[Sequence[Call]]:
    """The attempts of each request of A, those on which a delay was met."""
    groups: dict[tuple[str, str, str, str, str], list[Call]] = defaultdict(list)
    for trial in subject.of("slow"):
        for call in trial.calls:
            groups[(call.cell, *group(call))].append(call)
    return [made for made in groups.values() if any(call.faulted and not call.at_gateway for call in made)]


def _tried_in_turn(subject: Subject) -> bool:
    """Whether several attempts of one request can only be retries: healthy ones make one call, and none overlap."""
    groups = [made for made in _groups(subject) if len(made) > 1]
    return all(
        subject.baseline.multiplicity(made[0]) == 1
        and all(before.failed and after.span.start >= before.span.end - CLOCK for before, after in pairwise(made))
        for made in groups
    )


def _parent(call: Call, by_span: Mapping[tuple[str, str, str], Call]) -> Site | None:
    """The call that CALL's request of A came by."""
    span = above(call.trace, call.caller) if call.caller is not None else None
    found = by_span.get((call.cell, call.trace.trace_id, span.span_id)) if span is not None else None
    return (found.edge, found.operation) if found is not None else None


def _draft(subject: Subject, patience: _Patience, inverted: Sequence[tuple[float, Site, list[_Orphan]]]) -> Draft:
    """About the caller that leaves first; others are named."""
    shortest, parent, orphans = min(inverted, key=lambda each: (each[0], each[1]))
    work = median(each.work for each in orphans)
    others = [f"{site[0].source} leaves after {seconds(value)}." for value, site, _ in inverted if site != parent]
    return Draft(
        rule="timeout-inversion",
        condition="slow",
        severity="warning",
        source=subject.edge.source,
        destination=subject.edge.destination,
        operation=subject.operation,
        value=work,
        unit="s",
        agreeing=len(orphans),
        total=len(orphans),
        evidence=evidence([each.call for each in orphans]),
        say=lambda tally: _words(tally, subject.edge, parent[0], shortest, patience, others),
        who="application",
        same=(str(parent[0].source), *others),
        close=max(0.05 * work, subject.eps),
        numbers={
            "caller_waits_s": shortest,
            "tries_s": patience.total,
            "pauses_s": patience.pauses,
            "retries": float(patience.retries),
        },
    )


def _words(
    tally: Tally, edge: Edge, parent: Edge, shortest: float, patience: _Patience, others: Sequence[str]
) -> Words:
    source, destination, caller = tally.source, edge.destination, parent.source
    tries = f"tries {destination} for {seconds(patience.total)}"
    if patience.retries:
        tries += f" ({seconds(patience.timeout)} each, retried {times(patience.retries)})"
    went_on = f"went on for {seconds(tally.value or 0.0)}"
    seen = f"in {amount(tally.agreeing, 'call')} {source} {went_on} for nobody"
    return Words(
        summary=" ".join([f"{source} {tries}, but {caller} waits for it only {seconds(shortest)}: {seen}.", *others]),
        advice=f"Let {source} give up on {destination}, retries and all, well before {seconds(shortest)}, or let"
        f" {caller} wait longer than {seconds(patience.total)}.",
        clause=f"goes on for {seconds(tally.value or 0.0)} after {caller} has left",
    )

"""Rule 4, retry-amplification: retries of several layers multiply into load on a leaf that is failing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import Final

import msgspec

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call, above, group
from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence, too_few
from chaosmesh_ext.findings.exploration import Exploration
from chaosmesh_ext.findings.statistics import MIN_CALLS
from chaosmesh_ext.findings.subject import Subject, Trial
from chaosmesh_ext.findings.words import amount, joined
from chaosmesh_ext.model import Condition, Edge, Skipped

__all__ = ["retry_amplification"]

_CLOSE: Final = 0.05
"""Share by which two measurements of one factor may differ."""

_NO_BREAKER: Final = 10
"""Failed calls for one request that no breaker cut short: it would have opened by then."""

_MIXED: Final = "the request tried several versions of a service on the way, which do not try equally often"

_Requests = Mapping[tuple[str, str], Sequence[Call]]
"""The calls of each request of a user, by cell and trace id."""


class _Measured(msgspec.Struct, frozen=True):
    """One request of a user. factor: attempts ÷ healthy ones. layers: the services that retried, the nearest last.
    mixed: the services on the way of which several versions were tried, which may try differently often. tries: of
    each request that A served, by its version, how often it called B.
    """

    call: Call
    factor: float
    made: int
    layers: tuple[str, ...]
    mixed: frozenset[tuple[str, str]]
    tries: tuple[tuple[str, int], ...]


def retry_amplification(whole: Exploration) -> Iterator[Draft | Skipped]:
    """State how many times the healthy number of calls one request of a user makes at a failing leaf.

    Precondition: B is a leaf (nothing that it calls was seen), at least three requests met the fault, and in most of
    them two services or more tried again: calls of one method and URL, healthily one, that follow failed ones, on the
    way from the user to B; a sidecar's own tries count. Requests that tried a version of A that the fault spares are
    left out, since it may have got through, and so are those that tried several versions of a service on the way,
    unless all requests show the same, or what one version would do follows from what it does each time. Limit: it is
    the load of one request; what many at once do to B is not measured.
    """
    callers = {edge.source.service for edge in whole.baseline.edges}
    callers |= {one.edge.source.service for one in whole.propagation}  # also of calls that are in no trace
    requests: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for made in whole.calls.values():
        for call in made:
            requests[call.cell, call.trace.trace_id].append(call)
    conditions: tuple[Condition, ...] = ("slow", "status")
    for subject in whole.subjects:
        if subject.edge.destination in callers:
            continue
        for condition in conditions:
            yield from _under(subject, condition, requests)


def _under(subject: Subject, condition: Condition, requests: _Requests) -> Iterator[Draft | Skipped]:
    found: list[_Measured] = []
    undecided: Counter[str] = Counter()
    for trial in subject.of(condition):
        made: dict[str, list[Call]] = defaultdict(list)
        for call in trial.calls:
            made[call.trace.trace_id].append(call)
        for trace_id, those in sorted(made.items()):
            if any(call.faulted for call in those) and not those[0].at_gateway:
                measured = _measure(subject, trial, those, requests[those[0].cell, trace_id])
                if isinstance(measured, str):
                    undecided[measured] += 1
                else:
                    found.append(measured)
    edge = str(subject.edge)
    pure = [each for each in found if not each.mixed]
    if len(pure) < MIN_CALLS and len(found) >= 2 * MIN_CALLS and _alike(found):
        pure = found
    if len(pure) < MIN_CALLS:
        pure = _of_one_version(subject.edge, found) or pure
    if len(found) > len(pure):
        undecided[_MIXED] += len(found) - len(pure)
    found = pure
    amplified = [each for each in found if len(each.layers) > 1 and each.factor > 1 + _CLOSE]
    if not amplified and (found or not undecided[_MIXED]):
        return
    if len(amplified) < MIN_CALLS:
        details = "".join(f"; {reason} ({amount(n, 'request')})" for reason, n in sorted(undecided.items()))
        seen = f"several layers retried in {amount(len(amplified), 'request')}, {MIN_CALLS} are needed{details}"
        yield too_few(subject.edge, seen, "retry-amplification", by_chance=bool(undecided[_MIXED]))
        return
    factor = median(each.factor for each in found)
    agreeing = [each for each in amplified if abs(each.factor - factor) <= _CLOSE * factor]
    if 2 * len(agreeing) < len(found):
        least, most = min(each.factor for each in found), max(each.factor for each in found)
        reason = f"inconclusive: {least:.1f} to {most:.1f} times the healthy calls, no single factor explains it"
        yield Skipped(edge, reason, "retry-amplification")
        return
    layers = Counter(each.layers for each in agreeing).most_common(1)[0][0]
    calls = round(median(each.made for each in agreeing))
    yield Draft(
        rule="retry-amplification",
        condition=condition,
        severity="warning",
        source=subject.edge.source,
        destination=subject.edge.destination,
        operation=subject.operation,
        value=fmean(each.factor for each in agreeing),
        unit="times",
        agreeing=len(agreeing),
        total=len(found),
        evidence=evidence([each.call for each in agreeing]),
        say=lambda tally: _words(tally, subject.edge.destination, condition, layers, calls),
        same=layers,
        close=_CLOSE * factor,
    )


def _measure(subject: Subject, trial: Trial, made: Sequence[Call], everything: Sequence[Call]) -> _Measured | str:
    """What one request of a user did at the leaf; the reason why it cannot be compared with healthy ones."""
    if trial.spared(made[0]):
        return "the request tried a version of the caller that the fault spares, which may have got through"
    healthy = subject.baseline.per_request(subject.edge, subject.operation, made[0].answer.url)
    if not healthy:
        return "no healthy request to compare with"
    source = subject.edge.source
    whole = [  # whichever version made it: a retry further up may have come to another one
        call
        for call in everything
        if (call.edge.destination, call.operation) == (subject.edge.destination, subject.operation)
        and (call.edge.source.namespace, call.edge.source.service) == (source.namespace, source.service)
    ]
    layers, way = _layers(subject.baseline, whole, everything)
    mixed = frozenset(service for service in way if len(whole[0].trace.versions.get(service, ())) > 1)
    visits = Counter((call.edge.source.version, call.caller.span_id if call.caller else "") for call in whole)
    tries = tuple((version, count) for (version, _), count in visits.items())
    return _Measured(whole[0], len(whole) / healthy, len(whole), layers, mixed, tries)


def _alike(found: Sequence[_Measured]) -> bool:
    """Whether it seems to make no difference which versions a request tried: all of them try equally often each time.

    One that tries less often the next time (a breaker opened, say) would have done so sooner, had it been alone.
    """
    factors = [each.factor for each in found]
    same = len({count for each in found for _, count in each.tries}) == 1
    return same and max(factors) - min(factors) <= _CLOSE * min(factors)


def _of_one_version(edge: Edge, found: Sequence[_Measured]) -> list[_Measured]:
    """What requests would have done that met no other version of A than EDGE's: those that met another one once, where
    all requests come to A equally often, and this version tries equally often each time. Nothing where that is not so.
    """
    service, version = (edge.source.namespace, edge.source.service), edge.source.version
    known = [each for each in found if each.mixed <= {service}]
    visits = {len(each.tries) for each in known}
    counts = {count for each in known for by, count in each.tries if by == version}
    if len(known) < 2 * MIN_CALLS or len(visits) != 1 or len(counts) != 1:
        return []
    count, made = max(counts), max(visits) * max(counts)
    mostly = [
        each
        for each in known
        for own in [sum(by == version for by, _ in each.tries)]
        if own >= len(each.tries) - 1 or own * count >= _NO_BREAKER
    ]
    if len(mostly) < MIN_CALLS:
        return []
    return [
        msgspec.structs.replace(
            each,
            factor=made * each.factor / each.made,
            made=made,
            layers=tuple(one for one in each.layers if one != edge.source.service or count > 1),
        )
        for each in mostly
    ]


def _layers(
    baseline: Baseline, made: Sequence[Call], everything: Sequence[Call]
) -> tuple[tuple[str, ...], frozenset[tuple[str, str]]]:
    """The services on the way to MADE that tried again, the one nearest the user first; and all on the way, with their
    namespaces.
    """
    by_span = {each.span.span_id: each for each in everything}
    groups: dict[tuple[str, ...], list[Call]] = defaultdict(list)
    for each in everything:
        groups[group(each)].append(each)
    found: dict[str, None] = {}
    seen: set[str] = set()
    way: set[tuple[str, str]] = set()
    for first in made:
        call: Call | None = first
        while call is not None and call.span.span_id not in seen:
            seen.add(call.span.span_id)
            way.add((call.edge.source.namespace, call.edge.source.service))
            if _tried_again(baseline, groups[group(call)]):
                found[call.edge.source.service] = None
            parent = above(call.trace, call.caller) if call.caller is not None else None
            call = by_span.get(parent.span_id) if parent is not None else None
    return tuple(reversed(found)), frozenset(way)


def _tried_again(baseline: Baseline, made: Sequence[Call]) -> bool:
    """Whether MADE, calls of one method and URL for one request, are attempts one after the other."""
    if any(len(call.callees) > 1 for call in made):
        return True
    first = made[0]
    if len(made) < 2 or baseline.multiplicity(first) != 1:
        return False
    eps = baseline.eps(first.edge, first.operation)
    return all(before.failed and after.span.start >= before.span.end - eps for before, after in pairwise(made))


def _words(tally: Tally, destination: str, condition: Condition, layers: Sequence[str], calls: int) -> Words:
    when = "is slow" if condition == "slow" else "fails"
    share = "" if tally.agreeing == tally.total else f"{tally.agreeing} of "
    factor = f"{tally.value or 0:.3g} times"
    retry = "both retry" if len(layers) == 2 else "all retry"
    return Words(
        summary=f"When {destination} {when}, one request of a user makes {factor} the healthy calls from"
        f" {tally.source} to it ({amount(calls, 'call')}): {joined(layers)} {retry}, and their retries multiply"
        f" ({share}{amount(tally.total, 'request')}).",
        advice=f"Let one layer alone retry, the one nearest to {destination}, and let it answer those above with an"
        " error that they do not retry.",
        clause=f"makes {factor} the healthy calls to {destination} because the layers above it retry too",
    )

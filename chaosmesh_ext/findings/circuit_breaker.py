"""Rule 7, circuit-breaker: after failures in a row B is not called for a while, by A itself or by A's sidecar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.findings.draft import Draft, Tally, Words
from chaosmesh_ext.findings.ejections import ejections, server
from chaosmesh_ext.findings.exploration import Exploration
from chaosmesh_ext.findings.openings import Open, Opening, Series, open_for, overlap, read
from chaosmesh_ext.findings.visits import by_pod, lead, needing, visits
from chaosmesh_ext.findings.words import amount, seconds
from chaosmesh_ext.model import Cell, Condition, Edge, Evidence, Skipped

__all__ = ["RULE", "circuit_breaker", "ejected", "operations", "series"]

RULE: Final = "circuit-breaker"
"""The purpose of the cells that it reads, and its name."""

_ONCE: Final = "inconclusive: healthy requests make several such calls, so failures cannot be counted by breaker"


class _Opened(msgspec.Struct, frozen=True):
    """What some pods showed. failures: the most that it took. agreeing, total: pods that show it, pods that could."""

    failures: int
    agreeing: int
    total: int
    open: Open
    openings: tuple[Opening, ...]
    evidence: tuple[Evidence, ...]
    silent: int


def circuit_breaker(whole: Exploration) -> Iterator[Draft | Skipped]:
    """State after how many failures in a row B is not called any more, for how long, and whose doing that is.

    Precondition: a cell made for it (`stimulus`). *Application*: an abort in A's sidecar. A still serves requests that
    need the call and makes none, three times in a row or more. *Sidecar*: outlier ejection needs failures that come
    from B: an abort on B's inbound side. Calls then end with UH, or go to other pods.

    Limits: a breaker is one process', so everything is counted by pod; where spans do not say the pod, replicas are
    mixed and the count comes out too high. It is the count of failures *in a row*: one that goes by rates opens after
    as many as fit the rate then. Failures that a pod saw before, without a success since, make its count too low: the
    highest of the pods is stated. Calls of others that succeed meanwhile start the count anew, which our traces do not
    show. A cache that remembers a failure looks the same. That nothing opened is coverage, no finding.
    """
    for cell in whole.made_for(RULE):
        if cell.injected is None:
            continue
        edges = sorted(edge for edge in whole.baseline.edges if cell.injected.covers(edge))
        for edge in edges:
            made = [call for call in whole.calls[cell.id] if call.edge == edge]
            drafts = 0
            reasons: list[Skipped] = []
            for said in operations(whole.baseline, edge):
                outcome = _application(whole.baseline, cell, edge, said, made)
                if isinstance(outcome, Draft):
                    drafts += 1
                    yield outcome
                else:
                    reasons.append(outcome)
            mesh = None if drafts else _sidecar(whole.baseline, cell, edge, made)
            if mesh is not None:
                yield mesh
            elif not drafts:
                yield from reasons


def operations(baseline: Baseline, edge: Edge) -> list[str]:
    """The operations on EDGE in the control."""
    return sorted({call.operation for call in baseline.calls if call.edge == edge})


def series(baseline: Baseline, cell: Cell, edge: Edge, said: str, made: Sequence[Call]) -> Mapping[str, Series]:
    """What each pod of A did in CELL with the calls of operation SAID among MADE, the cell's calls on EDGE."""
    those = [call for call in made if call.operation == said]
    due = needing(baseline, edge, said)
    served = [
        visit
        for visit in visits(cell, cell.answers, edge.source, those)
        # who leaves before the call is made says nothing about it
        if visit.operation in due and (visit.calls or not visit.span.gone)
    ]
    first = lead(baseline, edge, said)
    return {pod: read(each, first) for pod, each in by_pod(served).items()}


def _application(baseline: Baseline, cell: Cell, edge: Edge, said: str, made: Sequence[Call]) -> Draft | Skipped:
    def undecided(reason: str) -> Skipped:
        return Skipped(str(edge), reason, RULE)

    those = [call for call in made if call.operation == said]
    if not any(call.faulted for call in those):
        return undecided("no call met the fault that was injected on it")
    if any(baseline.multiplicity(call) != 1 for call in those if call.caller is not None):
        return undecided(_ONCE)
    pods = series(baseline, cell, edge, said, made)
    if not pods:
        return undecided("inconclusive: no request of the control always needs the call")
    opened = {pod: each for pod, each in pods.items() if each.openings and not each.stale}
    if not opened:
        if any(each.stale for each in pods.values()):
            return undecided("inconclusive: no call was made from the start, so it may have been open before")
        most = max(each.unbroken for each in pods.values())
        return undecided(f"nothing opened within {amount(most, 'failed call')} in a row")
    clear = {pod: each for pod, each in opened.items() if not each.overlapping}
    if not clear:
        return undecided("inconclusive: calls ran at the same time, so more may have failed than it took: send in turn")
    failures = max(each.openings[0].failures for each in clear.values())
    against = [each for each in pods.values() if not each.openings and each.unbroken > failures]
    openings = [each.openings for each in clear.values()]
    found = _Opened(
        failures=failures,
        agreeing=sum(each.openings[0].failures == failures for each in clear.values()),
        total=len(clear) + len(against),
        open=_together([open_for(each) for each in openings]),
        openings=tuple(opening for each in openings for opening in each),
        evidence=tuple(proof for each in clear.values() for proof in _proof(each, cell))[:3],
        silent=sum(len(each.silent) for each in clear.values()),
    )
    return _draft(edge, said, _condition(cell), found, "application", _half_open(found))


def _sidecar(baseline: Baseline, cell: Cell, edge: Edge, made: Sequence[Call]) -> Draft | None:
    """Calls of every operation count together: Envoy keeps one list of pods for all of them."""
    found = ejected(baseline, edge, made)
    if not found:
        return None
    failures = max(opening.failures for opening, _, _ in found)
    moved = all(went for _, went, _ in found)
    kind = "moved to other pods" if moved else "all ejected"
    opened = _Opened(
        failures=failures,
        agreeing=sum(opening.failures == failures for opening, _, _ in found),
        total=len(found),
        open=_together([open_for([opening]) for opening, _, _ in found]),
        openings=tuple(opening for opening, _, _ in found),
        evidence=tuple(dict.fromkeys(Evidence(call.trace.trace_id, cell.id) for _, _, call in found))[:3],
        silent=0,
    )
    said = min(call.operation for _, _, call in found)
    return _draft(edge, said, _condition(cell), opened, "sidecar", kind)


def ejected(baseline: Baseline, edge: Edge, made: Sequence[Call]) -> list[tuple[Opening, bool, Call]]:
    """The ejections in MADE, a cell's calls on EDGE: when, whether calls moved, and the last call before."""
    names = {name for call in (*made, *(c for c in baseline.calls if c.edge == edge)) if (name := server(call))}
    found: list[tuple[Opening, bool, Call]] = []
    for pod in sorted({call.span.pod for call in made}):
        those = [call for call in made if call.span.pod == pod]
        for name, opening, moved in ejections(those, max(1, len(names))):
            before = [call for call in those if server(call) == name and call.span.end <= opening.at]
            if not overlap(before):
                found.append((opening, moved, before[-1]))
    return found


def _draft(edge: Edge, said: str, condition: Condition, found: _Opened, who: str, kind: str | None) -> Draft:
    numbers: dict[str, float] = {}
    if found.open.seconds is not None:
        numbers["open_s"] = found.open.seconds
    else:
        numbers["open_at_least_s"] = found.open.least
        if found.open.most is not None:
            numbers["open_at_most_s"] = found.open.most
    return Draft(
        rule=RULE,
        condition=condition,
        severity="info",
        source=edge.source,
        destination=edge.destination,
        operation=said,
        value=float(found.failures),
        unit="failures",
        agreeing=found.agreeing,
        total=found.total,
        evidence=found.evidence,
        say=lambda tally: _words(tally, edge.destination, found, who, kind),
        who=who,
        kind=kind,
        numbers=numbers,
    )


def _condition(cell: Cell) -> Condition:
    return "slow" if cell.injected is not None and cell.injected.kind == "delay" else "status"


def _together(those: Sequence[Open]) -> Open:
    """What several pods say: what all of them allow, else the first one's."""
    least = max(each.least for each in those)
    most = min((each.most for each in those if each.most is not None), default=None)
    pace = those[0].pace if len({each.pace for each in those}) == 1 else "varying"
    if pace == "constant" and (most is None or least <= most):
        return Open(least, most, pace)
    return Open(those[0].least, those[0].most, pace)


def _half_open(found: _Opened) -> str | None:
    """What came after the silence: a lone call, or as many as it took the first time."""
    then = {opening.then for opening in found.openings if opening.then}
    if then == {1}:
        return "half-open"
    return "closed again" if then == {found.failures} else None


def _proof(pod: Series, cell: Cell) -> list[Evidence]:
    """The last call before it opened, and the first request without one."""
    last = max(pod.before, key=lambda call: (call.span.end, call.span.span_id))
    return [Evidence(last.trace.trace_id, cell.id), pod.silent[0].proof]


def _words(tally: Tally, destination: str, found: _Opened, who: str, kind: str | None) -> Words:
    after = f"after {amount(int(tally.value or 0), 'failure')} in a row"
    long = _long(found.open)
    if who == "sidecar":
        where = "sends its calls to other pods" if kind == "moved to other pods" else "refuses its calls (UH)"
        clause = f"has its sidecar eject pods of {destination} {after}, {long}"
        how = f"meanwhile it {where}"
    else:
        clause = f"stops calling {destination} {after}, {long}"
        how = f"{amount(found.silent, 'request')} meanwhile made no call"
        if kind == "half-open":
            how += ", then a lone one tried again"
    return Words(
        summary=f"{tally.source} {clause} ({how}; seen in {tally.agreeing} of {amount(tally.total, 'pod')}).",
        advice=f"Keep it, and see that what {tally.source} answers meanwhile is what its users should get.",
        clause=clause,
    )


def _long(found: Open) -> str:
    again = " at first, longer each time" if found.pace == "growing" else " at first" if found.pace == "varying" else ""
    if found.seconds is not None:
        return f"for {seconds(found.seconds)}{again}"
    if found.most is None:
        return f"for {seconds(found.least)} or more"
    return f"for {seconds(found.least)} to {seconds(found.most)}{again}"

"""Rule 1, timeout: A gives up on a slow B by its own clock, or its sidecar does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median

from chaosmesh_ext.findings.calls import Call, group
from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence, too_few
from chaosmesh_ext.findings.endings import Ending, ending
from chaosmesh_ext.findings.statistics import MIN_CALLS, MIN_REQUESTS, agree, mostly_agree, tolerance
from chaosmesh_ext.findings.subject import Subject
from chaosmesh_ext.findings.words import amount, calls, seconds
from chaosmesh_ext.model import Skipped

__all__ = ["timeout"]


def timeout(subject: Subject) -> Iterator[Draft | Skipped]:
    """State after how long a call on a slow callee is given up, and by whom.

    Fires on at least three such calls over two requests whose times agree within max(5 %, 25 ms), four in five of them
    at least. Calls that ended because the caller's own caller left say nothing.
    """
    endings = [
        (call, ending(call, subject.eps, nested=subject.nested, goes_on=subject.goes_on)) for call in subject.slow()
    ]
    own = [call for call, end in endings if end is Ending.OWN_CLOCK]
    sidecar = [call for call, end in endings if end is Ending.SIDECAR]
    who, ended = ("sidecar", sidecar) if len(sidecar) > len(own) else ("application", own)
    edge = str(subject.edge)
    if not ended:
        undecided = [end for call, end in endings if call.span.gone or end is Ending.TRIED_AGAIN]
        if undecided:
            left = Ending.CALLER_LEFT in undecided
            yield Skipped(edge, _reasons(undecided), "timeout", "patient-caller" if left else "")
        return
    if not _enough(ended):
        few = f"{len(ended)} {Ending.OWN_CLOCK.value if who == 'application' else Ending.SIDECAR.value}"
        yield too_few(subject.edge, f"{few}, {MIN_CALLS} over {MIN_REQUESTS} requests are needed", "timeout")
        return
    kind, measure = _kind(subject, ended) if who == "application" else ("call", _patience)
    if kind is None:
        shortest, longest = min(map(_patience, ended)), max(map(_patience, ended))
        reason = (
            f"inconclusive: given up after {seconds(shortest)} to {seconds(longest)}, no single timeout explains it"
        )
        yield Skipped(edge, reason, "timeout", "calls")
        return
    value = median(map(measure, ended))
    # a call that could have been given up by then and was not speaks against it
    others = [c for c, end in endings if end is Ending.WAITED and c.delay - subject.eps > value + tolerance(value)]
    near = [call for call in ended if abs(measure(call) - value) <= tolerance(value)]
    single = len({group(call) for call in ended}) == len(ended)
    yield Draft(
        rule="timeout",
        condition="slow",
        severity="info",
        source=subject.edge.source,
        destination=subject.edge.destination,
        operation=subject.operation,
        value=value,
        unit="s",
        agreeing=len(near),
        total=len(ended) + len(others),
        evidence=evidence(ended, near=lambda call: abs(measure(call) - value)),
        say=lambda tally: _words(tally, subject.edge.destination, who, kind, single=single),
        who=who,
        kind=kind,
        close=tolerance(value),
    )


def _patience(call: Call) -> float:
    """Seconds that A, or its sidecar once the delay let the request go, waited."""
    return call.span.duration - (call.delay if "UT" in call.span.flags and "DI" in call.span.flags else 0.0)


def _since_request(call: Call) -> float:
    """Seconds from A's own request to the end of the call."""
    return call.span.end - (call.caller or call.span).start


def _kind(subject: Subject, own: Sequence[Call]) -> tuple[str | None, Callable[[Call], float]]:
    """A timeout of the call, or a deadline of A's whole request.

    A deadline shows in ends that agree, counted from A's start and over all of A's edges, while durations do not.
    """
    everywhere = [
        call
        for call in subject.around
        if ending(
            call,
            subject.baseline.eps(call.edge, call.operation),
            nested=subject.baseline.nested(call.edge, call.operation),
            goes_on=subject.goes_on,
        )
        is Ending.OWN_CLOCK
    ]
    durations = [call.span.duration for call in everywhere]
    ends = [_since_request(call) for call in everywhere]
    if not agree(durations) and agree(ends):
        return "request deadline", _since_request
    return ("call" if mostly_agree([_patience(call) for call in own]) else None), _patience


def _enough(ended: Sequence[Call]) -> bool:
    return len(ended) >= MIN_CALLS and len({call.answer.trace_id for call in ended}) >= MIN_REQUESTS


def _reasons(endings: Sequence[Ending]) -> str:
    counts = {end: endings.count(end) for end in Ending if end in endings}
    return "; ".join(f"{end.value} ({calls(count)})" for end, count in counts.items())


def _words(tally: Tally, destination: str, who: str, kind: str, *, single: bool) -> Words:
    after = seconds(tally.value or 0.0)
    clause = f"gives up on {destination} after {after}"
    if who == "sidecar":
        clause = f"has its sidecar give up on {destination} after {after}"
    elif kind == "request deadline":
        clause = f"gives up on its whole request after {after}, and with it on {destination}"
    attempts = ", one attempt each" if single else ""
    return Words(
        summary=f"{tally.source} {clause} ({amount(tally.agreeing, 'call')}{attempts}).",
        advice=f"Keep it, as long as {after} is shorter than what the callers of {tally.source} wait.",
        clause=clause,
    )

"""Rule 2, missing-timeout: A waits for a slow B as long as the delay takes."""

from __future__ import annotations

from collections.abc import Iterator

from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence, too_few
from chaosmesh_ext.findings.endings import Ending, ending
from chaosmesh_ext.findings.statistics import CLOCK, MIN_CALLS, MIN_REQUESTS
from chaosmesh_ext.findings.subject import Subject
from chaosmesh_ext.findings.words import calls, seconds
from chaosmesh_ext.model import Skipped

__all__ = ["missing_timeout"]


def missing_timeout(subject: Subject) -> Iterator[Draft | Skipped]:
    """State that A has no first-byte or total timeout up to the longest delay; never that it has none.

    All cells of the edge are judged together: where one call was given up, in whatever cell, there is a timeout, and
    a shorter delay that was waited for says nothing against it. Calls that ended because the caller's own caller left
    say nothing, as long as others were waited for. A delay inside a gateway comes before the timeout of
    its route: there it takes that the routes are known to have none.
    """
    every = [
        (call, ending(call, subject.eps, nested=subject.nested, goes_on=subject.goes_on)) for call in subject.slow()
    ]
    # whoever stops since its own caller left may have waited on, and others show whether it does
    endings = [(call, end) for call, end in every if end is not Ending.CALLER_LEFT]
    if not endings or any(call.span.gone or "UT" in call.span.flags for call, _ in endings):
        return
    edge = str(subject.edge)
    at_gateway = sum(end is Ending.GATEWAY for _, end in endings)
    if at_gateway and (why := _unknown_at_gateway(subject)):
        yield Skipped(edge, f"{why} ({calls(at_gateway)})", "missing-timeout")
        return
    longest = max(call.delay for call, _ in endings)
    waited = [call for call, end in endings if call.delay >= longest - CLOCK and end is not Ending.NO_CALLER]
    lacking = (Ending.NO_CALLER,) if len(waited) < MIN_CALLS else ()
    for end in (Ending.NOT_AWAITED, Ending.CUT_SHORT, *lacking):
        count = sum(1 for _, e in endings if e is end)
        if count:
            yield Skipped(edge, f"{end.value} ({calls(count)})", "missing-timeout")
            return
    if len(waited) < MIN_CALLS or len(subject.answers(waited)) < MIN_REQUESTS:
        seen = f"{len(waited)} met the longest delay, {MIN_CALLS} over {MIN_REQUESTS} requests are needed"
        yield too_few(subject.edge, seen, "missing-timeout")
        return
    answers = subject.answers(waited)
    broken = sum(1 for answer in answers if answer.status >= 500)
    yield Draft(
        rule="missing-timeout",
        condition="slow",
        severity="critical" if 2 * broken >= len(answers) else "warning",
        source=subject.edge.source,
        destination=subject.edge.destination,
        operation=subject.operation,
        value=longest,
        unit="s",
        agreeing=len(waited),
        total=len(waited),
        evidence=evidence(waited, near=lambda call: abs(call.span.duration - longest)),
        say=lambda tally: _words(tally, subject.edge.destination, at_gateway=bool(at_gateway)),
        who=None if at_gateway else "application",
        kind="gateway" if at_gateway else None,
        close=CLOCK,
    )


def _unknown_at_gateway(subject: Subject) -> str:
    """Why a delay inside the gateway says nothing of its timeout; empty where its routes are known to have none."""
    every = [trial.injected.timeouts for trial in subject.of("slow")]
    limits = sorted({limit for timeouts in every for limit in timeouts if limit})
    if limits:
        listed = " and ".join(map(seconds, limits))
        return f"its routes have a timeout of {listed}, which a delay inside the gateway comes before"
    return "" if every and all(every) else Ending.GATEWAY.value


def _words(tally: Tally, destination: str, *, at_gateway: bool) -> Words:
    delay = seconds(tally.value or 0.0)
    clause = f"waits for {destination} for {delay} and more"
    if at_gateway:
        return Words(
            summary=f"{tally.source} {clause}: none of its routes there has a timeout, which is Istio's default, and"
            f" nothing else at this gateway ended requests that were held back so long ({calls(tally.agreeing)}).",
            advice=f"Give the routes to {destination} in the gateway's VirtualService a `timeout` shorter than what"
            " users wait.",
            clause=clause,
        )
    return Words(
        summary=f"{tally.source} {clause}: it has no first-byte or total timeout of {delay} or less"
        f" ({calls(tally.agreeing)}).",
        advice=f"Give the call from {tally.source} to {destination} a timeout shorter than what the callers of"
        f" {tally.source} wait, in the application or as `timeout` in {destination}'s VirtualService.",
        clause=clause,
    )

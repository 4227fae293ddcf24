"""Rule 2, missing-timeout: A waits for a slow B as long as the delay takes."""

from __future__ import annotations

from collections.abc import Iterator

from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence
from chaosmesh_ext.findings.endings import Ending, ending
from chaosmesh_ext.findings.statistics import CLOCK, MIN_CALLS, MIN_REQUESTS
from chaosmesh_ext.findings.subject import Subject
from chaosmesh_ext.findings.words import calls, seconds
from chaosmesh_ext.model import Skipped

__all__ = ["missing_timeout"]


def missing_timeout(subject: Subject) -> Iterator[Draft | Skipped]:
    """State that A has no first-byte or total timeout up to the longest delay; never that it has none.

    All cells of the edge are judged together: where one call was given up, in whatever cell, there is a timeout, and
    a shorter delay that was waited for says nothing against it.
    """
    endings = [(call, ending(call, subject.eps, nested=subject.nested)) for call in subject.slow()]
    if not endings or any(call.span.gone or "UT" in call.span.flags for call, _ in endings):
        return
    edge = str(subject.edge)
    for end in (Ending.GATEWAY, Ending.NOT_AWAITED, Ending.CUT_SHORT, Ending.NO_CALLER):
        count = sum(1 for _, e in endings if e is end)
        if count:
            yield Skipped(edge, f"{end.value} ({calls(count)})", "missing-timeout")
            return
    longest = max(call.delay for call, _ in endings)
    waited = [call for call, _ in endings if call.delay >= longest - CLOCK]
    if len(waited) < MIN_CALLS or len(subject.answers(waited)) < MIN_REQUESTS:
        reason = (
            f"too few calls: {len(waited)} met the longest delay, {MIN_CALLS} over {MIN_REQUESTS} requests are needed"
        )
        yield Skipped(edge, reason, "missing-timeout")
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
        say=lambda tally: _words(tally, subject.edge.destination),
        who="application",
        close=CLOCK,
    )


def _words(tally: Tally, destination: str) -> Words:
    delay = seconds(tally.value or 0.0)
    clause = f"waits for {destination} for {delay} and more"
    return Words(
        summary=f"{tally.source} {clause}: it has no first-byte or total timeout of {delay} or less"
        f" ({calls(tally.agreeing)}).",
        advice=f"Give the call from {tally.source} to {destination} a timeout shorter than what the callers of"
        f" {tally.source} wait, in the application or as `timeout` in {destination}'s VirtualService.",
        clause=clause,
    )

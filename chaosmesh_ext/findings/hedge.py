"""Rule 3's other half, hedge: A calls B again while its first attempt still runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median

from chaosmesh_ext.findings.attempts import Shape, attempts
from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence, too_few
from chaosmesh_ext.findings.statistics import MIN_CALLS
from chaosmesh_ext.findings.subject import Subject
from chaosmesh_ext.findings.words import amount, seconds
from chaosmesh_ext.model import Skipped

__all__ = ["hedge"]


def hedge(subject: Subject) -> Iterator[Draft | Skipped]:
    """State how many attempts overlap a slow one, where a healthy request makes one call only."""
    groups = [each for trial in subject.of("slow") for each in attempts(trial, subject.baseline, subject.eps)]
    hedged = [each for each in groups if each.shape is Shape.HEDGED]
    if not hedged:
        return
    if len(hedged) < MIN_CALLS:
        seen = amount(len(hedged), "request")
        yield too_few(subject.edge, f"attempts overlapped in {seen}, {MIN_CALLS} are needed", "hedge")
        return
    value, agreeing = Counter(each.retries for each in hedged).most_common(1)[0]
    wait = median(each.calls[1].span.start - each.calls[0].span.start for each in hedged)
    yield Draft(
        rule="hedge",
        condition="slow",
        severity="info",
        source=subject.edge.source,
        destination=subject.edge.destination,
        operation=subject.operation,
        value=float(value),
        unit="attempts",
        agreeing=agreeing,
        total=len(groups),
        evidence=evidence([each.calls[0] for each in hedged if each.retries == value]),
        say=lambda tally: _words(tally, subject.edge.destination, wait),
        who="application",
    )


def _words(tally: Tally, destination: str, wait: float) -> Words:
    further = amount(int(tally.value or 0), "further attempt")
    clause = f"sends {further} after {seconds(wait)} while the first still runs"
    requests = f"{tally.agreeing} of {amount(tally.total, 'request')}"
    return Words(
        summary=f"{tally.source} hedges {destination}: it {clause} ({requests}).",
        advice=f"Cap hedged attempts: each is extra load on {destination} just when it is slow.",
        clause=clause,
    )

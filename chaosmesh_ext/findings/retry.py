"""Rule 3, retry: A calls B again after a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

from chaosmesh_ext.findings.attempts import Attempts, Shape, attempts, backoff
from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence, too_few
from chaosmesh_ext.findings.statistics import MIN_CALLS
from chaosmesh_ext.findings.subject import Subject, Trial
from chaosmesh_ext.findings.words import amount, joined, seconds, times
from chaosmesh_ext.model import Condition, Evidence, Skipped

__all__ = ["MIN_FAILURES_FOR_ZERO", "retry"]

MIN_FAILURES_FOR_ZERO = 5
"""Failed calls without a second attempt before zero is claimed; the bound p < 3/n is then 60 % or better."""

_COUNTED = frozenset({Shape.ONE, Shape.RETRIED, Shape.SIDECAR})
_NOT_OURS = frozenset({Shape.NOT_FAILED, Shape.SAVED, Shape.HEDGED})


_CUT_SHORT: Final = "inconclusive: attempts failed at the same time, so a breaker may have ended further ones"


class _Count(msgspec.Struct, frozen=True):
    """Attempts beyond the first after one trigger, and how they are paced.

    noun: the trigger with its article. refused: it was a 4xx. pause: seconds before the first, where there is one.
    """

    noun: str
    refused: bool
    retries: int
    failures: int
    evidence: tuple[Evidence, ...]
    who: str
    backoff: str | None
    pause: float | None


def retry(subject: Subject) -> Iterator[Draft | Skipped]:
    """State how often A tries again, after a timeout and after a status, each from its own cells.

    Zero is stated only from an abort, with its bound: p < 3/n at 95 % (the rule of three). Counts after different
    statuses are one finding; where they differ the highest leads and the others are named.
    """
    slow = [list(_attempts(subject, trial)) for trial in subject.of("slow")]
    in_turn = [each for groups in slow if not _at_once(groups) for each in groups if each.shape in _COUNTED]
    timed_out = in_turn if len(in_turn) >= MIN_CALLS else [each for those in slow for each in those]
    found = list(_count(subject, timed_out, "a timeout", zero=False))
    statuses: dict[tuple[str, bool], list[Attempts]] = {}
    for trial in subject.of("status"):
        groups = statuses.setdefault((_noun(trial), trial.injected.status // 100 == 4), [])
        groups.extend(_attempts(subject, trial))
    after = [
        each
        for (noun, refused), groups in sorted(statuses.items())
        for each in _count(subject, groups, noun, refused=refused)
    ]
    retries = any(each.retries for groups in statuses.values() for each in groups if each.shape in _COUNTED)
    if not found and retries and _at_once([each for each in timed_out if each.shape in _COUNTED]):
        yield Skipped(str(subject.edge), _CUT_SHORT, "retry", "in-turn")
    yield from (each for each in (*found, *after) if isinstance(each, Skipped))
    conditions: tuple[tuple[Condition, list[_Count | Skipped]], ...] = (("slow", found), ("status", after))
    for condition, outcomes in conditions:
        counts = [each for each in outcomes if isinstance(each, _Count)]
        if counts:
            yield _draft(subject, condition, counts)


def _at_once(groups: Sequence[Attempts]) -> bool:
    """Whether requests of GROUPS made their attempts at the same time."""
    those = sorted(groups, key=lambda each: each.calls[0].span.start)
    return any(after.calls[0].span.start < before.calls[-1].span.end for before, after in pairwise(those))


def _attempts(subject: Subject, trial: Trial) -> Iterator[Attempts]:
    return attempts(trial, subject.baseline, subject.eps, goes_on=subject.goes_on)


def _count(
    subject: Subject, groups: Sequence[Attempts], noun: str, *, refused: bool = False, zero: bool = True
) -> Iterator[_Count | Skipped]:
    edge = str(subject.edge)
    counted = [each for each in groups if each.shape in _COUNTED]
    if not counted:
        shapes = Counter(each.shape for each in groups if each.shape not in _NOT_OURS)
        for shape, n in sorted(shapes.items(), key=lambda pair: pair[0].name):
            yield Skipped(edge, f"{shape.value} ({amount(n, 'request')})", "retry")
        return
    most = max(each.retries for each in counted)
    fullest = [each for each in counted if each.retries == most]
    if 2 * len(fullest) >= len(counted) and len(fullest) >= MIN_CALLS:
        counted = fullest  # a breaker that opens ends the attempts of some
    counts = {each.retries for each in counted}
    if counts == {0} and not zero:
        return  # zero is never carried over from a delay
    needed = MIN_FAILURES_FOR_ZERO if counts == {0} else MIN_CALLS
    shapes_seen = {each.shape for each in counted}
    if len(counted) < needed:
        few = f"{len(counted)} failed with {noun}, {needed} are needed to count attempts"
        yield too_few(subject.edge, few, "retry")
    elif len(counts) > 1:
        seen = joined([str(n + 1) for n in sorted(counts)])
        reason = f"inconclusive: {seen} attempts after {noun}, no single count explains it"
        yield Skipped(edge, reason, "retry", "in-turn" if not zero and _at_once(counted) else "")
    elif len(shapes_seen) > 1:
        yield Skipped(edge, "inconclusive: some attempts are the application's, some the sidecar's", "retry")
    else:
        paced = shapes_seen == {Shape.RETRIED}
        kind = backoff(counted, subject.baseline.gap_deviation(subject.edge.source)) if paced else None
        pauses = [each.gaps[0] for each in counted] if paced and kind != "no backoff" else []
        yield _Count(
            noun=noun,
            refused=refused,
            retries=counts.pop(),
            failures=len(counted),
            evidence=evidence([each.calls[0] for each in counted]),
            who="sidecar" if shapes_seen == {Shape.SIDECAR} else "application",
            backoff=kind,
            pause=median(pauses) if pauses else None,
        )


def _draft(subject: Subject, condition: Condition, counts: Sequence[_Count]) -> Draft:
    lead = max(counts, key=lambda each: each.retries)
    agreed = [each for each in counts if each.retries == lead.retries]
    others = [f"After {each.noun} it {_retries(each.retries)}." for each in counts if each not in agreed]
    nouns = joined([each.noun for each in agreed])
    failures = sum(each.failures for each in agreed)
    return Draft(
        rule="retry",
        condition=condition,
        severity="info",
        source=subject.edge.source,
        destination=subject.edge.destination,
        operation=subject.operation,
        value=float(lead.retries),
        unit="retries",
        agreeing=failures,
        total=failures,
        evidence=tuple(dict.fromkeys(proof for each in counts for proof in each.evidence[: 3 // len(counts) or 1])),
        say=lambda tally: _words(
            tally, subject.edge.destination, lead, nouns, others, refused=any(each.refused for each in agreed)
        ),
        who=lead.who,
        kind=lead.backoff if all(each.backoff == lead.backoff for each in agreed) else None,
        same=(nouns, *others),
    )


def _noun(trial: Trial) -> str:
    """The failure with its article: ``a 503``, ``UNAVAILABLE``."""
    return trial.injected.grpc_status or f"a {trial.injected.status}"


def _retries(count: int) -> str:
    return f"retries {times(count)}" if count else "does not retry"


def _words(tally: Tally, destination: str, lead: _Count, nouns: str, others: Sequence[str], *, refused: bool) -> Words:
    failures = amount(tally.total, "failed call")
    if not lead.retries:
        return Words(
            summary=f"{tally.source} does not retry {destination} after {nouns}: none of {failures} was followed by"
            f" another attempt, so fewer than {300 / tally.total:.0f} % are (95 % confidence).",
            advice="Nothing to change where a second attempt would not help; for an idempotent call one retry with"
            " backoff rides out a short failure.",
            clause="does not retry",
        )
    first = f", the first after {seconds(lead.pause)}" if lead.pause is not None else ""
    pace = " without a pause" if lead.backoff == "no backoff" else f" with {lead.backoff}" if lead.backoff else ""
    doing = f"{'has its sidecar retry' if lead.who == 'sidecar' else 'retries'}"
    if refused:
        advice = f"Do not retry what {destination} refuses with a 4xx: another attempt cannot mend it."
    elif lead.backoff == "no backoff":
        advice = f"Put a pause with jitter before a retry: at once, it only adds load while {destination} is failing."
    else:
        advice = f"Keep retries few, and let only one layer above {destination} retry."
    return Words(
        summary=" ".join(
            [
                f"{tally.source} {doing} {destination} {times(lead.retries)} after {nouns}{pace}{first} ({failures}).",
                *others,
            ]
        ),
        advice=advice,
        clause=f"{doing} {times(lead.retries)}{pace}",
    )

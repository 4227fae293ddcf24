"""Attempts: the calls of one group, read as first tries, retries and hedges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import pairwise
from statistics import median

import msgspec

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call, group
from chaosmesh_ext.findings.statistics import gap_limit
from chaosmesh_ext.findings.subject import Trial

__all__ = ["Attempts", "Shape", "attempts", "backoff"]


class Shape(Enum):
    """What the calls of one group are; the value is the reason that coverage gives where they say nothing."""

    ONE = "one attempt"
    RETRIED = "retried"
    HEDGED = "hedged"
    SIDECAR = "tried again by the sidecar within one call"
    NOT_FAILED = "no attempt failed"
    SAVED = "a later attempt met no fault, so how many more there would be is not known"
    SEVERAL = "inconclusive: healthy requests make several such calls, so attempts cannot be told apart"
    UNSEEN = "inconclusive: the control has no such call"
    CALLER_LEFT = "inconclusive: the caller's own caller left, which may have stopped further attempts"
    NO_CALLER = "trace incomplete: the caller's server span is missing"
    GATEWAY = (
        "the fault acts inside the gateway, before its own retries, which do not show: inject at the callee's inbound "
        "side"
    )


class Attempts(msgspec.Struct, frozen=True):
    """One group of calls, in order of their start, and how they are read."""

    calls: tuple[Call, ...]
    shape: Shape

    @property
    def retries(self) -> int:
        """Attempts beyond the first."""
        if self.shape is Shape.SIDECAR:
            return sum(max(0, len(call.callees) - 1) for call in self.calls)
        return len(self.calls) - 1

    @property
    def gaps(self) -> list[float]:
        """Seconds between one attempt's end and the next one's start."""
        return [after.span.start - before.span.end for before, after in pairwise(self.calls)]


def attempts(trial: Trial, baseline: Baseline, eps: float, *, goes_on: bool = False) -> Iterator[Attempts]:
    """TRIAL's calls by group, those in which at least one met the fault. goes_on: see `endings.goes_on`."""
    groups: dict[tuple[str, str, str, str], list[Call]] = {}
    for call in trial.calls:
        groups.setdefault(group(call), []).append(call)
    for made in groups.values():
        if any(call.faulted for call in made):
            yield Attempts(tuple(made), _shape(made, baseline, eps, goes_on=goes_on))


def _shape(made: Sequence[Call], baseline: Baseline, eps: float, *, goes_on: bool) -> Shape:
    first, last = made[0], made[-1]
    if first.at_gateway:
        return Shape.GATEWAY
    if first.caller is None:
        return Shape.NO_CALLER
    m = baseline.multiplicity(first)
    if m != 1:
        return Shape.SEVERAL if m > 1 else Shape.UNSEEN
    pairs = list(pairwise(made))
    if any(after.span.start < before.span.end - eps for before, after in pairs):
        return Shape.HEDGED
    if any(not before.failed for before, _ in pairs):
        return Shape.SEVERAL
    if not last.failed:
        return Shape.SAVED if pairs else Shape.NOT_FAILED
    # a caller whose own caller left makes no further attempt, unless it was seen to go on working
    if first.caller.gone and first.caller.end > last.span.end - eps and not goes_on:
        return Shape.CALLER_LEFT
    if pairs:
        return Shape.RETRIED
    return Shape.SIDECAR if len(first.callees) > 1 else Shape.ONE


def backoff(retried: Sequence[Attempts], deviation: float) -> str | None:
    """How A paces its retries: ``no backoff``, ``fixed backoff`` or ``growing backoff``; None where it does not show.

    deviation: σ in seconds of A's pauses between calls in the control. Fixed needs two gaps in a row, growing three.
    """
    limit, least = gap_limit(deviation), gap_limit(0.0)
    sequences = [each.gaps for each in retried]
    every = [gap for gaps in sequences for gap in gaps]
    # on a busy machine a short pause hides below the limit
    if max(every) < limit and median(every) < least:
        return "no backoff"
    if all(len(gaps) >= 3 and all(b > 1.2 * a for a, b in pairwise(gaps)) for gaps in sequences):
        return "growing backoff"
    if all(len(gaps) >= 2 and max(gaps) - min(gaps) <= max(least, 0.2 * max(gaps)) for gaps in sequences):
        return "fixed backoff"
    return None

"""Openings: when somebody stopped calling after failures, for how long, and what came then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise, takewhile
from typing import Final, Literal

import msgspec

from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.findings.statistics import CLOCK
from chaosmesh_ext.findings.visits import Visit

__all__ = ["MIN_SILENT", "Open", "Opening", "Series", "failures_at_the_end", "open_for", "overlap", "read"]

MIN_SILENT: Final = 3
"""Requests in a row without a call, before that is a breaker's doing: one span may get lost, or two."""


class Opening(msgspec.Struct, frozen=True):
    """One time that calls stopped.

    failures: failed calls in a row just before. at: seconds since the epoch, when the last of them ended. least: for
    how many seconds after that no call was made although one was due. most: seconds until the next call; None where
    none came. then: calls from that one until they stopped again; 0 where that was not seen.
    """

    failures: int
    at: float
    least: float
    most: float | None = None
    then: int = 0


class Series(msgspec.Struct, frozen=True):
    """What one pod did, in order.

    openings: the first one first. unbroken: failed calls in a row that did not stop it, at its end or all along.
    silent: requests served without a call while it was open. stale: it made no calls from the start. overlapping: calls
    ran at the same time before the first opening, so more may have failed than it took.
    """

    openings: tuple[Opening, ...]
    unbroken: int
    silent: tuple[Visit, ...]
    before: tuple[Call, ...]
    stale: bool
    overlapping: bool


Pace = Literal["constant", "growing", "varying"]


class Open(msgspec.Struct, frozen=True):
    """How long it stays open: between LEAST and MOST seconds, MOST being None where its end was not seen."""

    least: float
    most: float | None
    pace: Pace

    @property
    def seconds(self) -> float | None:
        """The middle, where that is known within max(10 %, 100 ms)."""
        if self.most is None:
            return None
        middle = (self.least + self.most) / 2
        return middle if (self.most - self.least) / 2 <= max(0.1 * middle, 0.1) else None


def read(served: Sequence[Visit], lead: float) -> Series:
    """What SERVED, the requests of one pod in order that all need the call, say. lead: seconds to the call, at least.

    A silence shorter than `MIN_SILENT` requests is none.
    """
    runs = _runs(served)
    stale = bool(runs) and not runs[0][0].calls
    openings: list[Opening] = []
    for i, run in enumerate(runs):
        if run[0].calls or i == 0:
            continue
        before = _calls(runs[i - 1])
        failures = failures_at_the_end(before)
        if not failures:
            continue
        at = max(call.span.end for call in before)
        after = _calls(runs[i + 1]) if i + 1 < len(runs) else []
        openings.append(
            Opening(
                failures=failures,
                at=at,
                least=max(0.0, run[-1].span.start + lead - at),
                most=max(0.0, after[0].span.start - at) if after else None,
                then=_then(served, after[0]) if after else 0,
            )
        )
    first = _calls(runs[0]) if runs else []
    last = _calls(runs[-1]) if runs else []
    return Series(
        openings=tuple(openings),
        unbroken=failures_at_the_end(last),
        silent=tuple(visit for run in runs[1:] if not run[0].calls for visit in run),
        before=tuple(first),
        stale=stale,
        overlapping=overlap(first),
    )


def _then(served: Sequence[Visit], first: Call) -> int:
    """Calls of SERVED from FIRST on until a request without one, however short that silence was; 0 where none came."""
    later = [visit for visit in served if first in visit.calls or visit.span.start > first.span.start]
    made = list(takewhile(lambda visit: visit.calls, later))
    return len(_calls(made)) if len(made) < len(later) else 0


def failures_at_the_end(calls: Sequence[Call]) -> int:
    """How many of CALLS, the last ones to end, failed in a row."""
    count = 0
    for call in sorted(calls, key=lambda c: (c.span.end, c.span.span_id), reverse=True):
        if not call.failed:
            break
        count += 1
    return count


def overlap(calls: Sequence[Call]) -> bool:
    """Whether any two of CALLS, in order of start, ran at the same time."""
    return any(after.span.start < before.span.end - CLOCK for before, after in pairwise(calls))


def open_for(openings: Iterable[Opening]) -> Open:
    """How long OPENINGS, one after the other, say that it stays open: what all of them allow, or the first one alone
    where that is nothing.
    """
    those = list(openings)
    least = max(each.least for each in those)
    most = min((each.most for each in those if each.most is not None), default=None)
    if most is None or least <= most + CLOCK:
        return Open(least if most is None else min(least, most), most, "constant")
    grows = all(one.most is not None and other.least > one.most for one, other in pairwise(those))
    first = those[0]
    return Open(first.least, first.most, "growing" if grows else "varying")


def _runs(served: Sequence[Visit]) -> list[list[Visit]]:
    """SERVED as runs with calls and runs without, by turns."""
    runs = [list(each) for _, each in groupby(served, key=lambda visit: bool(visit.calls))]
    kept = [visit for run in runs if run[0].calls or len(run) >= MIN_SILENT for visit in run]
    return [list(each) for _, each in groupby(kept, key=lambda visit: bool(visit.calls))]


def _calls(run: Sequence[Visit]) -> list[Call]:
    return sorted((c for visit in run for c in visit.calls), key=lambda c: (c.span.start, c.span.span_id))

"""Whether healthy requests fail because many of them come at once: a busy machine invents timeouts. Pure.

What is learnt from such requests is wrong, and what their faults' requests show later no less. So they are asked again
one at a time, and where that is well, the run's requests begin one after the other from then on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from statistics import median
from typing import Final

from chaosmesh_ext.findings.calls import Call, calls
from chaosmesh_ext.model import Answer, Cell

__all__ = ["calmer", "restless", "spacing"]

_BY_CHANCE: Final = 0.05
"""How probable it may be at most that as few fail one at a time, though they fail as often as before."""

_LATER: Final = 0.05
"""Seconds by which a call takes longer, and not by chance."""

_LONGEST: Final = 1.0
"""Seconds between two requests, at most."""


def restless(hasty: Cell) -> int:
    """How many requests of HASTY, sent at once, hold a call that fails now and then, or that was given up.

    What always fails in the same way is sick, and no haste.
    """
    return len(_bad(hasty))


def calmer(hasty: Cell, calm: Cell) -> bool:
    """Whether the CALM requests, one at a time, fare better than the HASTY ones, and not by chance.

    Callees that were given up, and are not any more, were too slow for a while: that is the machine's doing.
    """
    bad, before, after = _bad(hasty), len(hasty.answers), len(_bad(calm))
    if not bad or not before or not calm.answers:
        return False
    late = _late(hasty, calm)
    if not after and all(
        trace_id in late if not those else all(c.span.gone for c in those) for trace_id, those in bad.items()
    ):
        return True
    rate = len(bad) / before
    return 2 * after * before <= len(bad) * len(calm.answers) and (1 - rate / 2) ** len(calm.answers) <= _BY_CHANCE


def spacing(calm: Cell) -> float:
    """Seconds from one request to the next, so that healthy ones seldom meet."""
    return min(_LONGEST, median([answer.duration for answer in calm.answers] or [0.0]))


def _bad(cell: Cell) -> dict[str, list[Call]]:
    """By trace id, the calls in which failures began; of requests that failed, or lack a section, without a call that
    failed, none.
    """
    by_site: dict[tuple[object, str], list[Call]] = {}
    for call in calls(cell):
        by_site.setdefault((call.edge, call.operation), []).append(call)
    found: dict[str, list[Call]] = {one.trace_id: [] for one in cell.answers if _failed(one)}
    found |= {trace_id: [] for trace_id in _lacking(cell)}
    for those in by_site.values():
        failed = [call for call in those if call.failed and not any(span.broken for span in call.callees)]
        if len(failed) < len(those) or any(call.span.gone for call in failed):
            for call in failed:
                found.setdefault(call.answer.trace_id, []).append(call)
    return found


def _lacking(cell: Cell) -> Iterator[str]:
    """Trace ids of requests whose answers lack a section that most have which passed the same versions: who gives a
    call up just as its answer comes leaves no other sign.
    """
    alike: dict[object, list[Answer]] = {}
    for one in cell.answers:
        if one.trace_id in cell.traces and not _failed(one):
            passed = one.url, frozenset(cell.traces[one.trace_id].versions.items())
            alike.setdefault(passed, []).append(one)
    for those in alike.values():
        seen = Counter(name for one in those for name in one.sections)
        most = {name for name, count in seen.items() if 2 * count > len(those)}
        yield from (one.trace_id for one in those if not most <= one.sections.keys())


def _late(hasty: Cell, calm: Cell) -> set[str]:
    """Trace ids of HASTY requests with a call that took longer than any of its edge among CALM ones."""
    slowest: dict[object, float] = {}
    for call in calls(calm):
        slowest[call.edge] = max(slowest.get(call.edge, 0.0), call.span.duration)
    return {
        call.trace.trace_id for call in calls(hasty) if call.span.duration > slowest.get(call.edge, math.inf) + _LATER
    }


def _failed(answer: Answer) -> bool:
    return bool(answer.error) or answer.status == 0 or answer.status >= 500

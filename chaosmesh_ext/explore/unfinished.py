"""What the waves of a plan would have taught that were not judged: an exploration that ended early did not look."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from chaosmesh_ext.explore.plan import EVERYWHERE
from chaosmesh_ext.explore.selection import NEVER, STATEFUL, TAUGHT_BY, Selection
from chaosmesh_ext.explore.waves import Plan
from chaosmesh_ext.model import Judgement, Skipped

__all__ = ["unfinished"]


def unfinished(
    judgement: Judgement, plan: Plan, judged: Collection[int], chosen: Selection, *, stateful: bool
) -> Judgement:
    """JUDGEMENT, whose coverage says what was not looked for: of the waves of PLAN those numbered JUDGED were.

    Who compares two runs must know that such findings are not gone. stateful: stateful waves were asked for, and it
    ended before they were planned.
    """
    coverage = judgement.coverage
    untested = {each.edge for each in coverage.skipped if not each.rule}
    more = _unjudged(plan, judged, chosen, untested, stateful=stateful)
    every = tuple(dict.fromkeys((*coverage.skipped, *more)))
    return Judgement(judgement.findings, msgspec.structs.replace(coverage, skipped=every))


def _unjudged(
    plan: Plan, judged: Collection[int], chosen: Selection, untested: Collection[str], *, stateful: bool
) -> Iterator[Skipped]:
    """Edges that are UNTESTED are not named again."""
    rules = [rule for rule in TAUGHT_BY if rule in STATEFUL and rule != NEVER and chosen.rule(rule)]
    for wave in plan.waves:
        if wave.number in judged:
            continue
        reason = f"wave {wave.number}, {wave.name}, was not judged"
        for cell in wave.cells:
            edges = map(str, cell.edges if cell.judged is None else (cell.judged,))
            if wave.stateful:
                taught = [rule for rule in rules if cell.kind in TAUGHT_BY[rule]]
                yield from (Skipped(edge, reason, rule) for edge in edges for rule in taught)
            else:
                yield from (Skipped(edge, reason) for edge in edges if edge not in untested)
    if stateful:
        yield from (Skipped(EVERYWHERE, "the exploration ended before its stateful waves", rule) for rule in rules)

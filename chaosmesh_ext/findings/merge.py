"""Merging: one finding where all versions of a caller do the same, else one a version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from statistics import fmean

from chaosmesh_ext.findings.draft import Draft, Tally
from chaosmesh_ext.findings.statistics import confidence
from chaosmesh_ext.model import Condition, Evidence, Finding, Workload, fingerprint

__all__ = ["merge"]

_MOST_EVIDENCE = 3

Unit = tuple[str, str, str, str, str, Condition | None]


def merge(
    drafts: Iterable[Draft],
    callers: Mapping[tuple[str, str, str, str], AbstractSet[Workload]],
    mend: Callable[[Finding, Draft], Finding],
) -> Iterator[Finding]:
    """Findings from DRAFTS, in order of severity, edge and rule.

    callers: which versions make the call, by (namespace, service, destination, operation). A finding bears the
    service's name only where every one of them was found to do the same. mend: gives a finding its fix, which is for
    all versions that it was made from.
    """
    units: dict[Unit, list[Draft]] = {}
    for draft in drafts:
        source = draft.source
        unit = (source.namespace, source.service, draft.destination, draft.operation, draft.rule, draft.condition)
        units.setdefault(unit, []).append(draft)
    found: list[Finding] = []
    for unit, those in units.items():
        if {draft.source for draft in those} >= callers.get(unit[:4], set()) and _alike(those):
            found.append(mend(_finding(those, unit[1]), those[0]))
        else:
            found.extend(mend(_finding([draft], str(draft.source)), draft) for draft in those)
    ranks = ("critical", "warning", "info")
    found.sort(key=lambda f: (ranks.index(f.severity), f.source, f.destination, f.operation, f.rule, f.condition or ""))
    yield from found


def _alike(drafts: Sequence[Draft]) -> bool:
    first = drafts[0]
    return all(_facts(draft) == _facts(first) and _near(draft, first) for draft in drafts[1:])


def _facts(draft: Draft) -> tuple[object, ...]:
    return draft.severity, draft.who, draft.kind, draft.unit, draft.same, draft.value is None, sorted(draft.numbers)


def _near(one: Draft, other: Draft) -> bool:
    if any(abs(one.numbers[name] - other.numbers[name]) > _tolerance(one.numbers[name]) for name in one.numbers):
        return False
    if one.value is None or other.value is None:
        return True
    return abs(one.value - other.value) <= min(one.close, other.close)


def _tolerance(number: float) -> float:
    """How far two versions' further numbers may lie apart and be one: max(10 %, 0.1)."""
    return max(0.1 * abs(number), 0.1)


def _finding(drafts: Sequence[Draft], source: str) -> Finding:
    first = drafts[0]
    agreeing, total = sum(d.agreeing for d in drafts), sum(d.total for d in drafts)
    values = [d.value for d in drafts if d.value is not None]
    value = round(fmean(values), 4) if values else None
    words = first.say(Tally(source, value, agreeing, total))
    return Finding(
        id=fingerprint(first.rule, source, first.destination, first.operation, first.condition),
        rule=first.rule,
        condition=first.condition,
        severity=first.severity,
        source=source,
        destination=first.destination,
        operation=first.operation,
        value=value,
        unit=first.unit,
        summary=words.summary,
        advice=words.advice,
        confidence=confidence(agreeing, total),
        evidence=_taken_in_turn([d.evidence for d in drafts]),
        who=first.who,
        kind=first.kind,
        clause=words.clause,
        numbers={name: round(fmean(d.numbers[name] for d in drafts), 4) for name in first.numbers},
    )


def _taken_in_turn(lists: Sequence[Sequence[Evidence]]) -> tuple[Evidence, ...]:
    """The first of each version, then the second of each, so that every version has its proof."""
    turns = [each[i] for i in range(max(map(len, lists), default=0)) for each in lists if i < len(each)]
    return tuple(dict.fromkeys(turns))[: max(_MOST_EVIDENCE, len(lists))]

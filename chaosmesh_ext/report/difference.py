"""The difference between two runs' findings: what is new, gone or changed, and what the newer run cannot say.

Findings are the same when their ids are, which name rule, call, operation and condition. Where the versions of a caller
agree in one run and not in the other, its finding is compared with that of each version. A value that differs by no
more than it does from run to run is no change. A finding of which the newer run has no sign is *gone* only where that
run tested the call under the same condition; else its coverage is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from chaosmesh_ext.report.noise import amount, further, same_value
from chaosmesh_ext.report.saved import Saved, SavedFinding
from chaosmesh_ext.report.tested import Tested, same_call

__all__ = ["Change", "Difference", "Lost", "difference"]

_SEVERITIES: Final = ("info", "warning", "critical")

_PROTECTS: Final = frozenset({"circuit-breaker", "bulkhead"})
"""Rules whose finding is a strength: that it is gone from a call that was tested is worse."""

_OPPOSITES: Final = frozenset({("timeout", "missing-timeout"), ("fallback", "missing-fallback")})
"""Strength and weakness of one call under one condition: the one takes the other's place."""

_MORE_IS_WORSE: Final = frozenset({"timeout", "retry-amplification"})

_KINDS_WORSE: Final = frozenset({("fixed backoff", "no backoff"), ("growing backoff", "no backoff")})
"""From and to, of the pauses between a retry's attempts."""


class Change(msgspec.Struct, frozen=True):
    """A finding that is in both runs, and differs. what: how, in a few words. worse: it is a regression."""

    old: SavedFinding
    new: SavedFinding
    what: str
    worse: bool


class Lost(msgspec.Struct, frozen=True):
    """A finding of the older run of which the newer one can say nothing, and why."""

    finding: SavedFinding
    reason: str


class Difference(msgspec.Struct, frozen=True):
    """What became of the older run's findings.

    new: found in calls that the older run tested too, or that are new themselves. uncovered: found where the older run
    had not looked: no regression, as it may have been there before. gone: tested, and there no more. lost: not tested
    any more. unchanged: how many are as they were.
    """

    new: tuple[SavedFinding, ...]
    uncovered: tuple[SavedFinding, ...]
    gone: tuple[SavedFinding, ...]
    changed: tuple[Change, ...]
    lost: tuple[Lost, ...]
    unchanged: int

    @property
    def worse(self) -> tuple[SavedFinding, ...]:
        """The regressions: new weaknesses, strengths that are gone, changes for the worse."""
        weak = [finding for finding in self.new if finding.severity != "info"]
        strong = [finding for finding in self.gone if finding.rule in _PROTECTS and finding.severity == "info"]
        return (*weak, *strong, *(change.new for change in self.changed if change.worse))


def difference(old: Saved, new: Saved) -> Difference:
    """What changed from OLD to NEW; the order of findings in either does not matter."""
    pairs = list(_paired(old.findings, new.findings))
    kept = {id(finding) for pair in pairs for finding in pair}
    short = [pair for pair in pairs if _too_short(*pair)]
    pairs = [pair for pair in pairs if pair not in short]
    changes = [change for before, after in pairs if (change := _change(before, after)) is not None]
    then, now = Tested(old), Tested(new)
    come = [(finding, then.left_out(finding)) for finding in new.findings if id(finding) not in kept]
    left = [
        (finding, _held_back(finding, short) or now.cannot_tell(finding, old))
        for finding in old.findings
        if id(finding) not in kept or any(finding is before for before, _ in short)
    ]
    lost = [Lost(finding, reason) for finding, reason in left if reason]
    return Difference(
        new=_ordered(finding for finding, reason in come if not reason),
        uncovered=_ordered(finding for finding, reason in come if reason),
        gone=_ordered(finding for finding, reason in left if not reason),
        changed=tuple(sorted(changes, key=lambda each: (not each.worse, *_rank(each.new)))),
        lost=tuple(sorted(lost, key=lambda each: _rank(each.finding))),
        unchanged=len(pairs) - len(changes),
    )


def _paired(old: Sequence[SavedFinding], new: Sequence[SavedFinding]) -> Iterator[tuple[SavedFinding, SavedFinding]]:
    """Each finding with what has become of it: by id, else by version, else its opposite.

    Namesakes in several namespaces have one id: they are taken in order of their values.
    """
    waiting: dict[str, list[SavedFinding]] = defaultdict(list)
    for finding in sorted(new, key=_value):
        waiting[finding.id].append(finding)
    left: list[SavedFinding] = []
    for finding in sorted(old, key=_value):
        if waiting.get(finding.id):
            yield finding, waiting[finding.id].pop(0)
        else:
            left.append(finding)
    by_call: dict[tuple[str, str, str | None], list[SavedFinding]] = defaultdict(list)
    for finding in (each for those in waiting.values() for each in those):
        by_call[finding.destination, finding.operation, finding.condition].append(finding)
    services = {finding.destination for finding in (*old, *new)}
    taken: set[int] = set()
    for rules_fit in (_same_rule, _opposite):
        # what speaks for all versions may be compared with several
        pairs = [
            (before, after)
            for before in left
            for after in by_call.get((before.destination, before.operation, before.condition), ())
            if rules_fit(before, after) and same_call(before, after) and _one_service(before, after, services)
            if not {id(before), id(after)} & taken
        ]
        taken |= {id(finding) for pair in pairs for finding in pair}
        yield from pairs


def _same_rule(one: SavedFinding, other: SavedFinding) -> bool:
    return one.rule == other.rule


def _opposite(one: SavedFinding, other: SavedFinding) -> bool:
    return (one.rule, other.rule) in _OPPOSITES or (other.rule, one.rule) in _OPPOSITES


def _too_short(before: SavedFinding, after: SavedFinding) -> bool:
    """Whether the newer run held calls back no longer than they were waited for BEFORE: no timeout could show."""
    if (before.rule, after.rule) != ("timeout", "missing-timeout") or before.value is None or after.value is None:
        return False
    return after.value <= before.value


def _held_back(finding: SavedFinding, short: Iterable[tuple[SavedFinding, SavedFinding]]) -> str:
    """Why nothing can be said of FINDING, whose call was not held back long enough; empty where it was."""
    for before, after in short:
        if finding.condition == before.condition and same_call(finding, before):
            waited, held = _value(before), amount(_value(after), after.unit)
            return f"calls were held back for {held} only, and its caller waits {amount(waited, before.unit)}"
    return ""


def _one_service(one: SavedFinding, other: SavedFinding, services: Iterable[str]) -> bool:
    """Whether the longer of the two names is a version's: ``cart-db`` is none of ``cart`` where others call it."""
    return one.source == other.source or max(one.source, other.source, key=len) not in services


def _change(old: SavedFinding, new: SavedFinding) -> Change | None:
    """How NEW differs from OLD beyond what differs from run to run; None where it does not."""
    graver = _SEVERITIES.index(new.severity) - _SEVERITIES.index(old.severity)
    worse = graver > 0
    words: list[str] = []
    if old.rule != new.rule:
        words.append(f"{old.rule} became {new.rule}")
    else:
        if old.value is not None and new.value is not None and not same_value(old, new):
            words.append(f"{amount(old.value, old.unit)} → {amount(new.value, new.unit)}")
            worse = worse or (new.rule in _MORE_IS_WORSE and new.value > old.value)
        words += further(old, new)
        if old.kind and new.kind and old.kind != new.kind:
            words.append(f"{old.kind} → {new.kind}")
            worse = worse or (old.kind, new.kind) in _KINDS_WORSE
        if old.who and new.who and old.who != new.who:
            words.append(f"by the {old.who} → by the {new.who}")
    if graver:
        words.append(f"{old.severity} → {new.severity}")
    return Change(old, new, ", ".join(words), worse) if words else None


def _value(finding: SavedFinding) -> float:
    return finding.value or 0.0


def _rank(finding: SavedFinding) -> tuple[int, str, str, str, str, str]:
    gravity = -_SEVERITIES.index(finding.severity)
    return gravity, finding.source, finding.destination, finding.operation, finding.rule, finding.condition or ""


def _ordered(findings: Iterable[SavedFinding]) -> tuple[SavedFinding, ...]:
    return tuple(sorted(findings, key=_rank))

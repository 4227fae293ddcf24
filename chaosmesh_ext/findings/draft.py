"""Drafts: what a rule states of one version of the source, before versions that agree are merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.model import Condition, Edge, Evidence, Severity, Skipped, Workload

__all__ = ["Draft", "Tally", "Words", "evidence", "too_few"]


class Words(msgspec.Struct, frozen=True):
    """What a finding says: a sentence, what to do, and the part of a sentence that a headline joins."""

    summary: str
    advice: str
    clause: str


class Tally(msgspec.Struct, frozen=True):
    """Whose finding it is, its value, and AGREEING of TOTAL calls, groups or requests that show it."""

    source: str
    value: float | None
    agreeing: int
    total: int


class Draft(msgspec.Struct, frozen=True):
    """A finding in the making.

    say: the words, once it is known whose finding it is. same: what versions must agree on beside rule, condition,
    severity, who and kind, for one finding to speak for all of them. close: how far values may lie apart. numbers: the
    finding's further ones.
    """

    rule: str
    condition: Condition | None
    severity: Severity
    source: Workload
    destination: str
    operation: str
    value: float | None
    unit: str
    agreeing: int
    total: int
    evidence: tuple[Evidence, ...]
    say: Callable[[Tally], Words]
    who: str | None = None
    kind: str | None = None
    same: tuple[str, ...] = ()
    close: float = 0.0
    numbers: Mapping[str, float] = {}


def evidence(
    calls: Iterable[Call], near: Callable[[Call], float] = lambda _: 0.0, most: int = 3
) -> tuple[Evidence, ...]:
    """The traces of CALLS, at most MOST, those with the smallest NEAR first: the most typical ones."""
    ordered: Sequence[Call] = sorted(calls, key=lambda c: (near(c), c.cell, c.trace.trace_id))
    found = dict.fromkeys(Evidence(call.trace.trace_id, call.cell) for call in ordered)
    return tuple(found)[:most]


def too_few(edge: Edge, seen: str, rule: str, *, by_chance: bool = False) -> Skipped:
    """What RULE says of EDGE where more calls than SEEN may decide. BY_CHANCE: it takes those that meet one version."""
    return Skipped(str(edge), f"too few calls: {seen}", rule, "one-version" if by_chance else "calls")

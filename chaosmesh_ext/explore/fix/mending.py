"""Mending: what the fixes of findings are, whether a fix can be tried out, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.explore.fix.remedies import remedy
from chaosmesh_ext.explore.plan import DELAY
from chaosmesh_ext.findings.fixes.together import together
from chaosmesh_ext.istio.durations import seconds
from chaosmesh_ext.model import Edge, Finding, Judgement

__all__ = [
    "SLOW",
    "Mend",
    "Outcome",
    "Verified",
    "Weak",
    "callers",
    "joined",
    "like",
    "mends",
    "outcome",
    "patience",
    "timeout_of",
    "untried",
]

Outcome = Literal["gone", "still there", "inconclusive"]

SLOW: Final = ("missing-timeout", "timeout-inversion")
"""Rules whose weakness shows while the callee is slow, and that a timeout of the mesh mends."""

_NO_TIMEOUT: Final = (
    "cannot be verified: the fix is not a timeout for all calls of a host, as `chaos mesh explore` writes"
)
_EDITED: Final = "cannot be verified: the fix is not as `chaos mesh explore` writes it"

_SOONER: Final = 1.25
"""Times as long as it is slow somebody waits who is sure to wait."""


class Weak(msgspec.Struct, frozen=True):
    """A finding as findings.json has it, as far as mending needs it. fix: its manifest, or None."""

    id: str
    rule: str
    severity: str
    source: str
    destination: str
    operation: str
    summary: str
    value: float | None = None
    condition: str | None = None
    advice: str = ""
    fix: dict[str, Any] | None = None

    def __str__(self) -> str:
        when = f" ({self.condition})" if self.condition else ""
        return f"{self.rule} of {self.source} → {self.destination} {self.operation}{when}"

    @property
    def delay(self) -> float:
        """Seconds by which its callee must be slow for it to show: what was waited for, or longer than any timeout."""
        return self.value if self.rule == "missing-timeout" and self.value else DELAY


class Mend(msgspec.Struct, frozen=True):
    """A manifest, and the weaknesses that it is to mend, all of one host."""

    manifest: dict[str, Any]
    weak: tuple[Weak, ...]


class Verified(msgspec.Struct, frozen=True):
    """What came of trying a fix out on one weakness. before, after: what was found without the fix and with it. why:
    what made it inconclusive.
    """

    weak: Weak
    outcome: Outcome
    before: str = ""
    after: str = ""
    why: str = ""

    def __str__(self) -> str:
        found = [f"{self.outcome}: {self.weak}"]
        found += [f"before: {self.before}"] if self.before else []
        found += [f"with the fix: {self.after}"] if self.after else []
        found += [f"reason: {self.why}"] if self.why else []
        return "; ".join(one.rstrip(".") for one in found)


def mends(found: Sequence[Weak]) -> list[Mend]:
    """The manifests that mend what Istio can mend of the findings FOUND; see `together`."""
    fixable = [weak for weak in found if weak.fix]
    combined = together([weak.fix or {} for weak in fixable])
    return [Mend(manifest, tuple(fixable[place] for place in places)) for manifest, places in combined]


def untried(weak: Weak, manifest: dict[str, Any]) -> str:
    """Why nobody can try out on a lab whether MANIFEST mends WEAK; empty where that can be done."""
    if weak.rule in SLOW:
        return _NO_TIMEOUT if timeout_of(manifest) is None else ""
    return "" if remedy(weak.rule, manifest) else _EDITED


def timeout_of(manifest: dict[str, Any]) -> float | None:
    """The seconds that MANIFEST, a VirtualService, gives every call of its host; None where it does something else."""
    try:
        if manifest["kind"] != "VirtualService" or len(manifest["spec"]["hosts"]) != 1:
            return None
        (found,) = {str(route["timeout"]) for route in manifest["spec"]["http"]}
        return seconds(found)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidInput):
        return None


def callers(weak: Weak, edges: Collection[Edge]) -> frozenset[Edge]:
    """Those of EDGES that WEAK speaks of: of every version of its source, or of one."""
    return _of(weak.source, weak.destination, edges)


def patience(edge: Edge, known: Iterable[Weak]) -> float:
    """Seconds for which EDGE's source is sure to wait, as far as is KNOWN: what was waited for, or less than it waits;
    longer than any timeout where nothing is.
    """
    ours = [one for one in known if edge in callers(one, [edge]) and one.value]
    waited = [one.value or 0.0 for one in ours if one.rule == "missing-timeout"]
    given_up = [(one.value or 0.0) / _SOONER for one in ours if one.rule == "timeout"]
    return min([*waited, *given_up], default=DELAY)


def outcome(weak: Weak, before: Judgement, after: Judgement, edges: Collection[Edge]) -> Verified:
    """Whether WEAK, found again BEFORE the fix was in, is not found AFTER, while its callee was as slow.

    That a rule is silent shows nothing: every caller must have been seen to be ended by a timeout. EDGES: of the graph.
    """
    ours = callers(weak, edges)
    there = like(weak, weak.rule, before, edges)
    if not there:
        return Verified(
            weak, "inconclusive", why=f"without the fix it was not found again: {_said(weak, before, ours)}"
        )
    said = joined(there)
    if still := like(weak, weak.rule, after, edges):
        return Verified(weak, "still there", said, joined(still))
    ended = like(weak, "timeout", after, edges)
    seen = frozenset().union(*(_of(one.source, one.destination, edges) for one in ended))
    doubts = [one.reason for one in after.coverage.skipped if one.rule == weak.rule and _about(one.edge, ours)]
    if ours <= seen and not doubts:
        return Verified(weak, "gone", said, joined(ended))
    why = "; ".join(dict.fromkeys(doubts)) or _said(weak, after, ours)
    return Verified(weak, "inconclusive", said, joined(ended), f"with the fix it cannot be told: {why}")


def like(weak: Weak, rule: str, judgement: Judgement, edges: Collection[Edge]) -> list[Finding]:
    """The findings of RULE on the call of WEAK, under its condition, by a caller of its."""
    ours = callers(weak, edges)
    return [
        one
        for one in judgement.findings
        if (one.rule, one.destination, one.operation, one.condition)
        == (rule, weak.destination, weak.operation, weak.condition)
        and ours & _of(one.source, one.destination, edges)
    ]


def _of(source: str, destination: str, edges: Collection[Edge]) -> frozenset[Edge]:
    return frozenset(
        edge for edge in edges if edge.destination == destination and source in (str(edge.source), edge.source.service)
    )


def _said(weak: Weak, judgement: Judgement, ours: Collection[Edge]) -> str:
    """What JUDGEMENT knows of the call instead."""
    found = [
        one.summary
        for one in judgement.findings
        if one.rule in ("timeout", "missing-timeout")
        and (one.destination, one.operation, one.condition) == (weak.destination, weak.operation, weak.condition)
    ]
    found += [f"{one.edge}: {one.reason}" for one in judgement.coverage.skipped if _about(one.edge, ours)]
    return " ".join(dict.fromkeys(found)) or "no call met the delay"


def _about(edge: str, ours: Collection[Edge]) -> bool:
    return edge in {str(one) for one in ours}


def joined(findings: Sequence[Finding]) -> str:
    """What FINDINGS say, in a line."""
    return " ".join(one.summary for one in findings)

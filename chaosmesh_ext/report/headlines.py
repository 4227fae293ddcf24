"""Headlines: what the findings of one call say together, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chaosmesh_ext.findings.words import joined
from chaosmesh_ext.model import Finding

__all__ = ["headlines"]

_ORDER = (
    frozenset({"broken-propagation"}),
    frozenset({"timeout", "missing-timeout"}),
    frozenset({"hedge", "retry"}),
    frozenset({"retry-amplification"}),
    frozenset({"unsafe-retry"}),
    frozenset({"timeout-inversion"}),
    frozenset({"circuit-breaker", "connection-limit"}),
    frozenset({"bulkhead"}),
    frozenset({"error-propagation"}),
    frozenset({"fallback", "missing-fallback"}),
)
"""Rules in the order in which what they state happens; those of one set are about one thing."""
_OUTCOMES = frozenset({"fallback", "missing-fallback"})
_WHEN = {"slow": "when it is slow", "status": "when it answers an error", "refused": "when it refuses"}


def headlines(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """One sentence for each caller, callee and operation that has findings, the gravest first.

    Each is ``{"source", "destination", "operation", "severity", "text", "findings"}``, the last with their ids.
    """
    edges: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        edges.setdefault((finding.source, finding.destination, finding.operation), []).append(finding)
    return [
        {
            "source": source,
            "destination": destination,
            "operation": operation,
            "severity": min((f.severity for f in those), key=("critical", "warning", "info").index),
            "text": f"{source} {_sentence(those)}",
            "findings": [finding.id for finding in those],
        }
        for (source, destination, operation), those in edges.items()
    ]


def _sentence(findings: Sequence[Finding]) -> str:
    """The clauses of FINDINGS in the order in which things happen; those that say the same are said once."""
    ordered = sorted(findings, key=lambda f: (_rank(f), f.condition or ""))
    clauses: dict[str, list[Finding]] = {}
    for finding in ordered:
        clauses.setdefault(finding.clause or finding.rule, []).append(finding)
    spoken = [
        clause if _plain(clause, those, ordered) else f"{clause} {_when(those)}" for clause, those in clauses.items()
    ]
    first = ordered[0]
    # "gives up on details after 3.0 s" names the callee; a sentence that starts otherwise has to
    about = "" if first.destination in spoken[0] else f" (calling {first.destination})"
    if len(spoken) > 1 and ordered[-1].rule in _OUTCOMES:
        return f"{', '.join(spoken[:-1])}, and {spoken[-1]}{about}."
    return f"{joined(spoken)}{about}."


def _plain(clause: str, those: Sequence[Finding], findings: Sequence[Finding]) -> bool:
    """Whether CLAUSE needs no condition: no other clause of the same rules speaks of another one."""
    kind = {_rank(finding) for finding in those}
    others = [f for f in findings if _rank(f) in kind and (f.clause or f.rule) != clause]
    return not others


def _when(those: Sequence[Finding]) -> str:
    return joined(list(dict.fromkeys(_WHEN[f.condition] for f in those if f.condition)))


def _rank(finding: Finding) -> int:
    return next((rank for rank, rules in enumerate(_ORDER) if finding.rule in rules), len(_ORDER))

"""Mending: which fix goes with which finding. To add one: its file beside this, its test, and its line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.draft import Draft
from chaosmesh_ext.findings.fixes.ejection import ejection
from chaosmesh_ext.findings.fixes.no_retry import no_retry
from chaosmesh_ext.findings.fixes.pool import larger, smaller
from chaosmesh_ext.findings.fixes.shorter import shorter
from chaosmesh_ext.findings.fixes.timeout import timeout
from chaosmesh_ext.findings.fixes.weakness import Fix, Weakness
from chaosmesh_ext.model import Finding

__all__ = ["FIXES", "mend"]

FIXES: Final[Mapping[str, Callable[[Weakness], Fix | None]]] = {
    "missing-timeout": timeout,
    "bulkhead": smaller,
    "connection-limit": larger,
    "retry-amplification": ejection,
    "timeout-inversion": shorter,
    "unsafe-retry": no_retry,
}
"""By rule; what is not here, or answers None, only the application can mend."""


def mend(finding: Finding, draft: Draft, baseline: Baseline) -> Finding:
    """FINDING with its fix and what the advice says of it, where Istio can mend it. draft: what it was made from."""
    make = FIXES.get(finding.rule)
    fix = make(Weakness(draft, finding.value, baseline)) if make else None
    return replace(finding, fix=fix.manifest, advice=f"{finding.advice} {fix.words}") if fix else finding

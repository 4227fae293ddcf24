"""What findings and problems come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaosmesh_ext.model import Finding, Verdict

__all__ = ["verdict"]

_WEAK = frozenset({"critical", "warning"})


def verdict(findings: Iterable[Finding], problems: Sequence[str] = (), unmet: Sequence[str] = ()) -> Verdict:
    """The verdict of a run.

    problems: what could not be done or proven: then the run is inconclusive, whatever was found. unmet: expectations
    of the experiment that were not met. Findings of severity info are no weakness.
    """
    if problems:
        return Verdict.INCONCLUSIVE
    if unmet or any(finding.severity in _WEAK for finding in findings):
        return Verdict.WEAKNESS_FOUND
    return Verdict.UPHELD

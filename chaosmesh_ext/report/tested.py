"""What a saved run can say of a call: whether it tested it at all, and under that condition."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from chaosmesh_ext.report.saved import Saved, SavedFinding, SavedSkip

__all__ = ["Tested", "same_call"]

_TOGETHER: Final = (("fallback", "missing-fallback"),)
"""Rules that are judged at once: what leaves one of them undecided does so for the other."""

_NOTHING_OPENED: Final = re.compile(r"nothing opened within (\d+) failed call")
"""What coverage says where a breaker was looked for and not found."""

_CONDITIONS: Final = {"slow": "slow", "refused": "refused", "status": "answered by an error"}


class Tested:
    """A saved run, asked about findings of another one."""

    def __init__(self, run: Saved) -> None:
        self._coverage = run.coverage
        self._findings: dict[tuple[str, str], list[SavedFinding]] = defaultdict(list)
        self._skips: dict[str, list[tuple[str, SavedSkip]]] = defaultdict(list)
        for finding in run.findings:
            self._findings[finding.destination, finding.operation].append(finding)
        for skip in run.coverage.skipped:
            source, _, destination = skip.edge.partition(" → ")
            self._skips[destination].append((source, skip))

    def left_out(self, finding: SavedFinding) -> str:
        """The reason for which this run could not have found FINDING, where it gives one; else empty.

        A reason that is about all rules of an edge counts only where nothing was found under the same condition: one
        trace that is missing leaves the others.
        """
        on_it = list(self._on(finding))
        rules = next((rules for rules in _TOGETHER if finding.rule in rules), (finding.rule,))
        for skip in on_it:
            if skip.rule in rules:
                return "" if _looked_in_vain(skip.reason, finding) else skip.reason
        if any(_under_the_same(each, finding) for each in self._alike(finding)):
            return ""
        return next((skip.reason for skip in on_it if not skip.rule), "")

    def cannot_tell(self, finding: SavedFinding, before: Saved) -> str:
        """Why this run, which has nothing like FINDING of the run BEFORE, cannot say that it is gone; else empty."""
        reason = self.left_out(finding)
        if reason:
            return reason
        alike = list(self._alike(finding))
        tried = any(_looked_in_vain(skip.reason, finding) for skip in self._on(finding) if skip.rule == finding.rule)
        if tried or any(_under_the_same(each, finding) for each in alike):
            return ""
        if alike:
            return (
                f"nothing is said of this call when it is {_CONDITIONS.get(str(finding.condition), finding.condition)}"
            )
        coverage = self._coverage
        if coverage.tested and coverage.edges >= before.coverage.edges:
            return ""
        return f"the call was not seen: {coverage.tested} of {coverage.edges} edges were tested"

    def _alike(self, finding: SavedFinding) -> Iterator[SavedFinding]:
        """What this run found in FINDING's call."""
        for each in self._findings.get((finding.destination, finding.operation), ()):
            if same_call(each, finding):
                yield each

    def _on(self, finding: SavedFinding) -> Iterator[SavedSkip]:
        """What this run left out of FINDING's edge, or of every edge (``*``)."""
        for source, skip in (*self._skips.get(finding.destination, ()), *self._skips.get("", ())):
            if skip.edge == "*" or _names(source, finding.source):
                yield skip


def same_call(one: SavedFinding, other: SavedFinding) -> bool:
    """Whether ONE and OTHER are about one call: of the same workload, or of a service and a version of it."""
    same = (one.destination, one.operation) == (other.destination, other.operation)
    return same and _names(one.source, other.source)


def _names(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}-") or other.startswith(f"{one}-")


def _looked_in_vain(reason: str, finding: SavedFinding) -> bool:
    """Whether REASON says that a breaker would have been seen if it still were what FINDING says."""
    tried = _NOTHING_OPENED.search(reason)
    return tried is not None and finding.value is not None and int(tried[1]) > finding.value


def _under_the_same(one: SavedFinding, other: SavedFinding) -> bool:
    return None in (one.condition, other.condition) or one.condition == other.condition

"""What is true of a topology: one item for each thing that an exploration may state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

__all__ = ["CONDITIONED", "RULES", "Item", "Truth", "Verdict"]

Verdict = Literal["present", "absent", "undecidable"]

RULES = (
    "timeout",
    "missing-timeout",
    "retry",
    "hedge",
    "retry-amplification",
    "missing-fallback",
    "fallback",
    "error-propagation",
    "circuit-breaker",
    "bulkhead",
    "broken-propagation",
    "unsafe-retry",
    "timeout-inversion",
    "connection-limit",
    "metastable",
)
"""What is scored. No file can plant a hedge or a mesh's connection limit, and none here a metastable failure: whoever
states one is wrong."""

CONDITIONED = frozenset({"timeout", "missing-timeout", "retry", "retry-amplification", "missing-fallback", "fallback"})
"""Rules whose items of one call differ by condition; the others have one, whatever condition is named."""


class Item(msgspec.Struct, frozen=True, order=True):
    """One thing that is true, is not, or cannot be decided.

    source: the workload, and its service. operation: empty where an edge has one item whatever the operation.
    condition: ``slow`` or ``status``; empty where the rule knows but one. reason: why it is absent although the file
    plants it, or undecidable. value: None where the rule has no number. close: by how much a finding's value may
    differ. kind: what the finding must say besides, None where that is not scored. numbers: further ones by name, each
    with its tolerance.
    """

    rule: str
    source: str
    service: str
    destination: str
    operation: str
    condition: str
    verdict: Verdict
    reason: str = ""
    value: float | None = None
    close: float = 0.0
    kind: str | None = None
    numbers: tuple[tuple[str, float, float], ...] = ()

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What tells it from all others."""
        return self.rule, self.source, self.destination, self.operation, self.condition


class Truth(msgspec.Struct, frozen=True):
    """items: in order. callers: which workloads make each call, by (service, destination, operation). workloads: of
    the file. unseen: (workload, destination, operation) that no marked request reaches: nothing of them is scored.
    """

    items: tuple[Item, ...]
    callers: dict[tuple[str, str, str], frozenset[str]]
    workloads: frozenset[str]
    unseen: frozenset[tuple[str, str, str]]

    def of(self, verdict: Verdict) -> list[Item]:
        return [item for item in self.items if item.verdict == verdict]

    @property
    def undecidable(self) -> float:
        """The share of what is not absent that cannot be decided."""
        return share(self.items)


def share(items: Iterable[Item]) -> float:
    """Of ITEMS that are not absent, how many are undecidable."""
    counted = [item.verdict for item in items if item.verdict != "absent"]
    return counted.count("undecidable") / len(counted) if counted else 0.0

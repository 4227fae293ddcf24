"""Findings, and what could not be decided."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

__all__ = [
    "SCHEMA",
    "Condition",
    "Coverage",
    "Evidence",
    "Finding",
    "Judgement",
    "Lacking",
    "Severity",
    "Skipped",
    "fingerprint",
]

SCHEMA = "chaosmesh-ext/findings/v1"

Severity = Literal["critical", "warning", "info"]
Condition = Literal["slow", "refused", "status"]
Lacking = Literal["", "calls", "one-version", "patient-caller", "in-turn"]


class Evidence(msgspec.Struct, frozen=True):
    """A trace that proves a finding, and the cell that it was taken in."""

    trace_id: str
    cell: str


class Finding(msgspec.Struct, frozen=True, omit_defaults=False):
    """One thing learnt about one call.

    source, destination: workload names without namespace or version where they agree over versions. operation:
    method and normalised path of the call. value: in `unit`, None only for rules without a number. summary, advice:
    one sentence each. fix: a manifest that mends it, or None. confidence: 0–1. condition: how the callee failed.
    who: ``application`` or ``sidecar``. kind: a rule's own distinction. clause: what it says of the source, as a part
    of a sentence that can be joined with others of the same call, e.g. ``gives up on details after 3.0 s``. numbers:
    a rule's further numbers by name, those in seconds end in ``_s``, e.g. ``{"open_s": 2.0}`` of a circuit breaker.
    """

    id: str
    rule: str
    condition: Condition | None
    severity: Severity
    source: str
    destination: str
    operation: str
    value: float | None
    unit: str
    summary: str
    advice: str
    confidence: float
    evidence: tuple[Evidence, ...]
    fix: dict[str, object] | None = None
    who: str | None = None
    kind: str | None = None
    clause: str = ""
    numbers: dict[str, float] = {}


class Skipped(msgspec.Struct, frozen=True):
    """An edge on which a rule could not decide, and why.

    lacking: what may decide it. ``calls``: more of them. ``one-version``: more requests, of those that happen to meet
    one version each time. ``patient-caller``: requests by callers' callers that wait longer, where there are any.
    ``in-turn``: requests one after the other, so that no breaker opens. Empty: nothing of that.
    """

    edge: str
    reason: str
    rule: str = ""
    lacking: Lacking = ""


class Coverage(msgspec.Struct, frozen=True):
    """How much of what was seen was tested: counts of edges, and what was left out and why."""

    edges: int
    tested: int
    skipped: tuple[Skipped, ...] = ()


class Judgement(msgspec.Struct, frozen=True):
    """What the rules say of a run."""

    findings: tuple[Finding, ...]
    coverage: Coverage


def fingerprint(rule: str, source: str, destination: str, operation: str, condition: str | None) -> str:
    """A stable id of twelve hex digits: the same weakness has the same id in every run."""
    text = "\n".join((rule, source, destination, operation, condition or ""))
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""Checking a document before it is trusted: a journal is a file that anybody may have edited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from chaosmesh_ext.errors import InvalidInput

__all__ = ["check"]


class _Run(msgspec.Struct):
    id: str
    started: str
    duration_s: float
    tool_version: str


class _Target(msgspec.Struct):
    url: str
    mesh: str
    mode: str


class _Evidence(msgspec.Struct):
    trace_id: str
    cell: str


class _Finding(msgspec.Struct):
    id: str
    rule: str
    severity: Literal["critical", "warning", "info"]
    source: str
    destination: str
    operation: str
    value: float | None
    unit: str
    summary: str
    advice: str
    confidence: float
    evidence: list[_Evidence]
    fix: dict[str, Any] | None
    condition: Literal["slow", "refused", "status"] | None = None
    who: str | None = None
    kind: str | None = None
    clause: str = ""
    numbers: dict[str, float] = {}


class _Skipped(msgspec.Struct):
    edge: str
    reason: str
    rule: str


class _Coverage(msgspec.Struct):
    edges: int
    tested: int
    skipped: list[_Skipped]


class _Answer(msgspec.Struct):
    trace_id: str
    url: str
    started: float
    duration: float
    status: int
    sections: dict[str, str] = {}
    size: int = 0
    error: str = ""


class _Workload(msgspec.Struct):
    service: str
    version: str = ""
    namespace: str = "default"


class _Span(msgspec.Struct):
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    operation: str
    start: float
    duration: float
    workload: _Workload


class _Trace(msgspec.Struct):
    trace_id: str
    spans: list[_Span]


class _Cell(msgspec.Struct):
    id: str
    injected: dict[str, Any] | None
    answers: list[_Answer]
    traces: list[_Trace]
    traces_left_out: int
    beside: list[_Answer] = []


class _Headline(msgspec.Struct):
    source: str
    destination: str
    operation: str
    severity: str
    text: str
    findings: list[str]


class _Document(msgspec.Struct):
    run: _Run
    target: _Target
    verdict: Literal["upheld", "weakness found", "inconclusive", "aborted", "left behind"]
    headlines: list[_Headline]
    findings: list[_Finding]
    coverage: _Coverage
    cells: list[_Cell]
    proofs: list[dict[str, Any]]
    problems: list[str]
    expected: list[Any] = []
    unmet: list[str] = []
    notes: list[str] = []


def check(document: Mapping[str, Any], what: str) -> None:
    """Raise InvalidInput, naming the key, when DOCUMENT lacks something or holds something of another kind."""
    try:
        msgspec.convert(dict(document), _Document)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{what} is damaged: {error}; was the file edited?") from None

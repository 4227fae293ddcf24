"""The document: everything that a report needs, as plain JSON that a journal can hold.

It is findings.json (schema `chaosmesh-ext/findings/v1`) with more keys: `cells` with answers and the traces that prove
something, `proofs` that the faults were live, `others` (what stateful waves did to requests that they did not fault),
`problems`, `notes`, `headlines` and the `verdict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from chaosmesh_ext import __version__
from chaosmesh_ext.model import SCHEMA, Cell, Coverage, Evidence, Finding, Judgement, Trace, Verdict
from chaosmesh_ext.report.headlines import headlines
from chaosmesh_ext.report.verdict import verdict as judged

__all__ = ["OpenRun", "RunFacts", "Target", "document"]


class RunFacts(msgspec.Struct, frozen=True):
    """id: the run's token. started: seconds since the epoch. duration_s: seconds. tool_version: ours."""

    id: str
    started: float
    duration_s: float
    tool_version: str


class OpenRun(Protocol):
    """What is asked of a run that is still open. token: its id. problems: what went wrong so far. notes: what else is
    to be said of it.
    """

    token: str

    @property
    def problems(self) -> Sequence[str]: ...

    @property
    def notes(self) -> Sequence[str]: ...


class Target(msgspec.Struct, frozen=True):
    """What was tested. mesh: its name or the Kubernetes API's URL. mode: ``sidecar`` or ``ambient``. urls: all that
    were explored by GET, where these are several; url is the first of all.
    """

    url: str
    mesh: str = ""
    mode: str = "sidecar"
    urls: tuple[str, ...] = ()


def document(
    run: RunFacts | OpenRun,
    target: Target | Mapping[str, str],
    judgement: Judgement,
    cells: Sequence[Cell],
    *,
    proofs: Iterable[Any] = (),
    problems: Sequence[str] = (),
    unmet: Sequence[str] = (),
    others: Iterable[Any] = (),
    verdict: Verdict | None = None,
) -> dict[str, Any]:
    """The journal document of a run.

    run: its facts, or the open run itself: then it spans the requests in CELLS, and its problems count. target: a
    mapping may stand for it. cells: the control first, as `Run.cells` gives them. proofs: what the injecting actions
    returned, structs or dictionaries. problems, unmet: one line each. others: what stateful waves did to those whom
    they did not fault. verdict: by default what findings, problems and unmet come to; a run whose faults met no call is
    inconclusive.

    Of the traces only those are kept that are evidence, and one of the control for comparison; each cell says how many
    were left out.
    """
    known = [] if isinstance(run, RunFacts) else run.problems
    told = [] if isinstance(run, RunFacts) else run.notes
    trouble = [str(problem) for problem in (*known, *problems)]
    facts = run if isinstance(run, RunFacts) else _facts(run.token, cells)
    aim = target if isinstance(target, Target) else msgspec.convert(dict(target), Target)
    if any(cell.injected and cell.injected.at_the_caller for cell in cells) and not judgement.coverage.tested:
        trouble.append("no call met an injected fault, so nothing could be judged; see what coverage says")
    wanted = {proof for finding in judgement.findings for proof in finding.evidence}
    settled = verdict or judged(judgement.findings, trouble, unmet)
    return {
        "schema": SCHEMA,
        "run": {
            "id": facts.id,
            "started": datetime.fromtimestamp(facts.started, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "duration_s": round(facts.duration_s, 3),
            "tool_version": facts.tool_version,
        },
        "target": _plain(aim),
        "verdict": settled.value,
        "headlines": headlines(judgement.findings),
        "findings": [_finding(finding) for finding in judgement.findings],
        "coverage": _coverage(judgement.coverage),
        "cells": [_cell(cell, wanted) for cell in cells],
        "proofs": [_plain(proof) for proof in proofs],
        **({"others": seen} if (seen := [_plain(each) for each in others]) else {}),
        "problems": trouble,
        "notes": [str(note) for note in told],
    }


def _facts(token: str, cells: Sequence[Cell]) -> RunFacts:
    """A run from its first request to the end of its last answer."""
    answers = [answer for cell in cells for answer in cell.answers]
    started = min((answer.started for answer in answers), default=0.0)
    ended = max((answer.started + answer.duration for answer in answers), default=started)
    return RunFacts(token, started, ended - started, __version__)


def _plain(value: Any) -> Any:
    """VALUE as JSON gives it back: lists, not tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _finding(finding: Finding) -> dict[str, Any]:
    built: dict[str, Any] = _plain(finding)
    return {key: value for key, value in built.items() if not (key in ("condition", "who", "kind") and value is None)}


def _coverage(coverage: Coverage) -> dict[str, Any]:
    built: dict[str, Any] = _plain(coverage)
    return built


def _cell(cell: Cell, wanted: set[Evidence]) -> dict[str, Any]:
    kept = [trace_id for trace_id in sorted(cell.traces) if Evidence(trace_id, cell.id) in wanted]
    if cell.injected is None:
        kept = _typical(cell) or kept
    return {
        "id": cell.id,
        "injected": _plain(cell.injected),
        "answers": [_plain(answer) for answer in cell.answers],
        "traces": [_trace(cell.traces[trace_id]) for trace_id in kept],
        "traces_left_out": len(cell.traces) - len(kept),
        **({"beside": beside} if (beside := _beside(cell, wanted)) else {}),
    }


def _beside(cell: Cell, wanted: set[Evidence]) -> list[Any]:
    """What those requests beside the cell's got that are evidence."""
    return [_plain(answer) for answer in cell.beside if Evidence(answer.trace_id, cell.id) in wanted]


def _typical(cell: Cell) -> list[str]:
    """The control's request of median duration among those with a trace."""
    known = sorted((a.duration, a.trace_id) for a in cell.answers if a.trace_id in cell.traces)
    return [known[(len(known) - 1) // 2][1]] if known else sorted(cell.traces)[:1]


def _trace(trace: Trace) -> dict[str, Any]:
    built: dict[str, Any] = _plain(trace)
    for span in built["spans"]:
        span["flags"] = sorted(span["flags"])
    return built

"""Documents out of a Chaos Toolkit journal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.model import SCHEMA, Verdict
from chaosmesh_ext.report.check import check

__all__ = ["from_journal", "load_journal", "without_findings"]

SECTION = "chaosmesh-ext"
"""The journal's section in which our control says what the run comes to."""

_WORDS = {verdict.value: verdict for verdict in Verdict}


def load_journal(path: Path) -> dict[str, Any]:
    """The journal in the file PATH.

    Raises NotFound where there is no such file, InvalidInput where it is not JSON or no journal.
    """
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file; give the journal that `chaos run` wrote") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path}:{error.lineno}: not JSON: {error.msg}; give a journal of Chaos Toolkit") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read: {error}; give a journal of Chaos Toolkit") from None
    _refuse_others(journal, str(path))
    return dict(journal)


def from_journal(journal: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every document of ours in JOURNAL, in the order in which the activities ran; empty where there is none.

    They may be the output of any activity: in the hypothesis before, during or after, in the method, in a rollback.
    Each is completed with what only the journal knows: `experiment` (title, status, unmet expectations, failed
    activities), the proofs of its run's injections, and the verdict where that came out graver.

    Raises InvalidInput when JOURNAL is no journal, or a document in it lacks what its schema asks for.
    """
    _refuse_others(journal, "the journal")
    found = [dict(output) for output in _outputs(journal) if output.get("schema") == SCHEMA]
    for number, each in enumerate(found, start=1):
        check(each, f"findings document {number} of the journal")
    return [_completed(each, journal) for each in found]


def without_findings(journal: Mapping[str, Any]) -> dict[str, Any]:
    """A document for a JOURNAL that holds none of ours: it says so, and still tells verdict, faults and deviations.

    Raises InvalidInput when JOURNAL is no journal.
    """
    _refuse_others(journal, "the journal")
    section = _section(journal)
    base = {
        "schema": SCHEMA,
        "run": {
            "id": str(section.get("run") or "-"),
            "started": str(journal.get("start", "")),
            "duration_s": float(journal.get("duration") or 0.0),
            "tool_version": "",
        },
        "target": {"url": "", "mesh": "", "mode": ""},
        "verdict": Verdict.UPHELD.value,
        "headlines": [],
        "findings": [],
        "coverage": {"edges": 0, "tested": 0, "skipped": []},
        "cells": [],
        "proofs": [],
        "problems": [],
        "notes": ["the journal holds no findings: no activity of this experiment asked for them"],
        "judged": False,
    }
    return _completed(base, journal)


def _refuse_others(journal: Any, what: str) -> None:
    if not isinstance(journal, Mapping):
        raise InvalidInput(f"{what}: not a journal but a JSON {type(journal).__name__}; give one of Chaos Toolkit")
    if not isinstance(journal.get("experiment"), Mapping) or not isinstance(journal.get("run", []), list):
        hint = "that is a findings.json; reports are made from the journal" if journal.get("schema") == SCHEMA else ""
        raise InvalidInput(
            f"{what}: not a journal of Chaos Toolkit, it has no experiment and run{f' ({hint})' if hint else ''}; "
            "give the file that `chaos run` wrote"
        )


def _activities(journal: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every activity that ran, and where: ``steady state before``, ``method`` …"""
    states = journal.get("steady_states")
    states = states if isinstance(states, Mapping) else {}
    for word in ("before", "during"):
        yield from _probes(states.get(word), f"steady state {word}")
    for where, key in (("method", "run"), ("rollbacks", "rollbacks")):
        runs = journal.get(key)
        yield from ((where, run) for run in (runs if isinstance(runs, list) else []) if isinstance(run, Mapping))
    yield from _probes(states.get("after"), "steady state after")


def _probes(states: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for state in states if isinstance(states, list) else [states]:
        if isinstance(state, Mapping):
            for key in ("probes", "remaining_probes"):
                yield from ((where, probe) for probe in state.get(key) or () if isinstance(probe, Mapping))


def _outputs(journal: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (run["output"] for _, run in _activities(journal) if isinstance(run.get("output"), Mapping))


def _completed(each: dict[str, Any], journal: Mapping[str, Any]) -> dict[str, Any]:
    section = _section(journal)
    experiment = {
        "title": str(journal["experiment"].get("title", "")),
        "status": str(journal.get("status", "")),
        "deviated": bool(journal.get("deviated")),
        "started": str(journal.get("start", "")),
        "duration_s": float(journal.get("duration") or 0.0),
        "unmet": _lines(section.get("unmet")) if "unmet" in section else _unmet(journal),
        "failed": _failed(journal),
    }
    proofs = each.get("proofs") or [
        dict(output)
        for output in _outputs(journal)
        if "injected" in output and "carrier" in output and output.get("run", each["run"]["id"]) == each["run"]["id"]
    ]
    problems = list(dict.fromkeys([*each.get("problems", ()), *_lines(section.get("problems"))]))
    notes = list(dict.fromkeys([*each.get("notes", ()), *_lines(section.get("notes"))]))
    gravest = max(_said(each, section, experiment), key=lambda verdict: verdict.gravity)
    return {
        **each,
        "proofs": proofs,
        "problems": problems,
        "notes": notes,
        "verdict": gravest.value,
        "experiment": experiment,
        "guardrails": _guardrails(section.get("guardrails")),
    }


def _section(journal: Mapping[str, Any]) -> Mapping[str, Any]:
    section = journal.get(SECTION)
    return section if isinstance(section, Mapping) else {}


def _said(each: Mapping[str, Any], section: Mapping[str, Any], experiment: Mapping[str, Any]) -> Iterator[Verdict]:
    """What our control said; without it what the document and Chaos Toolkit's own words come to."""
    if section.get("verdict") in _WORDS:
        yield _WORDS[str(section["verdict"])]
        return
    # where the experiment expects certain findings, they are no weakness, and only those that are missing are
    excused = each.get("expected") and not each.get("unmet") and each["verdict"] == Verdict.WEAKNESS_FOUND.value
    yield Verdict.UPHELD if excused else _WORDS[each["verdict"]]
    if experiment["status"] == "interrupted":
        yield Verdict.ABORTED
    if experiment["failed"] or experiment["status"] in ("aborted", "failed"):
        yield Verdict.INCONCLUSIVE
    if experiment["deviated"] or experiment["unmet"]:
        yield Verdict.WEAKNESS_FOUND


def _guardrails(items: Any) -> list[dict[str, Any]]:
    """Each guardrail's name, what it calls crossed, whether it was, and what was seen last."""
    found = []
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping):
            samples = item.get("samples")
            seen = [
                str(one.get("seen", ""))
                for one in (samples if isinstance(samples, list) else ())
                if isinstance(one, Mapping)
            ]
            words = {"name": str(item.get("name", "?")), "allows": str(item.get("allows", ""))}
            found.append({**words, "crossed": bool(item.get("crossed")), "seen": seen[-3:]})
    return found


def _lines(items: Any) -> list[str]:
    """The control's lines: plain ones, or ``{"where", "activity", "message"}``."""
    keys = ("where", "activity", "message")
    return [
        ": ".join(str(item[key]) for key in keys if item.get(key)) if isinstance(item, Mapping) else str(item)
        for item in (items if isinstance(items, list | tuple) else ())
    ]


def _unmet(journal: Mapping[str, Any]) -> list[str]:
    return [
        f"{where}: {_name(run)}: saw {_short(run.get('output'))}"
        for where, run in _activities(journal)
        if run.get("tolerance_met") is False
    ]


def _failed(journal: Mapping[str, Any]) -> list[str]:
    return [
        f"{where}: {_name(run)}: {_short(run.get('exception') or ['no reason given'])}"
        for where, run in _activities(journal)
        if run.get("status") == "failed"
    ]


def _name(run: Mapping[str, Any]) -> str:
    activity = run.get("activity")
    return str(activity.get("name", "?")) if isinstance(activity, Mapping) else "?"


def _short(value: Any) -> str:
    """One line of VALUE; of an exception's traceback the last, which says what it was."""
    text = str(value[-1] if isinstance(value, list) and value else value).strip()
    return text if len(text) <= 200 else f"{text[:199]}…"

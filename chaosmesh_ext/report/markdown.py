"""report.md: what was found, for people, with the traces that prove it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from chaosmesh_ext.findings.fallback import lost
from chaosmesh_ext.findings.words import joined
from chaosmesh_ext.model import Answer
from chaosmesh_ext.report import escaping, numbers
from chaosmesh_ext.report.waterfall import waterfall

__all__ = ["render"]

_OPTIONAL = {"condition": None, "who": None, "kind": None}


def render(document: Mapping[str, Any]) -> str:
    """The Markdown of a document. The same document gives the same text; it reads well without a renderer too."""
    evidence, injections = _Evidence(document), _injections(document)
    rendered = _template().render(
        doc=document,
        judged=document.get("judged", True),
        experiment=document.get("experiment"),
        expected=document.get("expected"),
        cells={cell["id"]: cell for cell in document["cells"]},
        findings=[evidence.of(finding) for finding in document["findings"]],
        control=evidence.control(),
        injections=injections,
        carried=_carried(injections),
    )
    lines = [line.rstrip() for line in rendered.splitlines()]
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip() + "\n"


def _carried(injections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Which objects carried the cells, those of a wave together: they share their objects."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in injections:
        if row["objects"]:
            key = (*map(str, row["objects"]), str(row["replaces"]))
            found.setdefault(key, {**row, "cells": []})["cells"].append(row["cell"])
    return list(found.values())


def _injections(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a cell: its fault, what carried it, and how it was proven to be live.

    Where no findings were asked for there are no cells, only what the injecting actions returned.
    """
    proofs = {str(proof.get("cell")): proof for proof in document["proofs"]}
    if not document["cells"]:
        return [
            _row(cell, _mapping(proof.get("injected")), proof, proof.get("requests")) for cell, proof in proofs.items()
        ]
    return [
        _row(cell["id"], cell["injected"], proofs.get(cell["id"], {}), len(cell["answers"]))
        for cell in document["cells"]
    ]


def _row(cell: str, injected: Mapping[str, Any] | None, proof: Mapping[str, Any], requests: Any) -> dict[str, Any]:
    live, objects = proof.get("live_after"), proof.get("objects")
    return {
        "cell": cell,
        "control": injected is None,
        "fault": _described(injected),
        "carrier": proof.get("carrier") or (injected or {}).get("carrier") or "unknown",
        "live": numbers.milliseconds(live) if isinstance(live, int | float) else "not measured",
        "by": proof.get("by") or "not proven",
        "requests": requests if isinstance(requests, int) else 0,
        "objects": objects if isinstance(objects, list | tuple) else [],
        "replaces": proof.get("replaces") or "",
    }


def _described(injected: Mapping[str, Any] | None) -> str:
    """A fault in words, whatever somebody made of a journal."""
    try:
        return numbers.described(injected)
    except (TypeError, ValueError):
        return "a fault that the journal tells wrongly"


def _mapping(value: Any) -> Mapping[str, Any]:
    """VALUE, of a journal that anybody may have edited."""
    return value if isinstance(value, Mapping) else {}


class _Evidence:
    """Looks up what proves a finding; each trace is drawn once, where it is first needed."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._cells = {cell["id"]: cell for cell in document["cells"]}
        self._drawn: dict[tuple[str, str], int] = {}
        self._controls = [
            msgspec.convert(answer, Answer)
            for cell in document["cells"]
            if cell["injected"] is None
            for answer in cell["answers"]
            if 0 < answer["status"] < 400
        ]

    def of(self, finding: Mapping[str, Any]) -> dict[str, Any]:
        """FINDING, the lines about each of its traces, and a drawing of one, unless there is one already."""
        drawn = [number for number, each in enumerate(finding["evidence"]) if _key(each) in self._drawn]
        chosen = drawn[0] if drawn else 0
        proofs = [self._proof(each, draw=number == chosen) for number, each in enumerate(finding["evidence"])]
        return {**_OPTIONAL, **finding, "proofs": proofs}

    def control(self) -> dict[str, Any] | None:
        """The healthy request to compare with."""
        for cell in self._cells.values():
            if cell["injected"] is None and cell["traces"]:
                trace = cell["traces"][0]
                return self._proof({"trace_id": trace["trace_id"], "cell": cell["id"]}, draw=True)
        return None

    def _proof(self, each: Mapping[str, Any], *, draw: bool) -> dict[str, Any]:
        cell = self._cells.get(each["cell"], {})
        trace = next((t for t in cell.get("traces", ()) if t["trace_id"] == each["trace_id"]), None)
        got = (*cell.get("answers", ()), *cell.get("beside", ()))
        answer = next((a for a in got if a["trace_id"] == each["trace_id"]), None)
        key = _key(each)
        before = self._drawn.get(key)
        drawing = waterfall(trace) if draw and trace is not None and before is None else ""
        if drawing:
            self._drawn[key] = len(self._drawn) + 1
        return {
            **each,
            "fault": numbers.described(cell.get("injected")),
            "user": self._user(answer),
            "drawing": drawing,
            "number": self._drawn.get(key),
            "repeated": before if draw else None,
        }

    def _user(self, answer: Mapping[str, Any] | None) -> str:
        """What the user of one request saw, in a line."""
        if answer is None:
            return "the answer is not in the journal"
        took = numbers.seconds(answer["duration"])
        if not answer["status"]:
            return f"no answer after {took}: {answer['error'] or 'no reason given'}"
        return f"{answer['status']} after {took}{self._without(answer)}"

    def _without(self, answer: Mapping[str, Any]) -> str:
        seen = msgspec.convert(answer, Answer)
        controls = [control for control in self._controls if control.url == seen.url]
        names = sorted(lost(seen, controls)) if controls else []
        if not names:
            return ""
        shown: Sequence[str] = [f'"{name}"' for name in names[:5]]
        more = [f"{len(names) - 5} more"] if len(names) > 5 else []
        return f", without {joined([*shown, *more])}"


def _key(proof: Mapping[str, Any]) -> tuple[str, str]:
    return proof["cell"], proof["trace_id"]


@cache
def _template() -> Template:
    # this is Markdown: Jinja2's HTML escaping would show as text in it; every value passes a filter of `escaping`
    environment = Environment(
        loader=PackageLoader("chaosmesh_ext.report", "templates"),
        autoescape=False,  # noqa: S701 - see above
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "text": escaping.text,
        "code": escaping.code,
        "cell": escaping.cell,
        "value": numbers.value,
        "seconds": numbers.seconds,
        "amount": numbers.amount,
        "percent": lambda share: f"{100 * share:.0f} %",
    }
    return environment.get_template("report.md.j2")

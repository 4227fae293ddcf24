"""findings.json: the findings for other programs, in schema `chaosmesh-ext/findings/v1` and nothing besides.

Beside findings and coverage it has `others`, what stateful waves did to requests that they did not fault, and `notes`,
lines for people, where the run had any to tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chaosmesh_ext.model import SCHEMA

__all__ = ["render"]

_RUN = ("id", "started", "duration_s", "tool_version")
_TARGET = ("url", "mesh", "mode")
_BEFORE = ("id", "rule")
_AFTER = ("severity", "source", "destination", "operation", "value", "unit", "summary", "advice", "fix", "confidence")
_OPTIONAL = ("who", "kind")
_OTHERS = ("wave", "name", "requests", "failed", "incomplete", "p95_s", "healthy_p95_s")


def render(document: Mapping[str, Any]) -> str:
    """The text of findings.json: exactly the schema's keys, in its order, whatever else DOCUMENT holds."""
    coverage = document["coverage"]
    built = {
        "schema": SCHEMA,
        "run": {key: document["run"][key] for key in _RUN},
        "target": _target(document["target"]),
        "findings": [_finding(finding) for finding in document["findings"]],
        "coverage": {
            "edges": coverage["edges"],
            "tested": coverage["tested"],
            "skipped": [
                {
                    "edge": each["edge"],
                    "reason": f"{each['rule']}: {each['reason']}" if each.get("rule") else each["reason"],
                    **({"lacking": each["lacking"]} if each.get("lacking") else {}),
                }
                for each in coverage["skipped"]
            ],
        },
    }
    if document.get("others"):
        built["others"] = [{key: each[key] for key in _OTHERS} for each in document["others"]]
    if document.get("notes"):
        built["notes"] = list(document["notes"])
    return json.dumps(built, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _target(target: Mapping[str, Any]) -> dict[str, Any]:
    several = {"urls": list(target["urls"])} if target.get("urls") else {}
    return {key: target[key] for key in _TARGET} | several


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    built: dict[str, Any] = {key: finding[key] for key in _BEFORE}
    if finding.get("condition") is not None:
        built["condition"] = finding["condition"]
    built |= {key: finding[key] for key in _AFTER}
    built |= {key: finding[key] for key in _OPTIONAL if finding.get(key) is not None}
    if finding.get("numbers"):
        built["numbers"] = dict(finding["numbers"])
    built["evidence"] = [{"trace_id": each["trace_id"], "cell": each["cell"]} for each in finding["evidence"]]
    return built

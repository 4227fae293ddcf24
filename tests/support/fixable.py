"""A findings.json with weaknesses of Bookinfo, as explorations with a short delay write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chaosmesh_ext.findings.fixes.manifests import virtual_service
from chaosmesh_ext.model import SCHEMA, fingerprint

__all__ = ["weakness", "write_findings"]


def weakness(source: str, destination: str, *, rule: str = "missing-timeout", **facts: Any) -> dict[str, Any]:
    """A finding, slow as missing timeouts are; FACTS are its keys that differ."""
    operation = f"GET /{destination}/{{id}}"
    return {
        "id": fingerprint(rule, source, destination, operation, "slow"),
        "rule": rule,
        "condition": "slow",
        "severity": "warning",
        "source": source,
        "destination": destination,
        "operation": operation,
        "value": 2.0,
        "unit": "s",
        "summary": f"{source} waits for {destination} for 2.0 s and more.",
        "advice": "Give the call a timeout.",
        "fix": virtual_service(destination, "default", "timeout", [{"timeout": "0.8s"}]),
        "confidence": 0.8,
        "evidence": [],
        **facts,
    }


def write_findings(folder: Path, *findings: dict[str, Any], **keys: Any) -> Path:
    """FOLDER, with FINDINGS in its findings.json; KEYS are the document's that differ."""
    document = {
        "schema": SCHEMA,
        "run": {"id": "0a1b2c3d", "started": "2026-11-22T06:00:00Z", "duration_s": 1.0, "tool_version": "0.1.0"},
        "target": {"url": "http://127.0.0.9:9/productpage", "mesh": "127.0.0.9", "mode": "sidecar"},
        "findings": list(findings),
        "coverage": {"edges": 4, "tested": 4, "skipped": []},
        **keys,
    }
    (folder / "findings.json").write_text(json.dumps(document))
    return folder

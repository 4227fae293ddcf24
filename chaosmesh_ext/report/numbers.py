"""Numbers as a table or a waterfall wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaosmesh_ext.findings.words import amount, seconds

__all__ = ["amount", "described", "milliseconds", "seconds", "value"]

_ONE = {"retries": "retry", "attempts": "attempt"}


def milliseconds(number: float) -> str:
    """Seconds in whole milliseconds: ``21 ms``."""
    return f"{number * 1000:.0f} ms"


def value(finding: Mapping[str, Any]) -> str:
    """A finding's value with its unit: ``3.0 s``, ``0 retries``; a dash for a rule without a number."""
    number, unit = finding["value"], finding["unit"]
    if number is None:
        return "–"
    if unit == "s":
        return seconds(float(number))
    return f"{number:g} {_ONE.get(unit, unit) if number == 1 else unit}".strip()


def described(injected: Mapping[str, Any] | None) -> str:
    """A cell's fault in a few words: ``productpage-v1 → details: 7 s delay``."""
    if injected is None:
        return "no fault (control)"
    callers = ", ".join(injected.get("sources") or ()) or "every caller"
    if injected.get("kind") == "delay":
        fault = f"{injected.get('delay', 0.0):g} s delay"
    elif injected.get("kind") == "abort":
        fault = f"answered {injected.get('grpc_status') or injected.get('status', 0)}"
    else:
        fault = str(injected.get("words") or injected.get("kind", "?"))
    subset = f", subset {injected['subset']}" if injected.get("subset") else ""
    share = injected.get("percentage", 100.0)
    part = "" if share == 100 else f", {share:g} % of the requests"
    return f"{callers} → {injected.get('destination', '?')}: {fault}{subset}{part}"

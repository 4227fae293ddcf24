"""What a user's answer lacks against a healthy one of the same versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from truths.story import Visit

__all__ = ["Harm", "compare"]

Harm = Literal["lost", "replaced", "whole"]


def compare(healthy: Visit, faulted: Visit) -> Harm:
    """``lost``: an error, or a section is gone, nested ones too. ``replaced``: a stand-in is where a section was."""
    if faulted.status >= 400 or faulted.body is None or healthy.body is None:
        return "lost"
    return _sections(healthy.body, faulted.body)


def _sections(healthy: Mapping[str, Any], faulted: Mapping[str, Any]) -> Harm:
    worst: Harm = "whole"
    for name, was in healthy.get("sections", {}).items():
        if was is None:
            continue
        is_now = faulted.get("sections", {}).get(name)
        if is_now is None:
            return "lost"
        if "sections" not in is_now and "sections" in was:
            worst = "replaced"
            continue
        below = _sections(was, is_now)
        if below == "lost":
            return "lost"
        worst = "replaced" if "replaced" in (worst, below) else "whole"
    return worst

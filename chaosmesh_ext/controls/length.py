"""How long an experiment should take: what its run is allowed to last follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["length"]

_EACH: Final = 60.0
"""Seconds allowed for an activity that does not say its own: ours prove a fault within 10 s, and wait for traces."""


def length(experiment: Mapping[str, Any]) -> float:
    """Seconds that EXPERIMENT may reasonably take: its pauses, and each activity's timeout or a minute.

    The steady state is asked twice. A pause that a variable gives counts for nothing: the run's margin has to do.
    """
    hypothesis = (experiment.get("steady-state-hypothesis") or {}).get("probes") or []
    return sum(
        _seconds(activity)
        for activities in (hypothesis, hypothesis, experiment.get("method") or [], experiment.get("rollbacks") or [])
        for activity in activities
    )


def _seconds(activity: Mapping[str, Any]) -> float:
    provider = activity.get("provider") or {}
    return sum(_numbers(activity.get("pauses") or {}, "before", "after")) + max(
        [_EACH, *_numbers(provider, "timeout"), *_numbers(provider.get("arguments") or {}, "timeout")]
    )


def _numbers(values: Any, *names: str) -> Iterator[float]:
    for name in names:
        value = values.get(name) if isinstance(values, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield float(value)

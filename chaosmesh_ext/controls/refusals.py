"""Why an experiment must not begin, as far as itself and its configuration say: nothing has been done then."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from chaosmesh_ext.controls.impossible import impossible
from chaosmesh_ext.settings import TABLE

__all__ = ["refusals"]

_ACTIONS: Final = "chaosmesh_ext.actions"
_LONGEST: Final = 86_400.0
"""Seconds: no pause is longer than a day; Python cannot sleep for ever."""


def refusals(experiment: Mapping[str, Any], configuration: Mapping[str, Any]) -> list[str]:
    """What is wrong with EXPERIMENT, whose loaded CONFIGURATION this is, and what to do; one line each.

    `env` entries that are empty; pauses that nobody can sleep for, which Chaos Toolkit would find after the injection;
    a strategy that leaves the rollbacks out where faults are injected; and actions of ours in the background, whose
    faults are not live yet when the next activity looks. And tolerances of ours that nothing could meet.
    """
    return [
        *_empty(experiment, configuration),
        *_pauses(experiment, configuration),
        *_strategy(experiment),
        *_background(experiment),
        *impossible(_activities(experiment), configuration),
    ]


def _empty(experiment: Mapping[str, Any], configuration: Mapping[str, Any]) -> Iterator[str]:
    helps = {setting.variable: setting.help for setting in TABLE}
    for name, entry in (experiment.get("configuration") or {}).items():
        if not isinstance(entry, Mapping) or entry.get("type") != "env":
            continue
        value, key = configuration.get(name), entry.get("key")
        if value is None or (isinstance(value, str) and not value.strip()):
            help_ = f": {helps[key]}" if key in helps else ""
            yield (
                f"{key} is empty (configuration entry {name}{help_}); set it, e.g. with `export {key}=...`, or for a "
                'lab `eval "$(chaos mesh lab env)"`'
            )


def _pauses(experiment: Mapping[str, Any], configuration: Mapping[str, Any]) -> Iterator[str]:
    from chaoslib import substitute

    for where, activity in _activities(experiment):
        pauses = activity.get("pauses")
        if pauses is None:
            continue
        if not isinstance(pauses, Mapping):
            yield f"{where}.pauses is {pauses!r}, no mapping: write before or after below it, in seconds"
            continue
        for word in ("before", "after"):
            value = pauses.get(word)
            if isinstance(value, str) and "${" in value:
                value = substitute(value, configuration, {})
            if value is not None and not _can_be_slept(value):
                yield f"{where}.pauses.{word} is {value!r}: give seconds from 0 to {_LONGEST:g}"


def _can_be_slept(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and not (isinstance(value, float) and math.isnan(value)) and 0 <= value <= _LONGEST


def _strategy(experiment: Mapping[str, Any]) -> Iterator[str]:
    strategy = ((experiment.get("runtime") or {}).get("rollbacks") or {}).get("strategy", "always")
    ours = any(_is_action(activity) for _, activity in _activities(experiment))
    if ours and strategy != "always":
        yield f"runtime.rollbacks.strategy is {strategy!r}, which may leave faults in: write always"


def _background(experiment: Mapping[str, Any]) -> Iterator[str]:
    for where, activity in _activities(experiment):
        if activity.get("background") and _is_action(activity):
            yield (
                f"{where}.background: what follows would not wait until the action of chaosmesh_ext is done, and see "
                "no fault yet; leave background out, and put the probes that are to run meanwhile there"
            )


def _is_action(activity: Mapping[str, Any]) -> bool:
    return str((activity.get("provider") or {}).get("module", "")).startswith(_ACTIONS)


def _activities(experiment: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    hypothesis = experiment.get("steady-state-hypothesis") or {}
    for part, found in (
        ("steady-state-hypothesis.probes", hypothesis.get("probes")),
        ("method", experiment.get("method")),
        ("rollbacks", experiment.get("rollbacks")),
    ):
        for number, activity in enumerate(found or ()):
            if isinstance(activity, Mapping):
                yield f"{part}[{number}]", activity

"""Guardrails as an experiment declares them: Chaos Toolkit's probes among them, asked as Chaos Toolkit asks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.run.guardrail_specs import mistakes
from chaosmesh_ext.run.guardrails import Ask, Guardrails

__all__ = ["asker", "declared", "guarded", "wrong"]


def wrong(control: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of CONTROL, ours, one line each."""
    from chaoslib.activity import ensure_activity_is_valid
    from chaoslib.exceptions import ChaosException

    arguments = (control.get("provider") or {}).get("arguments") or {}
    if not isinstance(arguments, Mapping):
        return [f"its arguments are {arguments!r}, no mapping: write guardrails below them"]
    found = [f"argument {name} is unknown: there is guardrails" for name in arguments if name != "guardrails"]
    specs = arguments.get("guardrails", [])
    found += mistakes(specs)
    for spec in specs if isinstance(specs, list) else []:
        if isinstance(spec, Mapping) and "provider" in spec and isinstance(spec.get("name"), str):
            try:
                ensure_activity_is_valid(_activity(spec))
            except ChaosException as error:
                found.append(f"guardrail {spec['name']}: {' '.join(str(error).split())}")
    return found


def declared(experiment: Mapping[str, Any]) -> list[Any]:
    """The guardrails of the control of ours that EXPERIMENT declares."""
    for control in experiment.get("controls") or ():
        provider = control.get("provider") or {}
        if provider.get("module") == "chaosmesh_ext.controls" and (provider.get("arguments") or {}).get("guardrails"):
            return list(provider["arguments"]["guardrails"])
    return []


def guarded(specs: Any, configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None) -> Guardrails:
    """The guardrails that SPECS, with their variables filled in, say. Raises InvalidInput."""
    from chaosmesh_ext.run.configuration import of_all, settings_of

    return Guardrails(specs, settings_of(configuration or {}, of_all(secrets)), probe=asker(configuration, secrets))


def asker(
    configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None
) -> Callable[[Mapping[str, Any]], Ask]:
    """What makes an `Ask` of a guardrail that is a probe: crossed where its tolerance is not met."""

    def of(spec: Mapping[str, Any]) -> Ask:
        return lambda: _look(spec, configuration, secrets)

    return of


def _look(
    spec: Mapping[str, Any], configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None
) -> tuple[bool, str]:
    from chaoslib.activity import run_activity
    from chaoslib.exceptions import ActivityFailed

    from chaosmesh_ext.controls.expectations import unmet

    try:
        value = run_activity(_activity(spec), dict(configuration or {}), dict(secrets or {}))
    except ActivityFailed as error:
        raise Inconclusive(str(error)) from error
    if value is None:
        raise Inconclusive("no data")
    why = unmet(spec["tolerance"], value, configuration, secrets)
    return why is not None, why or "within its tolerance"


def _activity(spec: Mapping[str, Any]) -> dict[str, Any]:
    """SPEC without our own words, as Chaos Toolkit knows a probe; it may write into it."""
    ours = ("for", "frequency", "timeout", "on_error", "background")
    return {"type": "probe", **{key: deepcopy(value) for key, value in spec.items() if key not in ours}}

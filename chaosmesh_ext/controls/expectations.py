"""What a tolerance says of a value, in words: Chaos Toolkit only says yes or no."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.redaction import words
from chaosmesh_ext.tolerances.words import heard

__all__ = ["give_arguments", "unmet"]


def give_arguments(experiment: Mapping[str, Any]) -> None:
    """Give the tolerances in EXPERIMENT's hypothesis the arguments that Chaos Toolkit 1.44 writes the value into.

    It fails with a KeyError where a provider has none, as those of a tolerance that needs no other.
    """
    hypothesis = experiment.get("steady-state-hypothesis") or {}
    for probe in hypothesis.get("probes") or ():
        allowed = probe.get("tolerance")
        if isinstance(allowed, dict) and allowed.get("type") == "probe" and isinstance(allowed.get("provider"), dict):
            allowed["provider"].setdefault("arguments", {})


def unmet(
    tolerance: Any, value: Any, configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None
) -> str | None:
    """Why VALUE is outside TOLERANCE (a Chaos Toolkit tolerance of any type), or None when it is within.

    A tolerance that cannot judge the value (a range and no number, say) is not met. Raises InvalidInput for one of ours
    that no value could ever meet, or that has not as many bounds as the value has numbers.
    """
    from chaoslib import substitute
    from chaoslib.activity import run_activity
    from chaoslib.exceptions import ActivityFailed
    from chaoslib.hypothesis import within_tolerance

    allowed = deepcopy(tolerance)  # Chaos Toolkit writes the value into it
    if isinstance(allowed, str):
        allowed = substitute(allowed, configuration, secrets)
    if value is None:
        return f"expected {_words(allowed)}, saw no data"
    try:
        if isinstance(allowed, dict) and allowed.get("type") == "probe":
            allowed["provider"].setdefault("arguments", {})["value"] = value
            with heard() as lines:
                met = bool(run_activity(allowed, configuration, secrets))
            return None if met else "; ".join(lines) or f"expected {_words(tolerance)}, saw {_seen(value)}"
        met = bool(within_tolerance(allowed, value, configuration=configuration, secrets=secrets))
    except ActivityFailed as error:
        if isinstance(error.__context__, InvalidInput):
            raise InvalidInput(f"its tolerance cannot be: {error.__context__}") from None
        return f"its tolerance could not judge {_seen(value)}: {error}"
    except Exception as error:
        return f"its tolerance could not judge {_seen(value)}: {words(error)}"
    return None if met else f"expected {_words(allowed)}, saw {_seen(value)}"


def _words(tolerance: Any) -> str:
    match tolerance:
        case {"type": "probe", "name": name}:
            return str(name)
        case {"type": "regex", "pattern": pattern}:
            return f"a match of {pattern}"
        case {"type": "jsonpath", "path": path}:
            return f"JSON path {path}" + (f" = {tolerance['expect']}" if "expect" in tolerance else "")
        case {"type": "range", "range": [low, high]} | [int() | float() as low, int() | float() as high]:
            return f"between {low} and {high}"
        case list():
            return f"one of {', '.join(map(str, tolerance))}"
    return str(tolerance)


def _seen(value: Any) -> str:
    if isinstance(value, Mapping) and "status" in value:
        value = value["status"]
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."

"""Tolerances of ours that no value could ever meet: found before anything is done, and not after the fault."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.tolerances.words import heard

__all__ = ["impossible"]


def impossible(
    activities: Iterable[tuple[str, Mapping[str, Any]]], configuration: Mapping[str, Any] | None
) -> Iterator[str]:
    """What is wrong with the tolerances of ACTIVITIES (each with its place in the experiment), one line each.

    Each is tried on no data, which none passes: what it raises then is its own. One that asks for what is not known
    yet (secrets, and what a probe finds for the CONFIGURATION) is left to the run.
    """
    from chaoslib import substitute

    from chaosmesh_ext import tolerances

    for where, activity in activities:
        tolerance = activity.get("tolerance")
        provider = tolerance.get("provider") if isinstance(tolerance, Mapping) else None
        if not isinstance(provider, Mapping) or provider.get("module") != tolerances.__name__:
            continue
        arguments = provider.get("arguments") or {}
        if provider.get("func") not in tolerances.__all__ or not isinstance(arguments, Mapping):
            continue  # Chaos Toolkit's own validation says so
        if _asks_for_unknown(arguments, configuration or {}):
            continue
        given = {**substitute(dict(arguments), configuration or {}, {}), "value": None}
        try:
            with heard(), suppress(Inconclusive):
                getattr(tolerances, str(provider["func"]))(**given)
        except InvalidInput as error:
            yield f"{where}.tolerance: {error}"


def _asks_for_unknown(arguments: Mapping[str, Any], configuration: Mapping[str, Any]) -> bool:
    names = re.findall(r"\$\{([^}]*)\}", str(arguments))
    return any(name not in configuration or isinstance(configuration[name], Mapping) for name in names)

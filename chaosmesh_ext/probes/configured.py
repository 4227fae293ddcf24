"""The run that a probe belongs to, with the experiment's configuration in front of the environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.run import Run, current_run

__all__ = ["number", "run_of"]


def run_of(configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None = None) -> Run:
    """The current run; its settings are those of the experiment's CONFIGURATION and SECRETS."""
    run = current_run()
    run.configure(configuration, secrets)
    return run


def number(name: str, value: Any, *, least: float = 0.0) -> float:
    """VALUE, of the argument NAME, as a number of LEAST or more; its text too: so configuration says it.

    Raises InvalidInput for anything else.
    """
    try:
        found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except ValueError:
        found = math.nan
    if not least <= found < math.inf:
        raise InvalidInput(f"{name} is {value!r}: give a number of {least:g} or more")
    return found

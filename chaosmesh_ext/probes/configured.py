"""The run that a probe belongs to, with the experiment's configuration in front of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaosmesh_ext.actions import settings_of
from chaosmesh_ext.run import Run, current_run

__all__ = ["run_of"]


def run_of(configuration: Mapping[str, Any] | None) -> Run:
    """The current run; its settings are those of the experiment's CONFIGURATION."""
    run = current_run()
    if configuration:
        run.settings = settings_of(configuration)
    return run

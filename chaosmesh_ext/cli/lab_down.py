"""Before a lab goes: its runs end, as at a halt, or their watchdogs would look for its API until their deadlines."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from chaosmesh_ext.errors import ChaosMeshError

__all__ = ["end_runs"]

_PATIENCE: Final = 15.0
"""Seconds that runs may take to roll back and to see it; a lab goes then in any case."""
_PAUSE: Final = 0.2


def end_runs(kubeconfig: Path) -> None:
    """Halt what runs in the lab of KUBECONFIG, and wait until it is rolled back. Raises nothing."""
    from chaosmesh_ext import mesh
    from chaosmesh_ext.mesh.connect import load
    from chaosmesh_ext.mesh.transport import Kubeconfig
    from chaosmesh_ext.settings import load as settings

    try:
        client = mesh.Client(load(Kubeconfig((str(kubeconfig.absolute()),))))
        if not mesh.survey(client).runs:
            return
        mesh.halt(client, settings().system_namespace, mesh.whoami(), "the lab is going down")
        end = time.monotonic() + _PATIENCE
        while mesh.survey(client).runs and time.monotonic() < end:
            time.sleep(_PAUSE)
    except ChaosMeshError:
        return  # it may have died, and then there is nothing to ask

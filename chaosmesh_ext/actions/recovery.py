"""The action that takes faults out."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import as_json, counted
from chaosmesh_ext.errors import NotFound
from chaosmesh_ext.run import undo_runs

__all__ = ["recover"]


def recover(run: str = None, configuration: Configuration = None, secrets: Secrets = None) -> Dict[str, Any]:
    """
    Take out what this experiment's run injected, and prove that it is gone; or,
    given the token of another `run` (or `all`), what that one left in the mesh.

    Fails with what is left and how to recover it, and for another run of which
    nothing is there. Nothing of its own to undo is no failure. Returns the
    objects that are clean again.
    """
    with counted(configuration, secrets) as current:
        if run in (None, current.token):
            undone = current.undo()
            return {"run": current.token, **as_json(undone)}
        recovered = undo_runs(current.client, None if run == "all" else run)
        recovered.check()
        if run != "all" and not recovered.runs:
            raise NotFound(f"no run {run} has anything in the mesh; `chaos mesh runs` lists those that have")
        return {"run": run, "objects": list(recovered.objects)}

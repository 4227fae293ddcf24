"""`chaos mesh recover`: undo what runs left in the mesh; everything needed is in the mesh itself."""

from __future__ import annotations

import json

import click

from chaosmesh_ext.cli.runs import namespace_option
from chaosmesh_ext.errors import NotFound
from chaosmesh_ext.visible import visible

__all__ = ["recover"]


@click.command()
@click.option("--run", "run_token", default="", help="Only this run's, e.g. 1f0c9a2e; `chaos mesh runs` lists them.")
@click.option("--all", "everything", is_flag=True, help="Every run's, those under way too: they stop.")
@click.option("--expired", is_flag=True, help="Only of runs that are over: those that `chaos mesh runs` calls expired.")
@namespace_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recover(run_token: str, everything: bool, expired: bool, namespaces: tuple[str, ...], as_json: bool) -> None:
    """Undo what a run left in the mesh, from any machine, whatever became of the process that injected it.

    Exits 5 when something could not be removed, and says what; 3 when this account may not see some kind of objects
    that faults can be in, and nothing else is left.

    \b
    Example:
      chaos mesh recover --all
    """  # noqa: D301 - \b is click's word for "do not wrap"
    if (bool(run_token), everything, expired).count(True) != 1:
        raise click.UsageError("give one of --run RUN, --all and --expired; `chaos mesh runs` lists what is injected")
    from chaosmesh_ext.mesh import connect
    from chaosmesh_ext.run import undo_runs
    from chaosmesh_ext.settings import load

    recovered = undo_runs(connect(), run_token or None, expired=expired, namespaces=namespaces or (load().namespace,))
    if run_token and not recovered.runs and not recovered.unseen:
        raise NotFound(f"no run {run_token} has anything in the mesh; `chaos mesh runs` lists those that have")
    if as_json:
        click.echo(json.dumps({"runs": recovered.runs, "recovered": recovered.objects, "left": recovered.left}))
    else:
        lines = [f"clean again: {visible(name)}" for name in recovered.objects] + [
            f"ended: {run}" for run in recovered.runs
        ]
        click.echo("\n".join(lines) or ("Nothing was found." if recovered.unseen else "Nothing was injected."))
    recovered.check()

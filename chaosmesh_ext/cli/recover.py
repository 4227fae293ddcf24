"""`chaos mesh recover`: undo what runs left in the mesh; everything needed is in the mesh itself."""

from __future__ import annotations

import json

import click

from chaosmesh_ext.errors import NotFound

__all__ = ["recover"]


@click.command()
@click.option("--run", "run_token", default="", help="Only this run's, e.g. 1f0c9a2e; `chaos mesh runs` lists them.")
@click.option("--all", "everything", is_flag=True, help="Every run's, those under way too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recover(run_token: str, everything: bool, as_json: bool) -> None:
    """Undo what a run left in the mesh, from any machine, whatever became of the process that injected it.

    Exits 5 when something could not be removed, and says what.

    \b
    Example:
      chaos mesh recover --all
    """  # noqa: D301 - \b is click's word for "do not wrap"
    if bool(run_token) == everything:
        raise click.UsageError("give either --run RUN or --all; `chaos mesh runs` lists what is injected")
    from chaosmesh_ext.mesh import connect
    from chaosmesh_ext.run import recover as undo
    from chaosmesh_ext.run import runs

    client = connect()
    if run_token and run_token not in {injection.run for injection in runs(client)}:
        raise NotFound(f"no run {run_token} has anything in the mesh; `chaos mesh runs` lists those that have")
    undone = undo(client, run_token or None)
    if as_json:
        click.echo(json.dumps({"recovered": undone}))
        return
    click.echo("\n".join(f"clean again: {name}" for name in undone) or "Nothing was injected.")

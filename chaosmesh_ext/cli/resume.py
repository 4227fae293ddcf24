"""`chaos mesh resume`: allow runs again after a halt."""

from __future__ import annotations

import json

import click

__all__ = ["resume"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resume(as_json: bool) -> None:
    """Allow runs again after `chaos mesh halt`; those that were stopped do not go on.

    \b
    Example:
      chaos mesh resume --json
    """  # noqa: D301 - \b is click's word for "do not wrap"
    import msgspec

    from chaosmesh_ext import mesh
    from chaosmesh_ext.settings import load

    was = mesh.resume(mesh.connect(), load().system_namespace)
    if as_json:
        click.echo(json.dumps({"resumed": was is not None, "halt": msgspec.to_builtins(was)}))
        return
    click.echo(
        f"Runs are allowed again; {was.by} had halted them at {was.at}: {was.reason}."
        if was
        else "Nobody had halted runs."
    )

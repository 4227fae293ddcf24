"""`chaos mesh runs`: what is injected now."""

from __future__ import annotations

import json

import click

__all__ = ["runs"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(as_json: bool) -> None:
    """Say which runs have something in the mesh now, and in which objects.

    \b
    Example:
      chaos mesh runs --json
    """  # noqa: D301 - \b is click's word for "do not wrap"
    import msgspec

    from chaosmesh_ext.mesh import connect
    from chaosmesh_ext.run import runs as injected

    found = injected(connect())
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found)))
        return
    if not found:
        click.echo("Nothing is injected.")
    for injection in found:
        click.echo(f"{injection.run}  {', '.join(injection.objects)}")

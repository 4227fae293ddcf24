"""`chaos mesh halt`: stop every run of the cluster, and refuse new ones."""

from __future__ import annotations

import json

import click

from chaosmesh_ext.visible import visible

__all__ = ["halt"]


@click.command()
@click.option("--reason", default="", help="Why; whoever is stopped by it is told.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def halt(reason: str, as_json: bool) -> None:
    """Stop every run of the cluster, wherever it runs from: each rolls back within a second or so; new ones are
    refused until `chaos mesh resume`.

    \b
    Example:
      chaos mesh halt --reason "incident 4711"
    """  # noqa: D301 - \b is click's word for "do not wrap"
    import msgspec

    from chaosmesh_ext import mesh
    from chaosmesh_ext.settings import load

    by, why = visible(mesh.whoami()), visible(reason) or "no reason given"
    there = mesh.halt(mesh.connect(), load().system_namespace, by, why)
    already = (there.by, there.reason) != (by, why)
    if as_json:
        click.echo(json.dumps({**msgspec.to_builtins(there), "already": already}))
        return
    already_words = f"Halted already, by {there.by} at {there.at}: {there.reason}."
    click.echo(already_words if already else f"Halted: {there.reason}. Runs stop and roll back; new ones are refused.")
    click.echo("Allow them again: chaos mesh resume")

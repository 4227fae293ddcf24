"""`chaos mesh runs`: what is injected now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from chaosmesh_ext.visible import visible

if TYPE_CHECKING:
    from chaosmesh_ext.run import Injection

__all__ = ["namespace_option", "runs"]

namespace_option = click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    help="Where to look if the account may not list the whole cluster; may be repeated. Default: CHAOSMESH_NAMESPACE.",
)


@click.command()
@namespace_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(namespaces: tuple[str, ...], as_json: bool) -> None:
    """Say which runs have something in the mesh now: whose they are, until when, whether they live, in which objects.

    Exits 3 when this account may not see some kind of objects that faults can be in, and says which.

    \b
    Example:
      chaos mesh runs --json
    """  # noqa: D301 - \b is click's word for "do not wrap"
    import msgspec

    from chaosmesh_ext.mesh import connect
    from chaosmesh_ext.run import injections
    from chaosmesh_ext.settings import load

    spaces = namespaces or (load().namespace,)
    found = injections(connect(), spaces)
    if not found.whole:
        click.echo(f"Only {', '.join(spaces)} was looked into: this account may not list the whole cluster.", err=True)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found.runs)))
    elif not found.runs:
        click.echo("Nothing was found." if found.unseen else "Nothing is injected.")
    else:
        click.echo("\n".join(line for injection in found.runs for line in _lines(injection)))
    found.check()


def _lines(injection: Injection) -> Iterator[str]:
    words = [injection.run, f"expired: {injection.why}" if injection.why else f"live until {injection.deadline}"]
    if injection.holder:
        words.append(f"by {injection.holder} since {injection.since}")
    if injection.experiment:
        words.append(injection.experiment)
    yield "  ".join(map(visible, words))
    yield from (f"  {visible(name)}" for name in injection.objects)
    yield from (f"  lock on {visible(name)}" for name in injection.locks)
    yield from (f"  conflict: {visible(conflict)}" for conflict in injection.conflicts)

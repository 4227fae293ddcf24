"""`chaos mesh janitor`: undo what runs left that are over, once or for ever."""

from __future__ import annotations

import json
import signal
import sys
import threading
from typing import TYPE_CHECKING

import click

from chaosmesh_ext.cli.runs import namespace_option
from chaosmesh_ext.visible import visible

if TYPE_CHECKING:
    from chaosmesh_ext.run.janitor import Swept

__all__ = ["janitor"]

_TIMEOUT = (3.0, 8.0)
"""Seconds to connect, and to wait for the next bytes: its own Lease must be renewed meanwhile."""


@click.command()
@click.option("--watch", is_flag=True, help="For ever, until SIGTERM; of several janitors one leads, the others wait.")
@namespace_option
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each run.")
def janitor(watch: bool, namespaces: tuple[str, ...], as_json: bool) -> None:
    """Undo what runs left in the mesh that are over: whose Lease is missing, was not renewed, or whose deadline passed.

    Runs that live are left alone. Exits 5 when something could not be removed, and says what. manifests/janitor/ runs
    it in a cluster.

    \b
    Example:
      chaos mesh janitor --watch
    """  # noqa: D301 - \b is click's word for "do not wrap"
    from chaosmesh_ext.errors import Inconclusive, LeftBehind
    from chaosmesh_ext.mesh import Client, connect
    from chaosmesh_ext.run.janitor import Janitor, sweep
    from chaosmesh_ext.settings import load

    settings = load()
    client = connect()
    spaces = namespaces or (settings.namespace,)
    if watch:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: stop.set())
        Janitor(
            lambda: Client(client.access, timeout=_TIMEOUT),
            system=settings.system_namespace,
            duration=settings.lease_duration,
            tell=lambda swept: _tell(swept, as_json=as_json),
            namespaces=spaces,
        ).watch(stop)
        return
    left: list[str] = []
    ended = 0
    hidden = ""
    for swept in sweep(client, spaces):
        if swept.error:
            hidden = swept.error
            continue
        _tell(swept, as_json=as_json)
        left += [*swept.left, *swept.conflicts]
        ended += 1
    if not ended and not hidden and not as_json:
        click.echo("No run is over that left something.")
    if left:
        raise LeftBehind(f"left in the mesh: {'; '.join(left)}; look at each with kubectl")
    if hidden:
        raise Inconclusive(hidden)


def _tell(swept: Swept, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        line = json.dumps(msgspec.to_builtins(swept))
    elif swept.error:
        line = visible(f"cannot look now: {swept.error}")
    else:
        parts = [f"ended {swept.run}: {swept.why}"]
        parts += [f"clean again: {name}" for name in swept.undone]
        parts += [f"conflict: {conflict}" for conflict in swept.conflicts]
        parts += [f"left: {left}" for left in swept.left]
        line = visible("; ".join(parts))
    print(line, file=sys.stderr if swept.error else sys.stdout, flush=True)

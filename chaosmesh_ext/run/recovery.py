"""What is injected now, and how any process takes it out again: everything needed is in the cluster."""

from __future__ import annotations

import msgspec

from chaosmesh_ext.errors import ChaosMeshError, LeftBehind
from chaosmesh_ext.mesh import Client, holdings, take_out

__all__ = ["Injection", "recover", "runs"]


class Injection(msgspec.Struct, frozen=True):
    """A run that has something in the mesh. objects: which hold it, e.g. ``VirtualService default/details``."""

    run: str
    objects: tuple[str, ...]


def runs(client: Client) -> list[Injection]:
    """What is injected now, by run."""
    found: dict[str, list[str]] = {}
    for holding in holdings(client):
        found.setdefault(holding.run, []).append(str(holding))
    return [Injection(run, tuple(objects)) for run, objects in sorted(found.items())]


def recover(client: Client, run: str | None = None) -> list[str]:
    """Take everything of RUN, or of every run, out of the mesh; returns the objects that are clean again.

    Found by label, by annotation and by route names, so that it works from any machine and after an owner applied a
    copy that held our routes. Goes on to the end; then raises LeftBehind if something could not be removed.
    """
    undone, left = [], []
    for holding in holdings(client, run=run):
        try:
            conflicts = take_out(client, holding)
        except ChaosMeshError as error:
            left.append(f"{holding}: {error}")
            continue
        left += conflicts
        undone.append(str(holding))
    if left:
        raise LeftBehind(
            f"left in the mesh: {'; '.join(left)}; look at each with kubectl, then run `chaos mesh recover` again"
        )
    return undone

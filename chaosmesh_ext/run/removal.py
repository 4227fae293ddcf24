"""How a run's faults come out of the mesh while its runner lives, and how that is seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError, LeftBehind, NotRemoved, Unreachable
from chaosmesh_ext.mesh import Client, Holding, Witness
from chaosmesh_ext.run.growing import Growing

__all__ = ["Removed", "at_once", "remove", "seen_gone"]


class Removed(msgspec.Struct, frozen=True):
    """What a removal came to.

    objects: that are clean again. conflicts: values that somebody else changed meanwhile and that were left. failed:
    what may still be there, and why.
    """

    objects: tuple[str, ...]
    conflicts: tuple[str, ...]
    failed: tuple[str, ...]

    def check(self, run: str) -> None:
        """Raise LeftBehind unless nothing of RUN is left."""
        if left := (*self.failed, *self.conflicts):
            raise (NotRemoved if self.failed else LeftBehind)(
                f"run {run} left something in the mesh: {'; '.join(left)}; look at it with kubectl, and recover: "
                f"chaos mesh recover --run {run}"
            )


def remove(
    client: Client,
    run: str,
    cells: Sequence[Growing],
    namespaces: Collection[str],
    *,
    sweep: bool,
    kinds: Collection[str] = mesh.ROUTED_BY,
    witness: Witness = mesh.NOBODY,
) -> Removed:
    """Take CELLS of RUN out, the newest first, each object in one write; SWEEP: and what else of KINDS bears its name.

    WITNESS hears of it. Raises nothing.
    """
    objects: list[str] = []
    conflicts: list[str] = []
    failed: list[str] = []
    lost: dict[tuple[str, str, str], str] = {}

    def take_out(holding: Holding, cells: Collection[str] | None) -> None:
        try:
            conflicts.extend(mesh.take_out(client, holding, cells))
        except ChaosMeshError as error:
            lost[holding.kind, holding.namespace, holding.name] = f"{holding}: {error}"
        else:
            lost.pop((holding.kind, holding.namespace, holding.name), None)  # what failed before, and not again
            objects.append(str(holding))
            for cell in cells or ():
                witness.forget(holding.kind, holding.namespace, holding.name, cell)

    for one in cells:
        one.leaving = True
    for holding, held in _held(cells):
        take_out(holding, held)
    for one in cells:
        one.ended = one.ended or time.time()
    if sweep:
        try:
            for holding in mesh.holdings(client, namespaces, run=run, kinds=kinds):
                take_out(holding, None)
        except ChaosMeshError as error:
            failed.append(str(error))
    failed += lost.values()
    return Removed(*(tuple(dict.fromkeys(found)) for found in (objects, conflicts, failed)))


def _held(cells: Sequence[Growing]) -> list[tuple[Holding, tuple[str, ...]]]:
    """What carries CELLS, the newest first, each object once, with what it has of them."""
    found: dict[str, tuple[Holding, tuple[str, ...]]] = {}
    for cell in reversed(cells):
        for holding in cell.holdings:
            before, ids = found.get(str(holding), (msgspec.structs.replace(holding, entries=()), ()))
            whole = msgspec.structs.replace(before, entries=(*before.entries, *holding.entries))
            found[str(holding)] = whole, tuple(dict.fromkeys((*ids, cell.id)))
    return list(found.values())


def seen_gone(cells: Sequence[Growing]) -> float | None:
    """See that the faults of CELLS are gone, where they were seen to be there; seconds that the last of them took.

    Those of one wave are looked for together. Raises LeftBehind.
    """
    shown = {id(cell.prover): cell for cell in reversed(cells) if cell.proven and cell.prover is not None}
    found: list[float] = []
    for cell in reversed(shown.values()):
        try:
            after = cell.prover.gone() if cell.prover else None
        except Unreachable as error:
            raise LeftBehind(
                f"the fault on {cell.place} was removed, but could not be shown to be gone: {error}"
            ) from error
        found += [] if after is None else [after]
    return max(found, default=None)


def at_once(
    connect: Callable[[], Client],
    run: str,
    cells: Sequence[Growing],
    namespaces: Collection[str],
    until: float,
    kinds: Collection[str] = mesh.ROUTED_BY,
) -> list[str]:
    """Take everything of RUN out, over and over UNTIL that time (epoch), on a connection of its own; what is left.

    For a run that may be in the middle of anything: its own connection, and a write that has not arrived yet.
    """
    try:
        client = connect()
    except ChaosMeshError as error:
        return [str(error)]
    while True:
        removed = remove(client, run, cells, namespaces, sweep=True, kinds=kinds)
        if removed.failed or time.time() >= until:
            return [*removed.failed, *removed.conflicts]
        time.sleep(0.2)

"""One way to end a run, for the run itself, its watchdog, the janitor and `chaos mesh recover`.

Objects come first, then locks, then the run's Lease: whoever stops half-way leaves what names the run, and whoever
comes next goes on there. Several may do so at once.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from chaosmesh_ext.errors import ChaosMeshError, Forbidden
from chaosmesh_ext.mesh import locks
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.lease import RunLease
from chaosmesh_ext.mesh.ledger import LABEL
from chaosmesh_ext.mesh.listing import everywhere
from chaosmesh_ext.mesh.writes import CARRIED_BY, holdings, take_out
from chaosmesh_ext.redaction import words

__all__ = ["Ended", "end", "let_go"]


class Ended(msgspec.Struct, frozen=True):
    """What the end of a run came to.

    undone: the objects that are clean again. conflicts: fields that somebody else changed meanwhile, which were left
    so; nothing of ours is in them, but somebody should look. left: what may still be there of the run, and why.
    """

    undone: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def end(
    client: Client,
    run: str,
    namespaces: Collection[str] = (),
    *,
    kinds: Collection[str] = CARRIED_BY,
    told: bool = False,
) -> Ended:
    """Take everything of RUN out of the cluster, and go on to the end whatever fails; raises nothing of ours.

    A run of which nothing is there has ended well. NAMESPACES are asked one by one where the account may not list the
    whole cluster. KINDS: of the objects that may hold something. Locks and Lease stay as long as an object may still
    hold a fault: they keep other runs away and say whose it is. TOLD: a person hears of the conflicts now, so that
    their notes may go.
    """
    undone: list[str] = []
    conflicts: list[str] = []
    left: list[str] = []
    unseen: dict[str, Forbidden] = {}
    for kind in kinds:
        try:
            found = holdings(client, namespaces, run=run, kinds=(kind,))
        except Forbidden as error:
            unseen[kind] = error
            continue
        except ChaosMeshError as error:
            left.append(f"objects of kind {kind} could not be looked for: {error}")
            continue
        for holding in found:
            try:
                conflicts += take_out(client, holding, told=told)
            except ChaosMeshError as error:
                left.append(f"{holding}: {error}")
            except Exception as error:  # one object that makes no sense must not keep the others
                left.append(f"{holding}: {words(error)}")
            else:
                undone.append(str(holding))
    if unseen:
        first = next(iter(unseen.values()))
        left.append(f"objects of kind {', '.join(unseen)} could not be looked for: {first}")
    if not left:
        left += let_go(client, run, namespaces)
    return Ended(tuple(undone), tuple(conflicts), tuple(left))


def let_go(client: Client, run: str, namespaces: Collection[str] = ()) -> list[str]:
    """Release RUN's locks, then delete its Lease; returns what is left, and why."""
    try:
        leases = everywhere(client, "Lease", namespaces, labels=LABEL)
    except ChaosMeshError as error:
        return [f"Leases could not be looked for: {error}"]
    left: list[str] = []
    own: list[Obj] = []
    for obj in leases:
        lease = RunLease.read(obj)
        if lease is not None:
            own += [obj] if lease.run == run else []
        elif run in locks.runs_of(obj):
            try:
                locks.release(client, obj, run)
            except ChaosMeshError as error:
                left.append(f"{_name(obj)}: {error}")
    for obj in own if not left else ():
        meta = obj["metadata"]
        try:
            client.delete("Lease", meta["namespace"], meta["name"], uid=meta["uid"])
        except ChaosMeshError as error:
            left.append(f"{_name(obj)}: {error}")
    return left


def _name(obj: Obj) -> str:
    return f"Lease {obj['metadata']['namespace']}/{obj['metadata']['name']}"

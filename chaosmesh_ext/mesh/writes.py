"""Changes reach the cluster, and leave it again: each one a compare-and-swap on the fresh object (D2)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from chaosmesh_ext.errors import Conflict, NotFound
from chaosmesh_ext.mesh import ledger
from chaosmesh_ext.mesh.change import Change, Create, Edit
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.listing import everywhere
from chaosmesh_ext.mesh.pointer import Op
from chaosmesh_ext.mesh.witness import NOBODY, Witness

__all__ = ["CARRIED_BY", "ROUTED_BY", "Holding", "holdings", "put", "take_out"]

ROUTED_BY: Final = ("EnvoyFilter", "VirtualService")
"""The kinds that may hold a delay or an abort."""

CARRIED_BY: Final = (
    *ROUTED_BY,
    "DestinationRule",
    "HTTPRoute",
    "AuthorizationPolicy",
    "PeerAuthentication",
    "RequestAuthentication",
    "ServiceEntry",
    "Sidecar",
)
"""The kinds that may hold something of ours."""

_ATTEMPTS: Final = 20
"""Conflicts in a row after which somebody is rewriting the object faster than we can read it."""


class Holding(msgspec.Struct, frozen=True):
    """An object that holds something of a run.

    created: all of it is ours. entries: what the run put there (`mesh.entries` of the object that `put` returned), for
    the case that an owner applies a copy without our note: a field that we set bears no name of ours.
    """

    run: str
    kind: str
    namespace: str
    name: str
    created: bool = False
    entries: tuple[ledger.Entry, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def put(client: Client, change: Change, *, witness: Witness = NOBODY) -> Obj:
    """Make CHANGE. Raises what the API refuses; Conflict when an object of that name is already there."""
    if isinstance(change, Create):
        return witness.create(client, change.obj)
    if change.stored is not None:
        _try_out(client, change, change.stored)
    return _swap(client, change.target, change.compute, witness)


def _try_out(client: Client, change: Edit, stored: Callable[[Obj], None]) -> None:
    """See by a dry run that the API server would keep CHANGE whole, before anything is written."""
    kind, namespace, name = change.target
    for _ in range(_ATTEMPTS):
        obj = client.get(kind, namespace, name)
        version = obj["metadata"]["resourceVersion"]
        try:
            stored(client.json_patch(kind, namespace, name, change.compute(obj), version=version, dry_run=True))
        except Conflict:
            continue
        return
    raise _rewritten(kind, namespace, name)


def _swap(
    client: Client, target: tuple[str, str, str], compute: Callable[[Obj], list[Op]], witness: Witness = NOBODY
) -> Obj:
    kind, namespace, name = target
    for _ in range(_ATTEMPTS):
        obj = client.get(kind, namespace, name)
        ops = compute(obj)
        if not ops:
            return obj
        try:
            version = obj["metadata"]["resourceVersion"]
            return witness.json_patch(client, kind, namespace, name, ops, version=version)
        except Conflict:
            continue
    raise _rewritten(kind, namespace, name)


def _rewritten(kind: str, namespace: str, name: str) -> Conflict:
    return Conflict(
        f"{kind} {namespace}/{name} changed {_ATTEMPTS} times while it was being written: find out who rewrites it",
        status=409,
        reason="Conflict",
    )


def take_out(
    client: Client, holding: Holding, cell: str | Collection[str] | None = None, *, told: bool = False
) -> tuple[str, ...]:
    """Take what HOLDING's run, or one CELL or several of it, put into the object out of it again; nothing there is no
    error.

    Returns the conflicts: what was left because somebody else changed it. Their note stays in the object, and this
    returns them again, until somebody asks who was TOLD of them: a person, by `chaos mesh recover`.
    """

    def undone_in(obj: Obj) -> ledger.Undone:
        return ledger.undo(obj, holding.run, cell, memory=holding.entries, told=told)

    for _ in range(_ATTEMPTS):
        obj = client.find(holding.kind, holding.namespace, holding.name)
        if obj is None or not undone_in(obj).delete:
            break
        try:
            client.delete(holding.kind, holding.namespace, holding.name, uid=obj["metadata"]["uid"])
        except Conflict:
            continue
        return ()
    else:
        raise _rewritten(holding.kind, holding.namespace, holding.name)
    if obj is None:
        return ()
    conflicts: tuple[str, ...] = ()

    def compute(fresh: Obj) -> list[Op]:
        nonlocal conflicts
        undone = undone_in(fresh)
        conflicts = tuple(f"{holding}: {conflict}" for conflict in undone.conflicts)
        return list(undone.ops)

    try:
        _swap(client, (holding.kind, holding.namespace, holding.name), compute)
    except NotFound:
        return ()
    return conflicts


def holdings(
    client: Client,
    namespaces: Collection[str] = (),
    *,
    run: str | None = None,
    kinds: Collection[str] = CARRIED_BY,
    labels: str = "",
) -> list[Holding]:
    """Everything in the cluster that holds something of any run, or of RUN.

    NAMESPACES are asked one by one where the account may not list the whole cluster. LABELS: a label selector; with it
    what an owner applied again from a copy is not found. Raises Forbidden where the account may not look.
    """
    return [
        Holding(one, kind, obj["metadata"]["namespace"], obj["metadata"]["name"], ledger.ours(obj))
        for kind in kinds
        for obj in everywhere(client, kind, namespaces, labels=labels)
        for one in sorted(ledger.runs_in(obj))
        if run in (None, one)
    ]

"""What runs have in the cluster now: found by Leases, labels, notes and by the names of routes."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from chaosmesh_ext.errors import Forbidden
from chaosmesh_ext.mesh import ledger, locks
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.lease import RunLease
from chaosmesh_ext.mesh.ledger import LABEL
from chaosmesh_ext.mesh.listing import everywhere
from chaosmesh_ext.mesh.writes import CARRIED_BY, ROUTED_BY, Holding
from chaosmesh_ext.redaction import words

__all__ = ["Found", "Survey", "survey"]


class Found(msgspec.Struct, frozen=True):
    """What a run has in the cluster.

    lease: None where it has none. locks: ``namespace/host`` of each. holdings: the objects that hold something of it.
    conflicts: what an undo would leave as it is now, and why. versions: which state of the cluster this is.
    """

    run: str
    lease: RunLease | None = None
    locks: tuple[str, ...] = ()
    holdings: tuple[Holding, ...] = ()
    conflicts: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    def over(self, now: float) -> str:
        """Why the run is over at NOW, the server's time; empty while it is not."""
        return self.lease.expired(now) if self.lease else "its Lease is missing"


class Survey(msgspec.Struct, frozen=True):
    """runs: by token. whole: False where the account could see only some namespaces. unseen: the kinds of which it
    could see nothing: a run may have more there.
    """

    runs: tuple[Found, ...]
    whole: bool = True
    unseen: tuple[str, ...] = ()


def survey(
    client: Client, namespaces: Collection[str] = (), *, kinds: Collection[str] = CARRIED_BY, labels: str = ""
) -> Survey:
    """What runs have in the cluster now, or in NAMESPACES where the account may not list the whole cluster.

    KINDS: of the objects that hold faults; with none only Leases and locks are asked for. LABELS: a label selector for
    those objects; with it, what an owner applied again from a copy is not found. Raises Forbidden where the account may
    see neither Leases nor what holds delays and aborts; of another kind that it may not see, the answer says so.

    Objects are asked for before Leases: a run's Lease is there before its first object and goes after its last one, so
    an object that has none here has none.
    """
    objects: dict[str, list[Obj]] = {}
    whole = True
    unseen: list[str] = []
    for kind in (*kinds, "Lease"):
        chosen = LABEL if kind == "Lease" else labels
        try:
            try:
                objects[kind] = everywhere(client, kind, (), labels=chosen)
            except Forbidden:
                if not namespaces:
                    raise
                objects[kind] = everywhere(client, kind, namespaces, labels=chosen)
                whole = False
        except Forbidden:
            if kind in ROUTED_BY or kind == "Lease":
                raise
            unseen.append(kind)
    growing: dict[str, _Growing] = {}
    for kind in kinds:
        for obj in objects.get(kind, ()):
            for run in ledger.runs_in(obj):
                growing.setdefault(run, _Growing()).hold(run, kind, obj)
    for obj in objects["Lease"]:
        lease = RunLease.read(obj)
        if lease is not None:
            growing.setdefault(lease.run, _Growing()).lease = lease
            continue
        for run in locks.runs_of(obj):
            growing.setdefault(run, _Growing()).lock(obj)
    return Survey(tuple(found.done(run) for run, found in sorted(growing.items())), whole, tuple(unseen))


class _Growing:
    def __init__(self) -> None:
        self.lease: RunLease | None = None
        self._locks: list[str] = []
        self._holdings: list[Holding] = []
        self._conflicts: list[str] = []
        self._versions: list[str] = []

    def hold(self, run: str, kind: str, obj: Obj) -> None:
        meta = obj["metadata"]
        holding = Holding(run, kind, meta["namespace"], meta["name"], ledger.ours(obj))
        self._holdings.append(holding)
        try:
            self._conflicts += [f"{holding}: {conflict}" for conflict in ledger.undo(obj, run).conflicts]
        except Exception as error:  # one object that makes no sense must not hide the others
            self._conflicts.append(f"{holding}: {words(error)}")
        self._version(obj)

    def lock(self, obj: Obj) -> None:
        self._locks.append(locks.host_of(obj))
        self._version(obj)

    def _version(self, obj: Obj) -> None:
        meta = obj["metadata"]
        self._versions.append(f"{meta.get('uid', '')}/{meta.get('resourceVersion', '')}")

    def done(self, run: str) -> Found:
        return Found(
            run,
            self.lease,
            tuple(self._locks),
            tuple(self._holdings),
            tuple(self._conflicts),
            tuple(sorted(self._versions)),
        )

"""What is injected now, and how any process takes it out again: everything needed is in the cluster."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError, Inconclusive, LeftBehind
from chaosmesh_ext.mesh import Client

__all__ = ["Injection", "Injections", "Recovered", "injections", "recover", "runs", "undo_runs"]


class Injection(msgspec.Struct, frozen=True):
    """A run that has something in the cluster.

    state: live, or expired, and then why. objects: which hold its faults, e.g. ``VirtualService default/details``.
    conflicts: what an undo leaves there, for somebody else changed it. locks: the callers' namespace and the host of
    each. holder: ``user@host:pid``. since, deadline: RFC 3339 by the API server's clock. What only its Lease could say
    is empty without one.
    """

    run: str
    state: Literal["live", "expired"]
    why: str
    objects: tuple[str, ...]
    locks: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    holder: str = ""
    experiment: str = ""
    since: str = ""
    deadline: str = ""


class Injections(msgspec.Struct, frozen=True):
    """runs: what is injected now. whole: False where the account could look into some namespaces only. unseen: the
    kinds of objects that it may not list, in which more may be.
    """

    runs: tuple[Injection, ...]
    whole: bool = True
    unseen: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise Inconclusive when something could not be looked for."""
        _seen(self.unseen)


class Recovered(msgspec.Struct, frozen=True):
    """runs: that were ended. objects: that are clean again. left: what may still be there of them, or needs a look.
    unseen: the kinds of objects that the account may not list, in which more runs may have something.
    """

    runs: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise LeftBehind when something is left, Inconclusive when something could not be looked for."""
        if self.left:
            raise LeftBehind(
                f"left in the mesh: {'; '.join(self.left)}; look at each with kubectl, then run `chaos mesh recover` "
                "again"
            )
        _seen(self.unseen)


def _seen(unseen: Collection[str]) -> None:
    if unseen:
        raise Inconclusive(
            f"not looked for: what may be in objects of kind {', '.join(unseen)}, which this account may not list; "
            "manifests/rbac/ has what it needs"
        )


def injections(client: Client, namespaces: Collection[str] = ()) -> Injections:
    """What is injected now, by run; found by Leases, labels, notes and by route names.

    NAMESPACES are looked into where the account may not list the whole cluster. Raises Forbidden where it may not look
    there either.
    """
    found = mesh.survey(client, namespaces)
    now = client.server_time()
    return Injections(tuple(_injection(one, now) for one in found.runs), found.whole, found.unseen)


def runs(client: Client, namespaces: Collection[str] = ()) -> list[Injection]:
    """As `injections`, only the runs."""
    return list(injections(client, namespaces).runs)


def _injection(found: mesh.Found, now: float) -> Injection:
    why = found.over(now)
    lease = found.lease
    return Injection(
        run=found.run,
        state="expired" if why else "live",
        why=why,
        objects=tuple(map(str, found.holdings)),
        locks=found.locks,
        conflicts=found.conflicts,
        holder=lease.holder if lease else "",
        experiment=lease.experiment if lease else "",
        since=mesh.time_text(lease.acquired) if lease and lease.acquired else "",
        deadline=mesh.time_text(lease.deadline) if lease else "",
    )


def undo_runs(
    client: Client,
    run: str | None = None,
    *,
    expired: bool = False,
    namespaces: Collection[str] = (),
) -> Recovered:
    """End RUN, or every run, or only those that EXPIRED by the server's time; goes on to the end.

    One that lives is ended too, where it is meant: its runner finds its Lease gone and stops. Conflicts are told once:
    whoever asks is the person to look. Raises what keeps it from looking; all else is in what it returns.
    """
    found = mesh.survey(client, namespaces)
    now = client.server_time()
    ended: list[str] = []
    objects: list[str] = []
    left: list[str] = []
    for one in found.runs:
        if run not in (None, one.run) or (expired and not one.over(now)):
            continue
        came = mesh.end(client, one.run, namespaces, told=True)
        ended.append(one.run)
        objects += came.undone
        left += [*came.conflicts, *came.left]
        if came.left and one.lease and not one.over(now):
            left += _stop(client, one.lease)
    return Recovered(tuple(ended), tuple(objects), tuple(left), found.unseen)


def recover(
    client: Client, run: str | None = None, *, expired: bool = False, namespaces: Collection[str] = ()
) -> list[str]:
    """As `undo_runs`; returns the objects that are clean again, and raises LeftBehind when something is left."""
    recovered = undo_runs(client, run, expired=expired, namespaces=namespaces)
    recovered.check()
    return list(recovered.objects)


def _stop(client: Client, lease: mesh.RunLease) -> list[str]:
    """Take the LEASE of a run that could not be undone: if its runner lives, it stops, and undoes what it can."""
    try:
        client.delete("Lease", lease.namespace, lease.name, uid=lease.uid)
    except ChaosMeshError as error:
        return [f"Lease {lease.namespace}/{lease.name}: {error}"]
    return []

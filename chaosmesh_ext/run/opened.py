"""What an open run holds beside its faults: the Lease, the watchdog, the keeper and the host locks (D3).

It is there before the first fault is written, and goes after the last one: first the faults, then the locks, then the
Lease. Whoever sees a fault can thus find the Lease of its run, or knows that the run is over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Final, Self, TypeVar

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError, LeftBehind
from chaosmesh_ext.mesh import Client, Place, RunLease, Watchdog, Witness
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.reach import target
from chaosmesh_ext.observe.stores import has_store
from chaosmesh_ext.run.audit import Audit, strangers
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.keeper import Keeper
from chaosmesh_ext.run.problems import Problem
from chaosmesh_ext.run.requests import Sent
from chaosmesh_ext.settings import Settings

__all__ = ["Opened"]

_MARGIN: Final = 120.0
"""Seconds on top of what an experiment is expected to take."""
T = TypeVar("T")


class Opened:
    """An open run.

    witness: what every write of the run must go through. audit: counts everybody's faulted calls since the run was
    opened, where there are metrics and traces.
    """

    def __init__(self, run: str, watchdog: Watchdog, audit: Audit | None) -> None:
        self.run, self.audit = run, audit
        self.witness = Witness(watchdog)
        self._watchdog = watchdog
        self._keeper: Keeper | None = None
        self._lease: RunLease | None = None
        self._announced: set[str] = set()
        self._locked: dict[tuple[str, str], bool] = {}
        self._beside: dict[str, set[str]] = {}

    @classmethod
    def open(
        cls,
        client: Client,
        run: str,
        namespace: str,
        *,
        settings: Settings,
        experiment: str,
        length: float | None,
        connect: Callable[[], Client],
        disturbed: Callable[[Client], str],
        stop: Callable[[ChaosMeshError], None],
        ready: Watchdog | None = None,
    ) -> Self:
        """Open RUN with its Lease in NAMESPACE.

        LENGTH: seconds that the experiment should take; without it the run may take the setting max_run. DISTURBED:
        what somebody changed under a fault, or nothing. STOP ends the run, from another thread. READY: its watchdog,
        where that was made ready. Raises what the API refuses; nothing is left then.
        """
        most = settings.max_run
        length = most if length is None else min(length + _MARGIN, most)
        audit = None
        if settings.prometheus_url and has_store(settings):
            audit = Audit(Prometheus(target(settings, "prometheus")))
        opened = cls(run, Watchdog.start(client.access, run=run, deadline=length, ready=ready), audit)
        try:
            now = client.server_time()
            lease = RunLease(
                run, namespace, f"{mesh.whoami()}:{os.getpid()}", settings.lease_duration, now, now + length, experiment
            )
            made = opened.witness.create(client, lease.object())
        except BaseException:
            opened._watchdog.close()
            raise
        opened._lease = RunLease.read(made) or lease
        opened._keeper = Keeper(
            opened._lease,
            watchdog=opened._watchdog,
            connect=connect,
            system=settings.system_namespace,
            length=length,
            disturbed=disturbed,
            stop=stop,
        )
        opened._keeper.start()
        return opened

    def lock(self, client: Client, place: Place) -> None:
        """Lock the host of PLACE for this run's callers; raises mesh.Locked, naming the run that has it."""
        where, exact = (place.namespace, place.destination.host), place.marker is not None
        if where in self._locked and exact >= self._locked[where]:
            return
        self._watchdog.namespaces(sorted({place.namespace, place.destination.namespace} - {""}))
        mesh.lock(client, *where, mesh.Holder(self.run, exact), witness=self.witness)
        self._locked[where] = exact

    def announce(self, client: Client, cell: Growing, *, removed: bool = False) -> None:
        """Tell whoever is on call, by an Event, that CELL's fault is in; or REMOVED, where that was told."""
        if self._lease is None or removed != (cell.id in self._announced):
            return
        self._announced ^= {cell.id}
        carried_by = cell.holdings[0] if cell.holdings else None
        mesh.announce(client, cell.place, self._lease, str(cell.injected), removed=removed, carried_by=carried_by)

    def end(self, client: Client, undo: Callable[[], T], namespaces: Collection[str]) -> T:
        """UNDO what is left while the run still lives, then end it.

        When that fails the watchdog is left to it, which undoes what it can for as long as the run was allowed to last.
        """
        try:
            undone = undo()
            if self.audit is not None:
                with suppress(ChaosMeshError):  # then nobody is known, and the audit says so or not
                    self._beside = self._now_beside(client)
            if left := mesh.let_go(client, self.run, namespaces):
                raise LeftBehind(
                    f"the faults of the run {self.run} are out, but not its locks: {'; '.join(left)}; "
                    f"recover: chaos mesh recover --run {self.run}"
                )
        except BaseException:
            self._silence()
            self._watchdog.abandon()
            raise
        self._silence()
        self._watchdog.close()
        return undone

    def beside(self, client: Client) -> dict[str, set[str]]:
        """By host, the runs that have or had a fault of theirs on it since this one has; asked after the end."""
        now = self._now_beside(client)
        return {host: self._beside.get(host, set()) | now.get(host, set()) for host in {*self._beside, *now}}

    def strangers(
        self, client: Client, grown: Sequence[Growing], sent: Callable[[], Iterable[Sent]], *, hurry: bool
    ) -> tuple[list[Problem], list[str]]:
        """Whom the faults of the cells GROWN met that they were not meant for; see `audit.strangers`."""
        if self.audit is None:
            return [], []

        def beside() -> dict[str, set[str]]:
            found = self.beside(client)
            called = [cell.place.destination for cell in grown]
            return {one.service: found.get(one.host, set()) for one in called}

        return strangers(self.audit, grown, sent, beside=beside, hurry=hurry)

    def _now_beside(self, client: Client) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for namespace, host in self._locked:
            found.setdefault(host, set()).update(mesh.beside(client, namespace, host, self.run))
        return found

    def _silence(self) -> None:
        if self._keeper is not None:
            self._keeper.end()

"""The janitor: in a cluster, for as long as that lives, it ends the runs that are over and that nobody ended.

It compares no clocks of two machines. A run is over when its Lease has not changed for its duration by the janitor's
own monotonic clock, when its deadline passed by the API server's, or when it has been seen without a Lease for the
duration of one. A halt is none of its business.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.mesh import Client, Found

__all__ = ["Janitor", "Swept", "sweep"]

_PATIENCE: Final = 5.0
"""Most seconds between two attempts at what fails."""
_BAKED_IN: Final = 30.0
"""Seconds between two looks at every object, also those without a label: routes of ours that an owner applied again."""
_LONG_AGO: Final = float("-inf")
_SAID: Final = 60.0
"""Seconds after which an error that stays is said again."""


class Swept(msgspec.Struct, frozen=True):
    """A run that was ended, or an error that kept the janitor from looking, which is then its only content.

    run: its token. why: it was over. undone, conflicts, left: as in `mesh.Ended`.
    """

    run: str = ""
    why: str = ""
    undone: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    error: str = ""


def sweep(client: Client, namespaces: Collection[str] = ()) -> Iterator[Swept]:
    """End each run that is over by the API server's time, once; goes on to the end.

    NAMESPACES are asked one by one where the account may not list the whole cluster. Raises what keeps it from looking.
    """
    found = mesh.survey(client, namespaces)
    now = client.server_time()
    for one in found.runs:
        if why := one.over(now):
            yield _end(client, one, why, namespaces)
    if found.unseen:
        yield Swept(error=_hidden(found.unseen))


def _hidden(unseen: Collection[str]) -> str:
    return (
        f"may not list objects of kind {', '.join(unseen)}: what runs leave there stays; manifests/janitor/ has what a "
        "janitor needs"
    )


def _end(client: Client, found: Found, why: str, namespaces: Collection[str]) -> Swept:
    ended = mesh.end(client, found.run, namespaces)
    return Swept(found.run, why, ended.undone, ended.conflicts, ended.left)


class Janitor:
    """Sweeps for ever, or waits while another janitor does."""

    def __init__(
        self,
        connect: Callable[[], Client],
        *,
        system: str,
        duration: float,
        tell: Callable[[Swept], None],
        namespaces: Collection[str] = (),
    ) -> None:
        """SYSTEM: the namespace of the janitor's Lease. DURATION: seconds of that Lease, and those that a run without
        one may have to get it. TELL hears of what was done.
        """
        self._connect, self._tell, self._namespaces, self._duration = connect, tell, namespaces, duration
        self._leadership = mesh.Leadership(system, f"{mesh.whoami()}:{os.getpid()}-{secrets.token_hex(4)}", duration)
        self._tick = min(1.0, duration / 5)
        self._watched = _Watched(duration)
        self._hindered: dict[str, _Hindrance] = {}
        self._said: tuple[str, float] = ("", 0.0)

    def watch(self, stop: threading.Event) -> None:
        """Sweep until STOP is set, whatever fails; then let another lead."""
        client: Client | None = None
        pause = 0.0
        answers = False
        while not stop.wait(pause):
            try:
                client = client or self._connect()
                if self._leadership.keep(client):
                    self._sweep(client)
                else:
                    self._watched = _Watched(self._duration)
                pause, answers = self._tick, True
            except ChaosMeshError as error:
                self._complain(str(error))
                pause, answers = min(_PATIENCE, max(2 * pause, self._tick)), False
        if client is not None and answers and self._leadership.held():
            try:
                self._leadership.give_up(client)
            except ChaosMeshError as error:
                self._complain(str(error))

    def _sweep(self, client: Client) -> None:
        over, unseen = self._watched.over(client, self._namespaces)
        if unseen:
            self._complain(_hidden(unseen))
        for found, why in over:
            hindrance = self._hindered.get(found.run)
            if hindrance is not None and hindrance.stands(found):
                continue
            swept = _end(client, found, why, self._namespaces)
            if hindrance is None or hindrance.told != (swept.conflicts, swept.left):
                self._tell(swept)
            if swept.left or swept.conflicts:
                self._hindered[found.run] = _Hindrance.after(hindrance, found, swept)
            else:
                self._hindered.pop(found.run, None)
            self._leadership.keep(client)

    def _complain(self, error: str) -> None:
        now = time.monotonic()
        words, when = self._said
        if error != words or now > when + _SAID:
            self._said = (error, now)
            self._tell(Swept(error=error))


class _Hindrance(msgspec.Struct, frozen=True):
    """A run that could not be ended wholly.

    versions: of its objects, at which it is not tried again until AGAIN, by our clock. pause: seconds between the
    attempts. told: its conflicts and what is left, which are not told again as long as they are the same.
    """

    versions: frozenset[str]
    again: float
    pause: float
    told: tuple[tuple[str, ...], tuple[str, ...]]

    @classmethod
    def after(cls, last: _Hindrance | None, found: Found, swept: Swept) -> _Hindrance:
        """The LAST one of it, if any, and what came of this attempt. A conflict waits for the object to change."""
        known = last.versions if last else frozenset()
        pause = min(_PATIENCE, 2 * last.pause if last else 0.5)
        again = time.monotonic() + pause if swept.left else float("inf")
        return cls(known | frozenset(found.versions), again, pause, (swept.conflicts, swept.left))

    def stands(self, found: Found) -> bool:
        return time.monotonic() < self.again and self.versions.issuperset(found.versions)


class _Watched:
    """What is known of the cluster's runs from looking at it again and again."""

    def __init__(self, duration: float) -> None:
        self._duration = duration
        self._leases: dict[str, tuple[str, float]] = {}
        self._without: dict[str, float] = {}
        self._routes = self._others = self._everything = 0.0

    def over(self, client: Client, namespaces: Collection[str]) -> tuple[list[tuple[Found, str]], tuple[str, ...]]:
        """The runs that are over, and why; and the kinds that may not be looked at.

        Leases are asked for each time: one request. Objects only matter for what has no Lease: those that delays and
        aborts are in are asked for by label when a third of a Lease is over, the other kinds, three times as many, when
        all of it is. Without label, for what an owner applied again from a copy, all are asked for less often still, or
        when something without a Lease has been there long enough. Raises what keeps it from looking.
        """
        asked = time.monotonic()
        due = [since + self._duration for since in self._without.values() if since > _LONG_AGO]
        everything = asked >= min([self._everything, *due])
        others = everything or asked >= self._others
        routes = others or asked >= self._routes
        surveyed = mesh.survey(
            client,
            namespaces,
            kinds=mesh.CARRIED_BY if others else mesh.ROUTED_BY if routes else (),
            labels="" if everything else mesh.LABEL,
        )
        found = surveyed.runs
        answered = time.monotonic()
        if routes:
            self._routes = asked + self._duration / 3
        if others:
            self._others = asked + self._duration
        if everything:
            self._everything = asked + max(_BAKED_IN, self._duration)
        now = client.server_time()
        over = [(one, why) for one in found if (why := self._why(one, asked, answered, now))]
        self._forget(found, everything=everything)
        return over, surveyed.unseen

    def _why(self, found: Found, asked: float, answered: float, now: float) -> str:
        """Why the run is over; empty while it is not. ASKED, ANSWERED: by our own clock. NOW: the server's time."""
        lease = found.lease
        if lease is None:
            since = self._without.setdefault(found.run, answered)
            if asked - since < self._duration:
                return ""
            self._without[found.run] = _LONG_AGO
            return "its Lease is missing"
        self._without.pop(found.run, None)
        version = f"{lease.uid}/{lease.version}"
        last, since = self._leases.get(found.run, ("", 0.0))
        if last != version:
            self._leases[found.run] = (version, answered)
        elif asked - since > lease.duration:
            return f"{lease.holder or 'its runner'} has not renewed it for {lease.duration:g} s"
        return lease.passed(now)

    def _forget(self, found: Collection[Found], *, everything: bool) -> None:
        there = {one.run for one in found}
        self._leases = {run: seen for run, seen in self._leases.items() if run in there}
        if everything:
            self._without = {run: since for run, since in self._without.items() if run in there}

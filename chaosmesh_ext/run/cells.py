"""The cells of a run: those that grew, those that are live, and how they come out of the mesh again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError, InvalidInput, LeftBehind, NotRemoved
from chaosmesh_ext.mesh import Client, Fault, Holding, Place
from chaosmesh_ext.model import CONTROL, Answer, Injected, Marker
from chaosmesh_ext.run.growing import Growing, Plans
from chaosmesh_ext.run.opened import Opened
from chaosmesh_ext.run.removal import at_once, remove, seen_gone

__all__ = ["Cells", "Undone"]

_UNANSWERED: Final = 3.0
"""Seconds during which a write that got no answer may still arrive."""


class Undone(msgspec.Struct, frozen=True):
    """What an undo did. objects: that are clean again. cells: whose faults are out. gone_after: seconds until the last
    request that still met a fault; None where that was not asked.
    """

    objects: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    gone_after: float | None = None


class Cells:
    """All cells of RUN, the oldest first, without the control.

    every: from the first write on. live: those whose faults are in. namespaces: in which they wrote, or which they
    call. kinds: of what they wrote.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.every: list[Growing] = []
        self.live: list[Growing] = []
        self.namespaces: set[str] = set()
        self.kinds: set[str] = set(mesh.ROUTED_BY)

    def add(self, cell: Growing) -> None:
        """CELL is about to be written."""
        self.every.append(cell)
        self.live.append(cell)

    def reaches(self, place: Place, plans: Plans) -> None:
        """Something of PLANS is about to be written for PLACE."""
        self.namespaces |= {place.namespace, place.destination.namespace} - {""}
        self.kinds |= {change.target[0] for _, plan in plans if not isinstance(plan, InvalidInput) for change in plan}

    # --- what they are ------------------------------------------------------------------------------------------------

    @property
    def marker(self) -> Marker:
        """Of the newest live cell, else the control's."""
        return self.live[-1].place.sent if self.live else Marker(self.run, CONTROL)

    @property
    def injected(self) -> list[Injected]:
        """What is in now."""
        return [cell.injected for cell in self.live if cell.injected]

    @property
    def faulted(self) -> list[tuple[float, float | None]]:
        """When each fault was written and taken out, in seconds since the epoch; None: it is in."""
        return [(cell.began, cell.ended or None) for cell in self.every if cell.injected and cell.began]

    def replaced(self, fault: Fault, place: Place, carrier: str) -> list[Growing]:
        """The live ones whose place FAULT would take."""
        return [cell for cell in self.live if cell.stands_where(fault, place, carrier)]

    def holdings(self, cell: str) -> list[Holding]:
        """What carries CELL, as far as it was written."""
        return next((one.holdings for one in self.every if one.id == cell), [])

    def meeting(self, but: Sequence[Growing]) -> list[Place]:
        """Where the run's other requests meet a live fault too, besides those of the cells BUT."""
        places = [cell.place for cell in self.live if cell not in but]
        return [place for place in places if place.marker is None or not place.marker.cell]

    def keep(self, cell: str, answers: Iterable[Answer]) -> bool:
        """Count ANSWERS for CELL; False where there is no such cell."""
        found = next((one for one in self.every if one.id == cell), None)
        if found is not None:
            found.answers.extend(answers)
        return found is not None

    def disturbed(self, client: Client) -> str:
        """What somebody changed under one of the live faults; empty for nothing. From the keeper's thread."""
        seen: set[str] = set()
        return next(filter(None, (cell.disturbed(client, seen) for cell in list(self.live))), "")

    # --- how they come out --------------------------------------------------------------------------------------------

    def undo(self, client: Client, cells: Sequence[Growing], opened: Opened | None, *, sweep: bool = False) -> Undone:
        """Take CELLS out, and prove it; SWEEP: and whatever else bears this run's name, when no other cell is live.

        Raises LeftBehind, naming what is left and how to recover it.
        """
        if not cells and not sweep:
            return Undone()  # and no cluster is asked
        rest = [cell for cell in self.live if cell not in cells]
        removed = remove(
            client,
            self.run,
            cells,
            self.namespaces,
            sweep=sweep and not rest,
            kinds=sorted(self.kinds),
            witness=opened.witness if opened is not None else mesh.NOBODY,
        )
        if not removed.failed:
            self.live = rest  # a conflict is for a person: to try again would change nothing
        if opened is not None:
            for cell in cells:
                opened.announce(client, cell, removed=True)
        removed.check(self.run)
        return Undone(removed.objects, tuple(cell.id for cell in cells), seen_gone(cells))

    def roll_back(self, client: Client, cells: Sequence[Growing], opened: Opened | None, error: BaseException) -> None:
        """Take CELLS out because of ERROR; raises LeftBehind when that fails too."""
        # a write that was cut off may arrive yet: look for it a little longer
        deadline = time.time() + (_UNANSWERED if any(cell.unanswered for cell in cells) else 0.0)
        for cell in cells:
            cell.prover = cell.injected = None
        while True:
            try:
                self.undo(client, cells, opened, sweep=True)
            except ChaosMeshError as second:
                kind = NotRemoved if isinstance(second, NotRemoved) else LeftBehind
                raise kind(f"{error}; rolling back failed too: {second}") from error
            if time.time() >= deadline:
                for cell in cells:
                    cell.unanswered = False
                return
            time.sleep(0.2)

    def out_at_once(self, connect: Callable[[], Client]) -> list[str]:
        """Take everything out on a connection of its own, for the run's may be in the middle of something.

        Returns what is left.
        """
        until = time.time() + (_UNANSWERED if any(cell.unanswered for cell in self.every) else 0.0)
        return at_once(connect, self.run, list(self.live), self.namespaces, until, sorted(self.kinds))

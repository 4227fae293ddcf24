"""Calls that hang, as many as may be at once, and beside them requests that do without the call.

First the same requests while nothing hangs. Then the load, kept up until all requests beside are sent: a caller that
gives up makes room for others otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from chaosmesh_ext.findings.bulkhead import MIN_BESIDE
from chaosmesh_ext.model import Answer, Cell
from chaosmesh_ext.run.stimulus import Due
from chaosmesh_ext.run.traffic import Errand

__all__ = ["Hanging"]

_BESIDE: Final = MIN_BESIDE + 12
"""Requests beside: some come before half of the calls hang, or their traces too late."""

_EVERY: Final = 0.05
"""Seconds from one of them to the next."""

_SETTLE: Final = 1.0
"""Seconds from the first request that is to hang to the first one beside."""

_CANARY: Final = 0.5
"""Seconds from one request that needs the call, and is not held up, to the next (rules, 10)."""

_LONGEST: Final = 90.0
"""Seconds for everything."""


class Hanging:
    """An `Experiment`. healthy: what requests beside got while nothing hung; beside: what they got meanwhile. others:
    what those got that need the call and are not held up by the fault.
    """

    def __init__(
        self, beside: Errand, canary: Errand | None, load: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        """BESIDE: does without the call. CANARY: needs it; None where that is no GET. LOAD: requests at once, and as
        many beside.
        """
        self._errand, self._canary, self._load = beside, canary, load
        self._began = clock()
        self._hangs_from = self._next = self._look = 0.0
        self._usual = self._meanwhile = 0
        self._over = False
        self.healthy: list[Answer] = []
        self.beside: list[Answer] = []
        self.others: list[Answer] = []

    @property
    def over(self) -> bool:
        """See `Experiment`."""
        return self._over

    def due(self, now: float, cell: int, others: int) -> Due:
        """See `Experiment`."""
        if now > self._began + _LONGEST:
            self._over = True
        elif self._usual < _BESIDE or (not self._hangs_from and others):
            return self._usually(now, others)
        elif not self._hangs_from:
            self._hangs_from, self._next, self._look = now, now + _SETTLE, now + _SETTLE
            return Due(cell=self._load)
        elif self._meanwhile < _BESIDE:
            return self._hangs(now, cell, others)
        elif not cell and not others:
            self._over = True
        return Due()

    def came(self, answer: Answer, *, marked: bool) -> None:
        """See `Experiment`."""
        if marked:
            return
        if answer.url != self._errand.url:
            self.others.append(answer)
        elif self._hangs_from and answer.started >= self._hangs_from:
            self.beside.append(answer)
        else:
            self.healthy.append(answer)

    def seen(self, cell: Cell, others: Cell) -> None:
        """See `Experiment`: what traces say is judged afterwards."""

    def _usually(self, now: float, others: int) -> Due:
        if self._usual >= _BESIDE or now < self._next or others >= self._load:
            return Due()
        self._usual, self._next = self._usual + 1, now + _EVERY
        return Due(others=(self._errand,))

    def _hangs(self, now: float, cell: int, others: int) -> Due:
        send: list[Errand] = []
        if self._canary is not None and now >= self._look and others < self._load:
            self._look = now + _CANARY
            send.append(self._canary)
        if now >= self._next and others + len(send) < self._load:
            self._meanwhile, self._next = self._meanwhile + 1, now + _EVERY
            send.append(self._errand)
        return Due(cell=max(0, self._load - cell), others=tuple(send))

"""Requests that all meet a failing callee, one after the other, until its callers' sidecars leave it alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from chaosmesh_ext.model import Answer, Cell
from chaosmesh_ext.run.stimulus import Due

__all__ = ["Failing"]

_MOST: Final = 60
"""Requests, at most."""

_BETWEEN: Final = 0.1
"""Seconds from an answer to the next request: traces are read meanwhile."""

_VISIBLE: Final = 5.0
"""Seconds that the last ones' traces may take."""


class Failing:
    """An `Experiment`, over once ENOUGH says so of the cell, or after as many requests as may be."""

    def __init__(self, enough: Callable[[Cell], bool], *, clock: Callable[[], float] = time.time) -> None:
        self._enough, self._clock = enough, clock
        self._sent, self._answered = 0, 0.0
        self._done = False
        self._over = False

    @property
    def over(self) -> bool:
        """See `Experiment`."""
        return self._over

    def due(self, now: float, cell: int, others: int) -> Due:
        """See `Experiment`: always one after the other."""
        if cell or others or now < self._answered + _BETWEEN:
            return Due()
        if self._done or (self._sent >= _MOST and now > self._answered + _VISIBLE):
            self._over = True
        if self._over or self._sent >= _MOST:
            return Due()
        self._sent += 1
        return Due(cell=1)

    def came(self, answer: Answer, *, marked: bool) -> None:
        """See `Experiment`."""
        del answer, marked
        self._answered = self._clock()

    def seen(self, cell: Cell, others: Cell) -> None:
        """See `Experiment`."""
        del others
        self._done = self._enough(cell)

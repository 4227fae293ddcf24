"""An application's own circuit breaker, one for each call of a service's process."""

from __future__ import annotations

import time
from collections.abc import Callable

from chaosmesh_ext.model.topology import Breaker

__all__ = ["Circuit"]


class Circuit:
    """Opens after so many failed attempts in a row; after a while lets one attempt through to find out.

    words: None never opens. now: a monotonic clock in seconds.

    An attempt asks for `admit` and gives its ticket back with `done` or, when it was called off, with `abandon`.
    Attempts that began before the circuit last opened or closed do not count any more.
    """

    def __init__(self, words: Breaker | None, now: Callable[[], float] = time.monotonic) -> None:
        self._words = words
        self._now = now
        self._failures = 0
        self._open_until: float | None = None
        self._trial = False
        self._era = 0

    @property
    def refuses(self) -> bool:
        """Whether an attempt would fail at once: open, or half-open with an attempt on its way."""
        if self._open_until is None:
            return False
        return self._trial or self._now() < self._open_until

    def admit(self) -> int | None:
        """A ticket for one attempt, or None when it must fail at once."""
        if self.refuses:
            return None
        if self._open_until is not None:
            self._trial = True
        return self._era

    def done(self, ticket: int, *, failed: bool) -> None:
        """The attempt with this TICKET ended."""
        if self._words is None or ticket != self._era:
            return
        if not failed:
            if self._trial:
                self._turn(None)
            self._failures = 0
            return
        self._failures += 1
        if self._trial or self._failures >= self._words.failures:
            self._turn(self._now() + self._words.open)

    def abandon(self, ticket: int) -> None:
        """The attempt with this TICKET was called off: it says nothing about the callee."""
        if ticket == self._era:
            self._trial = False

    def _turn(self, open_until: float | None) -> None:
        self._open_until = open_until
        self._trial = False
        self._failures = 0
        self._era += 1

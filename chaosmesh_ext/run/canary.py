"""The canary: control requests all the while that a wave is in; marked ones share pools and breakers with everybody.

While it is slower than control requests were, or fails where they did not, fewer marked requests are sent; and when
that does not help, none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final

from chaosmesh_ext.model import Answer, Marker
from chaosmesh_ext.run.traffic import Errand, Traffic

__all__ = ["Canary"]

_EVERY: Final = 0.5
"""Seconds from one to the next (rules, "What decides validity" 10)."""

_SLACK: Final = 0.25
"""Seconds on top of the slowest control request: less is the noise of a machine that does other things too."""

_IN_A_ROW: Final = 2
"""Out of the band one after the other: one alone is chance."""

_HALVINGS: Final = 3
"""How often the requests in flight are halved before none is sent any more."""


class Canary:
    """answers: of those that came. slowed: how often fewer requests were allowed."""

    def __init__(self, traffic: Traffic, errand: Errand, marker: Marker, control: Sequence[Answer]) -> None:
        """CONTROL: healthy answers to the same ERRAND, the band in which it must stay."""
        self._traffic, self._errand, self._marker = traffic, errand, marker
        slowest = max((answer.duration for answer in control if answer.status), default=0.0)
        self.slowest = max(2 * slowest, slowest + _SLACK)
        self._fails = any(answer.status == 0 or answer.status >= 500 for answer in control)
        self.answers: list[Answer] = []
        self.slowed = 0
        self._open: Future[Answer] | None = None
        self._next = self._sent = 0.0
        self._row = 0
        self._last = ""

    @property
    def stops(self) -> str:
        """Why no marked request may be sent any more; empty while some may."""
        if self.slowed <= _HALVINGS:
            return ""
        return f"control requests to {self._errand.url} are harmed: {self._last}, and fewer marked ones did not help"

    def room(self, most: int) -> int:
        """How many of MOST requests may be in flight now: at least 1."""
        return max(1, most >> self.slowed)

    def look(self) -> None:
        """Send the next one when it is time, and see what became of the one before."""
        now = time.time()
        if self._open is not None and self._open.done():
            answer, self._open = self._open.result(), None
            self.answers.append(answer)
            self._judge(answer.duration, answer.status)
        elif self._open is not None and now >= self._next and now - self._sent > self.slowest:
            self._next = now + _EVERY
            self._judge(now - self._sent, 200)
        if self._open is None and now >= self._next:
            self._open, self._sent, self._next = self._traffic.send(self._errand, self._marker), now, now + _EVERY

    def land(self) -> None:
        """Wait for the one that is under way."""
        if self._open is not None:
            self.answers.append(self._open.result())
            self._open = None

    def _judge(self, duration: float, status: int) -> None:
        failed = (status == 0 or status >= 500) and not self._fails
        if not failed and duration <= self.slowest:
            self._row = 0
            return
        self._row += 1
        self._last = f"status {status}" if failed else f"{duration:.2g} s, and {self.slowest:.2g} s are allowed"
        if self._row >= _IN_A_ROW:
            self._row, self.slowed = 0, self.slowed + 1

"""The requests of many cells at once, within one budget, and their traces, asked for together.

Each cell wants some of its requests to show something (`aim`). Which way a request goes is the mesh's choice, and a
fault that was just written may not be there yet: for one that did not show it, another one is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Final

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.model import Trace
from chaosmesh_ext.observe.traces import Expected, Gathering, TraceSource
from chaosmesh_ext.run.aim import TICK, Aim, Verdict
from chaosmesh_ext.run.canary import Canary
from chaosmesh_ext.run.traffic import Traffic

__all__ = ["Aim", "Verdict", "Volley"]

_LOOK: Final = 0.05
"""Seconds between two questions for traces, at least; a slow store is asked less often."""

_SOON: Final = 0.25
"""Seconds in which most stores show the first spans of a trace."""


class Volley:
    """Sends for many `Aim`s at once until each has what it wants, or cannot.

    traces: what came, by id. expected: by URL, what the control's traces hold.
    """

    def __init__(
        self,
        store: TraceSource,
        traffic: Traffic,
        *,
        expected: Mapping[str, Expected],
        stopped: Callable[[], bool],
        canary: Canary | None = None,
        known: Gathering | None = None,
    ) -> None:
        self._traffic, self._stopped, self._canary = traffic, stopped, canary
        self._gathering = Gathering(store, expected=expected, known=known)

    @property
    def traces(self) -> dict[str, Trace]:
        """Those that came, whole or not."""
        return self._gathering.traces

    def fly(
        self,
        aims: Sequence[Aim],
        *,
        patience: float,
        enough: Callable[[Aim], bool] = lambda aim: aim.got >= aim.want,
        seen: Callable[[], None] = lambda: None,
    ) -> None:
        """Send until each of AIMS has ENOUGH, is spent, or shows nothing PATIENCE seconds after its first request, then
        wait for what is under way and its traces. SEEN is called after each look at traces.

        Raises Inconclusive when the run was stopped, or the canary says to; Unreachable when the store is gone.
        """
        look, most = 0.0, max(1, self._traffic.budget - 1)  # one place is the canary's
        whole = False
        try:
            while True:
                now = time.time()
                self._may_go_on()
                for aim in aims:
                    for answer in aim.collect():
                        self._gathering.add(answer, aim.injected)
                if now >= look:
                    self._gathering.look()
                    look = time.time() + max(_LOOK, time.time() - now)
                    for aim in aims:
                        aim.judge(self.traces, self._gathering.waiting, now)
                    seen()
                self._send(aims, now, patience, most, enough)
                if all(self._over(aim, now, patience, enough) for aim in aims):
                    whole = True
                    return
                self._await(aims)
        finally:
            if not whole:
                self._traffic.abandon()
                for aim in aims:
                    aim.collect()

    def glimpse(self) -> None:
        """Wait a moment for the traces of which nothing is there yet: from when one was seen first, it is known how
        long nothing has been added to it.
        """
        deadline = time.monotonic() + _SOON
        while self._gathering.unseen and time.monotonic() < deadline:
            self._gathering.look()
            time.sleep(TICK)

    def _may_go_on(self) -> None:
        if self._stopped():
            raise Inconclusive("the run was stopped before the wave was through")
        if self._canary is not None and self._traffic.budget > 1:
            self._canary.look()
            if self._canary.stops:
                raise Inconclusive(self._canary.stops)

    def _send(self, aims: Sequence[Aim], now: float, patience: float, most: int, enough: Callable[[Aim], bool]) -> None:
        """Send for AIMS as long as there is room: for the first, whose requests hang for longest, unless only some of
        them do; then for those that few requests meet, since it takes a while until enough have; then in the given
        order.
        """
        room = self._canary.room(most) if self._canary is not None else most
        flying = sum(aim.flying for aim in aims)
        for aim in sorted(aims, key=lambda each: (each is not aims[0] or each.share < 1, each.share)):
            while flying < room and not enough(aim) and aim.sends(now, patience):
                aim.send(self._traffic)
                flying += 1
            room -= aim.reserves(now)

    @staticmethod
    def _await(aims: Sequence[Aim]) -> None:
        """Until an answer comes: there are requests that wait for the one before. No longer than `TICK`."""
        if coming := [future for aim in aims for future in aim.coming]:
            wait(coming, timeout=TICK, return_when=FIRST_COMPLETED)
        else:
            time.sleep(TICK)

    @staticmethod
    def _over(aim: Aim, now: float, patience: float, enough: Callable[[Aim], bool]) -> bool:
        if aim.flying:
            return False
        if enough(aim):
            return True
        return not aim.under_way and (aim.spent or aim.late(now, patience))

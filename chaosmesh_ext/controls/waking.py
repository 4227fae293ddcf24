"""Waking the main thread for a signal whose Python handler waits.

Python runs its handlers in the main thread, between two steps of it. A signal that another thread got, or that came in
the moment before a system call began, waits until that call is over: a Ctrl-C just before a pause of 30 s is 30 s late.
What Python does at once, in whichever thread, is to write the signal's number to a file: a thread reads it here, and
interrupts the main one until the handler ran.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Final

__all__ = ["Waking"]

_NUDGE: Final = signal.SIGURG
"""Ignored by default and used by nobody here: its arrival interrupts a system call, and does nothing else."""
_PAUSE: Final = 0.05
"""Seconds between two nudges: the first may come too early for the same reason as the signal."""
_NUDGES: Final = 60
"""Then the handler ran long ago, for several signals at once."""


class Waking:
    """For signals that the main thread handles, from `start` to `stop`; only to be used in that thread."""

    def __init__(self) -> None:
        self._handled = 0
        self._pipe: tuple[int, int] | None = None

    def start(self, numbers: Iterable[int]) -> None:
        """Watch for NUMBERS. Where somebody else is told of signals (an event loop, say) it is left alone."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        if before != -1 or signal.getsignal(_NUDGE) not in (signal.SIG_DFL, signal.SIG_IGN):
            signal.set_wakeup_fd(before)
            os.close(reading)
            os.close(writing)
            return
        self._pipe = reading, writing
        signal.signal(_NUDGE, _nothing)
        main = threading.main_thread().ident or 0
        threading.Thread(
            target=self._watch, args=(reading, frozenset(numbers), main), name="chaosmesh-waking", daemon=True
        ).start()

    def handled(self) -> None:
        """A handler runs."""
        self._handled += 1

    def stop(self) -> None:
        """Watch no more."""
        if self._pipe is None:
            return
        (_, writing), self._pipe = self._pipe, None
        now = signal.set_wakeup_fd(-1)
        if now not in (-1, writing):
            signal.set_wakeup_fd(now)
        os.close(writing)  # the thread reads the end, and closes its side
        if signal.getsignal(_NUDGE) is _nothing:
            signal.signal(_NUDGE, signal.SIG_DFL)

    def _watch(self, reading: int, numbers: frozenset[int], main: int) -> None:
        known = 0
        idle = threading.Event()
        while came := os.read(reading, 64):
            if numbers.isdisjoint(came):
                continue
            for _ in range(_NUDGES):
                if self._handled > known or self._pipe is None:
                    break
                signal.pthread_kill(main, _NUDGE)
                idle.wait(_PAUSE)
            known = self._handled
        os.close(reading)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The call that it interrupted goes on."""

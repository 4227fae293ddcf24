"""Whatever ends the process, our faults go first: SIGINT, SIGTERM, and the interpreter's own end.

What kills without warning (SIGKILL, a power cut) is the watchdog's and the janitor's to mend, later.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

__all__ = ["Signals"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_PATIENCE: Final = 20.0
"""Seconds that a signal waits for the faults to be removed."""


class Signals:
    """Stands in front of the handlers that are there: removes the faults, then lets them do what they did."""

    def __init__(self, remove: Callable[[], None]) -> None:
        """REMOVE takes every fault out, on a connection of its own: it is called from another thread, while the
        interrupted one may hold any lock.
        """
        self._remove = remove
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Stand in front; signals can only be taken over in the main thread."""
        atexit.register(self._remove)
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if number not in self._before and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)

    def uninstall(self) -> None:
        """Step aside; a handler that somebody put in front of ours meanwhile stays."""
        atexit.unregister(self._remove)
        if threading.current_thread() is not threading.main_thread():
            return
        for number, before in list(self._before.items()):
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)
                del self._before[number]  # else somebody may still hand signals on to us

    def _handle(self, number: int, frame: FrameType | None) -> None:
        worker = threading.Thread(target=self._remove, name="remove-faults", daemon=True)
        worker.start()
        worker.join(_PATIENCE)
        before = self._before.get(number, signal.SIG_DFL)
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

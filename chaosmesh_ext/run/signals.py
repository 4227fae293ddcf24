"""Whatever ends the process, our faults go first: SIGINT, SIGTERM, and the interpreter's own end.

What kills without warning (SIGKILL, a power cut) is the watchdog's and the janitor's to mend, later.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType
from typing import Any, Final

__all__ = ["Signals"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_PATIENCE: Final = 20.0
"""Seconds that a signal waits for the faults to be removed."""


class Signals:
    """Stands in front of the handlers that are there: removes the faults, then lets them do what they did.

    A handler may have interrupted anything: the thread that removes waits from the start, since a new one waits for a
    lock of Python's, which the interrupted code holds while it starts a thread itself.
    """

    def __init__(self, remove: Callable[[], None]) -> None:
        """REMOVE takes every fault out, on a connection of its own: it is called from another thread, while the
        interrupted one may hold any lock.
        """
        self._remove = remove
        self._before: dict[int, Any] = {}
        self._asked: SimpleQueue[_thread.LockType | None] = SimpleQueue()

    def install(self) -> None:
        """Stand in front; signals can only be taken over in the main thread."""
        atexit.register(self._remove)
        if threading.current_thread() is not threading.main_thread():
            return
        if not self._before:
            threading.Thread(target=self._remove_when_asked, name="remove-faults", daemon=True).start()
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
        if not self._before:
            self._asked.put(None)

    def _remove_when_asked(self) -> None:
        while (done := self._asked.get()) is not None:
            try:
                self._remove()
            except Exception:
                traceback.print_exc()  # what is left is the next signal's, or the watchdog's
            finally:
                done.release()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        done = _thread.allocate_lock()
        done.acquire()
        self._asked.put(done)
        done.acquire(timeout=_PATIENCE)
        before = self._before.get(number, signal.SIG_DFL)
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

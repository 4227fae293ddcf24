"""Signals: the first one ends the experiment early, and none breaks the roll-back.

Chaos Toolkit alone loses a SIGTERM that arrives inside a Python activity (its provider takes the exception for the
activity's own), and a second Ctrl-C ends its rollbacks half-way.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from queue import SimpleQueue
from types import FrameType
from typing import Any, Final

from chaosmesh_ext.controls.waking import Waking

__all__ = ["Interrupts"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ROLL_BACK: Final = 20
"""The exit code that Chaos Toolkit takes for "leave now, but roll back" (chaoslib.exit)."""

_AGAIN: Final = 2.0
"""Seconds after which a signal that ended nothing (Python swallowed the exception, say) may try again."""


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP while an experiment runs.

    first: name of the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.first: str | None = None
        self._open = False
        self._pending: int | None = None
        self._raised = 0.0
        self._ours = False
        self._repeats: SimpleQueue[tuple[int, bool, int] | None] = SimpleQueue()
        self._turn = 0
        self._before: dict[signal.Signals, Any] = {}
        self._waking = Waking()

    def install(self) -> None:
        """Take the signals over. Those that are ignored (nohup) stay ignored; elsewhere than in the main thread
        there is nothing to take over.
        """
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        if self._before:
            threading.Thread(target=self._repeat, name="chaosmesh-signals", daemon=True).start()
            self._waking.start(self._before)

    def restore(self) -> None:
        """Give the signals back, but not to Chaos Toolkit's own handler of SIGTERM, which raises: what comes until it
        gives the signal back itself would cost the journal.
        """
        self.defer()
        for number, handler in self._before.items():
            signal.signal(number, _ended if _raises(handler) else handler)
        self._waking.stop()
        if self._before:
            self._repeats.put(None)
        self._before = {}

    def allow(self) -> None:
        """From here on a signal ends what runs; one that came meanwhile does so now."""
        self._open = True
        if self._pending is not None:
            number, self._pending = self._pending, None
            self._raise(number)

    def defer(self) -> None:
        """From here on a signal only waits for the next `allow`."""
        self._open = False
        self._turn += 1

    def stop(self) -> None:
        """End what runs as a SIGTERM would, from another thread; where signals were not taken over, nothing."""
        if signal.SIGTERM in self._before:
            self._ours = True
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._waking.handled()
        name = signal.Signals(number).name
        ours = self._ours
        if self._ours and number == signal.SIGTERM:
            self._ours, name = False, "the run was stopped"
        else:
            self.first = self.first or name
        if self._open and time.monotonic() - self._raised > _AGAIN:
            self._raise(number, ours=ours)
        if not self._raised:
            self._pending = number
        # not through logging: the handler may have interrupted it
        os.write(2, f"{name}: leaving as soon as what was injected is undone\n".encode())

    def _raise(self, number: int, *, ours: bool = False) -> None:
        self._raised = time.monotonic()
        # Python activities swallow it, and Chaos Toolkit would then go on, with the pause after the activity first. No
        # Timer: a handler starts no threads, for it may have interrupted the start of one
        self._repeats.put((number, ours, self._turn))
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(_ROLL_BACK)

    def _repeat(self) -> None:
        """Send a signal once more when nothing ended because of it."""
        while (one := self._repeats.get()) is not None:
            number, ours, turn = one
            time.sleep(_AGAIN + 0.1)
            if turn == self._turn and self._open and number in self._before:
                self._ours = ours
                signal.pthread_kill(threading.main_thread().ident or 0, number)


def _raises(handler: Any) -> bool:
    return getattr(handler, "__module__", "") == "chaoslib.exit"  # not imported: see the package


def _ended(number: int, _frame: FrameType | None) -> None:
    os.write(2, f"{signal.Signals(number).name}: the experiment has ended, its journal is being written\n".encode())

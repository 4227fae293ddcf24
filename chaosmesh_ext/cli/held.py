"""Signals before and after the time in which the control has them: none may cost a run its journal and reports."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Final

from chaoslib.run import RunEventHandler

__all__ = ["Held"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Held(RunEventHandler):  # type: ignore[misc]  # chaoslib has no types
    """SIGINT, SIGTERM and SIGHUP around an experiment.

    Before its first phase they end the command, for nothing has been done. From then on the control has them, until it
    gives them back; after that they end nothing, because what is left is to write down what happened.
    """

    def __init__(self) -> None:
        self._begun = False
        self._taken = threading.current_thread() is threading.main_thread()
        for number in _SIGNALS if self._taken else ():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def start_hypothesis_before(self, _experiment: Any) -> None:
        self._begun = True

    def start_method(self, _experiment: Any) -> None:
        self._begun = True

    def ignore(self) -> None:
        """To the end of this process; Python itself would restore what a handler of its own replaced, too early."""
        for number in _SIGNALS if self._taken else ():
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self._begun:
            raise KeyboardInterrupt
        os.write(2, f"{signal.Signals(number).name}: the experiment has ended, its report is being written\n".encode())

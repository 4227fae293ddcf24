"""How a run ends before its end: stopped by a thread of its own, or with its process."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable

from chaosmesh_ext.errors import Aborted, ChaosMeshError
from chaosmesh_ext.run.signals import Signals

__all__ = ["Stopping"]

_logger = logging.getLogger("chaostoolkit")


class Stopping:
    """Takes every fault of RUN out at once when its time has come.

    error: why it was stopped, or None. armed: faults may be in the mesh, from the first write until the run is closed.
    """

    def __init__(self, run: str, *, out: Callable[[], list[str]], told: Callable[[ChaosMeshError], object]) -> None:
        """OUT takes everything out on a connection of its own, and returns what is left. TOLD hears why,
        before that.
        """
        self.run = run
        self.error: ChaosMeshError | None = None
        self.armed = False
        self._over = False
        self._out, self._told = out, told
        self._once = threading.Lock()
        self._signals = Signals(self.emergency)

    def arm(self) -> None:
        """Before the first write; whatever ends this process, the faults go first."""
        self._signals.install()

    def over(self) -> None:
        """The run is closed: there is nothing to stop any more."""
        self._over = True
        self._signals.uninstall()

    def refuse(self, what: str) -> None:
        """Raise why the run was stopped, if it was, and WHAT follows."""
        if self.error is not None:
            raise type(self.error)(f"the run {self.run} was stopped: {self.error}; {what}")

    def stop(self, error: ChaosMeshError) -> bool:
        """End the run because of ERROR, from any thread; False where it has ended already."""
        with self._once:
            if self.error is not None or self._over:
                return False
            self.error = error
        self._told(error)
        _logger.critical("the run %s is stopped: %s", self.run, error)
        self.emergency()
        return True

    def emergency(self) -> None:
        """Take everything out now, from any thread; whoever ended this process must not wait for more."""
        if self._over or not self.armed:
            return
        self.error = self.error or Aborted("its process was ended")
        if left := self._out():
            # not through logging: a signal may have interrupted it
            sys.stderr.write(
                f"run {self.run} left something in the mesh: {'; '.join(left)}; "
                f"recover: chaos mesh recover --run {self.run}\n"
            )

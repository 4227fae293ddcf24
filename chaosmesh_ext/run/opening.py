"""When a run opens, and how it ends: with its first fault, and after its last one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from chaosmesh_ext.errors import ChaosMeshError, Inconclusive
from chaosmesh_ext.mesh import Place, Watchdog
from chaosmesh_ext.run.cells import Cells, Undone
from chaosmesh_ext.run.opened import Opened
from chaosmesh_ext.run.stopping import Stopping

if TYPE_CHECKING:
    from chaosmesh_ext.run.run import Run

__all__ = ["Opening"]

_HURRY: Final = 3.0
"""Seconds that a run that was interrupted waits for the traces of what it had sent."""


class Opening:
    """Opens and closes RUN, with its CELLS; STOP ends it, from other threads.

    opened: what it holds, from its first fault on. closed: nothing is injected any more.
    """

    def __init__(self, run: Run, cells: Cells, stopping: Stopping, stop: Callable[[ChaosMeshError], None]) -> None:
        self._run, self._cells, self._stopping, self._stop = run, cells, stopping, stop
        self.opened: Opened | None = None
        self.closed = False
        self._watchdog: Watchdog | None = None

    def make_ready(self) -> None:
        """Begin what takes long: the watchdog's process, which has nothing to do yet. Raises Inconclusive."""
        if self._watchdog is None and self.opened is None and not self.closed:
            self._watchdog = Watchdog.make_ready(self._run.token)

    def open(self, place: Place) -> Opened:
        """Before the first write, which is for PLACE: whatever ends this process, the faults go first."""
        if self.opened is None:
            run = self._run
            if run.guardrails is not None:
                run.guardrails.check()
            self._stopping.arm()
            self.opened = Opened.open(
                run.client,
                run.token,
                place.namespace,
                settings=run.settings,
                experiment=run.experiment,
                length=run.length,
                connect=run.connect,
                disturbed=self._cells.disturbed,
                stop=self._stop,
                ready=self._watchdog,
            )
            self._watchdog = None
            self._stopping.armed = True
            if run.guardrails is not None:
                run.guardrails.start(self._stop)
        return self.opened

    def close(self, undo: Callable[[], Undone], *, hurry: bool) -> None:
        """UNDO what is left, let all go that the run holds, and see whom its faults met; see `Run.close`."""
        run = self._run
        try:
            if self._watchdog is not None:
                self._watchdog.discard()
                self._watchdog = None
            if self.opened is not None and not self.closed:
                self.opened.end(run.client, undo, self._cells.namespaces)
                run.problems[:] = [problem.mended() for problem in run.problems]
                if not run.problems:  # else it is known already that somebody may have met them
                    hurry = hurry or run.stopped
                    sent = partial(run.requests.sent, self._cells.every, _HURRY if hurry else None)
                    problems, notes = self.opened.strangers(run.client, self._cells.every, sent, hurry=hurry)
                    if problems and run.requests.whole and not hurry:
                        run.requests.whole.clear()  # a caller may have tried again since they were waited for
                        problems, notes = self.opened.strangers(run.client, self._cells.every, sent, hurry=hurry)
                    run.problems += problems
                    run.notes += notes
        finally:
            self.closed = True
            if run.guardrails is not None:
                run.guardrails.stop()
            self._stopping.over()
            run.requests.close()

    def refuse(self, what: str) -> None:
        """Raise, saying WHAT follows, when the run is over."""
        if self.closed:
            raise Inconclusive(f"the run {self._run.token} is closed: {what}")
        self._stopping.refuse(what)

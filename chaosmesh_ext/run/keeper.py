"""Keeps a run's Lease and watchdog informed that it lives, and stops the run when it must not go on.

Two threads: the pulse, which asks nobody anything, and the keeper, whose requests to the cluster may hang.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import Aborted, ChaosMeshError, Inconclusive
from chaosmesh_ext.mesh import Client, LeaseLost, RunLease

__all__ = ["Keeper", "Pulsed", "refuse_halted"]

_TICK: Final = 0.25
"""Seconds between two looks at the clock."""
_BEAT: Final = 1.0
_HALT: Final = 0.5
"""Seconds between two looks for a halt: running runs stop within a second."""
_LOOK: Final = 2.0
"""Seconds between two looks at owners' objects."""


class Pulsed(Protocol):
    """The watchdog, as far as the keeper sees it."""

    @property
    def took_over(self) -> str:
        """Why it undoes the run itself; empty while it does not."""

    @property
    def died(self) -> str:
        """Why it cannot undo anything any more; empty while it can."""

    def beat(self) -> None:
        """The runner lives."""


class Keeper:
    """Looks after an open run until it is stopped, or stops it: once, with an error that says why."""

    def __init__(
        self,
        lease: RunLease,
        *,
        watchdog: Pulsed,
        connect: Callable[[], Client],
        system: str,
        length: float,
        disturbed: Callable[[Client], str],
        stop: Callable[[ChaosMeshError], None],
    ) -> None:
        """SYSTEM: the namespace of a halt. LENGTH: seconds from now to the deadline. DISTURBED: what somebody
        changed under a fault, or nothing. STOP is called from one of the threads, at most once, and ends the run.
        """
        self._lease, self._watchdog, self._connect, self._system = lease, watchdog, connect, system
        self._renewed = time.monotonic()
        self._deadline = self._renewed + length
        self._why = "the API server does not answer"
        self._disturbed, self._stop_run = disturbed, stop
        self._done = threading.Event()
        self._said = threading.Lock()
        self._threads = [
            threading.Thread(target=self._pulse, name="chaosmesh-pulse", daemon=True),
            threading.Thread(target=self._keep, name="chaosmesh-keeper", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Look after it no more; returns when nothing is asked any more, or is about to be given up."""
        self._done.set()
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(1.0)

    def _stop(self, error: ChaosMeshError) -> None:
        with self._said:
            if self._done.is_set():
                return
            self._done.set()
        self._stop_run(error)

    # --- the pulse ----------------------------------------------------------------------------------------------------

    def _pulse(self) -> None:
        while not self._done.wait(_BEAT):
            self._watchdog.beat()
            if self._watchdog.took_over:
                self._stop(Inconclusive(f"the run's watchdog undid it: {self._watchdog.took_over}"))
            elif self._watchdog.died:
                self._stop(Inconclusive(f"{self._watchdog.died}; without it no fault stays in"))
            elif time.monotonic() > self._deadline:
                self._stop(Inconclusive(f"the run's deadline passed at {mesh.time_text(self._lease.deadline)}"))
            elif time.monotonic() - self._renewed > self._lease.duration * 2 / 3:  # the keeper may hang in a request
                self._stop(Inconclusive(f"the run's Lease could not be renewed for two thirds of it: {self._why}"))

    # --- the keeper ---------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        client: Client | None = None
        renew_at = self._renewed + self._lease.duration / 3
        halt_at = look_at = self._renewed
        while not self._done.wait(_TICK):
            now = time.monotonic()
            try:
                client = client or self._connect()
                if now >= renew_at:
                    self._lease = mesh.renew(client, self._lease)
                    self._renewed = now
                    renew_at = now + self._lease.duration / 3
                if now >= halt_at:
                    halt_at = now + _HALT
                    refuse_halted(client, self._system)
                if now >= look_at:
                    look_at = now + _LOOK
                    if change := self._disturbed(client):
                        raise mesh.Disturbed(f"{change}; the fault was removed")
            except (LeaseLost, Aborted, mesh.Disturbed) as error:
                self._stop(error)
            except ChaosMeshError as error:
                self._why = str(error)


def refuse_halted(client: Client, system: str) -> None:
    """Raise Aborted, with who halted and why, while all runs are halted (`chaos mesh halt`)."""
    if halt := mesh.halted(client, system):
        raise Aborted(
            f"all runs were halted by {halt.by} at {halt.at}: {halt.reason}; allow them again: chaos mesh resume"
        )

"""One experiment's life as the control sees it: its phases, its journal, and how it is ended early."""

from __future__ import annotations

import logging
import threading
from typing import Any

from chaoslib.run import RunEventHandler

from chaosmesh_ext.controls.interrupts import Interrupts
from chaosmesh_ext.controls.outcome import Problem

__all__ = ["Session"]

_logger = logging.getLogger("chaostoolkit")


class Session(RunEventHandler):  # type: ignore[misc]  # chaoslib has no types
    """What the control remembers between its hooks.

    journal: Chaos Toolkit's own, being written. refused: why the experiment must not start, or None. problems: what
    went wrong outside of the activities.
    """

    def __init__(self) -> None:
        self.interrupts = Interrupts()
        self.journal: dict[str, Any] | None = None
        self.event_registry: Any = None
        self.refused: str | None = None
        self.problems: list[Problem] = []
        self.closed = False
        self._thread = threading.local()

    @property
    def in_hypothesis(self) -> bool:
        """Whether this thread asks the steady-state hypothesis: Chaos Toolkit then judges the tolerances itself."""
        return bool(getattr(self._thread, "hypothesis", False))

    @in_hypothesis.setter
    def in_hypothesis(self, value: bool) -> None:
        self._thread.hypothesis = value

    def stop(self, reason: str) -> None:
        """End the method after this activity; the rollbacks still run."""
        if self.journal is not None:
            self.journal["status"] = "aborted"
            _logger.critical("%s; the method ends here", reason)

    def running(self, _experiment: Any, journal: dict[str, Any], *_rest: Any) -> None:
        self.journal = journal

    # The signals: allowed to end what Chaos Toolkit can end cleanly, deferred everywhere else.
    def start_hypothesis_before(self, _experiment: Any) -> None:
        self.interrupts.allow()

    def hypothesis_before_completed(self, *_rest: Any) -> None:
        self.interrupts.defer()

    def start_method(self, _experiment: Any) -> None:
        self.interrupts.allow()

    def method_completed(self, *_rest: Any) -> None:
        self.interrupts.defer()

    def start_hypothesis_after(self, _experiment: Any) -> None:
        self.interrupts.allow()

    def hypothesis_after_completed(self, *_rest: Any) -> None:
        self.interrupts.defer()

    def interrupted(self, *_rest: Any) -> None:
        self.interrupts.defer()

    def signal_exit(self) -> None:
        self.interrupts.defer()

    def start_rollbacks(self, _experiment: Any) -> None:
        self.interrupts.defer()

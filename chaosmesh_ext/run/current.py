"""The run of this process: Chaos Toolkit's activities are functions, and share nothing else."""

from __future__ import annotations

import threading

from chaosmesh_ext.run.run import Run

__all__ = ["current_run", "reset_run", "use_run"]

_lock = threading.Lock()
_run: Run | None = None


def current_run() -> Run:
    """The run of this process; begun when it is first asked for. After its end it can still be read."""
    global _run  # noqa: PLW0603 - one experiment a process, and this is its run
    with _lock:
        if _run is None:
            _run = Run()
        return _run


def use_run(run: Run) -> None:
    """Make RUN the one of this process, in place of one that has not begun."""
    global _run  # noqa: PLW0603 - as above
    with _lock:
        _run = run


def reset_run() -> None:
    """End the run, so that the next `current_run` begins another. Raises LeftBehind as `Run.close` does."""
    global _run
    with _lock:
        run, _run = _run, None
    if run is not None:
        run.close()

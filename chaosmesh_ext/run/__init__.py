"""A run's life: open, inject, prove, undo, close; and recovery from any other process."""

from chaosmesh_ext.run.cells import Undone
from chaosmesh_ext.run.current import current_run, reset_run, use_run
from chaosmesh_ext.run.problems import Problem
from chaosmesh_ext.run.proof import Proof
from chaosmesh_ext.run.recovery import Injection, Injections, Recovered, injections, recover, runs, undo_runs
from chaosmesh_ext.run.run import Run

__all__ = [
    "Injection",
    "Injections",
    "Problem",
    "Proof",
    "Recovered",
    "Run",
    "Undone",
    "current_run",
    "injections",
    "recover",
    "reset_run",
    "runs",
    "undo_runs",
    "use_run",
]

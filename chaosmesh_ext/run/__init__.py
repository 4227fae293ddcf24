"""A run's life: open, inject, prove, undo, close; and recovery from any other process."""

from chaosmesh_ext.run.current import current_run, reset_run
from chaosmesh_ext.run.problems import Problem
from chaosmesh_ext.run.proof import Proof
from chaosmesh_ext.run.recovery import Injection, recover, runs
from chaosmesh_ext.run.run import Run, Undone

__all__ = ["Injection", "Problem", "Proof", "Run", "Undone", "current_run", "recover", "reset_run", "runs"]

"""Nothing is left running: what a test does in the end where runs of its own process had watchdogs."""

from __future__ import annotations

import contextlib

import psutil

__all__ = ["end_watchdogs"]


def end_watchdogs(seconds: float = 3.0) -> None:
    """Wait for the watchdogs that this process started; those that still wait for something after SECONDS are ended."""
    ours = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "chaosmesh_ext.mesh.watchdog" in child.cmdline():
                ours.append(child)
    for child in psutil.wait_procs(ours, seconds)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()

"""A folder in which `chaos run` runs experiments of small activities."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from waiting import PATIENCE_S

__all__ = ["OURS", "Bench", "activity", "guarded", "probe", "touched"]

_CHAOS = str(Path(sys.executable).with_name("chaos"))

_ACTIVITIES = """
import pathlib, time

def value(of=None):
    return of

def touch(path, of=None):
    pathlib.Path(path).write_text("x")
    return of

def fail():
    raise RuntimeError("somebody else's")

def raising(error, words):
    from chaosmesh_ext import errors
    raise getattr(errors, error)(words)

def late(number, ended, seconds):
    # as a signal that comes in the moment before the pause: it is there, and no handler in Python runs
    import signal, threading
    def send():
        time.sleep(0.3)
        signal.pthread_kill(threading.get_ident(), number)
    threading.Thread(target=send).start()
    time.sleep(seconds)
    pathlib.Path(ended).write_text("x")

def wait(begun, ended, seconds):
    pathlib.Path(begun).write_text("x")
    time.sleep(seconds)
    pathlib.Path(ended).write_text("x")
"""

OURS: dict[str, Any] = {"name": "chaosmesh-ext", "provider": {"type": "python", "module": "chaosmesh_ext.controls"}}
"""Our control, as an experiment declares it."""


def activity(
    name: str, func: str, *, kind: str = "action", module: str = "activities", tolerance: Any = None, **arguments: Any
) -> dict[str, Any]:
    """An activity whose provider is FUNC of MODULE with ARGUMENTS."""
    found: dict[str, Any] = {"type": kind, "name": name, "provider": {"type": "python", "module": module, "func": func}}
    found["provider"]["arguments"] = arguments
    return found if tolerance is None else {**found, "tolerance": tolerance}


def probe(name: str, of: Any, tolerance: Any = None) -> dict[str, Any]:
    """A probe whose value is OF."""
    return activity(name, "value", kind="probe", of=of, tolerance=tolerance)


def _without_settings() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if name not in ("APP_URL", "JAEGER_URL", "PROMETHEUS_URL")
    }


class Bench:
    """A folder with activities in it, and `chaos` to run experiments there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "activities.py").write_text(_ACTIVITIES)

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def exists(self, name: str) -> bool:
        return (self.directory / name).exists()

    def start(
        self, *, control: bool = True, environ: dict[str, str] | None = None, words: Sequence[str] = (), **parts: Any
    ) -> subprocess.Popen[str]:
        """Begin `chaos run` with an experiment of PARTS; CONTROL says whether ours is in it."""
        experiment: dict[str, Any] = {"title": "t", "description": "d", "method": [], **parts}
        if control:
            experiment["controls"] = [OURS]
        (self.directory / "experiment.json").write_text(json.dumps(experiment))
        return subprocess.Popen(
            [_CHAOS, "--no-version-check", "run", *words, "experiment.json"],
            cwd=self.directory,
            env={**_without_settings(), "PYTHONPATH": str(self.directory), **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, **parts: Any) -> tuple[int, dict[str, Any], str]:
        """The exit code, the journal, and what was printed."""
        process = self.start(**parts)
        output, _ = process.communicate(timeout=100)
        journal = self.directory / "journal.json"
        return process.returncode, json.loads(journal.read_text()) if journal.exists() else {}, output

    def until(self, name: str, process: subprocess.Popen[str]) -> None:
        """Wait until PROCESS has made the file NAME."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.exists(name):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, name
            time.sleep(0.01)


def touched(bench: Bench, name: str, of: Any = 1, tolerance: Any = 1) -> dict[str, Any]:
    """A probe that leaves the file NAME."""
    return activity(name, "touch", kind="probe", path=bench.path(name), of=of, tolerance=tolerance)


def guarded(*guardrails: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Our control with GUARDRAILS, and with MORE arguments."""
    return [{**OURS, "provider": {**OURS["provider"], "arguments": {"guardrails": list(guardrails), **more}}}]

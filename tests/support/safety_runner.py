"""A runner under test: `chaos mesh run experiment.json`, in a process that was forked from one with all imports done.

Times are scaled so that a case takes seconds; with `step` the process ends, or stops, itself at one of its file steps.
"""

from __future__ import annotations

import builtins
import importlib
import io
import os
import signal
import sys
from functools import partial
from typing import Any

for _name in (
    "chaosmesh_ext.actions",
    "chaosmesh_ext.cli",
    "chaosmesh_ext.cli.experiments",
    "chaosmesh_ext.cli.progress",
    "chaosmesh_ext.cli.reports",
    "chaosmesh_ext.cli.run",
    "chaosmesh_ext.controls.session",
    "chaosmesh_ext.observe.jaeger",
    "chaosmesh_ext.probes",
    "chaosmesh_ext.report",
    "chaosmesh_ext.run",
    "chaostoolkit.cli",
    "chaoslib.experiment",
    "httpx",
    "rich.console",
    "yaml",
):
    importlib.import_module(_name)


def main(task: dict[str, Any]) -> int:
    """Run the experiment of the folder that we are in."""
    from chaostoolkit.cli import cli

    _scale(task.get("scale") or {})
    if "step" in task:
        Steps(**task["step"]).watch()
    arguments = ["--no-version-check", "mesh", "run", "experiment.json", "--out", "out", *task.get("arguments", ())]
    try:
        cli.main(arguments, prog_name="chaos")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _scale(constants: dict[str, float]) -> None:
    """These traces are whole at once; CONSTANTS, written ``module:Class:name``, are as a test wants them."""
    from chaosmesh_ext.observe.traces import Gathering, gather, gather_all

    for module in ("hunt", "trace_proof", "requests"):
        importlib.import_module(f"chaosmesh_ext.run.{module}").gather = partial(gather, quiet=0.05)
    for waits in (gather_all, Gathering.__init__):
        waits.__kwdefaults__["quiet"] = 0.05
    for where, value in constants.items():
        module, *names = where.split(":")
        target: Any = importlib.import_module(module)
        for name in names[:-1]:
            target = getattr(target, name)
        setattr(target, names[-1], tuple(value) if isinstance(value, list) else value)


class Steps:
    """Counts what this process does to files below `roots`; at step `number` it gets the signal.

    point: before, half (of what is written) or after. record: the file to which the step is written; all of them, when
    there is no signal.
    """

    _EVENTS = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate"})

    def __init__(self, roots: list[str], number: int, point: str, name: str, record: str = "") -> None:
        self._roots = tuple(roots)
        self._number, self._point = number, point
        self._signal = getattr(signal, f"SIG{name}") if name else 0
        self._count = 0
        self._record = record
        self._open = io.open

    def watch(self) -> None:
        sys.addaudithook(self._hook)
        builtins.open = io.open = self._opened  # type: ignore[assignment]

    def _ours(self, path: object) -> bool:
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike):
            return False
        text = os.path.abspath(os.fspath(path))  # noqa: PTH100 - a link is a file of its own
        return text.startswith(self._roots) and not text.endswith((".log", ".pyc"))

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and self._ours(path):
                self._step(f"open {path}")
        elif event in self._EVENTS and any(map(self._ours, arguments)):
            self._step(f"{event} {arguments[0]}")

    def _step(self, what: str) -> None:
        """One that is done by the time the next one comes."""
        self._count += 1
        if not self._signal:
            self._tell(what)
        elif self._count == self._number:
            self._die(what)

    def _tell(self, what: str) -> None:
        number = os.open(self._record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(number, f"{self._count} {what}\n".encode())
        os.close(number)

    def _die(self, what: str) -> None:
        self._tell(what)
        os.kill(os.getpid(), self._signal)

    def _opened(self, file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        found = self._open(file, mode, *rest, **named)
        if any(letter in mode for letter in "wax+") and self._ours(file):
            self._wrap(found, str(file))
        return found

    def _wrap(self, file: Any, name: str) -> None:
        write = file.write

        def stepped(data: Any) -> Any:
            self._count += 1
            if not self._signal:
                self._tell(f"write {name}")
            if self._count != self._number or not self._signal:
                return write(data)
            written = 0
            if self._point != "before":
                written = write(data[: len(data) // 2] if self._point == "half" else data)
                file.flush()
            self._die(f"write {name}")
            return written + write(data[written:])

        try:
            file.write = stepped
        except AttributeError:  # a raw C object takes no attributes: its open and its close are steps enough
            return

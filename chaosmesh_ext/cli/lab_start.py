"""Starts a lab's supervisor, and sees to its end when the start is broken off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from chaosmesh_ext.errors import Aborted, InvalidInput, LabError, NotFound

if TYPE_CHECKING:
    from chaosmesh_ext.lab.state import LabState

__all__ = ["Wanted", "deferred_signals", "ended_by_signals", "ignore_signals", "start"]


_GRACE_S = 8.0
"""Seconds that a supervisor has to end its lab before it is killed."""


class Wanted(NamedTuple):
    """The lab that was asked for: a topology's file or "", its parts by name, and the percent that is traced."""

    topology: str
    control_plane: str
    traces: str
    sampling: float


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and a terminal that closes end a command as Ctrl-C does: what it started goes with it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Those of `ended_by_signals` that come meanwhile are not acted upon, but listed."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals() -> None:
    """What clears away is not to be stopped half-way."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def start(name: str, wanted: Wanted, *, prometheus: bool, quiet: bool = False, bound: bool = False) -> LabState:
    """Start the supervisor of the lab NAME and follow what it says until it is ready.

    quiet: say nothing meanwhile. bound: the lab ends with this process. Raises InvalidInput or LabError, with nothing
    left running.
    """
    started = time.time()
    from chaosmesh_ext.lab import state as states
    from chaosmesh_ext.settings import load

    directory = states.directory_of(name)
    if wanted.topology and not Path(wanted.topology).is_file():
        raise InvalidInput(f"{wanted.topology}: no such file; give a topology, e.g. experiments/topologies/shop.yaml")
    block = load().lab_block
    if block and not 64 <= block <= 254:
        raise InvalidInput(
            f"CHAOSMESH_LAB_BLOCK={block} is outside 64–254: unset it, or choose 127.N.0.0/16 by such an N"
        )
    with states.starting(directory):
        try:
            alive = states.load(name).alive
        except NotFound:
            alive = False
        if alive:
            raise InvalidInput(f"the lab {name!r} is up already: use it, or `chaos mesh lab down --name {name}`")
        try:
            states.stop(directory)  # what a crash left
            (directory / "lab.json").unlink(missing_ok=True)
            return _start_supervisor(
                name, directory, wanted, started, block, prometheus=prometheus, quiet=quiet, bound=bound
            )
        except BaseException:
            ignore_signals()
            states.stop(directory)
            states.remove(directory)
            raise


def _start_supervisor(
    name: str,
    directory: Path,
    wanted: Wanted,
    started: float,
    block: int,
    *,
    prometheus: bool,
    quiet: bool,
    bound: bool,
) -> LabState:
    import msgspec

    from chaosmesh_ext.lab import state as states
    from chaosmesh_ext.lab.metrics import find_prometheus

    binary = find_prometheus() if prometheus else None
    if prometheus and binary is None and not quiet:
        click.echo("No Prometheus here: the lab comes up without metrics (`make setup` gets one).", err=True)
    options = {
        "name": name,
        "directory": str(directory),
        "topology": str(Path(wanted.topology).resolve()) if wanted.topology else "",
        "control_plane": wanted.control_plane,
        "traces": wanted.traces,
        "block": block,
        "prometheus": str(binary or ""),
        "sampling": wanted.sampling,
        "started": started,
        "command": os.getpid(),
        "bound": bound,
    }
    with (directory / "logs" / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", states.SUPERVISOR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            start_new_session=True,
            env={**os.environ, states.LAB_VARIABLE: str(directory)},
        )
    try:
        assert process.stdin is not None  # noqa: S101
        process.stdin.write(json.dumps(options).encode())
        process.stdin.close()
        return msgspec.convert(_follow(process, directory, quiet=quiet), states.LabState)
    except BaseException:
        ignore_signals()
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
        raise


def _follow(process: subprocess.Popen[bytes], directory: Path, *, quiet: bool) -> Any:
    from chaosmesh_ext.lab.last_words import last_lines

    assert process.stdout is not None  # noqa: S101
    for line in process.stdout:
        said = json.loads(line)
        if "ready" in said:
            return said["ready"]
        if "error" in said:
            kind = InvalidInput if said["exit_code"] == InvalidInput.exit_code else LabError
            raise kind(said["error"])
        if not quiet:
            click.echo(f"  {said['progress']}", err=True)
    status = process.wait()
    if status == Aborted.exit_code:
        raise Aborted(f"the lab {directory.name!r} was stopped while it started")
    words = last_lines(directory / "logs" / "supervisor.log", lines=1)
    raise LabError(f"the lab died at its start with status {status}; its last words: {words}")

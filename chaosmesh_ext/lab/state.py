"""Where a lab keeps what it must find again, and which processes are its own."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from chaosmesh_ext.errors import InvalidInput, LabError, NotFound

__all__ = [
    "LAB_VARIABLE",
    "SUPERVISOR",
    "LabState",
    "directory_of",
    "labs",
    "load",
    "processes",
    "remove",
    "save",
    "starting",
    "stop",
]

LAB_VARIABLE = "CHAOSMESH_LAB_DIRECTORY"
"""Set in the environment of everything that a lab starts: its own are found by it after a crash."""

SUPERVISOR = "chaosmesh_ext.lab.supervisor"
"""The module that is a lab's one long-lived process."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


class LabState(msgspec.Struct, frozen=True):
    """A lab as others find it.

    pid, started: the supervisor and its start in seconds since the epoch, which together name it even when the
    pid is used again. block: of `Network`. env: what `lab env` exports. ready_s: seconds from the command to ready.
    """

    name: str
    pid: int
    started: float
    block: int
    env: dict[str, str]
    status_url: str
    ready_s: float

    @property
    def alive(self) -> bool:
        """Whether its supervisor runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def _root() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home).absolute() / "chaosmesh-ext" / "labs"


def directory_of(name: str) -> Path:
    """The folder of the lab NAME.

    Raises InvalidInput when NAME is not a DNS label of at most 40 characters.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"--name {name!r} is not a lab's name: lower-case letters, digits and dashes, at most 40")
    return _root() / name


def labs() -> list[str]:
    """The names of the labs that have a folder, in order."""
    try:
        return sorted(entry.name for entry in _root().iterdir() if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def load(name: str) -> LabState:
    """The state of the lab NAME.

    Raises NotFound when it is not up.
    """
    try:
        return msgspec.json.decode((directory_of(name) / "lab.json").read_bytes(), type=LabState)
    except (OSError, msgspec.DecodeError):
        raise NotFound(f"no lab named {name!r} is up: start it with `chaos mesh lab up --name {name}`") from None


def is_up(name: str) -> bool:
    """Whether there is a lab NAME, and its supervisor runs."""
    try:
        return load(name).alive
    except NotFound:
        return False


@contextmanager
def starting(directory: Path) -> Iterator[None]:
    """Make the folder of a lab, and keep other commands from starting that lab meanwhile.

    Raises InvalidInput when another command is starting it, and when the folder cannot be made. The kernel lets go of
    it, however this process ends.
    """
    try:
        (directory / "logs").mkdir(parents=True, exist_ok=True)
        held = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise InvalidInput(
            f"the lab's folder {directory} cannot be made ({error.strerror}): set XDG_STATE_HOME to a folder of yours"
        ) from None
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(
                f"the lab {directory.name!r} is being started by another command: wait for it, or choose another --name"
            ) from None
        yield
    finally:
        os.close(held)


def save(directory: Path, state: LabState, kubeconfig: dict[str, Any]) -> None:
    """Write lab.json and the kubeconfig, each readable by this user only."""
    for name, data in (("kubeconfig", json.dumps(kubeconfig).encode()), ("lab.json", msgspec.json.encode(state))):
        temporary = directory / f".{name}"
        temporary.write_bytes(data)
        temporary.chmod(0o600)
        temporary.replace(directory / name)


def processes(directory: Path) -> list[psutil.Process]:
    """Every process of this user that the lab in DIRECTORY started, its supervisor included."""
    mine: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(LAB_VARIABLE) == str(directory) and process.pid != os.getpid():
                mine.append(process)
        except (psutil.Error, OSError):
            continue
    return mine


def stop(directory: Path, *, grace: float = 8.0) -> int:
    """End whatever the lab in DIRECTORY started: its supervisor by SIGTERM, also one that is still starting it; what is
    left after GRACE by SIGKILL.

    Returns how many processes had to be killed. Raises LabError when one does not die.
    """
    supervisors = [process for process in processes(directory) if _supervises(process)]
    for process in supervisors:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(supervisors, timeout=grace)
    killed = 0
    deadline = time.monotonic() + grace
    while left := [process for process in processes(directory) if _runs(process)]:
        for process in left:
            try:
                process.kill()
                killed += 1
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=1)
        if time.monotonic() > deadline:
            pids = ", ".join(str(p.pid) for p in left)
            raise LabError(f"the lab {directory.name!r} has processes that do not die: {pids}; end them by hand")
    return killed


def _supervises(process: psutil.Process) -> bool:
    try:
        return _runs(process) and SUPERVISOR in process.cmdline()
    except psutil.Error:
        return False


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def remove(directory: Path) -> None:
    """Delete the lab's folder."""
    shutil.rmtree(directory, ignore_errors=True)
    for parent in (directory.parent, directory.parent.parent):
        try:
            parent.rmdir()
        except OSError:
            return

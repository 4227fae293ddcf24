"""A program that the lab runs: dies with the lab, is watched while it starts, and leaves its last words."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from chaosmesh_ext.errors import LabError

__all__ = ["Process", "die_with_parent", "last_words", "size_of", "tail"]

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send this process signal NUMBER when its parent dies; for use between fork and exec."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))


def tail(log: Path, size: int, since: int = 0) -> list[str]:
    """The lines that are not blank within the last SIZE bytes of LOG, and after its first SINCE bytes."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, os.fstat(file.fileno()).st_size - size))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def last_words(log: Path, lines: int = 3, since: int = 0) -> str:
    """The last LINES lines of a LOG after its first SINCE bytes, joined by `` | ``; ``none`` when there are none."""
    return " | ".join(tail(log, 8192, since)[-lines:]) or "none"


def size_of(log: Path) -> int:
    """The bytes that LOG has; 0 when it is not there."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


class Process:
    """One program, its log file and its end.

    name: for messages. log: a file that receives standard output and error.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._command = list(command)
        self._log = log
        self._env = dict(env) if env is not None else None
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False
        self._began = 0

    @property
    def pid(self) -> int:
        """The process id, or 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the program in a session of its own; raises LabError when it cannot be."""
        self._stopped = False
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._began = size_of(self._log)
        with self._log.open("ab") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._env,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            except OSError as error:
                raise LabError(f"{self.name} could not be started: {error}") from error

    async def wait(self) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        assert self._process is not None  # noqa: S101
        return await self._process.wait()

    async def ready(self, check: Callable[[], Awaitable[bool]], timeout: float = 10.0) -> None:
        """Wait until CHECK says so.

        Raises LabError with the program's last words when it dies first, or is not ready after TIMEOUT seconds.
        """
        deadline = time.monotonic() + timeout
        while self.running:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                if await check():
                    return
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} is not ready after {timeout:g} s; its last words: {self.last_words()}")
            await asyncio.sleep(0.004)
        raise LabError(f"{self.name} died at its start {self._how()}; its last words: {self.last_words()}")

    async def stop(self, grace: float = 0.0) -> None:
        """End it: SIGTERM and up to GRACE seconds, then SIGKILL; a second call does nothing."""
        self._stopped = True
        if self._process is None or not self.running:
            return
        with contextlib.suppress(ProcessLookupError):
            if grace:
                self._process.terminate()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._process.wait(), grace)
            if self.running:
                self._process.kill()
        await self._process.wait()

    def dead(self) -> str:
        """That it died by itself, how, and its last words; empty before its start, while it runs, and after `stop`."""
        if self._process is None or self.running or self._stopped:
            return ""
        return f"{self.name} died {self._how()}; its last words: {self.last_words()}"

    def last_words(self, lines: int = 3) -> str:
        """The last LINES lines that it wrote since its start, joined by `` | ``; says so when it left none."""
        return last_words(self._log, lines, self._began)

    def _how(self) -> str:
        code = self._process.returncode if self._process else None
        if code is None or code >= 0:
            return f"with status {code}"
        try:
            return f"of {signal.Signals(-code).name}"
        except ValueError:
            return f"of signal {-code}"

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

__all__ = ["Process", "die_with_parent", "last_words"]

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send this process signal NUMBER when its parent dies; for use between fork and exec."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))


def last_words(log: Path, lines: int = 3) -> str:
    """The last LINES lines of a LOG, joined by `` | ``; ``none`` when there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        text = ""
    words = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(words[-lines:]) or "none"


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

    @property
    def pid(self) -> int:
        """The process id, or 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the program in a session of its own."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
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
        raise LabError(f"{self.name} died at its start; its last words: {self.last_words()}")

    async def stop(self, grace: float = 0.0) -> None:
        """End it: SIGTERM and up to GRACE seconds, then SIGKILL; a second call does nothing."""
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

    def last_words(self, lines: int = 3) -> str:
        """The last LINES lines of its log, joined by `` | ``; says so when it left none."""
        return last_words(self._log, lines)

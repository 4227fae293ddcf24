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
from chaosmesh_ext.lab.last_words import last_words, size_of
from chaosmesh_ext.lab.state import LAB_VARIABLE

__all__ = ["READY_S", "Process", "die_with_parent", "outlive_parent"]

READY_S = 45.0
"""How long a program may take to be ready, seconds: less than one, but many where the machine has no time for it."""

_PASSED = (LAB_VARIABLE, "HOME", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
"""Where a program finds itself: an etcd on PATH may be a script that starts another."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send this process signal NUMBER when its parent dies; for use between fork and exec."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))


def outlive_parent() -> None:
    """Take `die_with_parent` back."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, 0)


class Process:
    """One program, its log file and its end.

    The user's environment does not reach it: etcd reads ETCD_…, Jaeger LOG_LEVEL and CONFIG_FILE, istiod PILOT_…, and
    all of them would call the lab's own addresses through a proxy.

    name: for messages. log: a file that receives standard output and error. env: variables of its own. harmless: how
    words begin that it writes in any case, and that are none of its last.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        *,
        harmless: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._command = list(command)
        self._log = log
        self._env = {name: os.environ[name] for name in _PASSED if name in os.environ} | dict(env or {})
        self._harmless = tuple(harmless)
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False
        self._since = 0
        self._death = ""

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
        self._stopped, self._death = False, ""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._since = size_of(self._log)
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

    async def ready(self, check: Callable[[], Awaitable[bool]], timeout: float = READY_S) -> None:
        """Wait until CHECK says so.

        What it complained of until then is none of its last words later. Raises LabError with the program's last words
        when it dies first, or is not ready after TIMEOUT seconds.
        """
        deadline = time.monotonic() + timeout
        while self.running:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                if await check():
                    self._since = size_of(self._log)
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
        self._death = self._death or f"{self.name} died {self._how()}; its last words: {self.last_words()}"
        return self._death

    def last_words(self) -> str:
        """What it said was wrong since it was ready, or started: see `last_words`."""
        return last_words(self._log, self._since, self._harmless)

    def _how(self) -> str:
        code = self._process.returncode if self._process else None
        if code is None or code >= 0:
            return f"with status {code}"
        try:
            return f"of {signal.Signals(-code).name}"
        except ValueError:
            return f"of signal {-code}"

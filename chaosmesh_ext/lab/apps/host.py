"""The supervisor's end of the application host: starts, ends and watches applications, each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.apps.spec import AppSpec
from chaosmesh_ext.lab.apps.wire import NO_CERTIFICATES, End, Event, Kill, Refused, Run, Started
from chaosmesh_ext.lab.last_words import last_lines
from chaosmesh_ext.lab.process import die_with_parent

__all__ = ["AppHost"]


class AppHost:
    """One parent process that has everything imported already, and forks an application when asked.

    A fork is ready in a few milliseconds and shares its parent's memory. Whatever ends the supervisor ends the
    parent, and whatever ends the parent ends its applications; a parent that died is started again by the next `run`.

    directory: where each application's output goes, ``<name>.app.log``, and the parent's, ``apps.log``.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._parent: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._asked: dict[int, tuple[AppSpec, Callable[[int], None], asyncio.Future[int]]] = {}
        self._running: dict[int, tuple[str, Callable[[int], None], asyncio.Future[None]]] = {}
        self._count = 0
        self._stopped = False

    @property
    def pid(self) -> int:
        """The parent's process id, or 0 when there is none."""
        return self._parent.pid if self._parent else 0

    @property
    def pids(self) -> list[int]:
        """The process ids of the applications that run."""
        return list(self._running)

    async def start(self) -> None:
        """Start the parent; raises LabError when it cannot be."""
        self._stopped = False
        await self._parented()

    async def _parented(self) -> None:
        async with self._starting:
            if self._parent is not None:
                return
            self._directory.mkdir(parents=True, exist_ok=True)
            with (self._directory / "apps.log").open("ab") as log:
                try:
                    self._parent = await asyncio.create_subprocess_exec(
                        sys.executable,
                        "-m",
                        "chaosmesh_ext.lab.apps.forker",
                        stdin=asyncio.subprocess.PIPE,
                        stdout=asyncio.subprocess.PIPE,
                        stderr=log,
                        env={**NO_CERTIFICATES, **os.environ},
                        start_new_session=True,
                        preexec_fn=_end_with_us,
                    )
                except OSError as error:
                    raise LabError(f"the application host could not be started: {error}") from error
            self._reading = asyncio.create_task(self._read(self._parent))

    async def run(self, spec: AppSpec, on_exit: Callable[[int], None]) -> int:
        """Start an application; its process id, before it listens.

        ON_EXIT is called once, on the event loop, with its exit status, negative for a signal. Raises LabError when
        it could not be started.
        """
        if self._stopped:
            raise LabError(f"{spec.name}: the application host has been stopped")
        await self._parented()
        assert self._parent is not None  # noqa: S101
        assert self._parent.stdin is not None  # noqa: S101
        self._count += 1
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked[self._count] = (spec, on_exit, started)
        self._parent.stdin.write(_line(Run(self._count, spec, str(self._log(spec.name)))))
        return await started

    async def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send signal NUMBER to an application and all that it started; after SIGKILL, wait until it is gone.

        Nothing happens when it has ended already.
        """
        running = self._running.get(pid)
        if running is None or self._parent is None or self._parent.stdin is None:
            return
        self._parent.stdin.write(_line(Kill(pid, int(number))))
        if number == signal.SIGKILL:
            await asyncio.shield(running[2])

    def last_words(self, name: str, lines: int = 3) -> str:
        """The last LINES lines that the application of Pod NAME wrote, joined by `` | ``."""
        return last_lines(self._log(name), lines)

    async def stop(self) -> None:
        """End every application and the parent; a second call does nothing."""
        self._stopped = True
        if self._parent is None or self._reading is None:
            return
        parent, reading = self._parent, self._reading
        if parent.stdin is not None:
            parent.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reading), 5.0)
        if parent.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                parent.kill()
        await reading

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.app.log"  # beside its sidecar's

    async def _read(self, parent: asyncio.subprocess.Process) -> None:
        assert parent.stdout is not None  # noqa: S101
        while line := await parent.stdout.readline():
            self._heard(msgspec.json.decode(line, type=Event))
        await parent.wait()
        self._parent = None
        words = last_lines(self._directory / "apps.log")
        for _, _, started in self._asked.values():
            if not started.done():
                started.set_exception(LabError(f"the application host died; its last words: {words}"))
        self._asked.clear()
        for pid in list(self._running):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            self._ended(pid, -signal.SIGKILL)

    def _heard(self, event: Event) -> None:
        match event:
            case Started(id=number, pid=pid):
                spec, on_exit, started = self._asked.pop(number)
                self._running[pid] = (spec.name, on_exit, asyncio.get_running_loop().create_future())
                if not started.done():
                    started.set_result(pid)
                else:  # nobody waits for it any more
                    self._send_kill(pid)
            case Refused(id=number, why=why):
                spec, _, started = self._asked.pop(number)
                if not started.done():
                    started.set_exception(LabError(f"{spec.name}: {why}"))
            case End(pid=pid, status=status):
                self._ended(pid, status)

    def _send_kill(self, pid: int) -> None:
        if self._parent is not None and self._parent.stdin is not None:
            self._parent.stdin.write(_line(Kill(pid, int(signal.SIGKILL))))

    def _ended(self, pid: int, status: int) -> None:
        _, on_exit, gone = self._running.pop(pid)
        gone.set_result(None)
        on_exit(status)


def _end_with_us() -> None:
    die_with_parent(signal.SIGTERM)  # not SIGKILL: it ends what foreign programs started, too


def _line(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message) + b"\n"

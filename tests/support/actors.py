"""Programs that a test lets go on one request at a time, so that it chooses how they interleave.

An `Actor` is a thread that only runs while the test waits for it: at each pause the test decides who goes on. A `Gated`
client pauses before each request, and between a write's arrival at the API and its answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from chaosmesh_ext.errors import Unreachable
from chaosmesh_ext.mesh import Client
from chaosmesh_ext.mesh.transport import Access

__all__ = ["Actor", "Gated", "Killed"]


class Killed(BaseException):
    """The process that the actor stands for has ended: nothing more of it happens."""


class Actor:
    """at: where it stands. flight: a write that it has sent and that has not arrived, or None. broken: its next answer
    is lost. error: what ended it that should not have.
    """

    def __init__(self, name: str, program: Callable[[Actor], None]) -> None:
        self.name, self.at, self.over, self.killed = name, "its beginning", False, False
        self.flight: Callable[[], Any] | None = None
        self.broken = False
        self.error: BaseException | None = None
        self._program = program
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"{self.name} at {self.at}{' (over)' if self.over else ''}"

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self.killed:
                self._program(self)
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        self.over = True
        self._paused.release()

    def pause(self, at: str) -> None:
        """Called by the program: wait until the test lets it go on."""
        if self.killed:
            raise Killed
        self.at = at
        self._paused.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    def step(self) -> None:
        """Called by the test: let it go on to its next pause, or to its end."""
        if self.over:
            return
        self._go.release()
        assert self._paused.acquire(timeout=30), f"{self} does not come to a pause"
        if self.error is not None:
            raise AssertionError(f"{self} ended in {self.error!r}") from self.error

    def breaks(self) -> Callable[[], Any] | None:
        """The connection of its request breaks: it hears no answer; the write that was under way, which may arrive."""
        self.broken = True
        flight, self.flight = self.flight, None
        return flight

    def kill(self) -> Callable[[], Any] | None:
        """It ends where it stands; the write that was under way, which may arrive yet."""
        flight, self.flight = self.flight, None
        self.killed = True
        if not self.over:
            self._go.release()
            assert self._paused.acquire(timeout=30), f"{self} does not end"
        return flight


class Gated(Client):
    """The requests of ACTOR."""

    def __init__(self, access: Access, actor: Actor) -> None:
        super().__init__(access)
        self._actor = actor

    def _call(self, method: str, where: str, what: str, **named: Any) -> Any:
        def arrive() -> Any:
            return super(Gated, self)._call(method, where, what, **named)

        self._actor.pause(f"{method} {what}")
        if self._actor.broken:
            raise self._lost()
        if method == "GET":
            return arrive()
        self._actor.flight = arrive
        self._actor.pause(f"{method} {what}, on its way")
        self._actor.flight = None
        if self._actor.broken:
            raise self._lost()
        try:
            return arrive()
        finally:
            if not self._actor.killed:
                self._actor.pause(f"{method} {what}, before its answer")
                if self._actor.broken:
                    raise self._lost()

    def _lost(self) -> Unreachable:
        self._actor.broken = False
        return Unreachable("the connection broke")

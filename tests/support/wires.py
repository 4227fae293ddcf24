"""The pipes between a runner and its watchdog as a test holds them: what each says, and when it is heard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from actors import Actor
from overlays import RUN

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.mesh.ledger import Entry
from chaosmesh_ext.mesh.watchdog import messages as say

__all__ = ["Machine", "RunnersEar", "WatchdogsEar", "Wires"]


class Wires:
    """The pipes between a runner and its watchdog, and a clock that only the watchdog's waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.to_watchdog: list[Any] = []
        self.heard: set[int] = set()
        self.over = ""
        self.released = self.closed = False
        self.number = 0


class Machine(Protocol):
    """What a watchdog's ear must know of the world. runner_gone_at: by the wires' clock; None while it is there."""

    wires: Wires
    stopped: bool
    runner_gone_at: float | None

    def pass_time(self, seconds: float) -> None: ...


class RunnersEar:
    """The runner's side, as `Watchdog` is: waits until an intent was heard."""

    def __init__(self, wires: Wires, actor: Actor, watchdog: Callable[[], Actor]) -> None:
        self._wires, self._actor, self._watchdog = wires, actor, watchdog

    def intent(self, kind: str, namespace: str, name: str, *, version: str = "", created: bool = False) -> int:
        self._wires.number += 1
        number = self._wires.number
        self._wires.to_watchdog.append(say.Intent(number, kind, namespace, name, version, created))
        while number not in self._wires.heard:
            if self._wires.over or self._watchdog().over:
                raise Inconclusive("the watchdog has taken over, or is gone: nothing more is written")
            self._actor.pause("an intent, not heard yet")
        return number

    run = RUN

    def answered(
        self, number: int, *, uid: str = "", version: str = "", entries: tuple[Entry, ...] = (), refused: bool = False
    ) -> None:
        self._wires.to_watchdog.append(say.Answered(number, uid, version, entries, refused))

    def forget(self, kind: str, namespace: str, name: str, cell: str) -> None:
        self._wires.to_watchdog.append(say.Forget(kind, namespace, name, cell))


class WatchdogsEar:
    """The watchdog's side, as `Ear` is."""

    def __init__(self, machine: Machine, actor: Actor) -> None:
        self._machine, self._wires, self._actor = machine, machine.wires, actor

    @property
    def open(self) -> bool:
        return self.gone_at is None

    @property
    def gone_at(self) -> float | None:
        return self._machine.runner_gone_at

    def messages(self, seconds: float) -> list[Any]:
        self._actor.pause(f"listening for {seconds:g} s")
        found, self._wires.to_watchdog[:] = list(self._wires.to_watchdog), []
        if not found:
            if self.gone_at is None and not self._machine.stopped:
                found = [say.Beat()]
            self._machine.pass_time(seconds)
        return found

    def tell(self, message: Any) -> None:
        match message:
            case say.Heard():
                self._wires.heard.add(message.number)
            case say.Over():
                self._wires.over = message.why
            case say.Released():
                self._wires.released = True

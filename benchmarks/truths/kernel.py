"""A discrete-event kernel: a clock of its own, processes, and lines that people wait in.

A process is a generator that yields what it waits for, a `Signal`, and gets its value back. Whatever happens at the
same moment happens in the order in which it was asked for, so the same words always tell the same story.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

__all__ = ["Cancelled", "Kernel", "Line", "Process", "Signal", "Task"]

Process = Generator["Signal", Any, Any]


class Cancelled(BaseException):
    """Thrown into a process that is called off; it may tidy up, and must let it pass."""


class Signal:
    """Something that happens at most once, with a value."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._waiting: list[Callable[[], None]] = []
        self.happened = False
        self.value: Any = None

    def fire(self, value: Any = None) -> None:
        """It happens; a second time means nothing."""
        if self.happened:
            return
        self.happened, self.value = True, value
        for told in self._waiting:
            self._kernel.soon(told)
        self._waiting.clear()

    def then(self, tell: Callable[[], None]) -> None:
        """TELL is called once it has happened."""
        if self.happened:
            self._kernel.soon(tell)
        else:
            self._waiting.append(tell)


class Task(Signal):
    """A running process; happens when the process ends, with what it returned."""

    def __init__(self, kernel: Kernel, process: Process) -> None:
        super().__init__(kernel)
        self._process = process
        self._turn = 0
        kernel.soon(lambda: self._go_on(0, None))

    def cancel(self) -> None:
        """Call it off now, with whatever it waits for; nothing happens where it has ended."""
        if self.happened:
            return
        self._turn += 1
        try:
            self._process.throw(Cancelled())
        except (Cancelled, StopIteration):
            pass
        else:
            raise RuntimeError("a process went on although it was called off")
        self.fire()

    def _go_on(self, turn: int, signal: Signal | None) -> None:
        if turn != self._turn or self.happened:
            return  # it was called off meanwhile
        try:
            waits_for = self._process.send(signal.value if signal else None)
        except StopIteration as end:
            self.fire(end.value)
            return
        self._turn += 1
        turn = self._turn
        waits_for.then(lambda: self._go_on(turn, waits_for))


class Kernel:
    """The clock, in seconds since the simulation began, and everything that is still to happen."""

    def __init__(self) -> None:
        self.now = 0.0
        self._next: list[tuple[float, int, Callable[[], None]]] = []
        self._asked = 0

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """DO something SECONDS from now."""
        self._asked += 1
        heapq.heappush(self._next, (self.now + seconds, self._asked, do))

    def soon(self, do: Callable[[], None]) -> None:
        """DO something at this moment, after what was asked for before."""
        self.after(0.0, do)

    def sleep(self, seconds: float) -> Signal:
        """Happens SECONDS from now."""
        signal = Signal(self)
        self.after(seconds, signal.fire)
        return signal

    def first(self, *signals: Signal) -> Signal:
        """Happens with the first of SIGNALS."""
        either = Signal(self)
        for signal in signals:
            signal.then(either.fire)
        return either

    def spawn(self, process: Process) -> Task:
        """Run PROCESS beside the others."""
        return Task(self, process)

    def run(self, until: float = float("inf")) -> None:
        """Until nothing is left to happen, or up to a moment."""
        while self._next and self._next[0][0] <= until:
            self.now, _, do = heapq.heappop(self._next)
            do()


class Line:
    """Room for so many at once; the others wait, first in, first out. places: None is room for everybody."""

    def __init__(self, kernel: Kernel, places: int | None) -> None:
        self._kernel = kernel
        self._places = places
        self._inside: set[Signal] = set()
        self._waiting: deque[Signal] = deque()

    def join(self) -> Signal:
        """A ticket, which happens once there is room. Who holds one must `leave` in the end."""
        ticket = Signal(self._kernel)
        self._waiting.append(ticket)
        self._admit()
        return ticket

    def leave(self, ticket: Signal) -> None:
        """Give the ticket back, served or still waiting."""
        if ticket in self._inside:
            self._inside.remove(ticket)
        else:
            self._waiting.remove(ticket)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and (self._places is None or len(self._inside) < self._places):
            ticket = self._waiting.popleft()
            self._inside.add(ticket)
            ticket.fire()

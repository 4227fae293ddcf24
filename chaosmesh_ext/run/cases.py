"""Cases: requests of a cell that carry something besides, and what the destination must answer to each."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Final

import msgspec

from chaosmesh_ext.errors import NotProven
from chaosmesh_ext.model import Answer, Span, Trace
from chaosmesh_ext.observe.traces import TraceSource
from chaosmesh_ext.run.traffic import Errand, pace

__all__ = ["IN_A_ROW", "Case", "answered", "statuses"]

IN_A_ROW: Final = 4
"""Calls one after the other that must be answered alike. Where a listener changed, exactly one request on each warm
connection still meets what was before (measured), and a run's own requests keep one or two warm."""

_SLOWEST: Final = 0.2
"""Seconds between two requests, at most."""
_POLL: Final = 0.03
"""Seconds between two looks for a trace."""


class Case(msgspec.Struct, frozen=True):
    """One case. headers: are never shown. status: that the called sidecar answers; 0 for that without the fault."""

    name: str
    headers: Mapping[str, str]
    status: int = 0

    def __repr__(self) -> str:
        return f"Case({self.name!r})"


def answered(
    case: Case,
    errand: Errand,
    ask: Callable[[Errand], Collection[int]],
    healthy: Collection[int],
    *,
    about: object,
    timeout: float,
    stopped: Callable[[], bool],
) -> None:
    """Send ERRAND with what CASE says until calls one after the other are answered as it says; raises NotProven.

    ASK: sends one request, and tells the statuses of the calls that it led to, none where they are not known. HEALTHY:
    without the fault. ABOUT: the calls, in words. TIMEOUT: seconds. STOPPED: give up now.
    """
    wanted = {case.status} if case.status else set(healthy)
    errand = msgspec.structs.replace(errand, headers={**errand.headers, **case.headers})
    end = time.time() + timeout
    row, last = 0, "not seen"
    pauses = pace(lambda: _SLOWEST)
    while row < IN_A_ROW:
        if stopped():
            raise NotProven("the run was stopped before the proof was complete")
        if time.time() > end:
            raise NotProven(
                f"with {case.name}, calls {about} were not answered {' or '.join(map(str, sorted(wanted)))} within "
                f"{timeout:g} s; the last one: {last}"
            )
        if statuses := set(ask(errand)):
            row = row + 1 if statuses <= wanted else 0
            last = ", ".join(map(str, sorted(statuses)))
        time.sleep(next(pauses))


def statuses(
    errand: Errand,
    *,
    store: TraceSource,
    send: Callable[[Errand], Future[Answer]],
    calls: Callable[[Trace], list[Span]],
    timeout: float,
) -> list[int]:
    """The statuses of the CALLS in the trace of one more request, by SEND; none where STORE has none after TIMEOUT
    seconds.
    """
    trace_id = send(errand).result().trace_id
    end = time.time() + timeout
    while True:
        found = [span.status for trace in store.many([trace_id]).values() for span in calls(trace)]
        if found or time.time() > end:
            return found
        time.sleep(_POLL)

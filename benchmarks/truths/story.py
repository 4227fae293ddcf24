"""What happened in a simulation, as frozen data; times are seconds since it began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

__all__ = ["Abort", "Attempt", "Delay", "Fault", "Faults", "Served", "Story", "Visit", "operation"]


class Delay(msgspec.Struct, frozen=True):
    """Calls wait so many seconds in their caller's sidecar."""

    seconds: float


class Abort(msgspec.Struct, frozen=True):
    """Calls are answered with a status by their caller's sidecar."""

    status: int


Fault = Delay | Abort
Faults = Mapping[tuple[str, str], Fault]
"""By source workload (``reviews-v2``) and destination service."""


class Attempt(msgspec.Struct, frozen=True):
    """One attempt of a call, as the caller's sidecar sees it.

    request: which `Served` made it. operation: method and path. call: its place among the version's calls. number: 0
    for the first. ended: how; `called off` when the caller itself stopped it. status: of the answer, 0 when none came.
    """

    source: str
    destination: str
    operation: str
    call: int
    request: int
    number: int
    start: float
    end: float
    ended: Literal["answered", "timeout", "called off"]
    status: int
    faulted: bool
    marked: bool

    @property
    def failed(self) -> bool:
        return self.ended == "timeout" or self.status >= 500


class Served(msgspec.Struct, frozen=True):
    """One request as a workload met it.

    arrived, began: before and after the wait for a worker, None where it was called off before. end: its work was over,
    finished or called off. gone: when its caller left before it had an answer. status: of its answer, 0 where its work
    was called off.
    """

    id: int
    workload: str
    service: str
    path: str
    parent: int | None
    marked: bool
    arrived: float
    began: float | None
    end: float
    gone: float | None
    status: int

    @property
    def orphaned(self) -> float:
        """Seconds of work for nobody."""
        return 0.0 if self.gone is None else max(0.0, self.end - self.gone)


class Visit(msgspec.Struct, frozen=True):
    """One request of a user and the answer. body: as the answer's JSON, text of a stack trace is None."""

    path: str
    start: float
    end: float
    status: int
    body: Mapping[str, Any] | None


class Story(msgspec.Struct, frozen=True):
    """visits: of users, in order of their answers. attempts: in order of their start. served: in order of arrival."""

    visits: tuple[Visit, ...]
    attempts: tuple[Attempt, ...]
    served: tuple[Served, ...]

    @property
    def visit(self) -> Visit:
        """The only one."""
        (only,) = self.visits
        return only

    def on(self, source: str, destination: str, operation: str = "") -> list[Attempt]:
        """The attempts of one workload to call one service, by one operation or by any."""
        return [
            each
            for each in self.attempts
            if (each.source, each.destination) == (source, destination) and operation in ("", each.operation)
        ]


def operation(method: str, path: str) -> str:
    """As findings name it: without the query, numbers written ``{id}``."""
    segments = path.split("?", 1)[0].split("/")
    return f"{method} {'/'.join('{id}' if segment.isdecimal() else segment for segment in segments)}"

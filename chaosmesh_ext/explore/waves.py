"""Cells, waves and plans: what is injected, in which order, and how long it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from statistics import fmean
from typing import Any, Final, Literal

import msgspec

from chaosmesh_ext.model import Edge, Skipped

__all__ = ["CALLS_EACH", "SETTLE", "Given", "Kind", "Plan", "PlannedCell", "Wave"]

Kind = Literal["delay", "abort", "breaker", "bulkhead", "unsafe-retry", "metastable"]

CALLS_EACH: Final = 3
"""Calls that must meet a cell's fault before a rule speaks."""

SETTLE: Final = 2.0
"""Seconds that a wave takes besides its requests: push and proof, and the quiet second after which traces are whole."""

_LASTS: Final[Mapping[str, float]] = {"breaker": 4.0, "bulkhead": 12.0, "metastable": 120.0}
"""Seconds of load that such a cell needs, estimated; the others take as long as their delay. A breaker that opens takes
twice as long as it is open besides.
"""


class Given(msgspec.Struct, frozen=True):
    """A fault that is in as well, in the same cell: without it the calls that the cell is about are not made.

    also: the same call of the caller's other versions.
    """

    edge: Edge
    delay: float = 0.0
    status: int = 0
    also: tuple[Edge, ...] = ()

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All that it is on."""
        return (self.edge, *self.also)


class PlannedCell(msgspec.Struct, frozen=True):
    """One fault on one call, which requests with the marker of this cell meet.

    edge, also: of each version of the caller one: with one of them spared, requests that are tried again above may come
    to that. Findings are made of each version by itself. number: the marker's cell; 0 is the control's. kind: what it
    teaches; a delay or an abort by itself, or a stateful experiment that uses one. delay: seconds, 0 for an abort.
    status: HTTP status, 0 for a delay. operations: what it is about; others on the same edge meet the fault too, unless
    it is for one ALONE. urls: the fewest entry URLs whose requests make all of these calls; empty where the graph names
    none. judged: the edge in question, where that is not the faulted one. given: the first fault of a second-order
    cell. in_a_row: the most calls on the edge that one request of its source makes. times: as many requests as usual.
    in_turn: one after the other, with a healthy one between two, so that failures seldom open a breaker.
    """

    number: int
    edge: Edge
    kind: Kind
    delay: float = 0.0
    status: int = 0
    operations: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    judged: Edge | None = None
    given: Given | None = None
    in_a_row: int = 1
    alone: bool = False
    also: tuple[Edge, ...] = ()
    times: int = 1
    in_turn: bool = False

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All that it faults."""
        return (self.edge, *self.also)

    @property
    def match(self) -> dict[str, Any]:
        """The HTTPMatchRequest that narrows the fault to its operation, where it is for that alone; else empty."""
        if not self.alone or len(self.operations) != 1:
            return {}
        method, _, path = self.operations[0].partition(" ")
        expression = re.escape(path).replace(re.escape("{id}"), "[^/?]+")
        return {"method": {"exact": method}, "uri": {"regex": expression}}

    @property
    def url(self) -> str:
        """The first of `urls`, or nothing."""
        return self.urls[0] if self.urls else ""

    @property
    def touches(self) -> tuple[Edge, ...]:
        """The edges whose callers it holds up: the faulted one, and the one in question."""
        return self.edges if self.judged is None else (*self.edges, self.judged)

    @property
    def lasts(self) -> float:
        """Seconds that its slowest request, or its load, takes if nobody gives up; estimated."""
        first = self.given.delay if self.given is not None else 0.0
        return _LASTS.get(self.kind, self.delay * self.in_a_row) + first


class Wave(msgspec.Struct, frozen=True):
    """Cells that are in at once; none of them disturbs another one. Wave 0 is healthy and has none."""

    number: int
    name: str
    cells: tuple[PlannedCell, ...] = ()
    stateful: bool = False

    def seconds(self, in_flight: int) -> float:
        """How long it takes with so many of our requests IN_FLIGHT at once, if no caller gives up; estimated.

        Stateful cells take their turns.
        """
        lasts = [cell.lasts for cell in self.cells]
        longest = max(lasts, default=0.0)
        every = sum(cell.lasts * len(cell.edges) * cell.times for cell in self.cells)
        longest = max([longest, *(CALLS_EACH * cell.times * cell.lasts for cell in self.cells if cell.in_turn)])
        return SETTLE + (sum(lasts) if self.stateful else max(longest, every * CALLS_EACH / in_flight))


class Plan(msgspec.Struct, frozen=True, dict=True):
    """Waves, one after the other.

    one_by_one: how many experiments it takes to fault every call of a request alone: each site, as often as a healthy
    request makes the call, with each fault of the plan. skipped: edges that are left out, and why. hosts: waves are in
    parts, so that no more are faulted at once; 0 where none is.
    """

    waves: tuple[Wave, ...]
    one_by_one: int
    skipped: tuple[Skipped, ...] = ()
    hosts: int = 0

    @property
    def note(self) -> str:
        """That waves are in parts, for people; empty where none is."""
        if not self.hosts:
            return ""
        return f"waves are in parts: no more than {self.hosts} hosts are faulted at once (CHAOSMESH_MAX_HOSTS)"

    @cached_property
    def cells(self) -> tuple[PlannedCell, ...]:
        """Of all waves."""
        return tuple(cell for wave in self.waves for cell in wave.cells)

    def seconds(self, in_flight: int) -> float:
        """How long all waves take; see `Wave.seconds`."""
        return sum(wave.seconds(in_flight) for wave in self.waves)

    def seconds_one_by_one(self, in_flight: int) -> float:
        """How long `one_by_one` experiments take, each with a push, its own requests and its traces; estimated."""
        return self.one_by_one * fmean([*_alone(self.waves, in_flight)] or [0.0])


def _alone(waves: tuple[Wave, ...], in_flight: int) -> Iterator[float]:
    for wave in waves:
        for cell in wave.cells:
            yield Wave(0, "", (msgspec.structs.replace(cell, in_a_row=1),), wave.stateful).seconds(in_flight)

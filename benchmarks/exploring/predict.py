"""When the last span of a request ends while a call is faulted, by the simulator of topology files.

The calls of all versions of a service to one other are faulted together, as an exploration does. Which version serves
is the mesh's choice, so that every way of a first and a second attempt is played, and the longest one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import msgspec
from truths.simulate import simulate
from truths.story import Abort, Delay, Fault, Story

from chaosmesh_ext.model.topology import Topology

__all__ = ["Ends", "bound", "ends", "healthy", "pairs"]

READ = 0.2
"""Seconds from the last span's end until it is read and judged: the store's and the rules' (the issue's)."""


class Ends(msgspec.Struct, frozen=True):
    """Seconds from the request's start. answer: its answer. last: the last span, whoever still waits for it. met: how
    many of its calls meet the fault, at least.
    """

    answer: float
    last: float
    met: int = 0


def pairs(topology: Topology) -> list[tuple[str, str]]:
    """Service and called service of every call."""
    found = {
        (service.name, call.to)
        for service in topology.services
        for version in service.versions
        for call in version.calls()
    }
    return sorted(found)


def healthy(topology: Topology, path: str = "/") -> Ends:
    """Of a request that meets no fault."""
    return _longest([_ends(simulate(topology, path, {}, way)) for way in _ways(topology)])


def ends(topology: Topology, pair: tuple[str, str], fault: Fault, path: str = "/") -> Ends:
    """Of a request that meets FAULT on the calls of the first of PAIR, in all its versions, to the second.

    Raises ValueError where none does.
    """
    caller, callee = pair
    faults = {(f"{caller}-{version.name}", callee): fault for version in topology.service(caller).versions}
    stories = [simulate(topology, path, faults, way) for way in _ways(topology)]
    met = [_ends(story) for story in stories if any(attempt.faulted for attempt in story.attempts)]
    if not met:
        raise ValueError(f"no request to {path} makes a call {caller} → {callee}")
    return _longest(met)


def bound(topology: Topology, faults: Sequence[Fault], pushes: Mapping[str, float], path: str = "/") -> float:
    """The seconds below which no exploration can come that injects FAULTS, a wave each, on all calls at once.

    PUSHES: measured, by kind (delay, abort): from a write to the first request that met it. Wave 0 is in.
    """
    waves = [max(ends(topology, pair, fault, path).last for pair in pairs(topology)) for fault in faults]
    return healthy(topology, path).last + sum(waves) + sum(pushes.get(kind(fault), 0.0) for fault in faults) + READ


def kind(fault: Fault) -> str:
    """As cells call it."""
    return "delay" if isinstance(fault, Delay) else "abort" if isinstance(fault, Abort) else ""


def _ways(topology: Topology) -> Iterator[Way]:
    several = [service for service in topology.services if len(service.versions) > 1]
    names = [[version.name for version in service.versions] for service in several]
    for chosen in product(*(product(each, repeat=2) for each in names)):
        yield Way(dict(zip((service.name for service in several), chosen, strict=True)), topology)


class Way:
    """Which version serves the first request to a service, and which one all others."""

    def __init__(self, chosen: Mapping[str, tuple[str, str]], topology: Topology) -> None:
        self._chosen, self._topology = chosen, topology

    def __call__(self, service: str, before: int) -> str:
        if service in self._chosen:
            return self._chosen[service][min(before, 1)]
        return self._topology.service(service).versions[0].name


def _ends(story: Story) -> Ends:
    """A server span ends when its caller leaves, or with its work; a client span with the call."""
    spans = [attempt.end for attempt in story.attempts] + [each.end for each in story.served if each.gone is None]
    answer = max(visit.end for visit in story.visits)
    return Ends(answer, max([answer, *spans]), sum(attempt.faulted for attempt in story.attempts))


def _longest(several: Sequence[Ends]) -> Ends:
    return Ends(
        max(each.answer for each in several), max(each.last for each in several), min(each.met for each in several)
    )

"""What a generated topology may ask of two cores: calls for one request, and how long healthy ones take."""

from __future__ import annotations

from truths.words import MadeCall, MadeService, MadeTopology

__all__ = ["MOST_CALLS", "floor", "latencies", "most_calls"]

MOST_CALLS = 60
"""Attempts for one request of a user, in any single-fault cell."""

_CALL = 10.0
"""Milliseconds that every call below adds at the 99th percentile: an exploration has up to sixteen requests at once,
and all applications and sidecars share two cores: calls wait for each other whether made together or not."""


def latencies(topology: MadeTopology) -> dict[str, float]:
    """Milliseconds that each service's healthy answer takes at the 99th percentile, over its slowest version."""
    works: dict[str, float] = {}
    calls: dict[str, int] = {}
    for service in reversed(topology.services):
        versions = service.versions
        works[service.name] = max(
            version.work + 2 + sum(max(works[call.to] for call in step) for step in version.steps)
            for version in versions
        )
        calls[service.name] = max(sum(1 + calls[call.to] for call in version.calls()) for version in versions)
    return {name: works[name] + _CALL * calls[name] for name in works}


def floor(call: MadeCall, healthy: dict[str, float]) -> float:
    """Milliseconds below which CALL must have no timeout: max(150 ms, 10 x the healthy p99)."""
    return max(150.0, 10 * (healthy[call.to] + _CALL))


def most_calls(topology: MadeTopology) -> int:
    """The most attempts that one request of a user makes while the calls of one service to one other fail."""
    edges = {(service.name, call.to) for service in topology.services for call in service.calls()}
    return max((_calls(topology, source, destination) for source, destination in edges), default=0)


def _calls(topology: MadeTopology, source: str, destination: str) -> int:
    """An upper bound: everything above the edge fails too, and is tried again."""
    counted: dict[str, tuple[int, bool]] = {}
    for service in reversed(topology.services):
        counted[service.name] = _of_service(service, counted, source, destination)
    return counted[topology.services[0].name][0]


def _of_service(
    service: MadeService, counted: dict[str, tuple[int, bool]], source: str, destination: str
) -> tuple[int, bool]:
    most, concerned = 0, False
    for version in service.versions:
        total = 0
        for call in version.calls():
            below, touched = counted[call.to]
            touched = touched or (service.name, call.to) == (source, destination)
            total += (1 + below) * (1 + call.attempts if touched else 1)
            concerned = concerned or touched
        most = max(most, total)
    return most, concerned

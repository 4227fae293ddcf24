"""What a generated topology may ask of two cores: calls for one request, and how long healthy ones take."""

from __future__ import annotations

from truths.words import MadeCall, MadeService, MadeTopology

__all__ = ["MOST_CALLS", "floor", "latencies", "most_calls"]

MOST_CALLS = 60
"""Attempts for one request of a user, in any single-fault cell."""

_HOP = 6.0
"""Milliseconds: a call's way through two sidecars at the 99th percentile, with dozens of requests at once on two
cores."""


def latencies(topology: MadeTopology) -> dict[str, float]:
    """Milliseconds that each service's healthy answer takes at the 99th percentile, over its slowest version."""
    found: dict[str, float] = {}
    for service in reversed(topology.services):
        found[service.name] = max(
            version.work + 2 + sum(max(found[call.to] + _HOP for call in step) for step in version.steps)
            for version in service.versions
        )
    return found


def floor(call: MadeCall, healthy: dict[str, float]) -> float:
    """Milliseconds below which CALL must have no timeout: max(150 ms, 10 x the healthy p99)."""
    return max(150.0, 10 * (healthy[call.to] + _HOP))


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

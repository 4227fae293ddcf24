"""What is true of a topology for whoever explores it from its entry: what the file plants and a request can show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from chaosmesh_ext.model.topology import FORWARDS, Call, Topology
from truths.ground import Ground, Site
from truths.items import Item, Truth
from truths.of_calls import error_propagation, fallback, retry, timeout
from truths.of_state import bulkhead, circuit_breaker
from truths.of_ways import broken_propagation, retry_amplification, timeout_inversion, unsafe_retry

__all__ = ["paths", "truth"]

_OF: Final[tuple[Callable[[Ground, Site], Iterator[Item]], ...]] = (
    timeout,
    retry,
    retry_amplification,
    fallback,
    error_propagation,
    circuit_breaker,
    bulkhead,
    unsafe_retry,
    timeout_inversion,
)


def paths(topology: Topology) -> tuple[str, ...]:
    """The entry's paths that a visitor must know to see everything: `/`, and those that some of its calls are for."""
    entry = topology.service(topology.entry)
    named = {path for version in entry.versions for call in version.calls() for path in call.paths or ()}
    return ("/", *sorted(named - {"/"}))


def truth(topology: Topology, asked: Sequence[str] = (), *, delay: float = 12.0, status: int = 507) -> Truth:
    """The truth of TOPOLOGY for an exploration that asks these paths, all that it has by default.

    delay: in seconds, of every injected delay. status: of every abort. Raises ValueError where a version is a program.
    """
    topology = _spoken(topology)
    ground = Ground(topology, tuple(asked) or paths(topology), delay, status)
    items = [item for site in ground.sites for rule in _OF for item in rule(ground, site)]
    items += {item.key: item for site in ground.breaks for item in broken_propagation(ground, site)}.values()
    whole = Ground(_mended(topology), ground.paths, delay, status) if ground.lost else ground
    items += [
        _unseen(item) for site in ground.lost for rule in _OF for item in rule(whole, site) if item.verdict != "absent"
    ]
    callers: dict[tuple[str, str, str], set[str]] = {}
    for site in (*ground.sites, *ground.lost):
        callers.setdefault((ground.service(site.source).name, site.destination, site.operation), set()).add(site.source)
    return Truth(
        items=tuple(sorted(items, key=lambda each: (each.key, each.verdict))),
        callers={key: frozenset(found) for key, found in callers.items()},
        workloads=ground.workloads,
        unseen=frozenset((site.source, site.destination, site.operation) for site in ground.lost),
    )


def _spoken(topology: Topology) -> Topology:
    """With calls over gRPC as the mesh sees them: POSTs of a method."""

    def said(call: Call) -> Call:
        return replace(call, method="POST", path=call.rpc) if topology.service(call.to).grpc else call

    return replace(
        topology,
        services=tuple(
            replace(
                service,
                versions=tuple(
                    replace(version, steps=tuple(tuple(said(call) for call in step) for step in version.steps))
                    for version in service.versions
                ),
            )
            for service in topology.services
        ),
    )


def _mended(topology: Topology) -> Topology:
    """With every header passed on."""
    return replace(
        topology,
        services=tuple(
            replace(service, versions=tuple(replace(version, forwards=FORWARDS) for version in service.versions))
            for service in topology.services
        ),
    )


def _unseen(item: Item) -> Item:
    return replace(item, verdict="undecidable", reason="below an edge whose propagation is broken")

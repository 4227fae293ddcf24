"""Edges as our traces show them, beside what the mesh's metrics count on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import msgspec

from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.explore.counters import Counters, counters
from chaosmesh_ext.explore.reading import served
from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.model import Propagated, Trace
from chaosmesh_ext.settings import Settings

__all__ = ["counted_before", "propagated"]


def counted_before(settings: Settings) -> tuple[Counters | None, list[str]]:
    """The mesh's counters, or why they are not known.

    Raises what `Prometheus` does where one is named that does not answer: each wave would ask it in vain.
    """
    found = counters(settings)
    return found, [] if found else ["edges were not compared with the mesh's metrics: PROMETHEUS_URL is not set"]


def propagated(
    before: Counters | None, made: Sequence[Call], arrived: Counter[str], traces: Collection[Trace], *, over: float
) -> tuple[tuple[Propagated, ...], list[str]]:
    """What the mesh's counters say of edges since BEFORE, and why they do not.

    made: the calls in TRACES. arrived: by service, calls that none of these made; those that metrics know are taken
    off. over: when the last request had its answer, in seconds since the epoch.
    """
    traced = Counter(call.edge for call in made)
    notes: list[str] = []
    if before is not None:
        try:
            found = before.compared(traced, served(traces), over=over)
        except ChaosMeshError as error:
            notes.append(f"edges were not compared with the mesh's metrics: {error}")
        else:
            if lacking := [str(one.edge) for one in found if one.counted < one.traced]:
                notes.append(f"the mesh's metrics lack calls that are in traces: {', '.join(lacking[:3])}")
            return tuple(_arrived(found, arrived)), notes
    return tuple(Propagated(edge, traced=count) for edge, count in sorted(traced.items())), notes


def _arrived(found: Sequence[Propagated], arrived: Counter[str]) -> Iterator[Propagated]:
    """Those FOUND, with calls that ARRIVED, by service, though their caller's sidecar told nothing of them."""
    for one in found:
        silent = min(max(one.counted - one.traced, 0), arrived[one.edge.destination])
        arrived[one.edge.destination] -= silent
        yield msgspec.structs.replace(one, traced=one.traced + silent)

"""Whether copies of calls come back as calls: each would be copied again, marker and all, and nobody would stop it."""

from __future__ import annotations

from collections.abc import Iterable

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh import Place
from chaosmesh_ext.model import Edge

__all__ = ["refuse_loop"]


def refuse_loop(place: Place, copied: frozenset[str], edges: Iterable[Edge]) -> None:
    """Raise InvalidInput where who gets copies of the calls in PLACE makes such calls, or has others make them.

    copied: who gets them, a service by its names in traces; empty for nobody. edges: the calls that traces of requests
    without the fault hold; what they do not show is not refused.
    """
    if not copied:
        return
    calls = {edge: edge.destination for edge in edges}
    reached: set[str] = set()
    coming = set(copied)
    while coming:
        reached |= coming
        out = {edge for edge in calls if edge.source.service in coming}
        if back := sorted(edge for edge in out if _meant(edge, place)):
            raise InvalidInput(
                f"the copies would go to {min(copied)}, and traces show the call {back[0]} behind it: each copy would "
                "be copied again, without end; take another mirror_host than who leads to "
                f"{place.destination.service}, or a source that it does not lead to"
            )
        coming = {calls[edge] for edge in out} - reached


def _meant(edge: Edge, place: Place) -> bool:
    """Whether the calls of EDGE are among those in PLACE, as far as their caller and callee tell."""
    caller = edge.source
    if edge.destination != place.destination.service:
        return False
    if place.source is None:
        return caller.namespace == place.namespace
    return any(
        (caller.service, caller.namespace) == (one.service, one.namespace) and caller.version in (one.version, "")
        for one in place.source.workloads
    )

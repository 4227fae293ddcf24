"""What a planned cell injects, and what its requests must meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from chaosmesh_ext.explore.propagation import scope_of
from chaosmesh_ext.explore.waves import CALLS_EACH, PlannedCell
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.findings.retry import MIN_FAILURES_FOR_ZERO
from chaosmesh_ext.model import CarriedBy, Edge, Graph, Scope

if TYPE_CHECKING:
    from chaosmesh_ext.mesh import Fault

__all__ = ["faults", "kinds", "wanted"]

_SPARE: Final = 1
"""Requests that meet a fault beyond those that rules need: one trace may come too late."""


def faults(
    cell: PlannedCell, carried: Mapping[Edge, CarriedBy] | None = None, scopes: Mapping[Edge, Scope] | None = None
) -> list[tuple[Fault, Scope]]:
    """What CELL injects, the fault that it is about last.

    CARRIED: by edge, the header that the marker arrives in, where it is not tracestate. SCOPES: of what gateways call.
    """

    def at(edge: Edge) -> Scope:
        return (scopes or {}).get(edge) or scope_of(edge, (carried or {}).get(edge, "tracestate"))

    first = cell.given
    given = [(_fault(first.delay, first.status), at(edge)) for edge in first.edges] if first else []
    own = _fault(cell.delay, cell.status)
    return [*given, *((own, msgspec.structs.replace(at(edge), match=cell.match)) for edge in cell.edges)]


def kinds(graph: Graph, cell: PlannedCell) -> frozenset[tuple[str, str]]:
    """The callers in CELL with their operations: of each, `wanted` calls must meet the fault."""
    return frozenset(
        (str(edge.source), operation)
        for edge in cell.edges
        for operation in graph.operations(edge) or cell.operations
        if operation in cell.operations
    )


def wanted(cell: PlannedCell) -> int:
    """How many calls of each kind must meet the fault of CELL before every rule that reads it can speak."""
    return ((MIN_FAILURES_FOR_ZERO if cell.status else CALLS_EACH) + _SPARE) * cell.times


def _fault(delay: float, status: int) -> Fault:
    return Delay(delay) if delay else Abort(status)

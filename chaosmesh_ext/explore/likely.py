"""How likely a request is to make the calls of a cell, by the requests of wave 0."""

from __future__ import annotations

from chaosmesh_ext.explore.waves import PlannedCell
from chaosmesh_ext.findings.calls import calls
from chaosmesh_ext.model import Cell

__all__ = ["likely"]


def likely(control: Cell, cell: PlannedCell) -> float:
    """The share of the requests in CONTROL, to the URLs of CELL, that made a call which its fault is for; 1 where none
    did, for then it is another fault that brings them out.
    """
    asked = {one.trace_id for one in control.answers if not cell.urls or one.url in cell.urls} & control.traces.keys()
    made = {call.trace.trace_id for call in calls(control) if call.edge in cell.edges}
    return len(made & asked) / len(asked) if made & asked else 1.0

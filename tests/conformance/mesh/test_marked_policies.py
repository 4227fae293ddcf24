"""AuthorizationPolicy for marked requests."""

from __future__ import annotations

from policies import Case, Request, asked, told

from chaosmesh_ext.faults.arrival import marked
from chaosmesh_ext.model import Marker

CELL, RUN = Marker("0badcafe", "1"), Marker("0badcafe", "")


def told_of(*found):
    """Requests with these tracestates, by what stands in them for a run's marker."""
    parent = f"00-{'1' * 32}-{'2' * 16}-01"
    states = {one: one.replace("ours", "chaosmesh=0badcafe") for one in found}
    return {name: Request(headers={"traceparent": parent, "tracestate": state}) for name, state in states.items()}


MARKERS = told_of(
    "ours-1", "ours-1,a=b", "a=b,ours-1", "a=b,ours-1,c=d", "ours-12", "ours-12,a=b", "a=b,ours-12", "ours-0",
    "a=b,ours-0", "ours-0,a=b", "a=b",
)  # fmt: skip


def test_it_is_for_a_runs_marked_requests(mesh, seen):
    """AuthorizationPolicy whose `when` names the marker of a cell, or any of a run's"""
    found = asked(mesh, {name: Case({"when": marked(one)}, MARKERS) for name, one in (("cell", CELL), ("run", RUN))})
    assert {name for name, means in found["cell"].items() if means} == {"ours-1", "ours-1,a=b", "a=b,ours-1"}
    assert {name for name, means in found["run"].items() if not means} == {
        "a=b,ours-1,c=d", "ours-0", "a=b,ours-0", "ours-0,a=b", "a=b",
    }  # fmt: skip
    seen("; ".join(f"{name}: {told(means)}" for name, means in found.items()))

"""The promise of undo, tried on any owner and any work of his: exactly what his edits alone would have left remains.

CHAOSMESH_EXAMPLES multiplies the examples, for a soak.
"""

from __future__ import annotations

import os
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, example, given, settings, target
from hypothesis import strategies as st
from overlays import FAULTS, RUN, virtual_services
from owners import CELLS, EDITS, Two, bare

from chaosmesh_ext.mesh import ledger
from chaosmesh_ext.mesh.ground import for_mesh

EXAMPLES = int(os.environ.get("CHAOSMESH_EXAMPLES", "1"))
pytestmark = pytest.mark.timeout(600 * EXAMPLES)

number = st.integers(0, 5)
edit = st.tuples(st.sampled_from(sorted(EDITS)), number)
inject = st.tuples(st.just("inject"), st.integers(0, len(CELLS) - 1))
undo = st.tuples(st.just("undo"), number)
life = st.lists(st.one_of(edit, edit, edit, inject, undo), max_size=12)


def play(owner, steps) -> Two:
    return play_on(Two(owner), steps)


def play_on(two: Two, steps) -> Two:
    for what, at in steps:
        if what == "inject":
            two.inject(at)
        elif what == "undo":
            two.undo(at)
        else:
            EDITS[what](two, at)
    return two


TO = {"route": [{"destination": {"host": "details"}, "weight": 100}]}
FOR_A = {**TO, "match": [{"headers": {"end-user": {"exact": "a"}}}]}
ABORTED = {**TO, "fault": FAULTS[1]}
NARROWED = ("inject", 13)


def of_routes(*routes) -> dict:
    meta = {"name": "details", "namespace": "default"}
    spec = {"hosts": ["details"], "http": list(routes)}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta, "spec": spec}


@settings(max_examples=300 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(virtual_services(faults=True), inject, life)
@example(of_routes({**TO, "timeout": "9s"}, {"match": [{}], **TO}), NARROWED, [("drop a route", 0)])
@example(of_routes(TO, {"match": [{}], **TO}), NARROWED, [("drop a route", 0)])
@example(of_routes({**TO, "match": [{"headers": {"end-user": {"exact": "a"}}}]}), ("inject", 3), [("inject", 4)])
@example(
    of_routes({**TO, "match": [{"headers": {"end-user": {"exact": "a"}}}]}),
    ("inject", 3),
    [("apply an export without metadata", 0), ("inject", 4)],
)
@example(of_routes(TO), ("inject", 10), [("rename ours", 0), ("inject", 4)])
@example(of_routes(TO), ("inject", 3), [("inject", 4), ("rename ours", 0), ("undo", 1)])
@example(of_routes(TO), ("inject", 1), [("rename ours", 0), ("wipe the annotations", 0), ("inject", 13)])
@example(of_routes(TO), ("inject", 15), [("wipe the annotations", 0), ("inject", 15)])
@example(
    of_routes({**TO, "match": [{"uri": {"exact": "/a"}}]}),
    ("undo", 0),
    [("change a match", 4), ("inject", 14), ("apply an export without metadata", 0)],
)
@example(of_routes(TO), ("inject", 2), [("edit ours", 4), ("rename ours", 0)])
@example(of_routes(TO), ("inject", 3), [("edit ours", 4), ("rename ours", 0), ("wipe the annotations", 0)])
@example(of_routes(TO), ("inject", 2), [("edit ours", 1), ("rename ours", 5), ("inject", 10)])
@example(of_routes(TO), ("inject", 8), [("edit ours", 4), ("rename ours", 0)])
@example(of_routes(TO), ("inject", 10), [("edit ours", 4), ("rename ours", 0)])
@example(of_routes(TO, ABORTED), ("undo", 0), [("drop a route", 5), ("inject", 4), ("apply an export", 2)])
@example(of_routes(FOR_A, ABORTED, TO), ("undo", 0), [("drop a route", 1), ("inject", 4), ("apply an export", 0)])
@example(
    of_routes(TO, TO, ABORTED),
    ("set a fault of his own", 2),
    [("change weights", 0), ("inject", 4), ("apply an export", 0)],
)
@example(
    of_routes(FOR_A, TO),
    ("inject", 3),
    [("apply an export without metadata", 0), ("set a timeout", 0), ("inject", 4), ("remove a timeout", 0)],
)
@example(of_routes(TO, {**FOR_A, **ABORTED, "timeout": "1s"}), ("inject", 3), [("remove a timeout", 1)])
@example(
    of_routes(TO, {**FOR_A, **ABORTED, "timeout": "1s"}),
    ("inject", 3),
    [("apply an older source", 0), ("remove a timeout", 1)],
)
def test_injecting_and_undoing_leaves_what_the_owners_edits_alone_would_have_left(owner, first, steps):
    """No edit of his is lost and nothing of ours stays, whatever he does and whenever each of several cells ends."""
    two = play(owner, [first, *steps])
    target(float(len(two.memory)), label="cells")
    two.end(told=True)
    assert bare(two.settled(two.conflicts)) == bare(two.alone)
    assert ledger.runs_in(two.shared) == set()
    if not two.theirs:
        assert two.surely(two.conflicts) == []


HARMLESS = ("add a label", "remove a label", "add an annotation", "save")
quiet = st.lists(st.one_of(st.tuples(st.sampled_from(HARMLESS), number), inject, undo), max_size=8)


@settings(max_examples=200 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(virtual_services(faults=True), inject, quiet)
def test_a_cell_that_ends_leaves_the_other_cells_as_they_are(owner, first, steps):
    """And what an owner does beside our faults is no reason to stop a run."""
    two = play(owner, [first, *steps])
    if two.live:
        assert ledger.disturbed(two.shared, RUN) == ""
        assert {entry.cell for entry in ledger.entries(two.shared, RUN)} == set(two.live)
    assert two.conflicts == []


@settings(max_examples=200 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(virtual_services(faults=True), inject, life)
def test_a_fault_that_is_called_undisturbed_stands_on_what_it_was_put_on(owner, first, steps):
    """Every owner's route up to the last that a fault of ours touches is what it was; every fault of ours is there."""
    two = Two(owner)
    if not two.inject(first[1]):
        return
    before = deepcopy(two.alone["spec"])
    play_on(two, [step for step in steps if step[0] not in ("inject", "undo")])
    if ledger.disturbed(two.shared, RUN):
        return
    after = two.alone["spec"]
    assert [before.get(key) for key in ("hosts", "gateways")] == [after.get(key) for key in ("hosts", "gateways")]
    (entry,) = two.memory["1"]
    last = last_touched(two.shared, entry)
    assert meshed(two.alone)[:last] == meshed({"spec": before})[:last]
    assert all(one in [route.get("name") for route in two.shared["spec"]["http"]] for one in entry.routes)


def meshed(obj) -> list[dict]:
    return [one for one in obj["spec"]["http"] if for_mesh(one)]


def last_touched(obj, entry) -> int:
    """How many of the owner's routes for the mesh there are up to the last that ENTRY touches."""
    count = last = 0
    refines = False
    values = [field.set for field in entry.fields]
    for route in obj["spec"]["http"]:
        if route.get("name") in entry.routes:
            refines = True
        elif for_mesh(route):
            count += 1
            if refines or route.get("fault") in values:
                last = count
            refines = False
    return last


@settings(max_examples=200 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(virtual_services(faults=True), inject, life)
@example(
    of_routes({**TO, "timeout": "9s"}, {"match": [{}], **TO}), NARROWED, [("drop a route", 0), ("set a timeout", 0)]
)
@example(of_routes(TO), NARROWED, [("duplicate a route", 0), ("change a match", 0)])
@example(
    of_routes({**TO, "match": [{"gateways": ["bookinfo"]}]}, {**TO, "timeout": "9s"}, TO),
    NARROWED,
    [("reorder routes", 0), ("change a match", 0)],
)
@example(of_routes(TO, {**FOR_A, **ABORTED, "timeout": "1s"}), ("inject", 3), [("remove a timeout", 1)])
@example(of_routes(TO), ("inject", 10), [("edit ours", 4), ("rename ours", 0)])
@example(of_routes(TO, ABORTED), ("undo", 0), [("drop a route", 5), ("inject", 4), ("apply an export", 2)])
def test_undoing_again_changes_nothing_and_says_the_same(owner, first, steps):
    """Runner, watchdog and janitor may all undo one run; a conflict is findable until a person heard of it."""
    two = play(owner, [first, *steps])
    two.conflicts.clear()
    two.end(told=False)
    once, said = two.shared, list(two.conflicts)
    two.end(told=False)
    assert two.shared == once
    assert two.conflicts == [*said, *said]
    assert two.settled(said)["spec"] == two.alone["spec"]
    assert bool(said) == (RUN in ledger.runs_in(two.shared))
    two.end(told=True)
    assert two.conflicts == [*said, *said, *said]
    assert bare(two.settled(said)) == bare(two.alone)

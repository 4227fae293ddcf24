"""The promise of an overlay: whatever an owner does meanwhile, after the undo the object is the owner's alone."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from overlays import EVERYBODY, RUN, lay, lift, place, virtual_services

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.mesh import View, envoyfilter, ledger, overlay
from chaosmesh_ext.mesh.pointer import apply

# --- any owner, any edits ---------------------------------------------------------------------------------------------


def _own(obj: dict) -> list[int]:
    """Where the owner's own routes are: ours stand between them."""
    return [i for i, one in enumerate(obj["spec"]["http"]) if not one.get("name", "").startswith("chaos-")]


def add_route(at: int):
    def edit(obj):
        own = [*_own(obj), len(obj["spec"]["http"])]
        obj["spec"]["http"].insert(own[min(at, len(own) - 1)], {"name": "new", "route": []})

    return edit


def drop_route(at: int):
    def edit(obj):
        own = _own(obj)
        if len(own) > 1:  # Istio takes no VirtualService without routes
            del obj["spec"]["http"][own[at % len(own)]]

    return edit


def swap_routes(obj):
    own = _own(obj)
    if len(own) > 1:
        http = obj["spec"]["http"]
        http[own[0]], http[own[-1]] = http[own[-1]], http[own[0]]


def set_timeout(at: int):
    def edit(obj):
        own = _own(obj)
        if own:
            obj["spec"]["http"][own[at % len(own)]]["timeout"] = "9s"

    return edit


def add_label(obj):
    obj["metadata"].setdefault("labels", {})["team"] = "sre"


def add_annotation(obj):
    obj["metadata"].setdefault("annotations", {})["note"] = "mine"


def change_hosts(obj):
    obj["spec"]["hosts"] = [*obj["spec"]["hosts"], "more"]


edits = st.lists(
    st.one_of(
        st.builds(add_route, st.integers(0, 3)),
        st.builds(drop_route, st.integers(0, 3)),
        st.builds(set_timeout, st.integers(0, 3)),
        st.sampled_from([swap_routes, add_label, add_annotation, change_hosts]),
    ),
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(virtual_services(), edits, edits, st.booleans(), st.booleans())
def test_an_owners_edits_survive_the_removal_and_nothing_else_does(owner, first, second, scoped, twice):
    """An SRE's change during a game day is never lost to our clean-up, and no trace of us stays."""
    scope = {} if scoped else EVERYBODY
    alone = deepcopy(owner)
    try:
        faulted = lay(owner, Abort(507), place(**scope))
    except InvalidInput:
        reject()
    for edit in first:
        edit(alone)
        edit(faulted)
    if twice:
        with suppress(InvalidInput):
            faulted = lay(faulted, Delay(2), place("2"))
    for edit in second:
        edit(alone)
        edit(faulted)
    after, conflicts = lift(faulted)
    assert not conflicts
    assert after == alone


@settings(max_examples=100, deadline=None)
@given(virtual_services(), edits)
def test_one_cell_comes_out_and_the_other_stays(owner, changes):
    try:
        faulted = lay(owner, Abort(507), place("1"))
        both = lay(faulted, Delay(2), place("2"))
    except InvalidInput:
        reject()
    alone = deepcopy(owner)
    for edit in changes:
        edit(alone)
        edit(both)
    one, _ = lift(both, "1")
    names_left = [one["name"] for one in one["spec"]["http"] if one.get("name", "").startswith("chaos-")]
    faults = [one.get("fault") for one in one["spec"]["http"] if one.get("name", "").startswith("chaos-")]
    assert names_left
    assert all(fault == Delay(2).for_virtual_service() for fault in faults)
    assert ledger.runs_in(one) == {RUN}
    after, _ = lift(one, "2")
    assert after == alone


@settings(max_examples=100, deadline=None)
@given(virtual_services())
def test_undo_is_done_once_and_then_finds_nothing(owner):
    try:
        faulted = lay(owner, Abort(507), place())
    except InvalidInput:
        reject()
    after, _ = lift(faulted)
    assert ledger.undo(after, RUN).ops == ()
    assert ledger.runs_in(after) == set()


# --- conflicts, and what an owner baked in ----------------------------------------------------------------------------


def test_a_value_that_somebody_changed_is_reported_and_left(make):
    faulted = lay(make.virtual_service(), Delay(1, 5), place(**EVERYBODY))
    theirs = {"delay": {"fixedDelay": "9s", "percentage": {"value": 1}}}
    faulted["spec"]["http"][0]["fault"] = theirs
    after, conflicts = lift(faulted, told=True)
    assert after["spec"]["http"][0]["fault"] == theirs
    assert "/spec/http/0/fault is now" in conflicts[0]
    assert after["metadata"] == make.virtual_service()["metadata"]


def test_a_value_that_is_the_original_again_is_no_conflict(make):
    faulted = lay(make.virtual_service(), Delay(1, 5), place(**EVERYBODY))
    del faulted["spec"]["http"][0]["fault"]
    after, conflicts = lift(faulted)
    assert (after, conflicts) == (make.virtual_service(), ())


def test_routes_that_an_owner_applied_with_ours_in_them_are_found_by_name(make):
    """`kubectl get -o yaml`, edit, `kubectl replace`: label and annotation may be gone, the routes are not."""
    faulted = lay(make.virtual_service(), Abort(507), place())
    del faulted["metadata"]["labels"], faulted["metadata"]["annotations"]
    assert ledger.runs_in(faulted) == {RUN}
    after, conflicts = lift(faulted)
    assert (after, conflicts) == (make.virtual_service(), ())


def test_undo_data_that_cannot_be_read_is_said(make):
    faulted = lay(make.virtual_service(), Abort(507), place())
    faulted["metadata"]["annotations"][ledger.UNDO] = "{"
    after, conflicts = lift(faulted)
    assert "could not be read" in conflicts[0]
    assert after["spec"] == make.virtual_service()["spec"]
    assert ledger.undo(after, RUN).ops == ()
    after, conflicts = lift(after, told=True)
    assert "could not be read" in conflicts[0]
    assert ledger.runs_in(after) == set()


def test_the_undo_of_one_run_leaves_another_alone(make):
    faulted = lay(make.virtual_service(), Abort(507), place())
    assert ledger.undo(faulted, "11111111").ops == ()


@pytest.mark.parametrize("carrier", [overlay, envoyfilter], ids=["virtualservice", "envoyfilter"])
def test_an_object_of_ours_whose_metadata_somebody_wiped_is_known_by_its_name(carrier):
    (change,) = carrier.plan(Abort(507), place(), View())
    wiped = {**change.obj, "metadata": {key: change.obj["metadata"][key] for key in ("name", "namespace")}}
    assert ledger.runs_in(wiped) == {RUN}
    assert ledger.ours(wiped)
    assert ledger.undo(wiped, RUN).delete
    assert ledger.undo(wiped, RUN, "1").delete
    assert not ledger.undo(wiped, RUN, "2").delete
    assert not ledger.undo(wiped, "11111111").delete


def test_two_fields_with_one_new_value_get_back_what_each_of_them_was(make):
    before = make.virtual_service(http=[{"timeout": "1s"}, {"timeout": "2s"}, {}])
    now = make.virtual_service(http=[{"timeout": "5s"}, {"timeout": "5s"}, {"timeout": "5s"}])
    fields = (
        ledger.Field("/spec/http/0/timeout", "5s", ("1s",)),
        ledger.Field("/spec/http/1/timeout", "5s", ("2s",)),
        ledger.Field("/spec/http/2/timeout", "5s"),
    )
    entered = apply(now, ledger.enter(now, RUN, ledger.Entry("1", fields=fields)))
    undone = ledger.undo(entered, RUN)
    assert undone.conflicts == ()
    assert apply(entered, undone.ops)["spec"] == before["spec"]

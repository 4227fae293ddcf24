"""What a fault of ours stands on is watched: nobody may call a run upheld whose routes were changed under it."""

from __future__ import annotations

from copy import deepcopy

import pytest
from overlays import EVERYBODY, RUN, place

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import Disturbed, View, disturbed, envoyfilter, ledger, overlay
from chaosmesh_ext.mesh.pointer import apply

TO = [{"destination": {"host": "details"}}]
EDGE = {"match": [{"gateways": ["bookinfo"]}], "name": "edge", "route": TO}
SLOW = {"match": [{"uri": {"prefix": "/slow"}}], "name": "slow", "route": TO, "timeout": "1s"}
NEVER = {"match": [{"uri": {"prefix": "/slow/er"}}], "name": "never", "route": TO}


@pytest.fixture
def owner(make) -> dict:
    """One route for gateways, two for the mesh, and one behind them that nothing ever meets."""
    obj = make.virtual_service(http=[EDGE, SLOW, {"route": TO}, NEVER])
    obj["metadata"]["uid"] = "uid-1"
    return deepcopy(obj)


@pytest.fixture(params=["for marked requests", "for everybody"])
def faulted(request, owner) -> dict:
    """With a fault of ours, as named routes or as a field."""
    scope = {} if request.param == "for marked requests" else EVERYBODY
    (change,) = overlay.plan(Abort(507), place(**scope), View(owner=owner))
    return apply(owner, change.compute(owner))


def own(obj: dict, name: str | None) -> dict:
    return next(one for one in obj["spec"]["http"] if one.get("name") == name)


def test_it_stands_as_it_was_put_there(faulted):
    assert disturbed(faulted, RUN) == ""
    assert disturbed(faulted, RUN, uid="uid-1") == ""


def test_numbers_and_the_order_of_keys_are_the_servers_business(faulted):
    written = deepcopy(faulted)
    for route in written["spec"]["http"]:
        if "fault" in route:
            route["fault"]["abort"]["percentage"]["value"] = 100.0
    written["spec"] = dict(reversed(written["spec"].items()))
    assert disturbed(written, RUN) == ""


@pytest.mark.parametrize(
    "edit",
    [
        lambda obj: own(obj, "edge").update(timeout="3s"),
        lambda obj: own(obj, "never").update(timeout="3s"),
        lambda obj: obj["spec"]["http"].append({"name": "last", "route": TO}),
        lambda obj: obj["spec"]["http"].insert(0, {**EDGE, "name": "edge2"}),
        lambda obj: obj["metadata"]["labels"].update(team="sre"),
        lambda obj: obj["metadata"].update(resourceVersion="9", generation=4),
        lambda obj: obj["spec"].update(tcp=[{"route": TO}]),
    ],
)
def test_what_the_owner_does_beside_a_fault_does_not_disturb_it(faulted, edit):
    edit(faulted)
    assert disturbed(faulted, RUN) == ""


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda obj: own(obj, "slow").update(timeout="3s"), "route 1, on which ours stands, was edited or removed"),
        (lambda obj: own(obj, None).update(timeout="3s"), "route 2, on which ours stands, was edited or removed"),
        (lambda obj: own(obj, "slow").update(name="renamed"), "route 1"),
        (lambda obj: obj["spec"]["http"].remove(own(obj, "slow")), "route 1"),
        (lambda obj: obj["spec"]["http"].insert(0, {"name": "first", "route": TO}), "one was added before ours"),
        (lambda obj: obj["spec"]["http"].reverse(), "another order"),
        (lambda obj: obj["spec"]["hosts"].append("ratings"), "its hosts, gateways or exportTo changed"),
        (lambda obj: obj["spec"].update(exportTo=["."]), "its hosts, gateways or exportTo changed"),
        (lambda obj: obj["metadata"].pop("annotations"), "the note of what is ours in it is gone"),
        (lambda obj: obj["metadata"].pop("labels"), "our label chaosmesh-ext/run is gone"),
        (lambda obj: obj["metadata"].update(uid="uid-2"), "deleted and made anew"),
        (lambda obj: obj["metadata"].update(deletionTimestamp="2026-11-21T00:00:00Z"), "being deleted"),
    ],
)
def test_what_the_owner_does_under_a_fault_is_told(faulted, edit, words):
    edit(faulted)
    assert words in disturbed(faulted, RUN)


def test_an_object_that_is_gone_is_told():
    assert disturbed(None, RUN) == "it was deleted"
    assert issubclass(Disturbed, Inconclusive)


@pytest.fixture
def scoped(owner) -> dict:
    (change,) = overlay.plan(Abort(507), place(), View(owner=owner))
    return apply(owner, change.compute(owner))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda obj: obj["spec"]["http"].remove(own(obj, f"chaos-{RUN}-1")), f"our route chaos-{RUN}-1 is gone"),
        (lambda obj: own(obj, f"chaos-{RUN}-2").update(name="mine"), f"our route chaos-{RUN}-2 is gone"),
        (lambda obj: own(obj, f"chaos-{RUN}-2").update(timeout="9s"), f"our route chaos-{RUN}-2 was edited"),
        (lambda obj: own(obj, f"chaos-{RUN}-1").pop("fault"), f"our route chaos-{RUN}-1 was edited"),
        (lambda obj: obj["spec"]["http"].append(own(obj, f"chaos-{RUN}-1")), f"chaos-{RUN}-1 is there twice"),
    ],
)
def test_what_becomes_of_our_routes_is_told(scoped, edit, words):
    edit(scoped)
    assert words in disturbed(scoped, RUN)


def test_a_field_that_somebody_changed_is_told(owner):
    (change,) = overlay.plan(Abort(507), place(**EVERYBODY), View(owner=owner))
    obj = apply(owner, change.compute(owner))
    for fault in (None, {"abort": {"httpStatus": 500}}):
        edited = deepcopy(obj)
        own(edited, "slow").pop("fault")
        if fault:
            own(edited, "slow")["fault"] = fault
        assert disturbed(edited, RUN)


def test_a_copy_of_a_route_with_our_field_is_told_for_more_requests_would_meet_the_fault(owner):
    (change,) = overlay.plan(Abort(507), place(**EVERYBODY), View(owner=owner))
    obj = apply(owner, change.compute(owner))
    obj["spec"]["http"].append({**deepcopy(obj["spec"]["http"][2]), "name": "copy"})
    assert disturbed(obj, RUN) == "our value of /spec/http/1/fault was copied to /spec/http/4/fault"


def test_another_cell_of_the_run_does_not_disturb(scoped):
    (change,) = overlay.plan(Abort(508), place("2", **EVERYBODY), View(owner=scoped))
    both = apply(scoped, change.compute(scoped))
    assert disturbed(both, RUN) == ""
    for cell in "12":
        one = apply(both, ledger.undo(both, RUN, cell).ops)
        assert one != both
        assert disturbed(one, RUN) == ""


@pytest.mark.parametrize("carrier", [overlay, envoyfilter], ids=["virtualservice", "envoyfilter"])
def test_an_object_of_ours_that_somebody_edited_is_told(carrier):
    (change,) = carrier.plan(Abort(507), place(), View())
    obj = deepcopy(change.obj)
    obj["metadata"]["uid"] = "uid-1"
    assert disturbed(obj, RUN) == ""
    assert disturbed(obj, RUN, uid="uid-2") == "it was deleted and made anew"
    obj["spec"]["priority"] = 7
    assert disturbed(obj, RUN) == "its spec changed"

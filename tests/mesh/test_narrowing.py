"""Narrowed routes: who loses his, who keeps it, what is refused, and that all is as before afterwards."""

from __future__ import annotations

from copy import deepcopy
from itertools import permutations

import pytest
from overlays import EVERYBODY, RUN, place, source

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort, Retries, Routes, Timeout
from chaosmesh_ext.mesh import Create, Edit, Source, View, ledger, overlay
from chaosmesh_ext.mesh.notes import digest
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.model import Marker, Workload

TO = [{"destination": {"host": "details"}}]
MARKED = {"tracestate": {"regex": Marker(RUN, "1").pattern()}}
API = {"uri": {"prefix": "/api"}}
GATEWAY = Source(
    "bookinfo-gateway",
    "istio-system",
    {"istio": "ingressgateway"},
    (Workload("istio-ingressgateway", "", "istio-system"),),
    "default/bookinfo-gateway",
)


def virtual_service(*routes, **spec) -> dict:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "details", "namespace": "default", "uid": "u"},
        "spec": {"hosts": ["details"], **spec, "http": list(routes)},
    }


def laid(fault, owner, where, **view) -> dict:
    """OWNER with FAULT in it, which undo takes out exactly."""
    (change,) = overlay.plan(fault, where, View(**(view or {"owner": owner})))
    assert isinstance(change, Edit)
    after = apply(owner, change.compute(deepcopy(owner)))
    undone = ledger.undo(after, RUN)
    assert apply(after, undone.ops) == owner
    assert undone.conflicts == ()
    return after


def nobody(*was) -> dict:
    """The match that takes no request and says what was there."""
    return {"headers": {"x-chaosmesh-ext-nobody": {"exact": f"no request has this: {digest(list(was))}"}}}


def everyone(cell="1", **changes):
    return place(cell, source=None, **changes)


def test_marked_requests_lose_a_route_and_nobody_else_does():
    after = laid(Routes(), virtual_service({"route": TO}), everyone())
    assert after["spec"]["http"] == [{"route": TO, "match": [{"withoutHeaders": MARKED}, nobody()]}]


def test_what_is_kept_is_kept_for_them_too():
    gets = [{"method": {"exact": "GET"}}]
    after = laid(Routes((API,)), virtual_service({"match": gets, "route": TO}), everyone())
    assert after["spec"]["http"][0]["match"] == [
        {"method": {"exact": "GET"}, "withoutHeaders": MARKED},
        {"method": {"exact": "GET"}, **API},
        nobody(gets),
    ]


def test_a_route_that_everybody_loses_takes_nothing_rather_than_everything():
    """Istio reads a route without a match as one for all."""
    x = [{"uri": {"exact": "/x"}}]
    owner = virtual_service({"match": x, "route": TO}, {"route": TO})
    first, second = laid(Routes((API,)), owner, place(**EVERYBODY))["spec"]["http"]
    assert first["match"] == [nobody(x)]
    assert second["match"] == [API, nobody()]


ALIKE = [
    {"match": [{"uri": {"exact": "/x"}}], "route": TO},
    {"match": [{"uri": {"exact": "/y"}}], "route": TO},
    {"match": [{}], "route": TO},
    {"route": TO},
]
"""Routes that differ in their matches alone; Istio takes an empty one."""


@pytest.mark.parametrize("where", [everyone(), place(**EVERYBODY)], ids=["marked", "everybody"])
@pytest.mark.parametrize("order", [order for count in (1, 2, 3, 4) for order in permutations(range(4), count)], ids=str)
def test_routes_that_differ_in_their_matches_alone_get_each_its_own_back(where, order):
    """However their owner moves them about meanwhile, and whichever he takes out: those that go are no conflict."""
    owner = virtual_service(*ALIKE)
    (change,) = overlay.plan(Routes((API,)), where, View(owner=owner))
    after = apply(owner, change.compute(owner))
    memory = ledger.entries(after, RUN)
    after["spec"]["http"] = [after["spec"]["http"][index] for index in order]
    undone = ledger.undo(after, RUN)
    once = apply(after, undone.ops)
    assert once == virtual_service(*(ALIKE[index] for index in order))
    assert undone.conflicts == ledger.undo(once, RUN, memory=memory).conflicts == ()


def test_only_routes_to_the_host_are_narrowed_at_a_gateway():
    other = {"match": [{"uri": {"prefix": "/r"}}], "route": [{"destination": {"host": "reviews"}}]}
    owner = virtual_service(other, {"route": TO}, gateways=["bookinfo-gateway"])
    where = place(source=GATEWAY)
    after = laid(Routes(), owner, where, bound=(owner,))
    assert after["spec"]["http"] == [other, {"route": TO, "match": [{"withoutHeaders": MARKED}, nobody()]}]


def test_another_gateways_matches_stay_as_they_are():
    both = [{"gateways": ["mesh"]}, {"gateways": ["bookinfo-gateway"], "uri": {"prefix": "/d"}}]
    owner = virtual_service({"match": both, "route": TO}, gateways=["mesh", "bookinfo-gateway"])
    after = laid(Routes(), owner, place(source=GATEWAY), bound=(owner,))
    assert after["spec"]["http"][0]["match"] == [
        both[0],
        {**both[1], "withoutHeaders": MARKED},
        {**nobody(both), "gateways": ["bookinfo-gateway"]},
    ]


def test_where_nobody_routes_the_host_an_object_of_ours_takes_what_stays():
    (change,) = overlay.plan(Routes((API,)), everyone(), View())
    assert isinstance(change, Create)
    assert change.obj["spec"]["exportTo"] == ["."]
    assert change.obj["spec"]["http"][0]["match"] == [{"withoutHeaders": MARKED}, API]


@pytest.mark.parametrize(
    ("where", "view", "why"),
    [
        (place(), View(), "leave out source"),
        (everyone(match={"method": {"exact": "GET"}}), View(), "leave out source"),
        (place(**EVERYBODY), View(), "say by keep"),
        (everyone(), View(http_route="default/r"), "HTTPRoute default/r owns"),
        (place(source=GATEWAY), View(), "no VirtualService of the gateway"),
        (everyone(), View(owner=virtual_service({"route": TO}, hosts=["details", "reviews"])), "more hosts"),
        (everyone(), View(owner=virtual_service({"route": TO}, gateways=["mesh", "g"])), "lose the route too"),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_written(where, view, why):
    with pytest.raises(InvalidInput, match=why):
        overlay.plan(Routes(), where, view)


def test_no_other_fault_of_the_run_stands_on_narrowed_routes():
    owner = virtual_service({"route": TO})
    (change,) = overlay.plan(Routes(), everyone(), View(owner=owner))
    narrowed = apply(owner, change.compute(owner))
    with pytest.raises(InvalidInput, match="narrowed"):
        overlay.plan(Abort(507), place("2"), View(owner=narrowed))
    (change,) = overlay.plan(Abort(507), place("1"), View(owner=owner))
    with pytest.raises(InvalidInput, match="stands on routes"):
        overlay.plan(Routes(), everyone("2"), View(owner=apply(owner, change.compute(owner))))


def test_a_change_that_changes_nothing_is_refused():
    """It would be called live, and teach that a timeout is worth nothing."""
    with pytest.raises(InvalidInput, match="nothing to change"):
        overlay.plan(Timeout(0), place(), View(owner=virtual_service({"route": TO})))
    with pytest.raises(InvalidInput, match="nothing to change"):
        overlay.plan(Timeout(0), place(), View())


def test_a_change_that_would_be_the_owners_own_route_is_refused():
    """Undo knows a renamed route of ours by its content, and would take the owner's."""
    owner = virtual_service({"match": [{"uri": {"prefix": "/a"}}], "route": TO}, {"route": TO, "timeout": "5s"})
    owner["spec"]["http"].append({"match": [{"uri": {"prefix": "/a"}}], "route": TO, "timeout": "5s"})
    with pytest.raises(InvalidInput, match="could not tell them apart"):
        overlay.plan(Timeout(5), place(**EVERYBODY), View(owner=owner))


def test_a_route_of_the_run_must_not_hide_the_next_one():
    """By istiod's sync alone it would be called live, and no request would meet it."""
    owner = virtual_service({"route": TO})
    whole = place("1", marker=Marker(RUN, ""))
    (change,) = overlay.plan(Timeout(5), whole, View(owner=owner))
    taken = apply(owner, change.compute(owner))
    with pytest.raises(InvalidInput, match="takes these requests before"):
        overlay.plan(Retries(3), place("2"), View(owner=taken))
    overlay.plan(Retries(3), place("2", source=source("reviews")), View(owner=taken))
    (change,) = overlay.plan(Timeout(5), place("1"), View(owner=owner))
    overlay.plan(Retries(3), place("2"), View(owner=apply(owner, change.compute(owner))))


def test_a_copied_route_keeps_weights_and_the_owners_redirects_are_left_alone():
    split = [{"destination": {"host": "details", "subset": one}, "weight": 50} for one in ("v1", "v2")]
    moved = {"match": [{"uri": {"prefix": "/old"}}], "redirect": {"uri": "/new"}}
    after = laid(Timeout(5), virtual_service(moved, {"route": split, "retries": {"attempts": 1}}), place())
    assert after["spec"]["http"][0] == moved
    assert after["spec"]["http"][1]["route"] == split
    assert after["spec"]["http"][1]["retries"] == {"attempts": 1}
    with pytest.raises(InvalidInput, match="delegates"):
        overlay.plan(Timeout(5), place(), View(owner=virtual_service({"delegate": {"name": "d"}})))

"""Faults at Istio's Gateways: which routes are copied, for whom, what is refused, and that all is as before afterwards."""

from __future__ import annotations

from copy import deepcopy

import pytest
from overlays import RUN, place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort, Delay, Retries
from chaosmesh_ext.mesh import CARRIERS, Edit, Source, View, ledger, overlay
from chaosmesh_ext.mesh.entering import refuse_at_gateway
from chaosmesh_ext.mesh.entrance import timeouts
from chaosmesh_ext.mesh.ground import disturbed
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.model import Marker, Workload

TO = [{"destination": {"host": "details", "port": {"number": 9080}}}]
ELSEWHERE = [{"destination": {"host": "reviews"}}]
MARKED = {"tracestate": {"regex": Marker(RUN, "1").pattern()}}
MINE, ALSO = "default/entry", "default/second"
X, Y = {"uri": {"exact": "/x"}}, {"uri": {"exact": "/y"}}


def source(*gateways: str) -> Source:
    """Pods that serve GATEWAYS."""
    workload = Workload("istio-ingressgateway", "", "istio-system")
    names = gateways or (MINE,)
    return Source(workload.service, "istio-system", {"istio": "ingress"}, (workload,), names[0], gateways=names)


def owned(*routes, name="entry", **spec) -> dict:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default", "uid": "u"},
        "spec": {"hosts": ["*"], "gateways": ["entry"], **spec, "http": list(routes)},
    }


def laid(owner, *beside, fault=None, where=None) -> dict:
    """OWNER with a fault in it, which undo takes out exactly, and which is seen to stand as it was put there."""
    where = where or place(source=source())
    (change,) = overlay.plan(fault or Abort(507), where, View(bound=(owner,), beside=(owner, *beside)))
    assert isinstance(change, Edit)
    after = apply(owner, change.compute(deepcopy(owner)))
    assert disturbed(after, RUN) == ""
    undone = ledger.undo(after, RUN)
    assert apply(after, undone.ops) == owner
    assert undone.conflicts == ()
    return after


def refused(reason, owner, *beside, **more) -> None:
    with pytest.raises(InvalidInput, match=reason):
        laid(owner, *beside, **more)


def test_a_copy_stands_in_front_of_each_route_that_leads_there_and_keeps_what_it_does():
    rest = {"rewrite": {"uri": "/"}, "timeout": "5s", "headers": {"request": {"set": {"a": "b"}}}}
    owner = owned({"match": [X], "route": ELSEWHERE}, {"name": "y", "match": [Y], "route": TO, **rest}, {"route": TO})
    one, two, three, four, five = laid(owner, fault=Delay(7))["spec"]["http"]
    assert (one, three, five) == tuple(owner["spec"]["http"])
    assert two == {
        "name": f"chaos-{RUN}-1",
        "match": [{**Y, "headers": MARKED, "gateways": ["entry"]}],
        "route": TO,
        **rest,
        "fault": Delay(7).for_virtual_service(),
    }
    assert four["match"] == [{"headers": MARKED, "gateways": ["entry"]}]


def test_only_the_places_gateways_meet_it_and_nobody_in_the_mesh():
    matches = [{**X, "gateways": ["mesh"]}, {**X, "gateways": ["entry", "mesh"]}, Y]
    owner = owned({"match": matches, "route": TO}, gateways=["mesh", "entry", "second", "far/away"])
    first, _ = laid(owner, where=place(source=source(MINE, ALSO)))["spec"]["http"]
    assert first["match"] == [
        {**X, "headers": MARKED, "gateways": ["entry"]},
        {**Y, "headers": MARKED, "gateways": ["entry", "second"]},
    ]


def test_everybodys_requests_get_a_copy_too_so_that_the_mesh_meets_nothing():
    owner = owned({"route": TO}, gateways=["entry", "mesh"])
    after = laid(owner, fault=Abort(507, percentage=10), where=place(source=source(), marker=None))
    assert after["spec"]["http"][0]["match"] == [{"gateways": ["entry"]}]
    assert "fault" not in after["spec"]["http"][1]


def test_an_owner_who_changes_the_route_below_ends_the_run():
    """Though it is for gateways alone, which those in the mesh do not look at."""
    owner = owned({"match": [{**X, "gateways": ["entry"]}], "route": TO})
    after = laid(owner)
    after["spec"]["http"][1]["timeout"] = "1s"
    assert "the owner's route 1, on which ours stands, was edited" in disturbed(after, RUN)


def test_of_several_virtual_services_each_that_can_gets_its_copy():
    first, second = owned({"match": [X], "route": TO}, name="a"), owned({"match": [Y], "route": TO}, name="b")
    view = View(bound=(first, second), beside=(first, second))
    changes = overlay.plan(Abort(507), place(source=source()), view)
    assert [change.target[2] for change in changes] == ["a", "b"]
    (change,) = overlay.plan(Abort(507), place(source=source(), match={"uri": {"exact": "/y"}}), view)
    assert change.target[2] == "b"


def test_what_cannot_be_copied_is_refused():
    both = [{**TO[0], "weight": 50}, {**ELSEWHERE[0], "weight": 50}]
    refused("sends to details and elsewhere", owned({"route": both}))
    refused("has a fault of its owner's", owned({"route": TO, "fault": Abort(503).for_virtual_service()}))
    refused("sourceLabels, which Istio does not look at", owned({"match": [{"sourceLabels": {"a": "b"}}], "route": TO}))
    refused("is for others than default/entry", owned({"match": [{**X, "gateways": ["mesh"]}], "route": TO}))
    refused(
        "is never met", owned({"match": [{"uri": {"prefix": "/"}}], "route": ELSEWHERE}, {"match": [X], "route": TO})
    )
    driven = owned({"route": TO})
    driven["metadata"]["labels"] = {"argocd.argoproj.io/instance": "shop"}
    refused("is written again by Argo CD", driven)
    with pytest.raises(InvalidInput, match="no VirtualService of default/entry has a route that leads to details"):
        overlay.plan(Abort(507), place(source=source()), View())
    with pytest.raises(InvalidInput, match="use carrier: virtualservice"):
        CARRIERS["envoyfilter"](Abort(507), place(source=source()), View())
    with pytest.raises(InvalidInput, match="can be delayed and aborted"):
        refuse_at_gateway(place(source=source()), Retries(attempts=0))


def test_a_copy_of_what_takes_everything_may_not_go_before_another_virtual_services_routes():
    """istiod puts such a route behind those of all others for its host, and one with conditions not."""
    other = owned({"match": [X], "route": ELSEWHERE}, name="other")
    refused("a copy of that route with conditions would go before theirs", owned({"route": TO}), other)
    assert laid(owned({"match": [Y], "route": TO}), other)
    assert laid(owned({"route": TO}, hosts=["a.example"]), {**other, "spec": {**other["spec"], "hosts": ["b.example"]}})


def test_a_sidecars_calls_to_the_same_host_are_others():
    at_gateway, in_mesh = place(source=source()), place("2")
    assert not at_gateway.shares_calls_with(in_mesh)
    assert not in_mesh.shares_calls_with(at_gateway)
    assert at_gateway.shares_calls_with(place("2", source=source(ALSO)))


def test_the_timeouts_of_the_routes_that_lead_there_are_known():
    owner = owned({"match": [X], "route": ELSEWHERE, "timeout": "1s"}, {"match": [Y], "route": TO, "timeout": "5s"})
    where = place(source=source())
    assert timeouts(where, View(bound=(owner,))) == (5.0,)
    assert timeouts(where, View(bound=(owner, owned({"route": TO}, name="second")))) == (0.0, 5.0)
    assert timeouts(where, View(bound=(owned({"route": TO, "timeout": "0s"}),))) == (0.0,)

"""The shape of an overlay: which routes take a fault, and which objects cannot."""

from __future__ import annotations

import msgspec
import pytest
from overlays import EVERYBODY, RUN, lay, lift, place, source

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.mesh import Create, Place, View, ledger
from chaosmesh_ext.mesh.overlay import plan
from chaosmesh_ext.model import Marker

HOST = place().destination


def test_a_scoped_fault_is_a_named_copy_in_front_of_the_route_that_it_refines(make):
    owner = make.virtual_service(
        http=[
            {"match": [{"uri": {"prefix": "/slow"}}], "route": [{"destination": {"host": "details"}}], "timeout": "1s"},
            {"route": [{"destination": {"host": "details"}}]},
        ]
    )
    http = lay(owner, Abort(507), place())["spec"]["http"]
    ours = [http[0], http[2]]
    assert [one.get("name") for one in http] == ["chaos-0badcafe-1", None, "chaos-0badcafe-2", None]
    assert ours[0]["timeout"] == "1s"
    assert ours[0]["match"] == [
        {
            "uri": {"prefix": "/slow"},
            "headers": {"tracestate": {"regex": Marker(RUN, "1").pattern()}},
            "sourceLabels": {"app": "productpage"},
        }
    ]
    assert all(one["fault"] == {"abort": {"httpStatus": 507, "percentage": {"value": 100}}} for one in ours)
    assert [http[1], http[3]] == owner["spec"]["http"]


def test_a_fault_for_everybody_is_a_field_of_the_routes(make):
    faulted = lay(make.virtual_service(), Delay(1, 5), place(**EVERYBODY))
    assert faulted["spec"]["http"][0]["fault"] == Delay(1, 5).for_virtual_service()
    assert len(faulted["spec"]["http"]) == 1


def test_the_undo_data_comes_in_the_same_write_as_the_fault(make):
    (change,) = plan(Abort(507), place(), View(owner=make.virtual_service()))
    paths = [op["path"] for op in change.compute(make.virtual_service())]
    assert "/spec/http/0" in paths
    assert "/metadata/annotations/chaosmesh-ext~1undo" in paths
    assert "/metadata/labels/chaosmesh-ext~1run" in paths


def test_a_virtual_service_of_several_hosts_takes_the_fault_for_this_host_only(make):
    faulted = lay(make.virtual_service(hosts=["details", "ratings"]), Abort(507), place())
    authority = faulted["spec"]["http"][0]["match"][0]["authority"]["regex"]
    import re

    for host in ("details", "details:9080", "details.default", "details.default.svc.cluster.local:9080"):
        assert re.fullmatch(authority, host)
    for host in ("ratings", "details2", "details.other", "xdetails"):
        assert not re.fullmatch(authority, host)


def test_where_nobody_owns_the_host_ours_is_private_and_has_a_default_route():
    (change,) = plan(Abort(507), place(), View())
    assert isinstance(change, Create)
    spec = change.obj["spec"]
    assert spec["exportTo"] == ["."]
    assert spec["hosts"] == ["details.default.svc.cluster.local"]
    assert "match" in spec["http"][0]
    assert "fault" in spec["http"][0]
    assert spec["http"][1] == {"route": [{"destination": {"host": "details.default.svc.cluster.local"}}]}
    assert set(change.obj["metadata"]["labels"]) == {"chaosmesh-ext/run"}
    assert ledger.undo(change.obj, RUN).delete
    assert not ledger.undo(change.obj, "11111111").ops


def test_an_object_of_ours_that_a_second_fault_joined_outlives_the_first():
    """Two callers of a host that nobody routes: the undo of one must not take the other's fault along."""
    (first,) = plan(Abort(507), place("1"), View())
    second = place("2", source=source("reviews"))
    both = lay(first.obj, Delay(2), second)
    left, conflicts = lift(both, "1")
    assert not conflicts
    assert [route.get("fault") for route in left["spec"]["http"]] == [Delay(2).for_virtual_service(), None]
    assert not ledger.undo(left, RUN, "1").ops
    assert not ledger.undo(left, RUN, "1").delete
    assert ledger.undo(left, RUN, "2").delete
    assert ledger.undo(both, RUN).delete
    assert lift(both, "2")[0]["spec"] == first.obj["spec"]


def test_a_service_of_several_ports_takes_the_fault_on_one(make):
    several = msgspec.structs.replace(HOST, ports=(9080, 9081))
    faulted = lay(make.virtual_service(), Abort(507), place(destination=several))
    assert faulted["spec"]["http"][0]["match"][0]["port"] == 9080


def test_ours_names_the_port_of_a_service_of_several(make):
    """Without it istioctl analyze complains (IST0112); and the other ports keep their route."""
    several = msgspec.structs.replace(HOST, ports=(9080, 9081))
    (change,) = plan(Abort(507), place(destination=several), View())
    faulted, *rest = change.obj["spec"]["http"]
    assert [route["match"] for route in rest] == [[{"port": 9080}], [{"port": 9081}]]
    targets = [route["route"][0]["destination"]["port"]["number"] for route in (faulted, *rest)]
    assert targets == [9080, 9080, 9081]
    assert faulted["match"][0]["port"] == 9080
    (change,) = plan(Abort(507), place(destination=several, **EVERYBODY), View())
    assert [route["match"] for route in change.obj["spec"]["http"]] == [[{"port": 9080}], [{"port": 9081}]]


def test_what_no_request_reaches_gets_no_fault(make):
    """Copies of dead routes would be dead too, and draw istioctl's IST0130 and IST0131 that the owner has not."""
    to = [{"destination": {"host": "details"}}]
    prefix = [{"uri": {"prefix": text}} for text in ("/a", "/a", "/ab", "/b")]
    owner = make.virtual_service(
        http=[{"match": prefix, "route": to}, {"route": to}, {"match": prefix, "route": to}, {"route": to}]
    )
    http = lay(owner, Abort(507), place())["spec"]["http"]
    assert [route.get("name") for route in http] == ["chaos-0badcafe-1", None, "chaos-0badcafe-2", None, None, None]
    assert [match["uri"] for match in http[0]["match"]] == [{"prefix": "/a"}, {"prefix": "/b"}]
    everybody = lay(owner, Abort(507), place(**EVERYBODY))["spec"]["http"]
    assert ["fault" in route for route in everybody] == [True, True, False, False]


def test_a_route_behind_one_that_answers_everything_by_itself_is_refused(make):
    refused(make.virtual_service(http=[{"redirect": {"uri": "/x"}}, {"route": []}]), "route 1 is never met")


def refused(owner: dict, words: str, where: Place | None = None, view: View | None = None) -> None:
    with pytest.raises(InvalidInput, match=words):
        plan(Abort(507), where or place(), view or View(owner=owner))


def test_a_match_that_no_route_can_satisfy_is_refused_with_the_reason(make):
    owner = make.virtual_service(http=[{"match": [{"headers": {"end-user": {"exact": "jason"}}}], "route": []}])
    refused(owner, "'jason' and exact 'bob'", place(match={"headers": {"end-user": {"exact": "bob"}}}))


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ({"redirect": {"uri": "/x"}}, "answers by itself"),
        ({"directResponse": {"status": 200}}, "answers by itself"),
        ({"delegate": {"name": "other"}}, "delegates"),
        ({"fault": {"delay": {}}, "route": []}, "fault of its owner's"),
        ({"match": [{"gateways": ["bookinfo"]}], "route": []}, "gateways only"),
    ],
)
def test_a_route_that_cannot_take_a_fault_is_refused_with_the_reason(make, route, words):
    refused(make.virtual_service(http=[route]), words)


def test_an_http_route_that_owns_the_host_is_refused():
    refused({}, "HTTPRoute default/details", view=View(http_route="default/details"))


def test_another_runs_overlay_is_refused_and_named(make):
    faulted = lay(make.virtual_service(), Abort(507), place())
    refused(faulted, "recover --run 0badcafe", place(run="11111111"))


def test_a_subset_within_a_split_is_refused_because_a_virtual_service_would_hit_the_others(make):
    split = [{"destination": {"host": "details", "subset": one}, "weight": 50} for one in ("v1", "v2")]
    refused(make.virtual_service(http=[{"route": split}]), "splits its requests", place(subset="v2"))
    pinned = make.virtual_service(
        http=[{"match": [{"uri": {"prefix": "/old"}}], "route": split[:1]}, {"route": split[1:]}]
    )
    http = lay(pinned, Abort(507), place(subset="v2"))["spec"]["http"]
    assert [bool(one.get("fault")) for one in http] == [False, True, False]

from __future__ import annotations

import json

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Delay
from chaosmesh_ext.mesh import View, overlay
from chaosmesh_ext.mesh.envoyfilter import plan
from chaosmesh_ext.model import Workload


def test_it_is_one_object_with_a_selector_and_a_merge_into_the_virtual_host(place_of):
    (change,) = plan(Delay(7), place_of(), View())
    obj = change.obj
    assert (obj["apiVersion"], obj["metadata"]["name"]) == ("networking.istio.io/v1alpha3", "chaos-0badcafe-1")
    assert obj["metadata"]["labels"] == {"chaosmesh-ext/run": "0badcafe"}
    assert json.loads(obj["metadata"]["annotations"]["chaosmesh-ext/undo"])["created"] is True
    assert obj["spec"]["workloadSelector"] == {"labels": {"app": "productpage", "version": "v1"}}
    (patch,) = obj["spec"]["configPatches"]
    assert patch["applyTo"] == "VIRTUAL_HOST"
    assert patch["match"] == {
        "context": "SIDECAR_OUTBOUND",
        "routeConfiguration": {"vhost": {"name": "details.default.svc.cluster.local:9080"}},
    }
    assert patch["patch"]["operation"] == "MERGE"
    settings = patch["patch"]["value"]["typed_per_filter_config"]["envoy.filters.http.fault"]
    assert settings["delay"]["fixed_delay"] == "7s"
    assert settings["headers"][0]["string_match"]["safe_regex"]["regex"] == "(.*,)?[ ]*chaosmesh=0badcafe-1([,; ].*)?"


def test_callers_are_never_selected_inside_the_object(place_of):
    """istiod's route cache knows an EnvoyFilter by its name: one caller would be served another's patches."""
    (change,) = plan(Delay(7), place_of(), View())
    assert "proxy" not in json.dumps(change.obj)


def test_a_fault_for_everybody_has_no_condition(place_of):
    (change,) = plan(Delay(7, 5), place_of(source=None, marker=None), View())
    assert "workloadSelector" not in change.obj["spec"]
    assert "headers" not in json.dumps(change.obj["spec"])


def test_a_subset_is_chosen_by_its_cluster(place_of, make):
    routed = make.virtual_service(http=[{"route": [{"destination": {"host": "details", "subset": "v2"}}]}])
    (change,) = plan(Delay(7), place_of(subset="v2"), View(owner=routed))
    assert "outbound|9080|v2|details.default.svc.cluster.local" in json.dumps(change.obj)


def test_a_subset_that_nothing_routes_to_is_refused(place_of, make):
    with pytest.raises(InvalidInput, match="nothing routes to the subset v2"):
        plan(Delay(7), place_of(subset="v2"), View())
    with pytest.raises(InvalidInput, match="VirtualService default/details does not"):
        plan(Delay(7), place_of(subset="v2"), View(owner=make.virtual_service()))


def test_an_owners_own_fault_would_hide_ours_so_it_is_refused(place_of, make):
    """Settings of a route win over those of its virtual host (seen on a real istiod)."""
    owner = make.virtual_service(http=[{"fault": {"abort": {"httpStatus": 500}}, "route": []}])
    with pytest.raises(InvalidInput, match="would hide ours"):
        plan(Delay(7), place_of(), View(owner=owner))
    only_gateways = [{"match": [{"gateways": ["g"]}], "fault": {"abort": {"httpStatus": 500}}}, {"route": []}]
    assert plan(Delay(7), place_of(), View(owner=make.virtual_service(http=only_gateways)))


def test_another_runs_virtual_service_in_the_way_is_named_with_what_to_do(place_of):
    """It is no owner's to remove: its run lives, and another one takes it away in a moment."""
    (other,) = overlay.plan(Delay(7), place_of(run="11111111"), View())
    with pytest.raises(InvalidInput, match=r"of the run 11111111.*wait for its end.*recover --run 11111111") as error:
        plan(Delay(7), place_of(), View(owner=other.obj))
    assert "remove it" not in str(error.value)


def test_a_second_fault_on_the_same_virtual_host_is_refused(place_of):
    """Two merges become one fault that asks for both markers, and so meets nobody."""
    (first,) = plan(Delay(7), place_of(), View())
    other = place_of(run="11111111")
    with pytest.raises(InvalidInput, match=r"EnvoyFilter default/chaos-0badcafe-1 .* recover --run 0badcafe"):
        plan(Delay(7), other, View(filters=(first.obj,)))
    with pytest.raises(InvalidInput, match="already faults productpage-v1 → details"):
        plan(Delay(7), place_of(cell="2"), View(filters=(first.obj,)))
    elsewhere = msgspec_replace(other, source=msgspec_replace(other.source, labels={"app": "reviews"}))
    assert plan(Delay(7), elsewhere, View(filters=(first.obj,)))


def msgspec_replace(struct, **changes):
    import msgspec

    return msgspec.structs.replace(struct, **changes)


def test_several_versions_of_a_caller_are_one_source(place_of):
    place = place_of()
    source = msgspec_replace(place.source, workloads=(Workload("a", "v1"), Workload("a", "v2")))
    assert msgspec_replace(place, source=source).sources == ("a-v1", "a-v2")

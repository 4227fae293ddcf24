from __future__ import annotations

import pytest
from overlays import place, source

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import PodFailure
from chaosmesh_ext.mesh import Destination, View
from chaosmesh_ext.model import Span, Trace, Workload

THERE = Destination("details.shop.svc.cluster.local", "details", "shop", 9080, (9080,), {"app": "details"})


def pod(name: str, *, namespace: str = "shop", ready: bool = True, **changes) -> dict:
    told = [{"name": "istio-proxy", "ready": ready}]
    owner = {"kind": "ReplicaSet", "name": "details-v1-77", "controller": True}
    labels = {"app": "details", "pod-template-hash": "77", **changes}
    meta = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]}
    return {"kind": "Pod", "metadata": meta, "spec": {}, "status": {"phase": "Running", "containerStatuses": told}}


PODS = (pod("b"), pod("a"), pod("z", app="other"), pod("0", namespace="far"), pod("1", ready=False))


def plan(fault: PodFailure, **changes) -> dict:
    where = place(**{"source": None, "destination": THERE, **changes})
    (change,) = fault.changes(where, View(others=PODS))
    return change.obj


@pytest.mark.parametrize(("asked", "name"), [("", "a"), ("b", "b"), ("details-v1", "a")])
def test_one_ready_pod_of_the_host_is_meant_by_its_name(asked, name):
    """Labels do not tell it from its replicas; what its proxy says it is called does."""
    obj = plan(PodFailure(asked))
    (patch,) = obj["spec"]["configPatches"]
    assert patch["match"]["proxy"] == {"metadata": {"NAME": name, "NAMESPACE": "shop"}}
    assert patch["match"]["context"] == "SIDECAR_INBOUND"
    assert obj["metadata"]["namespace"] == "shop"
    assert obj["spec"]["workloadSelector"] == {"labels": {"app": "details"}}


def test_only_marked_requests_meet_it_unless_all_shall():
    (patch,) = plan(PodFailure(http_status=500))["spec"]["configPatches"]
    config = patch["patch"]["value"]["typed_config"]
    assert config["abort"] == {"http_status": 500, "percentage": {"numerator": 1_000_000, "denominator": "MILLION"}}
    assert [one["name"] for one in config["headers"]] == ["tracestate"]
    (patch,) = plan(PodFailure(), marker=None)["spec"]["configPatches"]
    assert "headers" not in patch["patch"]["value"]["typed_config"]


@pytest.mark.parametrize("asked", ["1", "z", "0", "nobody"])
def test_a_pod_that_is_none_of_them_is_refused_with_those_that_are(asked):
    with pytest.raises(
        InvalidInput, match=f"no pod {asked} of details is ready and has a sidecar: there are a, b; name"
    ):
        plan(PodFailure(asked))


def test_where_no_pod_is_ready_the_refusal_says_what_to_do():
    fault, there = PodFailure(), View()
    with pytest.raises(InvalidInput, match="there are none; scale it up"):
        fault.changes(place(source=None, destination=THERE), there)


def test_a_caller_is_refused():
    with pytest.raises(InvalidInput, match="leave out source"):
        plan(PodFailure(), source=source("productpage"))


@pytest.mark.parametrize("status", [200, 399, 600, True, "503"])
def test_what_is_no_error_is_refused(status):
    with pytest.raises(InvalidInput, match="400 to 599"):
        PodFailure(http_status=status)


def test_it_shows_where_the_call_arrived():
    out = Span("t", "c", "", "CLIENT", "o", 0.0, 0.0, Workload("a"))
    into = Span("t", "s", "c", "SERVER", "o", 0.0, 0.0, Workload("details"), flags=frozenset({"FI"}))
    assert PodFailure().shows_in(out, Trace("t", (out, into)))
    assert not PodFailure().shows_in(out, Trace("t", (out,)))

"""What the control plane says of its proxies where the product asks it: /debug/syncz at port 15014."""

from __future__ import annotations

import pytest
from asking import get
from waiting import until

from chaosmesh_ext.mesh import sync

PORT = 15014


def told(mesh) -> list[dict]:
    return get(mesh.network.control, port=PORT, path=sync.PATH, headers={}).json


def test_proxies_are_in_sync_after_a_change(mesh, seen):
    """/debug/syncz says of every proxy that it is in sync, once it has a change"""
    mesh.synced()
    before = {entry["proxy"]: entry["route_sent"] for entry in told(mesh) if entry.get("route_sent")}
    mesh.route("reviews", {"timeout": "9s"})
    names = [f"{name}.default" for name in ("sleep-v1", "other-v1", "details-v1", "reviews-v1")]
    until(lambda: {sync.states(told(mesh)).get(name) for name in names} == {"SYNCED"}, lambda: sync.states(told(mesh)))
    after = {entry["proxy"]: entry["route_sent"] for entry in told(mesh) if entry.get("route_sent")}
    assert all(before[name] != after[name] for name in names)
    seen("each was sent routes anew, took them, and is SYNCED")


@pytest.mark.parametrize("field", ["cluster", "listener", "route", "endpoint"])
def test_what_is_told_of_each_type(mesh, seen, field):
    """/debug/syncz says {field}_sent and {field}_acked"""
    mesh.synced()
    (entry,) = [one for one in told(mesh) if one["proxy"] == "sleep-v1.default"]
    assert entry[f"{field}_sent"] == entry[f"{field}_acked"] != ""
    assert entry["proxy_type"] == "sidecar"
    assert entry["istio_version"] == "1.31.0"
    seen("the same nonce in both, once it was taken")


def test_what_an_envoy_refuses_is_told(mesh, seen):
    """/debug/syncz after routes that Envoy refuses, by an EnvoyFilter"""
    patch = {
        "applyTo": "VIRTUAL_HOST",
        "match": {
            "context": "SIDECAR_OUTBOUND",
            "routeConfiguration": {"vhost": {"name": "details.default.svc.cluster.local:9080"}},
        },
        "patch": {"operation": "MERGE", "value": {"typed_per_filter_config": _FAULT}},
    }
    spec = {"workloadSelector": {"labels": {"app": "sleep"}}, "configPatches": [patch]}
    mesh.apply("EnvoyFilter", "refused", spec, wait=False)
    until(lambda: sync.states(told(mesh))["sleep-v1.default"].startswith("REFUSED RouteConfiguration: "), "refused")
    assert sync.states(told(mesh))["other-v1.default"] == "SYNCED"
    seen("lastError of RouteConfiguration at the one that refused, SYNCED at the others")


_FAULT = {
    "envoy.filters.http.fault": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
        "abort": {"http_status": 999, "percentage": {"numerator": 100}},
    }
}
"""A status that Envoy's own validation refuses."""

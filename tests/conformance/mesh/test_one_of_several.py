"""Objects that are for one proxy of several: a DestinationRule by labels, a patch by what a proxy says it is."""

from __future__ import annotations

from refused import refused
from waiting import until

HOST = "details:9080"
ROUTER = {"name": "envoy.filters.http.router"}
MANAGER = "envoy.filters.network.http_connection_manager"
ABORT = {
    "name": "envoy.filters.http.fault",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
        "abort": {"http_status": 507, "percentage": {"numerator": 100}},
    },
}
LIMITS = {"outlierDetection": {"consecutive5xxErrors": 1, "baseEjectionTime": "60s", "maxEjectionPercent": 100}}


def aborts(mesh, match):
    patch = {"operation": "INSERT_BEFORE", "value": ABORT}
    listener = {"filterChain": {"filter": {"name": MANAGER, "subFilter": ROUTER}}}
    where = {"context": "SIDECAR_INBOUND", "listener": listener, **match}
    spec = {
        "workloadSelector": {"labels": {"app": "reviews"}},
        "configPatches": [{"applyTo": "HTTP_FILTER", "match": where, "patch": patch}],
    }
    mesh.apply("EnvoyFilter", "one", spec)


def answers(mesh):
    """Who of reviews' two pods answered what, in many calls."""
    found = set()
    for _ in range(24):
        reply = mesh.call("sleep-v1", "reviews:9080")
        found.add(reply.json["name"] if reply.status == 200 else reply.status)
    return found


def test_a_patch_by_the_name_of_a_pod(mesh, seen):
    """EnvoyFilter HTTP_FILTER at SIDECAR_INBOUND with match.proxy.metadata NAME of one of two pods"""
    aborts(mesh, {"proxy": {"metadata": {"NAME": "reviews-v2", "NAMESPACE": "default"}}})
    until(lambda: answers(mesh) == {"reviews-v1", 507}, lambda: answers(mesh))
    mesh.delete("EnvoyFilter", "one")
    until(lambda: answers(mesh) == {"reviews-v1", "reviews-v2"}, lambda: answers(mesh))
    seen("that one aborts, the other answers")


def test_a_patch_by_a_name_that_nobody_has(mesh, seen):
    """EnvoyFilter HTTP_FILTER with match.proxy.metadata that no proxy has"""
    aborts(mesh, {"proxy": {"metadata": {"NAME": "reviews-v2", "NAMESPACE": "other"}}})
    assert answers(mesh) == {"reviews-v1", "reviews-v2"}
    seen("nobody has it")


def test_a_patch_by_metadata_that_is_no_text(mesh, seen):
    """EnvoyFilter HTTP_FILTER with match.proxy.metadata LABELS, which is no text"""
    aborts(mesh, {"proxy": {"metadata": {"LABELS": "app"}}})
    assert answers(mesh) == {"reviews-v1", "reviews-v2"}
    seen("nobody has it")


def timeouts(mesh, **spec):
    """Whom a DestinationRule with one connection and none waiting is for: by caller, the statuses of calls to a host."""
    mesh.apply("DestinationRule", "one", {"host": "details", "trafficPolicy": {"tls": {"mode": "DISABLE"}}, **spec})
    mesh.apply("PeerAuthentication", "strict", {"mtls": {"mode": "STRICT"}})
    return {source: mesh.call(source, HOST).status for source in ("sleep-v1", "other-v1")}


def settled(mesh, wanted):
    until(
        lambda: {source: mesh.call(source, HOST).status for source in wanted} == wanted,
        lambda: {source: mesh.call(source, HOST).status for source in wanted},
    )


def test_a_rule_with_a_workload_selector(mesh, seen):
    """DestinationRule with workloadSelector, and no other: tls DISABLE towards a STRICT callee"""
    timeouts(mesh, workloadSelector={"matchLabels": {"app": "sleep"}}, exportTo=["."])
    settled(mesh, {"sleep-v1": 503, "other-v1": 200})
    seen("503 for the one that it selects, 200 for the other")


def test_a_rule_with_a_workload_selector_beside_one_for_all(mesh, seen):
    """DestinationRule with workloadSelector and exportTo ., beside an older one for everybody"""
    mesh.apply("DestinationRule", "all", {"host": "details", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]})
    timeouts(mesh, workloadSelector={"matchLabels": {"app": "sleep"}}, exportTo=["."])
    settled(mesh, {"sleep-v1": 503, "other-v1": 200})
    seen("503 for the one that it selects, 200 for the other")


def test_what_a_selector_may_be_exported_to(mesh, seen):
    """DestinationRule with workloadSelector and exportTo *"""
    spec = {"host": "details", "workloadSelector": {"matchLabels": {"app": "sleep"}}, "exportTo": ["*"]}
    assert "cannot have exportTo beyond current namespace" in refused(mesh, "DestinationRule", "one", spec)
    seen("refused: cannot have exportTo beyond current namespace")

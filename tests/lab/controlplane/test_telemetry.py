"""Metrics and traces carry Istio's names, and markers reach the applications."""

import random

from telemetry import counter


def test_both_sides_count_a_call_with_istios_labels(mesh):
    mesh.ready("reviews-v2", ready=False)
    labels = {
        "source_workload": "sleep-v1",
        "source_app": "sleep",
        "destination_workload": "reviews-v1",
        "destination_version": "v1",
        "destination_workload_namespace": "default",
        "destination_canonical_service": "reviews",
        "destination_service": "reviews.default.svc.cluster.local",
        "destination_service_name": "reviews",
        "response_code": "200",
        "response_flags": "-",
        "source_workload_namespace": "default",
        "source_canonical_revision": "v1",
        "destination_service_namespace": "default",
    }
    try:
        before = [counter(mesh.stats(pod, "/stats/prometheus"), **labels) for pod in ("sleep-v1", "reviews-v1")]
        assert mesh.call("sleep-v1", "reviews").status == 200
        after = [
            counter(mesh.stats(pod, "/stats/prometheus"), reporter=side, **labels)
            for pod, side in (("sleep-v1", "source"), ("reviews-v1", "destination"))
        ]
    finally:
        mesh.ready("reviews-v2", ready=True)
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1]
    assert "envoy_istio_request_duration_milliseconds_bucket{" in mesh.stats("sleep-v1", "/stats/prometheus")


def test_where_no_host_was_chosen_the_destination_workload_is_unknown(mesh, helpers):
    mesh.route("reviews", {"fault": helpers.abort(507)})
    labels = {"destination_workload": "unknown", "destination_service_name": "reviews", "response_flags": "FI"}
    before = counter(mesh.stats("sleep-v1", "/stats/prometheus"), **labels)
    mesh.call("sleep-v1", "reviews")
    assert counter(mesh.stats("sleep-v1", "/stats/prometheus"), **labels) == before + 1


def test_the_application_sees_the_marker_and_nothing_of_the_sidecars_own(mesh, helpers):
    headers = helpers.marked("c1")
    mesh.call("sleep-v1", "reviews", headers=headers)
    seen = (mesh.apps["reviews-v1"].seen + mesh.apps["reviews-v2"].seen)[-1]
    assert seen["tracestate"] == headers["tracestate"]
    assert seen["traceparent"].split("-")[1] == headers["traceparent"].split("-")[1]
    assert not [name for name in seen if "peer-metadata" in name]


def test_a_call_is_one_client_and_one_server_span_of_our_trace(mesh, helpers):
    headers = helpers.marked("c1")
    trace = headers["traceparent"].split("-")[1]
    mesh.call("sleep-v1", "reviews", headers=headers)
    client, server = mesh.span(trace, 3), mesh.span(trace, 2)
    assert client["parent"] == headers["traceparent"].split("-")[2]
    assert server["parent"] == client["id"]
    assert (client["service"], server["service"]) == ("sleep.default", "reviews.default")
    assert client["name"] == "reviews.default.svc.cluster.local:9080/*"
    tags = client["tags"]
    assert tags["component"] == "proxy"
    assert tags["node_id"].startswith("sidecar~")
    assert tags["istio.canonical_service"] == "sleep"
    assert tags["upstream_cluster"] == "outbound|9080||reviews.default.svc.cluster.local"


def test_without_sampling_only_requests_with_a_client_trace_id_are_traced(fresh_mesh, helpers):
    """How marked requests are seen whole in a mesh that samples 1 %."""
    mesh = fresh_mesh(sampling=0.0)
    mesh.service("reviews")
    mesh.pod("reviews")
    mesh.pod("sleep")
    mesh.synced()
    quiet = {"traceparent": f"00-{random.randbytes(16).hex()}-{random.randbytes(8).hex()}-01"}
    mesh.call("sleep-v1", "reviews", headers=quiet)
    loud = helpers.marked("c1")
    mesh.call("sleep-v1", "reviews", headers=loud)
    trace = loud["traceparent"].split("-")[1]
    assert mesh.span(trace, 3)
    assert mesh.span(trace, 2)
    assert {span["trace"] for span in mesh.otlp.spans} == {trace}

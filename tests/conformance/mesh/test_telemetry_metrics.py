"""Metrics of calls."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from asking import get
from echo_mesh import PORT
from fault_words import abort, fixed_delay
from mtls import DISABLE, peer, settled, takes
from telemetry import counter, grown, samples
from traffic import together
from waiting import until

HOST = f"details:{PORT}"
GRPC = {"content-type": "application/grpc"}
PODS = ["sleep-v1", "details-v1"]


def labels(mesh, send, count=2, pods=PODS):
    """The labels of the series that grew while SEND ran, by reporter."""
    found = grown(mesh, pods, send, count)
    assert len({one["reporter"] for one, _ in found}) == len(found), found
    return {one["reporter"]: one for one, _ in found}


def told(grew):
    """What grew, in the words of the labels that differ from call to call."""
    out = []
    for one, value in grew:
        workload = one["destination_workload"] if one["reporter"] == "source" else one["source_workload"]
        way = "to" if one["reporter"] == "source" else "from"
        parts = [
            f"{one['reporter']}: {value} × {one['request_protocol']} {one['response_code']} {one['response_flags']}",
            f"{way} {workload}",
            f"of {one['destination_service_name']}",
        ]
        if "grpc_response_status" in one:
            parts.insert(1, f"grpc {one['grpc_response_status']}")
        out.append(" ".join(parts))
    return "; ".join(sorted(out))


def call(mesh, host=HOST, **kwargs):
    return lambda: mesh.call("sleep-v1", host, **kwargs)


LABELS = {
    "request_protocol": ("http", "http"),
    "response_code": ("200", "200"),
    "response_flags": ("-", "-"),
    "connection_security_policy": ("unknown", "mutual_tls"),
    "source_workload": ("sleep-v1", "sleep-v1"),
    "source_workload_namespace": ("default", "default"),
    "source_principal": ("spiffe://cluster.local/ns/default/sa/sleep",) * 2,
    "source_app": ("sleep", "sleep"),
    "source_version": ("v1", "v1"),
    "source_canonical_service": ("sleep", "sleep"),
    "source_canonical_revision": ("v1", "v1"),
    "source_cluster": ("Kubernetes", "Kubernetes"),
    "destination_workload": ("details-v1", "details-v1"),
    "destination_workload_namespace": ("default", "default"),
    "destination_principal": ("spiffe://cluster.local/ns/default/sa/details",) * 2,
    "destination_app": ("details", "details"),
    "destination_version": ("v1", "v1"),
    "destination_canonical_service": ("details", "details"),
    "destination_canonical_revision": ("v1", "v1"),
    "destination_cluster": ("Kubernetes", "Kubernetes"),
    "destination_service": ("details.default.svc.cluster.local",) * 2,
    "destination_service_name": ("details", "details"),
    "destination_service_namespace": ("default", "default"),
}


@pytest.mark.parametrize("label", LABELS)
def test_labels(mesh, seen, label):
    """istio_requests_total: the label {label}"""
    found = labels(mesh, call(mesh))
    values = found["source"][label], found["destination"][label]
    assert values == LABELS[label]
    seen(f"source: {values[0]}, destination: {values[1]}")


def test_no_other_labels(mesh, seen):
    """istio_requests_total: all labels"""
    found = labels(mesh, call(mesh))
    names = {reporter: set(one) - {"__name__"} for reporter, one in found.items()}
    assert names["source"] == names["destination"] == {"reporter", *LABELS}
    seen(", ".join(sorted(names["source"])))


def test_what_envoy_counts(mesh, seen):
    """The labels by which Envoy itself counts, before they are taken apart"""
    mesh.call("sleep-v1", HOST)
    found = []
    for pod in PODS:
        text = mesh.stats(pod, "/stats/prometheus?filter=^istio")
        lines = [line for line in text.splitlines() if line.startswith("envoy_istio_requests_total")]
        found.append(sorted({name for line in lines for name in re.findall(r'(\w+)="', line)}))
    assert found[0] == found[1]
    seen(", ".join(found[0]))


@pytest.mark.parametrize("status", [201, 404, 500, 503])
def test_an_answer_of_the_application(mesh, seen, status):
    """A call that the application answers with {status}"""
    mesh.apps["details-v1"].answer = status
    seen(told(grown(mesh, PODS, call(mesh), 2)))


GRPC_HTTP = {"headers": GRPC, "method": "POST"}
UNAVAILABLE = {"abort": {"grpcStatus": "UNAVAILABLE", "percentage": {"value": 100}}}
V9 = {"route": [{"destination": {"host": "details", "subset": "v9"}}]}
ROUTES = {
    "aborted with 503": ({"fault": abort(503)}, {}, "FI", 1),
    "delayed by 0.1 s": ({"fault": fixed_delay("0.1s")}, {}, "DI", 2),
    "delayed and aborted": ({"fault": {**fixed_delay("0.1s"), **abort(503)}}, {}, "DI,FI", 1),
    "aborted with gRPC's UNAVAILABLE": ({"fault": UNAVAILABLE}, GRPC_HTTP, "FI", 1),
    "to a subset without a DestinationRule": (V9, {}, "NC", 1),
    "that no route matches": ({"match": [{"uri": {"exact": "/a"}}]}, {}, "NR", 1),
}


@pytest.mark.parametrize("case", ROUTES)
def test_calls_by_route(mesh, seen, case):
    """A call {case}"""
    entry, kwargs, flags, count = ROUTES[case]
    mesh.route("details", entry)
    headers = kwargs.get("headers")
    until(lambda: mesh.flags("sleep-v1", HOST, headers=headers)[1] == flags, f"a call has {flags}")
    seen(told(grown(mesh, PODS, call(mesh, **kwargs), count)))


def test_a_grpc_call(mesh, seen):
    """A gRPC call"""
    seen(told(grown(mesh, PODS, call(mesh, **GRPC_HTTP), 2)))


def test_a_call_that_times_out(mesh, seen):
    """A call that the caller's timeout ends"""
    mesh.apps["details-v1"].delay = 0.3
    mesh.route("details", {"timeout": "0.1s"})
    until(lambda: mesh.call("sleep-v1", HOST).status == 504, "the timeout is live")
    seen(told(grown(mesh, PODS, call(mesh), 2)))


def test_a_call_that_is_tried_again(mesh, seen):
    """A call that fails and is tried twice more"""
    mesh.apps["details-v1"].answer = 503
    mesh.route("details", {"retries": {"attempts": 2, "retryOn": "5xx"}})
    until(lambda: mesh.flags("sleep-v1", HOST)[1] == "URX", "it is tried again")
    seen(told(grown(mesh, PODS, call(mesh), 4)))


def test_an_overflow(mesh, seen):
    """Four calls at once where connectionPool lets two"""
    pool = {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1}}
    mesh.apply("DestinationRule", "details", {"host": "details", "trafficPolicy": {"connectionPool": pool}})
    mesh.apps["details-v1"].delay = 0.2
    until(lambda: any(one.status == 503 for one in together(4, call(mesh))), "the limit is live")
    seen(told(grown(mesh, ["sleep-v1"], lambda: together(4, call(mesh)), 4)))


@pytest.mark.parametrize("host", ["nobody:9080", "example.com:9080"])
def test_a_host_that_nobody_has(mesh, seen, host):
    """A call to {host}, a host that nobody has"""
    seen(told(grown(mesh, PODS, call(mesh, host), 1)))


def test_a_service_without_pods(mesh, seen):
    """A call to a service without pods"""
    mesh.service("empty")
    host = f"empty:{PORT}"
    until(lambda: mesh.flags("sleep-v1", host) == (503, "UH"), "there is no pod")
    found = told(grown(mesh, PODS, call(mesh, host), 1))
    mesh.delete("Service", "empty")
    seen(found)


def test_a_route_to_another_service(mesh, seen):
    """A call to details that a route sends to reviews"""
    route = [{"destination": {"host": "reviews", "subset": "v1"}}]
    mesh.apply(
        "DestinationRule", "reviews", {"host": "reviews", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
    )
    mesh.route("details", {"route": route})
    until(lambda: mesh.call("sleep-v1", HOST).json["name"] == "reviews-v1", "the route is live")
    seen(told(grown(mesh, ["sleep-v1", "reviews-v1"], call(mesh), 2)))


def test_an_answer_of_the_sidecar(mesh, seen):
    """A call that directResponse answers"""
    http = [{"directResponse": {"status": 418}}]
    mesh.apply("VirtualService", "details", {"hosts": ["details"], "http": http})
    until(lambda: mesh.call("sleep-v1", HOST).status == 418, "the route is live")
    seen(told(grown(mesh, PODS, call(mesh), 1)))


def test_a_client_without_a_sidecar(mesh, seen):
    """A call in plain text, by nobody's sidecar"""

    def send():
        assert get(mesh.addresses["details-v1"].inbound, port=PORT, path="/", headers={"Host": "details"}).status == 200

    found = labels(mesh, send, 1)["destination"]
    names = ("source_workload", "source_principal", "connection_security_policy", "destination_service_name")
    assert (found["source_workload"], found["connection_security_policy"]) == ("unknown", "none")
    seen(", ".join(f"{name}={found[name]}" for name in names))


def test_a_call_in_plain_text(mesh, seen):
    """A call in plain text, where PeerAuthentication is DISABLE"""
    settled(mesh, {"details": ["details-v1"]})
    peer(mesh, "DISABLE")
    takes(mesh, DISABLE)
    found = labels(mesh, call(mesh))
    mesh.clean()
    settled(mesh, {"details": ["details-v1"]})
    names = ("source_principal", "destination_principal", "connection_security_policy")
    assert found["destination"]["connection_security_policy"] == "none"
    seen("; ".join(f"{side}: {', '.join(f'{name}={found[side][name]}' for name in names)}" for side in sorted(found)))


def test_a_caller_of_another_namespace(mesh, seen, guest):
    """A caller in another namespace"""
    found = labels(mesh, lambda: mesh.call(guest, "details.default:9080"), pods=[guest, "details-v1"])
    names = ("source_workload", "source_workload_namespace", "source_principal", "destination_workload_namespace")
    assert {one["source_workload_namespace"] for one in found.values()} == {"far"}
    seen(", ".join(f"{name}={found['destination'][name]}" for name in names))


def buckets(mesh, pod, flags):
    """How many calls with response FLAGS each bucket of POD's durations holds, once it holds all that were counted."""
    name = "envoy_istio_request_duration_milliseconds_bucket"

    def read():
        out = Counter()
        text = mesh.stats(pod, "/stats/prometheus?filter=^istio")
        for key, value in samples(text, name).items():
            one = dict(key)
            out[one["le"]] += value if one["response_flags"] == flags else 0
        return out if out["+Inf"] == counter(text, response_flags=flags) else None

    return until(read, "the durations are merged")


def test_the_buckets_of_durations(mesh, seen):
    """istio_request_duration_milliseconds: its buckets"""

    def bounds():
        mesh.call("sleep-v1", HOST)
        found = [sorted(buckets(mesh, pod, "-"), key=float) for pod in PODS]
        # a drained filter chain may just have taken the callee's
        return found if found[0] == found[1] else None

    found = until(bounds, "the same buckets at both sides")
    assert len(found[0]) > 10
    seen(", ".join(found[0]))


def test_a_delay_in_the_buckets(mesh, seen):
    """istio_request_duration_milliseconds of a call that is delayed by 0.3 s"""
    mesh.route("details", {"fault": fixed_delay("0.3s")})
    until(lambda: mesh.call("sleep-v1", HOST).took > 0.3, "the delay is live")
    before = buckets(mesh, "sleep-v1", "DI")
    mesh.call("sleep-v1", HOST)
    grew = buckets(mesh, "sleep-v1", "DI")
    grew.subtract(before)
    assert (grew["250"], grew["1000"], grew["+Inf"]) == (0, 1, 1)
    seen("source: above 250 ms, not above 1000 ms")

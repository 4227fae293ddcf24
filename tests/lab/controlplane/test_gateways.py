"""The way in from outside: Gateways, their VirtualServices, and their spans."""

import pytest

GATEWAY = {
    "selector": {"istio": "ingressgateway"},
    "servers": [{"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
}


@pytest.fixture(scope="module")
def ingress(mesh_of_four):
    """The address of a gateway's pod in istio-system."""
    name = mesh_of_four.pod("istio-ingressgateway", namespace="istio-system", gateway=True, istio="ingressgateway")
    return mesh_of_four.addresses[name].inbound


@pytest.fixture
def entered(mesh, ingress, helpers):
    """Opens the gateway to reviews; returns what a client outside gets."""

    def enter(*http, hosts=("*",), gateways=("entry",)):
        mesh.apply("Gateway", "entry", GATEWAY)
        routes = [{"route": [{"destination": {"host": "reviews"}}], **entry} for entry in http or ({},)]
        mesh.apply("VirtualService", "entry", {"hosts": list(hosts), "gateways": list(gateways), "http": routes})
        return lambda path="/", headers=None: helpers.get(ingress, port=8080, path=path, headers=headers or {})

    return enter


def test_what_is_routed_answers_and_the_rest_is_404(entered):
    get = entered({"match": [{"uri": {"exact": "/reviews"}}]})
    assert get("/reviews").status == 200
    assert get("/elsewhere").status == 404


def test_a_gateway_without_routes_answers_404(mesh, ingress, helpers):
    mesh.apply("Gateway", "entry", GATEWAY)
    assert helpers.get(ingress, port=8080, path="/", headers={}).status == 404


def test_a_fault_for_the_gateway_leaves_one_server_span_with_the_flags(mesh, entered, helpers):
    """istiod lets gateways spawn a span for the upstream call, which a faulted request never makes."""
    get = entered({"fault": helpers.abort(507)})
    headers = helpers.marked("c1")
    trace = headers["traceparent"].split("-")[1]
    assert get(headers=headers).status == 507
    span = mesh.span(trace, 2)
    assert (span["service"], span["tags"]["response_flags"]) == ("istio-ingressgateway.istio-system", "FI")
    assert [one["kind"] for one in mesh.otlp.spans if one["trace"] == trace] == [2]


def test_a_healthy_request_has_the_gateways_server_and_client_span_in_our_trace(mesh, entered, helpers):
    get = entered()
    headers = helpers.marked("c1")
    assert get(headers=headers).status == 200
    trace = headers["traceparent"].split("-")[1]
    server = mesh.span(trace, 2)
    spans = helpers.until(
        lambda: found if len(found := [one for one in mesh.otlp.spans if one["trace"] == trace]) == 3 else None,
        "three spans",
    )
    kinds = sorted((one["service"], one["kind"]) for one in spans)
    assert kinds == [
        ("istio-ingressgateway.istio-system", 2),
        ("istio-ingressgateway.istio-system", 3),
        ("reviews.default", 2),
    ]
    client = next(one for one in spans if one["kind"] == 3)
    assert client["parent"] == next(
        one["id"] for one in spans if one["kind"] == 2 and one["service"].startswith("istio")
    )
    assert server["trace"] == trace
    seen = (mesh.apps["reviews-v1"].seen + mesh.apps["reviews-v2"].seen)[-1]
    assert seen["tracestate"] == headers["tracestate"]


def test_bound_to_gateway_and_mesh_it_reaches_both(mesh, entered, helpers):
    get = entered({"fault": helpers.abort(507)}, hosts=["reviews"], gateways=["entry", "mesh"])
    assert get(headers={"Host": "reviews.default.svc.cluster.local"}).status == 507
    assert mesh.call("sleep-v1", "reviews").status == 507


def test_a_match_on_the_gateway_is_for_the_gateway_only(mesh, entered, helpers):
    get = entered(
        {"match": [{"gateways": ["entry"]}], "fault": helpers.abort(507)},
        {},
        hosts=["reviews"],
        gateways=["entry", "mesh"],
    )
    assert get(headers={"Host": "reviews.default.svc.cluster.local"}).status == 507
    assert mesh.call("sleep-v1", "reviews").status == 200


def test_an_envoy_filter_for_gateways_faults_the_gateway(mesh, entered, helpers):
    get = entered()
    value = {"typed_per_filter_config": helpers.http_fault(**helpers.http_abort(507))}
    patch = {
        "applyTo": "VIRTUAL_HOST",
        "match": {"context": "GATEWAY"},
        "patch": {"operation": "MERGE", "value": value},
    }
    spec = {"workloadSelector": {"labels": {"istio": "ingressgateway"}}, "configPatches": [patch]}
    mesh.apply("EnvoyFilter", "chaos", spec, "istio-system")
    assert get().status == 507
    mesh.delete("EnvoyFilter", "chaos", "istio-system")
    assert get().status == 200

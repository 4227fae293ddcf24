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


def test_a_route_that_takes_everything_hides_no_other_virtual_services_routes(mesh, entered, helpers):
    """Several VirtualServices may share a host of a gateway; catch-alls come last whatever their age."""
    get = entered({"fault": helpers.abort(507)})
    special = {
        "match": [{"uri": {"prefix": "/special"}}],
        "fault": helpers.abort(508),
        "route": [{"destination": {"host": "reviews"}}],
    }
    mesh.apply("VirtualService", "younger", {"hosts": ["*"], "gateways": ["entry"], "http": [special]})
    assert [get(path).status for path in ("/special", "/")] == [508, 507]


def test_a_destination_without_a_port_is_called_at_its_only_one(mesh, entered):
    """The gateway's own port says nothing of it."""
    assert entered()().status == 200


@pytest.mark.parametrize(
    ("offered", "hosts", "asked", "status"),
    [
        ("*", ["a.com"], "a.com", 200),
        ("*", ["a.com"], "b.com", 404),
        ("*.com", ["*"], "a.com", 200),
        ("*.com", ["*"], "a.org", 404),
        ("a.com", ["*.com"], "a.com", 200),
        ("a.com", ["*.com"], "b.com", 404),
        ("default/*", ["a.com"], "a.com", 200),
        ("another/*", ["a.com"], "a.com", 404),
        ("./*", ["a.com"], "a.com:1234", 200),
    ],
)
def test_only_hosts_that_both_speak_for_are_served(mesh, ingress, entered, helpers, offered, hosts, asked, status):
    get = entered(hosts=hosts)
    mesh.apply("Gateway", "entry", {**GATEWAY, "servers": [{**GATEWAY["servers"][0], "hosts": [offered]}]})
    assert get(headers={"Host": asked}).status == status


@pytest.mark.parametrize("name", ["entry", "default/entry", "entry.default.svc.cluster.local"])
def test_a_gateway_is_named_in_each_of_istios_ways(entered, name):
    assert entered(gateways=[name])().status == 200


def test_an_envoy_filter_means_the_port_that_the_gateway_names(mesh, ingress, entered, helpers):
    """The Service's port, which need not be the one that Envoy listens on."""
    spec = {"selector": {"istio": "ingressgateway"}, "ports": [{"name": "http", "port": 8088, "targetPort": 8080}]}
    mesh.apply("Service", "istio-ingressgateway", spec, "istio-system")
    try:
        get = entered()
        server = {**GATEWAY["servers"][0], "port": {"number": 8088, "name": "http", "protocol": "HTTP"}}
        mesh.apply("Gateway", "entry", {**GATEWAY, "servers": [server]})
        assert get().status == 200
        value = {"typed_per_filter_config": helpers.http_fault(**helpers.http_abort(507))}
        for port, vhost, status in ((8080, "", 200), (8088, "*:8080", 200), (8088, "*:8088", 507)):
            routes = {"portNumber": port, "vhost": {"name": vhost}}
            patch = {
                "applyTo": "VIRTUAL_HOST",
                "match": {"context": "GATEWAY", "routeConfiguration": routes},
                "patch": {"operation": "MERGE", "value": value},
            }
            mesh.apply("EnvoyFilter", "chaos", {"configPatches": [patch]}, "istio-system")
            assert get().status == status
    finally:
        mesh.delete("Service", "istio-ingressgateway", "istio-system")

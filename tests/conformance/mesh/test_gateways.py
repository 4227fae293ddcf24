"""Gateway."""

from __future__ import annotations

import pytest
from asking import get
from fault_words import abort, fixed_delay, http_abort, http_fault, marked
from refused import refused
from waiting import until

SERVER = {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
GATEWAY = {"selector": {"istio": "ingressgateway"}, "servers": [SERVER]}
MARKED = {"headers": {"tracestate": {"regex": "(.*,)?[ ]*chaosmesh=c1([,; ].*)?"}}}
FQDN = "reviews.default.svc.cluster.local"


@pytest.fixture(scope="package")
def ingress(standing_mesh):
    """The address of a gateway's pod in istio-system."""
    name = standing_mesh.pod("istio-ingressgateway", namespace="istio-system", gateway=True, istio="ingressgateway")
    standing_mesh.synced()
    return standing_mesh.addresses[name].inbound


@pytest.fixture
def enter(mesh, ingress):
    """Opens the gateway to reviews; returns what a client outside gets, once the port is open."""

    def opened(*http, hosts=("*",), gateways=("entry",), gateway=GATEWAY, name="entry", **spec):
        mesh.apply("Gateway", "entry", gateway)
        routes = [{"route": [{"destination": {"host": FQDN}}], **entry} for entry in http or ({},)]
        mesh.apply("VirtualService", name, {"hosts": list(hosts), "gateways": list(gateways), "http": routes, **spec})

        def call(path="/", host="shop.com", headers=None):
            return get(ingress, port=8080, path=path, headers={"Host": host, **(headers or {})})

        until(lambda: _open(call), "the gateway listens")
        return call

    return opened


def _open(call):
    try:
        return call()
    except ConnectionError:
        return None


def test_a_route(seen, enter):
    """What a VirtualService routes is served, the rest is not"""
    call = enter({"match": [{"uri": {"exact": "/reviews"}}]})
    found = call("/reviews").status, call("/elsewhere").status
    assert found == (200, 404)
    seen(f"/reviews {found[0]}, /elsewhere {found[1]}")


def test_no_route(mesh, seen, enter):
    """A Gateway without a VirtualService"""
    call = enter()
    mesh.delete("VirtualService", "entry")
    found = call().status
    assert found == 404
    seen(str(found))


@pytest.mark.parametrize(
    ("offered", "hosts", "asked", "status"),
    [
        ("*", "shop.com", "shop.com", 200),
        ("*", "shop.com", "other.com", 404),
        ("*", "shop.com", "shop.com:1234", 200),
        ("*.com", "*", "shop.com", 200),
        ("*.com", "*", "shop.org", 404),
        ("shop.com", "*.com", "shop.com", 200),
        ("shop.com", "*.com", "other.com", 404),
        ("shop.com", "other.com", "other.com", 404),
        ("default/*", "shop.com", "shop.com", 200),
        ("far/*", "shop.com", "shop.com", 404),
        ("./*", "shop.com", "shop.com", 200),
        ("*/shop.com", "shop.com", "shop.com", 200),
    ],
)
def test_hosts(seen, enter, offered, hosts, asked, status):
    """servers.hosts {offered} and a VirtualService for {hosts}, asked for {asked}"""
    call = enter(hosts=[hosts], gateway={**GATEWAY, "servers": [{**SERVER, "hosts": [offered]}]})
    found = call(host=asked).status
    assert found == status
    seen(str(found))


@pytest.mark.parametrize("name", ["entry", "default/entry", "entry.default.svc.cluster.local", "far/entry"])
def test_a_name(seen, enter, name):
    """A VirtualService says gateways: [{name}]"""
    found = enter(gateways=[name])().status
    assert found == (404 if name.startswith("far") else 200)
    seen("bound" if found == 200 else "not bound")


@pytest.mark.parametrize("gateways", [["entry"], ["entry", "mesh"], ["mesh"]], ids=str)
def test_gateway_and_mesh(mesh, seen, enter, gateways):
    """A fault with gateways {gateways}"""
    call = enter({"fault": abort(507)}, hosts=["reviews"], gateways=gateways)
    found = call(host=FQDN).status, mesh.call("sleep-v1", "reviews:9080").status
    assert found == (507 if "entry" in gateways else 404, 507 if "mesh" in gateways else 200)
    seen(f"through the gateway {found[0]}, in the mesh {found[1]}")


def test_a_match_on_the_gateway(mesh, seen, enter):
    """match.gateways in a VirtualService for both"""
    fault = {"match": [{"gateways": ["entry"]}], "fault": abort(507)}
    call = enter(fault, {}, hosts=["reviews"], gateways=["entry", "mesh"])
    found = call(host=FQDN).status, mesh.call("sleep-v1", "reviews:9080").status
    assert found == (507, 200)
    seen(f"through the gateway {found[0]}, in the mesh {found[1]}")


def test_source_labels(seen, enter):
    """match.sourceLabels mean the gateway's own labels"""
    found = [
        enter({"match": [{"sourceLabels": {"istio": name}}], "fault": abort(507)}, {})().status
        for name in ("ingressgateway", "egressgateway")
    ]
    assert found == [507, 200]
    seen(f"the gateway's {found[0]}, another's {found[1]}")


def test_catch_alls_come_last(mesh, seen, enter):
    """Two VirtualServices for one host: the older one's route for everything hides none of the younger's"""
    call = enter({"fault": abort(501)})
    special = {
        "match": [{"uri": {"prefix": "/special"}}],
        "fault": abort(502),
        "route": [{"destination": {"host": FQDN}}],
    }
    mesh.apply("VirtualService", "younger", {"hosts": ["*"], "gateways": ["entry"], "http": [special]})
    found = [call(path).status for path in ("/special", "/")]
    assert found == [502, 501]
    seen(f"/special {found[0]}, / {found[1]}")


def test_a_marked_copy(mesh, seen, enter):
    """A copy of a route, for marked requests of the gateway alone, in a VirtualService for both"""
    copy = {"name": "chaos-1", "match": [{**MARKED, "gateways": ["entry"]}], "fault": abort(507)}
    call = enter(copy, {}, hosts=["reviews"], gateways=["entry", "mesh"])
    entering = [call(host=FQDN, headers=headers).status for headers in (marked("c1"), marked("c2"), {})]
    inside = mesh.call("sleep-v1", "reviews:9080", headers=marked("c1")).status
    assert (entering, inside) == ([507, 200, 200], 200)
    seen(f"through the gateway marked {entering[0]}, others {entering[1]}, {entering[2]}; marked in the mesh {inside}")


def test_a_copy_with_conditions_overtakes(mesh, seen, enter):
    """A copy with conditions of the older VirtualService's route for everything, beside a younger one's"""
    call = enter({"match": [{**MARKED, "gateways": ["entry"]}], "fault": abort(501)}, {})
    special = {
        "match": [{"uri": {"prefix": "/special"}}],
        "fault": abort(502),
        "route": [{"destination": {"host": FQDN}}],
    }
    mesh.apply("VirtualService", "younger", {"hosts": ["*"], "gateways": ["entry"], "http": [special]})
    found = [call("/special", headers=headers).status for headers in (marked("c1"), {})]
    assert found == [501, 502]
    seen(f"/special marked {found[0]}, others {found[1]}")


def test_the_only_port(seen, enter):
    """A destination without a port is called at its service's only one"""
    found = enter()().status
    assert found == 200
    seen(str(found))


def test_a_delay(mesh, seen, enter):
    """A delay at the gateway"""
    call = enter({"fault": fixed_delay("0.3s")})
    headers = marked("c1")
    reply = call(headers=headers)
    assert (reply.status, reply.took >= 0.28) == (200, True)
    trace = headers["traceparent"].split("-")[1]

    def at_the_gateway():
        spans = [one for one in mesh.otlp.spans if one["trace"] == trace and "ingressgateway" in one["service"]]
        return len(spans) == 2 and sorted((one["kind"], one["tags"]["response_flags"]) for one in spans)

    found = until(at_the_gateway, lambda: f"the gateway's two spans: {mesh.otlp.spans[-4:]}")
    assert mesh.hits("reviews") >= 1
    seen(f"{reply.status}, {found}")


def test_the_spans_of_an_abort(mesh, seen, enter):
    """An abort at the gateway in the trace"""
    call = enter({"fault": abort(507)})
    headers = marked("c1")
    trace = headers["traceparent"].split("-")[1]
    assert call(headers=headers).status == 507
    span = mesh.span(trace, kind=2)
    later = marked("c1")
    call(headers=later)
    mesh.span(later["traceparent"].split("-")[1], kind=2)
    found = [(one["service"], one["kind"]) for one in mesh.otlp.spans if one["trace"] == trace]
    assert found == [("istio-ingressgateway.istio-system", 2)]
    assert span["tags"]["response_flags"] == "FI"
    seen(f"one SERVER span of {span['service']}, {span['tags']['response_flags']}, no CLIENT span")


def test_the_spans_of_a_request(mesh, seen, enter):
    """A request through the gateway in the trace"""
    call = enter()
    headers = marked("c1")
    trace = headers["traceparent"].split("-")[1]
    assert call(headers=headers).status == 200
    spans = until(
        lambda: found if len(found := [one for one in mesh.otlp.spans if one["trace"] == trace]) == 3 else None,
        "three spans",
    )
    kinds = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT"}
    found = sorted(f"{one['service']} {kinds[one['kind']]}" for one in spans)
    assert found == [
        "istio-ingressgateway.istio-system CLIENT",
        "istio-ingressgateway.istio-system SERVER",
        "reviews.default SERVER",
    ]
    seen(", ".join(found))


def test_the_answers_headers(seen, enter):
    """The headers that a gateway's answer has"""
    reply = enter()()
    found = sorted(set(reply.headers) - {"date", "content-length", "content-type"})
    assert reply.headers["server"] == "istio-envoy"
    seen(f"server: {reply.headers['server']}; {', '.join(found)}")


PATCHES = [
    ("context GATEWAY", {"context": "GATEWAY"}, 507),
    ("context SIDECAR_OUTBOUND", {"context": "SIDECAR_OUTBOUND"}, 200),
    ("portNumber 8080", {"context": "GATEWAY", "routeConfiguration": {"portNumber": 8080}}, 507),
    ("portNumber 80", {"context": "GATEWAY", "routeConfiguration": {"portNumber": 80}}, 200),
    ("name http.8080", {"context": "GATEWAY", "routeConfiguration": {"name": "http.8080"}}, 507),
    ("vhost.name *:8080", {"context": "GATEWAY", "routeConfiguration": {"vhost": {"name": "*:8080"}}}, 507),
]


@pytest.mark.parametrize(("case", "match", "status"), PATCHES, ids=[one[0] for one in PATCHES])
def test_an_envoy_filter(mesh, seen, enter, case, match, status):
    """An EnvoyFilter for the gateway: match with {case}"""
    call = enter()
    value = {"typed_per_filter_config": http_fault(**http_abort(507))}
    patch = {"applyTo": "VIRTUAL_HOST", "match": match, "patch": {"operation": "MERGE", "value": value}}
    spec = {"workloadSelector": {"labels": {"istio": "ingressgateway"}}, "configPatches": [patch]}
    mesh.apply("EnvoyFilter", "chaos", spec, "istio-system")
    found = call().status
    assert found == status
    seen("reached" if found == 507 else "not reached")


def gateway(*hosts, **port):
    return {"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP", **port}, "hosts": list(hosts)}]}


REFUSED = [
    ("no servers", {}, "gateway must have at least one server"),
    ("a short name in hosts", gateway("reviews"), "short names (non FQDN) are not allowed"),
    ("a namespace in hosts that is none", gateway("a_b/a.com"), 'invalid namespace value "a_b" in gateway'),
    ("an unknown protocol", gateway("*", protocol="HTTP9"), 'invalid protocol "HTTP9", supported protocols are HTTP'),
    (
        "two servers with one port name",
        {"servers": [SERVER] * 2},
        "port names in servers must be unique: duplicate name",
    ),
]


@pytest.mark.parametrize(("case", "spec", "words"), REFUSED, ids=[one[0] for one in REFUSED])
def test_it_is_refused(mesh, seen, case, spec, words):
    """{case}"""
    text = refused(mesh, "Gateway", "refused", spec)
    assert words in text
    seen(f"refused: {text}")

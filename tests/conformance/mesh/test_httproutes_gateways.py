"""HTTPRoutes of the Gateway API on Gateways that name an existing gateway's Service."""

from __future__ import annotations

import pytest
from asking import get
from fault_words import http_abort, http_fault, marked
from gateway_routes import TAG, attach, backend, rule, tagged, to_service
from waiting import until

KIND = "Gateway.gateway.networking.k8s.io"
HOME = "istio-system"
SERVICE = "istio-ingressgateway"
LISTENER = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
SHOP = {**LISTENER, "name": "shop", "hostname": "*.shop.com"}
TO_GATEWAY = {"name": "entry", "namespace": HOME}


@pytest.fixture(scope="module")
def entrance(standing_mesh, gateway):
    """The address of a gateway's pod behind a Service: its port 80 is the pod's 8080, its port 81 the pod's 8081."""
    ports = [{"name": f"http-{port}", "port": port, "targetPort": 8000 + port} for port in (80, 81)]
    standing_mesh.apply("Service", SERVICE, {"selector": {"istio": "ingressgateway"}, "ports": ports}, HOME)
    yield standing_mesh.addresses[gateway].inbound
    standing_mesh.delete("Service", SERVICE, HOME)


@pytest.fixture
def enter(mesh, entrance):
    """Opens the gateway with listeners; returns what a client outside gets."""

    def opened(*listeners, namespace=HOME, **spec):
        address = {"type": "Hostname", "value": f"{SERVICE}.{HOME}.svc.cluster.local"}
        fields = {"gatewayClassName": "istio", "addresses": [address], "listeners": list(listeners or [LISTENER])}
        mesh.apply(KIND, "entry", {**fields, **spec}, namespace)
        return call

    def call(path="/", host="a.com", headers=None, port=8080):
        return get(entrance, port=port, path=path, headers={"Host": host, **(headers or {})})

    return opened


def until_open(call, **kwargs):
    until(lambda: answers(call, **kwargs), "the gateway listens")
    return call


def answers(call, **kwargs):
    try:
        return call(**kwargs)
    except ConnectionError:
        return None


def test_a_route(mesh, seen, enter):
    """What an HTTPRoute routes is served, the rest is not"""
    call = enter()
    attach(mesh, rule({"path": {"type": "PathPrefix", "value": "/a"}}), parent=TO_GATEWAY, hostnames=["a.com"])
    until_open(call)
    found = [call("/a").status, call("/b").status, call("/a", host="b.com").status]
    assert found == [200, 404, 404]
    seen(f"{found[0]}; another path {found[1]}, another host {found[2]}")


HOSTS = [
    (None, None, "a.com", 200),
    (None, ["a.com"], "a.com:1234", 200),
    ("a.com", None, "a.com", 200),
    ("a.com", None, "b.com", 404),
    ("*.shop.com", ["x.shop.com"], "x.shop.com", 200),
    ("*.shop.com", ["x.shop.com"], "y.shop.com", 404),
    ("x.shop.com", ["*.shop.com"], "x.shop.com", 200),
    ("x.shop.com", ["*.shop.com"], "y.shop.com", 404),
    ("a.com", ["b.com"], "b.com", 404),
    ("*.shop.com", ["shop.com"], "shop.com", 404),
    (None, ["localhost"], "localhost", 200),
]


@pytest.mark.parametrize(("offered", "hosts", "asked", "status"), HOSTS)
def test_hostnames(mesh, seen, enter, offered, hosts, asked, status):
    """A listener's hostname {offered} and an HTTPRoute's {hosts}, asked for {asked}"""
    call = enter({**LISTENER, **({"hostname": offered} if offered else {})})
    attach(mesh, rule(), parent=TO_GATEWAY, **({"hostnames": hosts} if hosts else {}))
    until_open(call)
    found = call(host=asked).status
    assert found == status
    seen(str(found))


@pytest.mark.parametrize(
    ("allowed", "namespace", "status"),
    [("Same", "default", 404), ("Same", HOME, 200), ("All", "default", 200), (None, "default", 404)],
)
def test_allowed_routes(mesh, seen, enter, allowed, namespace, status):
    """allowedRoutes {allowed}: an HTTPRoute in {namespace}"""
    listener = {**LISTENER, "allowedRoutes": {"namespaces": {"from": allowed}}} if allowed else {**LISTENER}
    if allowed is None:
        del listener["allowedRoutes"]
    call = enter(listener)
    answer = {"type": "RequestRedirect", "requestRedirect": {"hostname": "b.com"}}
    attach(mesh, {"filters": [answer]}, parent=TO_GATEWAY, namespace=namespace)
    until_open(call)
    found = call().status
    assert found == (302 if status == 200 else status)
    seen("taken" if found == 302 else f"not taken: {found}")


@pytest.mark.parametrize(
    ("case", "ref", "found"),
    [
        ("sectionName", {"sectionName": "shop"}, [200, 404, 404]),
        ("port", {"port": 81}, [404, 404, 200]),
        ("neither", {}, [200, 200, 200]),
        ("a sectionName that is not there", {"sectionName": "none"}, [404, 404, 404]),
    ],
)
def test_sections(mesh, seen, enter, case, ref, found):
    """parentRefs of a Gateway of three listeners, with {case}"""
    call = enter(LISTENER, SHOP, {**LISTENER, "name": "other", "port": 81})
    attach(mesh, rule(), parent={**TO_GATEWAY, **ref})
    until_open(call)
    until_open(call, port=8081)
    statuses = [call(host="x.shop.com").status, call().status, call(port=8081).status]
    assert statuses == found
    seen(", ".join(f"{one} {status}" for one, status in zip(("shop", "any", "port 81"), statuses, strict=True)))


def test_the_more_specific_listener(mesh, seen, enter):
    """A host that two listeners of a port offer: routes on the broader one do not serve it"""
    call = enter(LISTENER, SHOP)
    attach(mesh, rule(), parent={**TO_GATEWAY, "sectionName": "http"}, hostnames=["x.shop.com", "a.com"])
    until_open(call)
    found = [call(host="x.shop.com").status, call().status]
    assert found == [404, 200]
    seen(f"{found[0]}, another host {found[1]}")


def test_a_backend_elsewhere(mesh, guest, seen, enter):
    """A backend in another namespace, without a ReferenceGrant"""
    mesh.service("guest", namespace="far")
    call = enter()
    attach(mesh, rule(backendRefs=[backend("guest", namespace="far")]), parent=TO_GATEWAY)
    found = until_open(call)().status
    assert found == 500
    seen(str(found))


def test_several_routes(mesh, seen, enter):
    """Rules of several HTTPRoutes for one host: the more specific one, whichever route it is of"""
    call = enter()
    attach(mesh, rule(tag="older"), parent=TO_GATEWAY, name="a", hostnames=["a.com"])
    longer = rule({"path": {"type": "PathPrefix", "value": "/x"}}, tag="younger")
    attach(mesh, longer, parent=TO_GATEWAY, name="b", hostnames=["a.com"])
    until_open(call)
    found = [call(path).headers[TAG] for path in ("/x", "/")]
    assert found == ["younger", "older"]
    seen(f"/x by the {found[0]} route, / by the {found[1]} one")


def test_both_parents(mesh, seen, enter):
    """An HTTPRoute on a Service and on a Gateway"""
    call = enter()
    parents = [to_service(), TO_GATEWAY]
    mesh.apply("HTTPRoute", "route", {"parentRefs": parents, "rules": [rule(tag="ruled")]})
    until_open(call)
    found = [call().headers.get(TAG), mesh.call("sleep-v1", "reviews:9080").headers.get(TAG)]
    assert found == ["ruled", "ruled"]
    seen("in force in the mesh and at the gateway")


@pytest.mark.parametrize(
    ("case", "where", "listener"),
    [
        ("in another namespace than the Service", "default", LISTENER),
        ("with a port that the Service has not", HOME, {**LISTENER, "port": 8080}),
    ],
)
def test_it_listens_nowhere(mesh, seen, enter, case, where, listener):
    """A Gateway {case}"""
    call = enter(listener, namespace=where)
    attach(mesh, rule(), parent={"name": "entry", "namespace": where})
    assert answers(call) is None
    seen("nobody listens")


def test_another_class(mesh, seen, enter):
    """A Gateway of a class that is not Istio's"""
    call = enter(gatewayClassName="other")
    attach(mesh, rule(), parent=TO_GATEWAY)
    assert answers(call) is None
    seen("nobody listens")


def test_beside_an_istio_gateway(mesh, seen, enter):
    """A Gateway of Istio on the same port"""
    call = enter()
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    mesh.apply("Gateway", "old", {"selector": {"istio": "ingressgateway"}, "servers": [server]}, HOME)
    host = "details.default.svc.cluster.local"
    routes = [{"route": [{"destination": {"host": host}}]}]
    mesh.apply("VirtualService", "old", {"hosts": ["*"], "gateways": ["old"], "http": routes}, HOME)
    exact = rule({"path": {"type": "PathPrefix", "value": "/x"}}, tag="ruled")
    attach(mesh, exact, parent=TO_GATEWAY, hostnames=["a.com"], name="a")
    attach(mesh, exact, parent=TO_GATEWAY, name="b")
    until_open(call)
    found = [
        answer.headers.get(TAG, answer.status)
        for answer in (call("/x"), call("/y"), call("/x", host="b.com"), call("/y", host="b.com"))
    ]
    assert found == ["ruled", 404, "ruled", 200]
    seen("a host of the HTTPRoute's is its own; one that both have is served by the more specific rule")


def test_a_redirect(mesh, seen, enter):
    """RequestRedirect at port 80 of a Gateway"""
    call = enter()
    turned = {"type": "RequestRedirect", "requestRedirect": {"hostname": "b.com"}}
    attach(mesh, {"filters": [turned]}, parent=TO_GATEWAY)
    reply = until_open(call)("/a")
    found = f"{reply.status} {reply.headers['location']}"
    assert found == "302 http://b.com/a"
    seen(found)


def test_a_change(mesh, seen, enter):
    """A Gateway whose listener changes"""
    attach(mesh, rule(), parent=TO_GATEWAY)
    call = until_open(enter())
    found = [call().status]
    until_open(enter({**LISTENER, "hostname": "b.com"}))
    found += [call().status, call(host="b.com").status]
    assert found == [200, 404, 200]
    seen("routes follow it")


def test_an_inserted_route(mesh, seen, enter):
    """An EnvoyFilter's route in front of an HTTPRoute's at the gateway"""
    call = enter()
    attach(mesh, rule(filters=[tagged("owner's")]), parent=TO_GATEWAY, hostnames=["a.com"])
    value = {
        "name": "chaos",
        "match": {"prefix": "/", "headers": [{"name": "x-chaos", "present_match": True}]},
        "route": {"cluster": "outbound|9080||reviews.default.svc.cluster.local"},
        "typed_per_filter_config": http_fault(**http_abort(507)),
    }
    match = {"context": "GATEWAY", "routeConfiguration": {"vhost": {"name": "a.com:80"}}}
    patch = {"applyTo": "HTTP_ROUTE", "match": match, "patch": {"operation": "INSERT_FIRST", "value": value}}
    mesh.apply("EnvoyFilter", "chaos", {"configPatches": [patch]}, HOME)
    until_open(call)
    found = [call(headers={"x-chaos": "1"}).status, call().status]
    assert found == [507, 200]
    seen(f"marked {found[0]}, others {found[1]}")


def test_spans(mesh, seen, enter):
    """The gateway's spans of an HTTPRoute with one backend"""
    call = enter()
    attach(mesh, rule(), parent=TO_GATEWAY)
    until_open(call)
    headers = marked("c1")
    assert call(headers=headers).status == 200
    trace = headers["traceparent"].split("-")[1]

    def at_the_gateway():
        mine = [one for one in mesh.otlp.spans if one["trace"] == trace and SERVICE in one["service"]]
        return len(mine) == 2 and sorted((one["kind"], one["name"]) for one in mine)

    found = until(at_the_gateway, "the gateway's two spans")
    seen(", ".join(f"{'SERVER' if kind == 2 else 'CLIENT'} {name}" for kind, name in found))

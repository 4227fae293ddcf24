"""Mutual TLS to pods of all kinds and by DestinationRules."""

from __future__ import annotations

import pytest
from asking import get
from echo_mesh import PORT
from mtls import DISABLE, ROOT, STRICT, called, caller, peer, settled, takes
from traffic import gauge
from waiting import until

HOST = f"details:{PORT}"
PLAIN, MUTUAL = {"tls": {"mode": "DISABLE"}}, {"tls": {"mode": "ISTIO_MUTUAL"}}


@pytest.fixture
def mesh(mesh):
    """The mesh, PERMISSIVE afterwards too."""
    yield mesh
    mesh.clean()
    settled(mesh, {"details": ["details-v1"]})


def rule(mesh, policy, *, name="rule", namespace="default", host="details", **spec):
    mesh.apply("DestinationRule", name, {"host": host, "trafficPolicy": policy, **spec}, namespace)


def of_port(policy, number=PORT):
    return {"port": {"number": number}, **policy}


POLICIES = {
    "trafficPolicy DISABLE": (PLAIN, False),
    "trafficPolicy ISTIO_MUTUAL": (MUTUAL, True),
    "trafficPolicy without a mode": ({"tls": {}}, False),
    "trafficPolicy that does not speak of it": ({"connectionPool": {"tcp": {"maxConnections": 10}}}, True),
    "trafficPolicy ISTIO_MUTUAL, portLevelSettings DISABLE": ({**MUTUAL, "portLevelSettings": [of_port(PLAIN)]}, False),
    "trafficPolicy DISABLE, portLevelSettings ISTIO_MUTUAL": ({**PLAIN, "portLevelSettings": [of_port(MUTUAL)]}, True),
    "trafficPolicy DISABLE, portLevelSettings of another port": (
        {**PLAIN, "portLevelSettings": [of_port(MUTUAL, 9090)]},
        False,
    ),
    "trafficPolicy DISABLE, portLevelSettings that do not speak of it": (
        {**PLAIN, "portLevelSettings": [of_port({"connectionPool": {"tcp": {"maxConnections": 10}}})]},
        False,
    ),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_destination_rule_says_how_to_call(mesh, seen, policy):
    """DestinationRule tls: {policy}"""
    spec, mutual = POLICIES[policy]
    if mutual:
        rule(mesh, PLAIN)
        called(mesh, "200 in plain text", HOST)
    rule(mesh, spec)
    seen(called(mesh, "200 as default/sleep" if mutual else "200 in plain text", HOST))


SUBSETS = {
    "DISABLE below ISTIO_MUTUAL": (MUTUAL, PLAIN, False),
    "ISTIO_MUTUAL below DISABLE": (PLAIN, MUTUAL, True),
    "none of its own below DISABLE": (PLAIN, {"connectionPool": {"tcp": {"maxConnections": 10}}}, False),
    "a port's DISABLE below ISTIO_MUTUAL": (MUTUAL, {"portLevelSettings": [of_port(PLAIN)]}, False),
}


@pytest.mark.parametrize("policy", SUBSETS)
def test_a_subset_may_differ_from_its_service(mesh, seen, policy):
    """DestinationRule tls of a subset: {policy}"""
    whole, own, mutual = SUBSETS[policy]
    rule(mesh, whole, subsets=[{"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": own}])
    mesh.route("details", {"route": [{"destination": {"host": "details", "subset": "v1"}}], "rewrite": {"uri": "/v1"}})
    until(lambda: mesh.call("sleep-v1", HOST).json["path"] == "/v1", "the route to the subset is live")
    seen(called(mesh, "200 as default/sleep" if mutual else "200 in plain text", HOST))


def test_a_rule_of_the_callers_namespace(mesh, seen, guest):
    """DestinationRule tls DISABLE in a caller's namespace is for its callers alone"""
    host = f"details.default:{PORT}"
    rule(mesh, PLAIN, namespace="far", host="details.default.svc.cluster.local")
    there = called(mesh, "200 in plain text", host, guest)
    here = caller(mesh, "sleep-v1", host)
    assert here == "200 as default/sleep"
    seen(f"there {there}, elsewhere {here}")


def test_a_rule_for_the_whole_mesh(mesh, seen):
    """DestinationRule tls DISABLE for *.local in the root namespace is for every service"""
    rule(mesh, PLAIN, namespace=ROOT, host="*.local")
    found = [called(mesh, "200 in plain text", f"{service}:{PORT}") for service in ("details", "reviews")]
    seen(", ".join(found))


def failure(mesh, wanted):
    """Wait for WANTED, a status and flags; the whole of it with the body."""
    called(mesh, wanted, HOST)
    hits = mesh.hits("details")
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert mesh.hits("details") == hits
    return f"{reply.status} {tags['response_flags']} '{reply.body.decode()}', not reached"


CLOSED = "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
REFUSED = (
    "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: "
    "remote connection failure"
)


def test_plain_text_against_strict(mesh, seen):
    """DestinationRule tls DISABLE against STRICT"""
    peer(mesh, "STRICT")
    takes(mesh, STRICT)
    rule(mesh, PLAIN)
    found = failure(mesh, "503 UC")
    assert found == f"503 UC '{CLOSED}', not reached"
    seen(found)


def test_tls_against_disable(mesh, seen):
    """DestinationRule tls ISTIO_MUTUAL against DISABLE"""
    peer(mesh, "DISABLE")
    takes(mesh, DISABLE)
    rule(mesh, MUTUAL)
    found = failure(mesh, "503 URX,UF")
    assert found == f"503 URX,UF '{REFUSED}', not reached"
    seen(found)


def test_a_rule_taken_back(mesh, seen):
    """DestinationRule tls DISABLE deleted: mutual TLS again"""
    rule(mesh, PLAIN)
    called(mesh, "200 in plain text", HOST)
    mesh.delete("DestinationRule", "rule")
    seen(called(mesh, "200 as default/sleep", HOST))


@pytest.fixture(scope="module")
def pods(standing_mesh):
    """Services of one pod or two: bare ones without a sidecar, denied by Istio's label, a forger with another's certificate."""
    names = [
        standing_mesh.pod("bare", bare=True),
        standing_mesh.pod("mixed", "v1", bare=True),
        standing_mesh.pod("mixed", "v2"),
        standing_mesh.pod("denied", **{"security.istio.io/tlsMode": "disabled"}),
        standing_mesh.pod("forger", impostor="intruder"),
    ]
    services = ("bare", "mixed", "denied", "forger")
    for service in services:
        standing_mesh.service(service)
    standing_mesh.synced()
    yield
    for name in names:
        standing_mesh.remove(name)
    for service in services:
        standing_mesh.delete("Service", service)


def test_a_pod_without_a_sidecar(mesh, seen, pods):
    """Pod without a sidecar is called in plain text, under STRICT too"""
    host = f"bare:{PORT}"
    first = called(mesh, "200 in plain text", host)
    peer(mesh, "STRICT")
    takes(mesh, STRICT)
    assert caller(mesh, "sleep-v1", host) == first
    seen(f"{first}, and under STRICT {first}")


def test_tls_to_a_pod_without_a_sidecar(mesh, seen, pods):
    """Pod without a sidecar behind a DestinationRule with tls ISTIO_MUTUAL"""
    rule(mesh, MUTUAL, host="bare")
    seen(called(mesh, "503 URX,UF", f"bare:{PORT}"))


def test_a_service_of_pods_with_and_without_sidecars(mesh, seen, pods):
    """Service of pods with and without a sidecar: each is called in its own way"""
    found = {}

    def ask():
        reply = mesh.call("sleep-v1", f"mixed:{PORT}")
        assert reply.status == 200
        name = reply.json["name"]
        found[name] = "x-forwarded-client-cert" in mesh.apps[name].seen[-1]
        return len(found) == 2

    until(ask, "both pods answer")
    assert found == {"mixed-v1": False, "mixed-v2": True}
    seen("in plain text without, by mutual TLS with")


def test_istios_label_denies_a_pods_sidecar(mesh, seen, pods):
    """Pod with the label security.istio.io/tlsMode: disabled is called in plain text"""
    seen(called(mesh, "200 in plain text", f"denied:{PORT}"))


def test_a_pod_with_anothers_certificate(mesh, seen, pods):
    """Pod whose certificate is of another service account is not called"""
    host = f"forger:{PORT}"
    called(mesh, "503 URX,UF", host)
    reply, tags = mesh.traced("sleep-v1", host)
    assert mesh.hits("forger") == 0
    assert gauge(mesh, "sleep-v1", "ssl.fail_verify_san", "forger.default.svc.cluster.local") > 0
    assert reply.body.decode() == REFUSED
    seen(f"{reply.status} {tags['response_flags']} '{reply.body.decode()}', the check of its name fails")


def test_plain_text_to_a_pod_with_anothers_certificate(mesh, seen, pods):
    """Pod whose certificate is of another service account answers in plain text"""
    rule(mesh, PLAIN, host="forger")
    seen(called(mesh, "200 in plain text", f"forger:{PORT}"))


def test_a_gateway_calls_with_a_certificate_of_its_own(mesh, seen, gateway):
    """Gateway calls a STRICT pod with its own certificate, and passes on none that a client claims"""
    server = {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    mesh.apply("Gateway", "entry", {"selector": {"istio": "ingressgateway"}, "servers": [server]}, ROOT)
    route = [{"route": [{"destination": {"host": "details"}}]}]
    mesh.apply("VirtualService", "entry", {"hosts": ["*"], "gateways": [f"{ROOT}/entry"], "http": route})
    peer(mesh, "STRICT")
    takes(mesh, STRICT)
    forged = {"x-forwarded-client-cert": "URI=spiffe://forged"}
    address = mesh.addresses[gateway].inbound

    def ask():
        try:
            return get(address, port=8080, path="/", headers=forged).status == 200
        except ConnectionRefusedError:
            return False

    until(ask, "the gateway answers")
    found = mesh.apps["details-v1"].seen[-1]["x-forwarded-client-cert"]
    assert "forged" not in found
    assert found.endswith(f"URI=spiffe://cluster.local/ns/{ROOT}/sa/istio-ingressgateway")
    seen(found.rpartition(";")[2])

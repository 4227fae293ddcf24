"""Mutual TLS of pods that come and go: without a sidecar, with another's certificate, replaced, and a gateway's."""

import pytest
from certificates_seen import HOST, certificate, counter

ROOT = "istio-system"


@pytest.fixture
def pair(fresh_mesh):
    """A mesh of sleep and a service reviews without pods yet."""
    mesh = fresh_mesh()
    mesh.service("reviews")
    mesh.pod("sleep")
    return mesh


def test_a_pod_without_a_sidecar_is_called_in_plain_text(pair, helpers):
    pair.pod("reviews", bare=True)
    pair.synced()
    assert certificate(pair) == ""
    pair.apply("PeerAuthentication", "peer", {"mtls": {"mode": "STRICT"}})
    assert certificate(pair) == "", "there is nobody to be strict"


def test_one_service_may_have_pods_with_and_without_sidecars(pair, helpers):
    pair.pod("reviews", "v1", bare=True)
    pair.pod("reviews", "v2")
    pair.synced()
    found = {}
    helpers.until(lambda: found.update(_seen(pair)) or len(found) == 2, "both versions answer")
    assert found == {"reviews-v1": False, "reviews-v2": True}


def _seen(mesh):
    reply = mesh.call("sleep-v1", HOST)
    assert reply.status == 200
    return {reply.json["name"]: "x-forwarded-client-cert" in mesh.apps[reply.json["name"]].seen[-1]}


def test_istios_label_denies_a_pods_sidecar(pair):
    pair.pod("reviews", **{"security.istio.io/tlsMode": "disabled"})
    pair.synced()
    assert certificate(pair) == ""


def test_a_pod_with_anothers_certificate_is_not_called(pair, helpers):
    """Who answers must run as a service account of the service's pods."""
    pair.pod("reviews", impostor="intruder")
    pair.synced()
    assert pair.flags("sleep-v1", HOST) == (503, "URX,UF")
    assert pair.hits("reviews") == 0
    assert counter(pair, "cluster.outbound|9080||reviews.default.svc.cluster.local;.ssl.fail_verify_san") > 0


def test_callers_keep_the_cluster_of_a_pod_that_is_replaced(pair, helpers):
    """As in istiod, a service without pods keeps the identities that it had."""
    pair.pod("reviews")
    pair.synced()
    assert certificate(pair)
    before = counter(pair, "cluster_manager.cluster_modified")
    pair.remove("reviews-v1")
    assert pair.call("sleep-v1", HOST).status == 503
    pair.pod("reviews", "v2")
    pair.synced()
    assert certificate(pair)
    assert counter(pair, "cluster_manager.cluster_modified") == before


def test_a_gateway_calls_with_a_certificate_of_its_own(pair, helpers):
    pair.pod("reviews")
    name = pair.pod("istio-ingressgateway", namespace=ROOT, gateway=True, istio="ingressgateway")
    server = {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    pair.apply("Gateway", "entry", {"selector": {"istio": "ingressgateway"}, "servers": [server]})
    route = [{"route": [{"destination": {"host": "reviews"}}]}]
    pair.apply("VirtualService", "entry", {"hosts": ["*"], "gateways": ["entry"], "http": route})
    pair.apply("PeerAuthentication", "peer", {"mtls": {"mode": "STRICT"}})
    address = pair.addresses[name].inbound
    forged = {"x-forwarded-client-cert": "URI=spiffe://forged"}
    assert helpers.get(address, port=8080, path="/", headers=forged).status == 200
    found = pair.apps["reviews-v1"].seen[-1]["x-forwarded-client-cert"]
    assert f"URI=spiffe://cluster.local/ns/{ROOT}/sa/istio-ingressgateway" in found
    assert "forged" not in found

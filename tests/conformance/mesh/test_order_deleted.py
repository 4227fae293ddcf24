"""What is left of what was deleted."""

from __future__ import annotations

import pytest
from asking import get
from echo_mesh import PORT
from fault_words import abort
from waiting import until

HOST = f"details:{PORT}"
GRPC = {"content-type": "application/grpc"}
UNAVAILABLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n"


def status(mesh, host=HOST, **kwargs):
    return mesh.call("sleep-v1", host, **kwargs).status


def says(mesh, wanted, host=HOST):
    """WANTED, once HOST's callers get that status."""
    until(lambda: status(mesh, host) == wanted, lambda: f"{host} answers {wanted}, not {status(mesh, host)}")
    return wanted


def who(mesh):
    return mesh.call("sleep-v1", HOST).json["name"]


def test_the_default_route(mesh, seen):
    """VirtualService deleted: the service's own pods answer again"""
    mesh.apply(
        "DestinationRule", "reviews", {"host": "reviews", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
    )
    mesh.route("details", {"route": [{"destination": {"host": "reviews", "subset": "v1"}}]})
    until(lambda: who(mesh) == "reviews-v1", "the route is live")
    mesh.delete("VirtualService", "details")
    until(lambda: who(mesh) == "details-v1", "the route is gone")
    seen("reviews-v1, then details-v1")


def test_the_default_timeout(mesh, seen):
    """VirtualService with a timeout deleted: there is none"""
    mesh.apps["details-v1"].delay = 0.4
    mesh.route("details", {"timeout": "0.1s"})
    says(mesh, 504)
    mesh.delete("VirtualService", "details")
    seen(f"504, then {says(mesh, 200)}")


def test_the_default_retries(mesh, seen, victim):
    """VirtualService with retries.attempts 0 deleted: the default ones are back"""
    host = f"victim:{PORT}"

    def calls():
        before = victim.requests
        mesh.call("sleep-v1", host, headers=GRPC, method="POST")
        return victim.requests - before

    mesh.route("victim", {"retries": {"attempts": 0}})
    victim.app_answers(lambda _: UNAVAILABLE)
    until(lambda: calls() == 1, "it is not tried again")
    mesh.delete("VirtualService", "victim")
    until(lambda: calls() == 3, "it is tried again")
    seen("called once, then three times")


def test_one_of_two_hosts(mesh, seen):
    """VirtualService that no longer names one of its hosts: that one has its default again, the other not"""
    for hosts in (["details", "reviews"], ["reviews"]):
        http = [{"route": [{"destination": {"host": "details"}}], "fault": abort(507)}]
        mesh.apply("VirtualService", "both", {"hosts": hosts, "http": http})
        says(mesh, 507, f"reviews:{PORT}")
        says(mesh, 507 if "details" in hosts else 200)
    seen("details 200, reviews 507")


def test_made_again_at_once(mesh, seen):
    """VirtualService that is deleted and made again with another route, at once: the last one is in force"""
    for round_ in range(5):
        mesh.route("details", {"fault": abort(501 + round_)})
        says(mesh, 501 + round_)
        mesh.do(mesh.kube.delete("VirtualService", "default", "details"))
        mesh.apply("VirtualService", "details", _aborting(550 + round_), wait=False)
        says(mesh, 550 + round_)
    mesh.synced()
    assert {status(mesh) for _ in range(10)} == {554}
    seen("five times")


def _aborting(code):
    return {"hosts": ["details"], "http": [{"route": [{"destination": {"host": "details"}}], "fault": abort(code)}]}


@pytest.fixture
def brief(mesh):
    """A service of details' pod, deleted afterwards if it is still there."""
    ports = [{"name": "http", "port": PORT, "targetPort": PORT}]

    def make():
        mesh.apply("Service", "brief", {"selector": {"app": "details"}, "ports": ports})

    make()
    says(mesh, 200, f"brief:{PORT}")
    yield make
    if mesh.get("Service", "brief"):
        mesh.delete("Service", "brief")


def test_a_service(mesh, seen, brief):
    """Service deleted, and made again"""
    host = f"brief:{PORT}"
    mesh.delete("Service", "brief")
    between = says(mesh, 502, host)
    brief()
    seen(f"{between}, then {says(mesh, 200, host)}")


def test_a_service_with_a_virtual_service(mesh, seen, brief):
    """Service deleted that a VirtualService is for, and made again"""
    host = f"brief:{PORT}"
    mesh.route("brief", {"fault": abort(507)})
    found = [says(mesh, 507, host)]
    mesh.delete("Service", "brief")
    found.append(says(mesh, 502, host))
    brief()
    found.append(says(mesh, 507, host))
    mesh.delete("VirtualService", "brief")
    found.append(says(mesh, 200, host))
    seen("{}; without the service {}; with it again {}; without the VirtualService {}".format(*found))


def test_a_service_that_a_route_leads_to(mesh, seen, brief):
    """Service deleted that another's VirtualService leads to, and made again"""
    mesh.route("details", {"route": [{"destination": {"host": "brief"}}], "rewrite": {"uri": "/brief"}})
    until(lambda: mesh.call("sleep-v1", HOST).json["path"] == "/brief", "the route is live")
    mesh.delete("Service", "brief")
    until(lambda: status(mesh) == 503, "the destination is gone")
    between = "{} {}".format(*mesh.flags("sleep-v1", HOST))
    brief()
    seen(f"{between}, then {says(mesh, 200)}")


def test_a_service_with_a_destination_rule(mesh, seen, brief):
    """Service deleted whose subset a VirtualService leads to, and made again: the subset is there at once"""
    host = f"brief:{PORT}"
    mesh.apply("DestinationRule", "brief", {"host": "brief", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]})
    mesh.route("brief", {"route": [{"destination": {"host": "brief", "subset": "v1"}}]})
    until(lambda: mesh.traced("sleep-v1", host)[1].get("upstream_cluster", "").startswith("outbound|9080|v1|"), "live")
    mesh.delete("Service", "brief")
    between = says(mesh, 502, host)
    brief()
    after = says(mesh, 200, host)
    cluster = mesh.traced("sleep-v1", host)[1]["upstream_cluster"]
    seen(f"{between}, then {after} by {cluster}")


def test_the_rule_of_a_subset(mesh, seen):
    """DestinationRule deleted while a VirtualService leads to its subset, and made again"""
    spec = {"host": "details", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
    mesh.apply("DestinationRule", "details", spec)
    mesh.route("details", {"route": [{"destination": {"host": "details", "subset": "v1"}}]})
    says(mesh, 200)
    mesh.delete("DestinationRule", "details")
    says(mesh, 503)
    between = "{} {}".format(*mesh.flags("sleep-v1", HOST))
    mesh.apply("DestinationRule", "details", spec)
    seen(f"{between}, then {says(mesh, 200)}")


def test_a_gateway(mesh, seen, gateway):
    """Gateway deleted: its port is closed; made again: its VirtualService is served"""
    server = {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    spec = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
    mesh.apply("Gateway", "door", spec)
    http = [{"route": [{"destination": {"host": "details"}}]}]
    mesh.apply("VirtualService", "door", {"hosts": ["*"], "gateways": ["door"], "http": http})

    def enter():
        try:
            return str(get(mesh.addresses[gateway].inbound, port=8080, path="/", headers={"Host": "x"}).status)
        except (ConnectionRefusedError, ConnectionResetError):
            return "closed"

    found = [_once(enter, "200")]
    mesh.delete("Gateway", "door")
    found.append(_once(enter, "closed"))
    mesh.apply("Gateway", "door", spec)
    found.append(_once(enter, "200"))
    seen(", ".join(found))


def _once(ask, wanted):
    until(lambda: ask() == wanted, lambda: f"{wanted}, not {ask()}")
    return wanted


def test_everything_at_once(mesh, seen, brief):
    """Service, DestinationRule and VirtualService deleted at once, and other hosts meanwhile"""
    host = f"brief:{PORT}"
    mesh.apply("DestinationRule", "brief", {"host": "brief", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]})
    mesh.route("brief", {"route": [{"destination": {"host": "brief", "subset": "v1"}}]})
    says(mesh, 200, host)
    for kind in ("Service", "DestinationRule", "VirtualService"):
        mesh.do(mesh.kube.delete(kind, "default", "brief"))
        assert status(mesh) == 200
    gone = says(mesh, 502, host)
    brief()
    seen(f"{gone}; made again, the service alone: {says(mesh, 200, host)}; other hosts 200 throughout")

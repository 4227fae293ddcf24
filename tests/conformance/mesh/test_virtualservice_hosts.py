"""VirtualService hosts: which one speaks for a call."""

from __future__ import annotations

import pytest
from fault_words import abort

FQDN = "reviews.default.svc.cluster.local"
HOST = "reviews:9080"
SLEEP = {"match": [{"sourceLabels": {"app": "sleep"}}]}


@pytest.fixture
def vs(mesh):
    """Writes a VirtualService whose every call ends with a status."""

    def write(name, status, *, hosts=("reviews",), namespace="default", http=None, **spec):
        entry = {"fault": abort(status), "route": [{"destination": {"host": FQDN}}], **(http or {})}
        mesh.apply("VirtualService", name, {"hosts": list(hosts), "http": [entry], **spec}, namespace)

    return write


def status(mesh, source="sleep-v1", host=HOST):
    return mesh.call(source, host).status


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("reviews", True),
        ("reviews:9080", True),
        ("reviews:1234", True),
        ("REVIEWS", True),
        ("reviews.default", True),
        ("reviews.default.svc", True),
        ("reviews.default.svc.cluster.local", True),
        ("reviews.default.svc.cluster.local.", True),
        ("reviews.default.svc.cluster.local:9080", True),
        ("reviews.elsewhere", False),
        ("reviews.default.svc.cluster", False),
        ("sub.reviews", False),
    ],
)
def test_a_name(mesh, seen, host, reached):
    """A caller of the service's own namespace says {host}"""
    found = status(mesh, host=host)
    assert found == (200 if reached else 502)
    seen(str(found))


@pytest.mark.parametrize(
    ("host", "reached"),
    [("reviews", False), ("reviews.default", True), ("reviews.default.svc", True), (FQDN, True)],
)
def test_a_name_from_elsewhere(mesh, seen, guest, host, reached):
    """A caller of another namespace says {host}"""
    found = status(mesh, guest, host)
    assert found == (200 if reached else 502)
    seen(str(found))


@pytest.mark.parametrize("host", ["reviews", FQDN, "reviews.default", "*.default.svc.cluster.local", "*.local", "*"])
def test_a_host(mesh, seen, vs, host):
    """hosts: [{host}] in the service's namespace"""
    if host == "*":
        vs("one", 507, hosts=[host], gateways=["entry"])
    else:
        vs("one", 507, hosts=[host])
    found = status(mesh)
    assert found == (200 if host in ("*", "reviews.default") else 507)
    seen("speaks for reviews" if found == 507 else "does not")


@pytest.mark.parametrize(("host", "speaks"), [("reviews", False), (FQDN, True)])
def test_a_host_from_elsewhere(mesh, seen, vs, host, speaks):
    """hosts: [{host}] in another namespace"""
    vs("far", 507, hosts=[host], namespace="far")
    found = status(mesh)
    assert found == (507 if speaks else 200)
    seen("speaks for reviews" if speaks else "does not")


def test_several_hosts(mesh, seen, vs):
    """hosts with two services speaks for both"""
    vs("two", 507, hosts=["reviews", "details"])
    found = [status(mesh, host=host) for host in (HOST, "details:9080", "sleep:9080")]
    assert found[:2] == [507, 507]
    assert found[2] != 507
    seen("reviews 507, details 507, a third is left alone")


def test_a_host_that_no_service_has(mesh, seen, vs):
    """hosts with one that no service has"""
    vs("two", 507, hosts=["reviews", "Bookstore.com"])
    beside = status(mesh, host="bookstore.com")
    vs("two", 507, hosts=["bookstore.com"])
    alone = status(mesh, host="bookstore.com")
    assert (beside, alone) == (507, 502)
    seen(f"{beside} beside one that a service has, {alone} alone")


def test_the_older_one(mesh, seen, vs):
    """Of two VirtualServices for one host the older speaks; when it goes, the other"""
    vs("a-first", 501)
    vs("b-second", 502)
    found = [status(mesh)]
    mesh.delete("VirtualService", "a-first")
    found.append(status(mesh))
    assert found == [501, 502]
    seen(str(found))


def test_the_younger_one_for_other_callers(mesh, seen, vs):
    """Where the older of two has no route for a caller, the younger speaks"""
    vs("a-first", 501, http=SLEEP)
    vs("b-second", 502)
    found = status(mesh, "sleep-v1"), status(mesh, "other-v1")
    assert found == (501, 502)
    seen(f"sleep {found[0]}, other {found[1]}")


def test_nobody_for_other_callers(mesh, seen, vs):
    """Where the only one has no route for a caller, it is served as without any"""
    vs("only", 501, http=SLEEP)
    found = status(mesh, "sleep-v1"), status(mesh, "other-v1")
    assert found == (501, 200)
    seen(f"sleep {found[0]}, other {found[1]}")


def test_named_before_wildcard(mesh, seen, vs):
    """A VirtualService that names the host comes before an older one with a wildcard"""
    vs("a-wild", 501, hosts=["*.default.svc.cluster.local"])
    before = status(mesh)
    vs("b-named", 502)
    found = before, status(mesh)
    assert found == (501, 502)
    seen(f"{found[0]}, then {found[1]}")


def test_no_wildcard_for_other_callers(mesh, seen, vs):
    """A wildcard does not step in for callers to whom the one that names the host has no route"""
    vs("wild", 502, hosts=["*.default.svc.cluster.local"])
    vs("named", 501, http=SLEEP)
    found = status(mesh, "sleep-v1"), status(mesh, "other-v1")
    assert found == (501, 200)
    seen(f"sleep {found[0]}, other {found[1]}")


def test_the_longer_wildcard(mesh, seen, vs):
    """Of two wildcards the longer one speaks, whichever is older"""
    vs("a-short", 501, hosts=["*.cluster.local"])
    vs("b-long", 502, hosts=["*.default.svc.cluster.local"])
    found = status(mesh)
    assert found == 502
    seen("the longer one")


@pytest.mark.parametrize(
    ("targets", "sleep", "stranger"),
    [
        (["*"], 507, 507),
        (["."], 507, 200),
        (["default"], 507, 200),
        (["far"], 200, 507),
        (["default", "far"], 507, 507),
    ],
    ids=str,
)
def test_export_to(mesh, seen, vs, guest, targets, sleep, stranger):
    """exportTo {targets} in the service's namespace"""
    vs("exported", 507, hosts=[FQDN], exportTo=targets)
    found = status(mesh, "sleep-v1", FQDN), status(mesh, guest, FQDN)
    assert found == (sleep, stranger)
    seen(f"a caller there {found[0]}, a caller in namespace far {found[1]}")


def test_nearness(mesh, seen, vs):
    """What is private comes before what is exported by name, and that before what is for all, whichever is older"""
    found = []
    vs("a-public", 501, hosts=[FQDN])
    found.append(status(mesh))
    vs("b-exported", 502, hosts=[FQDN], namespace="far", exportTo=["default", "nowhere"])
    found.append(status(mesh))
    vs("c-private", 503, hosts=[FQDN], exportTo=["."])
    found.append(status(mesh))
    assert found == [501, 502, 503]
    seen(str(found))


@pytest.mark.parametrize(
    ("gateways", "speaks"), [(["mesh"], True), (["entry"], False), (["entry", "mesh"], True)], ids=str
)
def test_gateways(mesh, seen, vs, gateways, speaks):
    """gateways {gateways} in the mesh"""
    vs("bound", 507, gateways=gateways)
    found = status(mesh)
    assert found == (507 if speaks else 200)
    seen("speaks" if speaks else "does not")


def test_the_destinations_port(mesh, seen):
    """A destination without a port is called at the port that was called, though its service has another"""
    mesh.service("web", port=9081)
    try:
        mesh.route("reviews", {"route": [{"destination": {"host": "web"}}]})
        found = mesh.flags("sleep-v1", HOST)
        assert found == (503, "NC")
        mesh.route("reviews", {"route": [{"destination": {"host": "web", "port": {"number": 9081}}}]})
        named = mesh.flags("sleep-v1", HOST)
        assert named == (503, "UH")
    finally:
        mesh.delete("VirtualService", "reviews")
        mesh.delete("Service", "web")
    seen(f"{found[0]} {found[1]}; with the port {named[0]} {named[1]}")


def test_what_follows_everything(mesh, seen):
    """Routes behind one that takes everything are not given to Envoy"""
    everything = {"match": [{"uri": {"regex": ".*"}}, {"uri": {"prefix": "/never"}}]}
    mesh.route("reviews", {**everything, "fault": abort(501)}, {"match": [{"uri": {"prefix": "/never"}}]})
    assert mesh.call("sleep-v1", HOST, "/never").status == 501
    assert "/never" not in mesh.stats("sleep-v1", "/config_dump?resource=dynamic_route_configs")
    seen("only the first one")

"""EnvoyFilter beside an owner's VirtualService, and beside others of its kind."""

from __future__ import annotations

import time

import pytest
from asking import get
from carrier import Both, inject, marks, object_of, patch_of
from fault_words import fixed_delay
from waiting import until

from chaosmesh_ext.faults import Abort, Delay

HOST = "reviews:9080"


def marked(mesh, source="sleep-v1", host=HOST):
    return mesh.flags(source, host, headers=marks())


def slow(mesh, delay):
    for version in ("v1", "v2"):
        mesh.apps[f"reviews-{version}"].delay = delay


def test_an_owners_timeout_stays_in_force(mesh, seen):
    """EnvoyFilter's fault beside an owner's timeout: unmarked requests are still timed out"""
    mesh.route("reviews", {"timeout": "0.2s"})
    inject(mesh, object_of(Abort(http_status=507)))
    slow(mesh, 0.6)
    got = mesh.flags("sleep-v1", HOST), marked(mesh)
    assert got == ((504, "UT"), (507, "FI"))
    seen("unmarked 504 UT, marked 507 FI")


def test_the_delay_itself_is_not_timed_out(mesh, seen):
    """EnvoyFilter's delay longer than the owner's timeout: the delay is served whole, the timeout starts after it"""
    mesh.route("reviews", {"timeout": "0.2s"})
    inject(mesh, object_of(Delay(0.4)))
    reply, tags = mesh.traced("sleep-v1", HOST, headers=marks())
    assert (reply.status, tags["response_flags"]) == (200, "DI")
    assert reply.took >= 0.38
    slow(mesh, 1)
    reply, tags = mesh.traced("sleep-v1", HOST, headers=marks())
    assert (reply.status, tags["response_flags"]) == (504, "DI,UT")
    assert reply.took >= 0.58
    seen("200 DI; with a slow callee 504 DI,UT")


def test_an_owners_retries_stay_in_force(mesh, seen):
    """EnvoyFilter's abort beside an owner's retries: unmarked failures are still retried, aborts are not"""
    mesh.route("reviews", {"retries": {"attempts": 2, "retryOn": "503"}})
    inject(mesh, object_of(Abort(http_status=503)))
    assert marked(mesh) == (503, "FI")
    assert mesh.hits("reviews") == 0
    for version in ("v1", "v2"):
        mesh.apps[f"reviews-{version}"].answer = 503
    assert mesh.flags("sleep-v1", HOST) == (503, "URX")
    assert mesh.hits("reviews") == 3
    seen("unmarked 503 URX after 3 attempts, marked 503 FI without any")


def test_every_route_of_the_owners_has_the_fault(mesh, seen):
    """EnvoyFilter's fault in a virtual host is in force on all of an owner's routes"""
    match = {"match": [{"uri": {"prefix": "/one"}}], "timeout": "5s"}
    mesh.route("reviews", match, {"retries": {"attempts": 1}})
    inject(mesh, object_of(Abort(http_status=507)))
    said = [mesh.call("sleep-v1", HOST, path, marks()).status for path in ("/one", "/two")]
    assert said == [507, 507]
    seen("both")


def test_an_owners_fault_hides_ours(mesh, seen):
    """An owner's fault on a route hides the one that an EnvoyFilter puts into the virtual host"""
    mesh.route("reviews", {"match": [{"uri": {"prefix": "/one"}}], "fault": fixed_delay("0.1s")}, {})
    inject(mesh, object_of(Abort(http_status=507)))
    said = [mesh.flags("sleep-v1", HOST, path, marks()) for path in ("/one", "/two")]
    assert said == [(200, "DI"), (507, "FI")]
    seen("on the owner's faulty route 200 DI, on the other 507 FI")


def test_an_owners_virtual_service_of_every_age(mesh, seen):
    """EnvoyFilter's fault survives an owner's VirtualService that comes, changes and goes"""
    inject(mesh, object_of(Abort(http_status=507)))
    said = [marked(mesh)[0]]
    mesh.route("reviews", {"timeout": "5s"})
    said.append(marked(mesh)[0])
    mesh.route("reviews", {"match": [{"uri": {"prefix": "/"}}], "timeout": "6s"})
    said.append(marked(mesh)[0])
    mesh.delete("VirtualService", "reviews")
    said.append(marked(mesh)[0])
    assert said == [507] * 4
    assert mesh.call("sleep-v1", HOST).status == 200
    seen("507 all the time")


def test_of_two_the_last_has_the_filter_whole(mesh, seen):
    """Two EnvoyFilters for one virtual host and caller: the later one's fault replaces the earlier one's whole"""
    inject(mesh, object_of(Both(http_status=507)), name="a")
    inject(mesh, object_of(Abort(http_status=509)), name="b")
    assert marked(mesh) == (509, "FI")
    assert mesh.call("sleep-v1", HOST, headers=marks("2")).status == 200
    seen("509 FI: nothing of the earlier one's delay")


def test_the_earlier_ones_cell_is_gone(mesh, seen):
    """Two EnvoyFilters for one virtual host with different markers: only the later one's requests meet a fault"""
    inject(mesh, object_of(Abort(http_status=507), cell="1"), name="a")
    inject(mesh, object_of(Abort(http_status=509), cell="2"), name="b")
    said = [mesh.call("sleep-v1", HOST, headers=marks(cell)).status for cell in ("1", "2")]
    assert said == [200, 509]
    mesh.delete("EnvoyFilter", "b")
    said += [mesh.call("sleep-v1", HOST, headers=marks(cell)).status for cell in ("1", "2")]
    assert said == [200, 509, 507, 200]
    seen("the earlier one acts again once the later one is deleted")


def test_other_filters_of_the_virtual_host_stay(mesh, seen):
    """Two EnvoyFilters for different parts of one virtual host: both are in force"""
    inject(mesh, object_of(Abort(http_status=507)), name="a")
    other = object_of(Abort(http_status=507))
    patch_of(other)["patch"]["value"] = {"response_headers_to_add": [{"header": {"key": "x-owner", "value": "here"}}]}
    inject(mesh, other, name="b")
    reply = mesh.call("sleep-v1", HOST, headers=marks())
    assert (reply.status, reply.headers["x-owner"]) == (507, "here")
    seen("the fault, and the owner's header on it")


def with_priority(obj, priority):
    obj["spec"]["priority"] = priority
    return obj


@pytest.mark.parametrize(
    ("case", "first", "second", "winner"),
    [
        ("the same second: by name", {"name": "a"}, {"name": "b"}, "b"),
        ("priority 1 and none", {"name": "a", "priority": 1}, {"name": "b"}, "a"),
        ("none and priority -1", {"name": "a"}, {"name": "b", "priority": -1}, "a"),
        ("root namespace and the caller's", {"name": "b", "namespace": "istio-system"}, {"name": "a"}, "a"),
        (
            "root namespace with priority 1 and the caller's",
            {"name": "b", "namespace": "istio-system", "priority": 1},
            {"name": "a"},
            "b",
        ),
    ],
)
def test_which_of_two_is_the_later(mesh, seen, case, first, second, winner):
    """Two EnvoyFilters for one virtual host, {case}: whose fault is in force"""
    del case
    for said, status in ((first, 507), (second, 509)):
        obj = object_of(Abort(http_status=status), namespace=said.get("namespace", "default"))
        inject(mesh, with_priority(obj, said.get("priority", 0)), name=said["name"])
    status, _ = marked(mesh)
    assert {first["name"]: 507, second["name"]: 509}[winner] == status
    seen(f"{winner}'s")


def test_the_younger_is_the_later(mesh, seen):
    """Two EnvoyFilters for one virtual host, the younger with the earlier name: the younger one's is in force"""
    inject(mesh, object_of(Abort(http_status=507)), name="b")
    made = time.time()
    until(lambda: int(time.time()) > int(made) + 1, "creation times differ in whole seconds")
    inject(mesh, object_of(Abort(http_status=509)), name="a")
    assert marked(mesh) == (509, "FI")
    seen("the younger one's")


def test_two_patches_in_one_object(mesh, seen):
    """Two patches of one EnvoyFilter for one virtual host: the later in the list is in force"""
    obj = object_of(Abort(http_status=507))
    obj["spec"]["configPatches"] += object_of(Abort(http_status=509))["spec"]["configPatches"]
    inject(mesh, obj)
    assert marked(mesh) == (509, "FI")
    seen("the later one's")


def test_several_hosts_in_one_object(mesh, seen):
    """One EnvoyFilter with patches for two virtual hosts: each has its own fault"""
    obj = object_of(Abort(http_status=507))
    obj["spec"]["configPatches"] += object_of(Abort(http_status=509), "details")["spec"]["configPatches"]
    inject(mesh, obj)
    said = [marked(mesh, host=host)[0] for host in (HOST, "details:9080")]
    assert said == [507, 509]
    seen("reviews 507, details 509")


def test_a_gateways_calls(mesh, seen, gateway):
    """EnvoyFilter context GATEWAY: requests that come in through the gateway, by the host that they ask for"""
    mesh.apply(
        "Gateway",
        "edge",
        {
            "selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["shop.example.com"]}],
        },
    )
    target = {"destination": {"host": "reviews", "port": {"number": 9080}}}
    mesh.route("shop.example.com", {"route": [target]}, name="edge", gateways=["edge"])
    obj = object_of(Abort(http_status=507), source="", namespace="istio-system")
    vhost = {"name": "shop.example.com:8080"}
    patch_of(obj)["match"] = {"context": "GATEWAY", "routeConfiguration": {"vhost": vhost}}

    def ask(headers):
        headers = {"Host": "shop.example.com:8080", **headers}
        return get(mesh.addresses[gateway].inbound, port=8080, path="/", headers=headers).status

    until(lambda: ask({}) == 200, "the gateway serves")
    inject(mesh, obj)
    said = ask(marks()), ask({})
    assert said == (507, 200)
    assert marked(mesh) == (200, "-")
    seen("marked 507, unmarked 200; a sidecar's own calls 200")

"""Changes while calls are under way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from echo_mesh import PORT
from fault_words import abort, fixed_delay, http_abort, http_fault
from mtls import STRICT, peer, plain, settled, takes
from refused import condition, refused
from traffic import gauge, warm
from waiting import until

HOST = f"details:{PORT}"
WHOLE = "details.default.svc.cluster.local"


def status(mesh, **kwargs):
    return mesh.call("sleep-v1", HOST, **kwargs).status


def says(mesh, wanted):
    """WANTED, once details' callers get that status."""
    until(lambda: status(mesh) == wanted, lambda: f"details answers {wanted}, not {status(mesh)}")
    return wanted


def aborting(code):
    return {"hosts": ["details"], "http": [{"route": [{"destination": {"host": "details"}}], "fault": abort(code)}]}


def patch(code, **value):
    """An EnvoyFilter's spec by which calls of details answer with the status CODE."""
    config = {
        "applyTo": "VIRTUAL_HOST",
        "match": {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": {"name": f"{WHOLE}:{PORT}"}}},
        "patch": {"operation": "MERGE", "value": {"typed_per_filter_config": http_fault(**http_abort(code)), **value}},
    }
    return {"configPatches": [config]}


POOL = {"connectionPool": {"http": {"http2MaxRequests": 1000}}}
RULE = {"host": "details", "trafficPolicy": POOL, "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
SERVICE = {"selector": {"app": "details"}, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]}


def _abort(mesh):
    mesh.apply("VirtualService", "details", aborting(507))
    return says(mesh, 507)


def _timeout(mesh):
    mesh.route("details", {"timeout": "0.1s"})
    return says(mesh, 504)


def _route_away(mesh):
    mesh.route("details", {"route": [{"destination": {"host": "reviews"}}], "rewrite": {"uri": "/away"}})
    until(lambda: mesh.call("sleep-v1", HOST).json["path"] == "/away", "the route is live")
    return "200 by reviews"


def _patch(mesh):
    mesh.apply("EnvoyFilter", "details", patch(507))
    return says(mesh, 507)


def _cluster(mesh):
    before = _modified(mesh)
    mesh.apply("DestinationRule", "details", RULE)
    until(lambda: _modified(mesh) > before, "the cluster is another one")
    return "the cluster is replaced"


def _modified(mesh):
    return int(mesh.stats("sleep-v1", "/stats?filter=cluster_manager.cluster_modified").split(": ")[1])


def _service(mesh):
    mesh.delete("Service", "details")
    return says(mesh, 502)


def _endpoint(mesh):
    mesh.ready("details-v1", ready=False)
    return says(mesh, 503)


def _strict(mesh):
    peer(mesh, "STRICT")
    until(lambda: plain(mesh, "details-v1") == "closed", "STRICT")
    return "plain text: closed"


CHANGES = {
    "VirtualService with an abort": _abort,
    "VirtualService with a timeout of 0.1 s": _timeout,
    "VirtualService that leads elsewhere": _route_away,
    "EnvoyFilter with an abort": _patch,
    "DestinationRule with a connectionPool": _cluster,
    "Service deleted": _service,
    "Pod that is not ready any more": _endpoint,
    "PeerAuthentication STRICT": _strict,
}


@pytest.fixture
def restored(mesh) -> Iterator[None]:
    """Details as it was, whatever was done."""
    yield
    mesh.clean()
    mesh.apply("Service", "details", SERVICE)
    mesh.ready("details-v1", ready=True)
    says(mesh, 200)
    settled(mesh, {"details": ["details-v1"]})


@pytest.mark.parametrize("change", CHANGES)
def test_a_request_in_flight(mesh, seen, restored, change):
    """A request in flight ends as it began: {change}"""
    app = mesh.apps["details-v1"]
    app.delay = 1.2
    with ThreadPoolExecutor(1) as pool:
        flying = pool.submit(mesh.call, "sleep-v1", HOST, "/flying")
        until(lambda: app.hits == 1, "the application has it")
        app.delay = 0.0 if "timeout" not in change else 0.4
        later = CHANGES[change](mesh)
        assert not flying.done(), "the change came too late to say anything"
        reply = flying.result()
    assert (reply.status, reply.json) == (200, {"name": "details-v1", "path": "/flying"})
    assert reply.took >= 1.18
    seen(f"200 by details-v1; later ones: {later}")


def test_a_delay_in_flight(mesh, seen, restored):
    """A delay that has begun is served whole, though its VirtualService is deleted meanwhile"""
    mesh.route("details", {"fault": fixed_delay("2.5s")})
    until(lambda: mesh.call("sleep-v1", HOST).took >= 2.48, "the delay is live")
    with ThreadPoolExecutor(1) as pool:
        flying = pool.submit(mesh.traced, "sleep-v1", HOST)
        until(lambda: _active(mesh) == 1, "the call is held back")
        mesh.delete("VirtualService", "details")
        assert mesh.call("sleep-v1", HOST).took < 2.0
        assert not flying.done()
        reply, tags = flying.result()
    assert reply.took >= 0.98
    seen(f"{reply.status} {tags['response_flags']} after the whole delay; later ones 200 at once")


def _active(mesh):
    lines = mesh.stats("sleep-v1", "/stats?filter=fault.active_faults").splitlines()
    return sum(int(line.rpartition(": ")[2]) for line in lines)


WARM = {
    name: CHANGES[name] for name in CHANGES if "timeout" not in name and "Peer" not in name and "Destin" not in name
}
AFTER = {"VirtualService with an abort": 507, "EnvoyFilter with an abort": 507, "Service deleted": 502}


@pytest.mark.parametrize("change", WARM)
def test_the_next_request_on_a_warm_connection(mesh, seen, restored, change):
    """A connection of the application's to its sidecar stays, and the next request meets the change: {change}"""
    with warm(mesh, "sleep-v1", HOST) as send:
        assert [send().status for _ in range(3)] == [200] * 3
        CHANGES[change](mesh)
        reply = send("/later")
        later = mesh.call("sleep-v1", HOST, "/later")
        assert (reply.status, reply.body[:12]) == (later.status, later.body[:12])
    assert reply.status == AFTER.get(change, reply.status)
    seen(f"{reply.status}{' by reviews' if 'elsewhere' in change else ''} at once")


def test_a_deletion_on_a_warm_connection(mesh, seen, restored):
    """A connection of the application's to its sidecar stays, and the next request meets the change: a fault deleted"""
    mesh.apply("VirtualService", "details", aborting(507))
    says(mesh, 507)
    with warm(mesh, "sleep-v1", HOST) as send:
        before = [send().status for _ in range(3)]
        mesh.delete("VirtualService", "details")
        says(mesh, 200)
        after = [send().status for _ in range(3)]
    assert (before, after) == ([507] * 3, [200] * 3)
    seen("507, then 200 at once")


def test_an_inbound_change_on_a_pooled_connection(mesh, seen, restored):
    """PeerAuthentication STRICT: the caller's pooled mutual TLS connection serves one more request, then another is opened"""
    assert [status(mesh) for _ in range(4)] == [200] * 4
    before = gauge(mesh, "sleep-v1", "upstream_cx_total", WHOLE)
    peer(mesh, "STRICT")
    until(lambda: plain(mesh, "details-v1") == "closed", "STRICT")
    opened = []
    for _ in range(3):
        assert status(mesh) == 200
        opened.append(gauge(mesh, "sleep-v1", "upstream_cx_total", WHOLE) - before)
    assert takes(mesh, STRICT)
    seen(f"connections opened since, after each of three requests: {opened}")


def test_many_updates(mesh, seen):
    """50 updates of a VirtualService in a row: no caller meets an older one after a newer one, the last one stays"""
    met, going = [], threading.Event()
    mesh.apply("VirtualService", "details", aborting(500))
    says(mesh, 500)

    def load():
        while not going.is_set():
            met.append(status(mesh))

    with ThreadPoolExecutor(1) as pool:
        caller = pool.submit(load)
        for code in range(501, 551):
            mesh.apply("VirtualService", "details", aborting(code), wait=False)
        says(mesh, 550)
        going.set()
        caller.result()
    assert met == sorted(met)
    mesh.synced()
    assert {status(mesh) for _ in range(10)} == {550}
    seen("never an older one; in the end the last")


def test_many_updates_of_an_envoy_filter(mesh, seen):
    """50 updates of an EnvoyFilter in a row: the last one stays"""
    for code in range(501, 551):
        mesh.apply("EnvoyFilter", "details", patch(code), wait=False)
    says(mesh, 550)
    mesh.synced()
    assert {status(mesh) for _ in range(10)} == {550}
    seen("the last")


def test_many_that_come_and_go(mesh, seen):
    """A VirtualService made and deleted 25 times in a row: in the end there is none"""
    for code in range(501, 526):
        mesh.apply("VirtualService", "details", aborting(code), wait=False)
        mesh.do(mesh.kube.delete("VirtualService", "default", "details"))
    says(mesh, 200)
    mesh.synced()
    assert {status(mesh) for _ in range(10)} == {200}
    seen("200")


def test_a_refused_change(mesh, seen):
    """A VirtualService whose change is refused: what was in force before stays so, until a right one comes"""
    mesh.apply("VirtualService", "details", aborting(507))
    found = [says(mesh, 507)]
    if mesh.control_plane == "istiod":
        refused(mesh, "VirtualService", "details", aborting(999))
    else:
        mesh.apply("VirtualService", "details", aborting(999))
        until(lambda: condition(mesh, "VirtualService", "details", "default"), "the object says that it is refused")
    assert {status(mesh) for _ in range(10)} == {507}
    mesh.apply("VirtualService", "details", aborting(508))
    found.append(says(mesh, 508))
    seen("{}, then {}".format(*found))


def _has(mesh, cluster):
    return cluster in mesh.stats("sleep-v1", "/clusters")


def test_a_patch_that_envoy_refuses(mesh, seen):
    """EnvoyFilter that Envoys refuse: what was in force stays, an owner's later change waits until it is deleted"""
    mesh.apply("VirtualService", "details", aborting(507))
    found = [says(mesh, 507)]
    wrong = {"request_headers_to_add": [{"header": {"key": "x", "value": "%NO_SUCH%"}}]}
    mesh.apply("EnvoyFilter", "wrong", patch(508, **wrong), wait=False)
    until(mesh.problems, "an Envoy refuses")
    found.append(status(mesh))
    mesh.apply("VirtualService", "details", aborting(509), wait=False)
    # sent to the same Envoys after it, or in the same breath: they have seen and refused what came before
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "subsets": [{"name": "later"}]}, wait=False)
    until(lambda: _has(mesh, "|later|"), "a later change")
    assert {status(mesh) for _ in range(10)} == {507}
    found.append(507)
    mesh.delete("EnvoyFilter", "wrong")
    found.append(says(mesh, 509))
    assert mesh.problems() == []
    assert found == [507, 507, 507, 509]
    seen("{}; with the patch {}; after the owner's change {}; without the patch {}".format(*found))

"""DestinationRule connectionPool.

Requests of half a second that come at once show how many a pool lets through. Pools that overflow do so at once.
"""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
from bare_pod import address_of, bare_pod
from echo_mesh import PORT
from traffic import gauge, statuses, together
from waiting import until

HOST = "details:9080"
WHOLE = "details.default.svc.cluster.local"
SLOW = 0.5


def rule(mesh, policy, host="details", namespace="default", **spec):
    mesh.apply("DestinationRule", "pool", {"host": host, "trafficPolicy": policy, **spec}, namespace)


def pool(http=None, tcp=None):
    return {"connectionPool": {key: value for key, value in (("http", http), ("tcp", tcp)) if value}}


def burst(mesh, count, source="sleep-v1", host=HOST):
    """The replies to COUNT requests at once, each of which takes half a second where it is let through."""
    return timed_burst(mesh, count, source, host)[0]


def timed_burst(mesh, count, source="sleep-v1", host=HOST):
    """A `burst`, and the seconds from before its first request until after its last answer.

    There is a connection before: while the first one is being made, its request counts as pending.
    """
    mesh.call(source, host)
    for app in mesh.apps.values():
        app.delay = SLOW
    began = time.monotonic()
    replies = together(count, lambda: mesh.call(source, host))
    return replies, time.monotonic() - began


def overflown(replies):
    return [reply for reply in replies if reply.status == 503]


def connections(mesh, source="sleep-v1"):
    return gauge(mesh, source, "upstream_cx_total", WHOLE)


def test_one_connection_and_one_pending_request(mesh, seen):
    """connectionPool maxConnections 1 and http1MaxPendingRequests 1: of five at once one is served, one waits, three overflow"""
    rule(mesh, pool({"http1MaxPendingRequests": 1}, {"maxConnections": 1}))
    replies, whole = timed_burst(mesh, 5)
    assert statuses(replies) == "2 × 200, 3 × 503"
    assert all(reply.took < SLOW for reply in overflown(replies))
    assert whole >= 2 * SLOW, "one after the other"
    seen(f"{statuses(replies)}; the overflown at once")


def test_what_an_overflow_says(mesh, seen):
    """connectionPool overflow: flags, header and body of the refusal"""
    rule(mesh, pool({"http1MaxPendingRequests": 1}, {"maxConnections": 1}))
    mesh.call("sleep-v1", HOST)
    mesh.apps["details-v1"].delay = SLOW
    replies = together(4, lambda: mesh.traced("sleep-v1", HOST))
    refused = [(reply, tags) for reply, tags in replies if reply.status == 503]
    said = {
        (tags["response_flags"], reply.headers.get("x-envoy-overloaded"), reply.body.decode())
        for reply, tags in refused
    }
    assert len(said) == 1
    flags, header, body = said.pop()
    assert (flags, header) == ("UO", "true")
    assert "reset reason: overflow" in body
    seen(f"503 {flags}, x-envoy-overloaded: {header}, '{body}'")


def test_an_overflow_reaches_nobody_and_is_not_tried_again(mesh, seen):
    """connectionPool overflow does not reach the callee and is not retried by default"""
    rule(mesh, pool({"http1MaxPendingRequests": 1}, {"maxConnections": 1}))
    before = mesh.hits("details")
    replies = burst(mesh, 5)
    assert statuses(replies) == "2 × 200, 3 × 503"
    assert mesh.hits("details") - before == 1 + 2
    seen("two of five reached it")


def test_requests_at_once(mesh, seen):
    """connectionPool http2MaxRequests 2 limits HTTP/1.1 requests at once too"""
    rule(mesh, pool({"http2MaxRequests": 2}))
    replies = burst(mesh, 5)
    assert statuses(replies) == "2 × 200, 3 × 503"
    assert {reply.headers.get("x-envoy-overloaded") for reply in overflown(replies)} == {"true"}
    seen(f"{statuses(replies)}, x-envoy-overloaded")


def test_many_connections_for_many_requests(mesh, seen):
    """connectionPool maxConnections 2 without a limit of pending requests: all are served, two at a time"""
    rule(mesh, pool(tcp={"maxConnections": 2}))
    replies = burst(mesh, 4)
    took = sorted(round(reply.took / SLOW) for reply in replies)
    assert (statuses(replies), took) == ("4 × 200", [1, 1, 2, 2])
    seen("all 200, in two rounds")


def test_without_a_rule(mesh, seen):
    """Without a DestinationRule 100 requests at once are all served"""
    replies = burst(mesh, 100)
    assert statuses(replies) == "100 × 200"
    seen("100 × 200")


def test_a_limit_is_gone_with_its_rule(mesh, seen):
    """connectionPool limits end with their DestinationRule"""
    rule(mesh, pool({"http2MaxRequests": 1}))
    assert "503" in statuses(burst(mesh, 3))
    mesh.delete("DestinationRule", "pool")
    replies = burst(mesh, 3)
    assert statuses(replies) == "3 × 200"
    seen("3 × 200")


@pytest.mark.parametrize(("field", "value"), [("http1MaxPendingRequests", 0), ("http2MaxRequests", 0)])
def test_zero_is_no_limit(mesh, seen, field, value):
    """connectionPool {field} 0 means no limit"""
    rule(mesh, pool({field: value, "maxRetries": 7}))
    replies = burst(mesh, 5)
    assert statuses(replies) == "5 × 200"
    seen("5 × 200")


@pytest.mark.parametrize("limit", [1, 2])
def test_requests_for_each_connection(mesh, seen, limit):
    """connectionPool maxRequestsPerConnection {limit}: a connection serves that many requests"""
    rule(mesh, pool({"maxRequestsPerConnection": limit}))
    before = connections(mesh)
    replies = [mesh.call("sleep-v1", HOST) for _ in range(6)]
    made = connections(mesh) - before
    assert (statuses(replies), made) == ("6 × 200", 6 // limit)
    seen(f"6 requests on {made} connections")


def test_connections_are_used_again_without_a_limit(mesh, seen):
    """Without maxRequestsPerConnection one connection serves request after request"""
    mesh.call("sleep-v1", HOST)
    before = connections(mesh)
    for _ in range(6):
        mesh.call("sleep-v1", HOST)
    assert connections(mesh) == before
    seen("6 requests on the connection that there is")


def test_an_idle_connection_is_closed(mesh, seen):
    """connectionPool http.idleTimeout 0.2s closes a connection that is not used for as long"""
    rule(mesh, pool({"idleTimeout": "0.2s"}))
    mesh.call("sleep-v1", HOST)
    before = connections(mesh)
    until(lambda: gauge(mesh, "sleep-v1", "upstream_cx_active", WHOLE) == 0, "the idle connection is closed")
    mesh.call("sleep-v1", HOST)
    assert connections(mesh) == before + 1
    seen("closed, and a new one made")


def test_retries_at_once(mesh, seen):
    """connectionPool http.maxRetries 1: of four requests that fail at once one is tried again"""
    rule(mesh, pool({"maxRetries": 1}))
    mesh.route("details", {"retries": {"attempts": 1, "retryOn": "503"}})
    mesh.apps["details-v1"].answer = 503
    mesh.apps["details-v1"].delay = SLOW
    replies = together(4, lambda: mesh.call("sleep-v1", HOST))
    assert statuses(replies) == "4 × 503"
    assert mesh.hits("details") == 5
    seen("five attempts")


@pytest.fixture
def silent(mesh):
    """A service whose only pod takes no connection: the queue of its port is full, and nobody accepts."""
    at = address_of(mesh, 250), PORT
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(at)
        listener.listen(0)
        with contextlib.closing(socket.create_connection(at, timeout=30)), bare_pod(mesh, "silent", 250):
            yield


@pytest.mark.usefixtures("silent")
def test_a_connection_that_takes_too_long(mesh, seen):
    """connectionPool tcp.connectTimeout 0.2s: three attempts, then 503"""
    rule(mesh, pool(tcp={"connectTimeout": "0.2s"}), host="silent")
    reply, tags = mesh.traced("sleep-v1", "silent:9080")
    assert reply.took >= 0.58
    assert (reply.status, tags["response_flags"]) == (503, "URX,UF")
    assert gauge(mesh, "sleep-v1", "upstream_cx_connect_timeout", "silent.default.svc.cluster.local") == 3
    seen(f"503 {tags['response_flags']}, 3 connect timeouts, '{reply.body.decode()}'")


def test_the_settings_of_a_port_replace_the_rules(mesh, seen):
    """trafficPolicy.portLevelSettings of the called port inherit nothing of the rule's connectionPool"""
    port = {"port": {"number": 9080}, "loadBalancer": {"simple": "RANDOM"}}
    rule(mesh, {**pool({"http2MaxRequests": 1}), "portLevelSettings": [port]})
    replies = burst(mesh, 5)
    assert statuses(replies) == "5 × 200"
    seen("5 × 200")


@pytest.mark.parametrize(("port", "said"), [(9080, "2 × 200, 3 × 503"), (9999, "1 × 200, 4 × 503")])
def test_the_limits_of_a_port(mesh, seen, port, said):
    """trafficPolicy.portLevelSettings of port {port} with http2MaxRequests 2 beside the rule's 1, port 9080 called"""
    policy = {
        **pool({"http2MaxRequests": 1}),
        "portLevelSettings": [{"port": {"number": port}, **pool({"http2MaxRequests": 2})}],
    }
    rule(mesh, policy)
    replies = burst(mesh, 5)
    assert statuses(replies) == said
    seen(said)


@pytest.mark.parametrize(
    ("case", "own", "said"),
    [
        ("its own of 3", pool({"http2MaxRequests": 3}), "3 × 200, 2 × 503"),
        ("none", None, "1 × 200, 4 × 503"),
        ("none but a loadBalancer", {"loadBalancer": {"simple": "RANDOM"}}, "1 × 200, 4 × 503"),
        ("none but a tcp one", pool(tcp={"maxConnections": 9}), "5 × 200"),
        (
            "none but one of its port",
            {"portLevelSettings": [{"port": {"number": 9080}, "loadBalancer": {"simple": "RANDOM"}}]},
            "5 × 200",
        ),
    ],
)
def test_the_limits_of_a_subset(mesh, seen, guest, case, own, said):
    """Subset with {case} where the rule's http2MaxRequests is 1"""
    del case
    # in the caller's namespace, where the callee's sidecar does not see it and has no limit of its own
    v1 = {"name": "v1", "labels": {"version": "v1"}, **({"trafficPolicy": own} if own else {})}
    rule(mesh, pool({"http2MaxRequests": 1}), WHOLE, "far", subsets=[v1])
    mesh.route("details", {"route": [{"destination": {"host": "details", "subset": "v1"}}]})
    replies = burst(mesh, 5, guest, "details.default:9080")
    assert statuses(replies) == said
    seen(said)


def test_the_callees_sidecar_knows_no_subsets(mesh, seen):
    """Subset with http2MaxRequests 3 where the rule's is 1: the callee's sidecar keeps to the rule's"""
    v1 = {"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": pool({"http2MaxRequests": 3})}
    rule(mesh, pool({"http2MaxRequests": 1}), subsets=[v1])
    mesh.route("details", {"route": [{"destination": {"host": "details", "subset": "v1"}}]})
    replies = burst(mesh, 5)
    assert statuses(replies) == "1 × 200, 4 × 503"
    assert {reply.headers.get("x-envoy-overloaded") for reply in overflown(replies)} == {"true"}
    seen(statuses(replies))


def test_the_callees_sidecar_has_the_limit_too(mesh, seen):
    """connectionPool limits hold in the callee's sidecar too, for all its callers together"""
    rule(mesh, pool({"http2MaxRequests": 1}))
    mesh.apps["details-v1"].delay = SLOW
    callers = iter(["sleep-v1", "other-v1", "reviews-v1"])
    replies = together(3, lambda: mesh.call(next(callers), HOST))
    assert statuses(replies) == "1 × 200, 2 × 503"
    seen(statuses(replies))

"""Traces of calls that fail."""

from __future__ import annotations

import contextlib
import socket

import pytest
from asking import get
from echo_mesh import PORT
from fault_words import abort, fixed_delay, marked
from telemetry import flushed, trace, traced_call
from traffic import together
from waiting import until

HOST = f"details:{PORT}"
KINDS = {2: "SERVER", 3: "CLIENT"}
GRPC = {"content-type": "application/grpc"}


def outcome(span):
    """What the product's rules read of a span that failed."""
    tags = span["tags"]
    names = ("http.status_code", "grpc.status_code", "response_flags", "error", "upstream_cluster")
    return ", ".join(f"{name}={tags[name]}" for name in names if name in tags)


def test_an_error_of_the_application(mesh, seen):
    """The spans of a call that the application answers with 404, 500 and 503"""
    found = []
    for status in (404, 500, 503):
        mesh.apps["details-v1"].answer = status
        spans = traced_call(mesh, HOST, 2)
        errors = {one["tags"].get("error") for one in spans}
        assert errors == {None if status == 404 else "true"}
        assert {one["tags"]["response_flags"] for one in spans} == {"-"}
        found.append(f"{status}: {'no error' if status == 404 else 'error=true in both'}")
    seen(", ".join(found))


def test_a_delayed_call(mesh, seen):
    """The spans of a call that a fault delays by 0.3 s"""
    mesh.route("details", {"fault": fixed_delay("0.3s")})
    until(lambda: mesh.call("sleep-v1", HOST).took > 0.3, "the delay is live")
    client, server = traced_call(mesh, HOST, 2)
    assert client["end"] - client["start"] > 0.29
    assert server["start"] - client["start"] > 0.29
    assert server["tags"]["response_flags"] == "-"
    seen(f"CLIENT {outcome(client)}, over 0.3 s; SERVER begins after the delay, flags -")


def test_a_call_that_is_tried_again(mesh, seen):
    """The spans of a call that fails and is tried twice more"""
    mesh.apps["details-v1"].answer = 503
    mesh.route("details", {"retries": {"attempts": 2, "retryOn": "5xx"}})
    until(lambda: mesh.flags("sleep-v1", HOST)[1] == "URX", "it is tried again")
    client, *servers = traced_call(mesh, HOST, 4)
    assert [one["kind"] for one in servers] == [2, 2, 2]
    assert len({one["id"] for one in servers}) == 3
    assert {one["parent"] for one in servers} == {client["id"]}
    seen(f"one CLIENT {outcome(client)}; three SERVER below it, {outcome(servers[0])}")


def test_a_call_that_times_out(mesh, seen):
    """The spans of a call that the caller's timeout ends"""
    mesh.apps["details-v1"].delay = 0.4
    mesh.route("details", {"timeout": "0.1s"})
    until(lambda: mesh.call("sleep-v1", HOST).status == 504, "the timeout is live")
    client, server = traced_call(mesh, HOST, 2)
    assert (client["tags"]["response_flags"], server["tags"]["response_flags"]) == ("UT", "DC")
    seen(f"CLIENT {outcome(client)}; SERVER {outcome(server)}")


def active(mesh, source="sleep-v1"):
    """How many requests the fault filters of SOURCE's sidecar hold back now."""
    lines = mesh.stats(source, "/stats?filter=fault.active_faults").splitlines()
    return sum(int(line.rpartition(": ")[2]) for line in lines)


def test_a_caller_that_goes_during_a_delay(mesh, seen):
    """The spans of a call whose caller closes its connection during a delay"""
    mesh.route("details", {"match": [{"headers": {"x-slow": {"exact": "1"}}}], "fault": fixed_delay("5s")}, {})
    headers = {**marked("nobody"), "x-slow": "1"}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    with contextlib.closing(socket.create_connection((mesh.addresses["sleep-v1"].outbound, PORT))) as caller:
        caller.sendall("\r\n".join(["GET / HTTP/1.1", f"Host: {HOST}", *lines, "", ""]).encode())
        until(lambda: active(mesh) == 1, "the call is held back")
    identifier = headers["traceparent"].split("-")[1]
    [client] = trace(mesh, identifier, 1)
    flushed(mesh, "sleep-v1", "details-v1")
    assert len(trace(mesh, identifier, 1)) == 1
    assert client["tags"]["response_flags"] == "DI,DC"
    seen(f"CLIENT {outcome(client)}; no SERVER")


V1 = {"route": [{"destination": {"host": "details", "subset": "v1"}}]}
LOST = {
    "to a subset without a DestinationRule": ({"http": [V1]}, {}, 503, "NC"),
    "that no route matches": ({"http": [{"match": [{"uri": {"exact": "/a"}}], **V1}]}, {}, 404, "NR"),
    "that is aborted as gRPC": (
        {"http": [{"fault": {"abort": {"grpcStatus": "UNAVAILABLE", "percentage": {"value": 100}}}, **V1}]},
        GRPC,
        200,
        "FI",
    ),
    "of gRPC that is aborted by a status of HTTP": ({"http": [{"fault": abort(503), **V1}]}, GRPC, 200, "FI"),
    "that is delayed and aborted": (
        {"http": [{"fault": {**fixed_delay("0.1s"), **abort(503)}, **V1}]},
        {},
        503,
        "DI,FI",
    ),
    "whose destination is a service that is not there": (
        {"http": [{"route": [{"destination": {"host": "nobody"}}]}]},
        {},
        503,
        "NC",
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_calls_that_go_nowhere(mesh, seen, case):
    """The spans of a call {case}"""
    spec, headers, status, flags = LOST[case]
    mesh.apply("VirtualService", "details", {"hosts": ["details"], **spec})
    until(lambda: mesh.flags("sleep-v1", HOST, headers=headers) == (status, flags), f"{status} {flags}")
    [client] = traced_call(mesh, HOST, 1, headers=headers)
    seen(f"CLIENT '{client['name']}', {outcome(client)}; no SERVER")


@pytest.mark.parametrize("host", ["nobody:9080", "nobody.default.svc.cluster.local:9080", "example.com:9080"])
def test_a_host_that_nobody_has(mesh, seen, host):
    """The spans of a call to {host}, a host that nobody has"""
    [client] = traced_call(mesh, host, 1)
    assert client["tags"]["http.status_code"] == "502"
    seen(f"CLIENT '{client['name']}', {outcome(client)}, no upstream_cluster")


def test_a_service_without_pods(mesh, seen):
    """The spans of a call to a service without pods"""
    mesh.service("empty")
    host = f"empty:{PORT}"
    until(lambda: mesh.flags("sleep-v1", host) == (503, "UH"), "there is no pod")
    [client] = traced_call(mesh, host, 1)
    mesh.delete("Service", "empty")
    seen(f"CLIENT '{client['name']}', {outcome(client)}")


def test_an_overflow(mesh, seen):
    """The spans of calls beyond connectionPool's limits"""
    pool = {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1, "http2MaxRequests": 1}}
    mesh.apply("DestinationRule", "details", {"host": "details", "trafficPolicy": {"connectionPool": pool}})
    mesh.apps["details-v1"].delay = 0.3
    found = together(4, lambda: mesh.traced("sleep-v1", HOST))
    refused = next(tags for reply, tags in found if reply.status == 503)
    assert refused["response_flags"] == "UO"
    seen(f"CLIENT {outcome({'tags': refused})}")


def test_grpc_calls(mesh, seen):
    """The tags that spans of gRPC calls have besides"""
    client, server = traced_call(mesh, HOST, 2, path="/pkg.Service/Method", headers=GRPC, method="POST")
    names = [
        {name: value for name, value in one["tags"].items() if name.startswith("grpc.")} for one in (client, server)
    ]
    assert names[0] == names[1]
    assert names[0]["grpc.path"] == "/pkg.Service/Method"
    seen(", ".join(f"{name}={value}" for name, value in sorted(names[0].items())))


@pytest.mark.differs(
    "the Sidecar with which istiod is told the addresses of a lab's pod gives its inbound route that name"
)
def test_a_client_without_a_sidecar(mesh, seen):
    """The spans of a call that comes without a sidecar of the caller's"""
    headers = marked("nobody")
    _, identifier, parent, _ = headers["traceparent"].split("-")
    get(mesh.addresses["details-v1"].inbound, port=PORT, path="/", headers={"Host": "details", **headers})
    [server] = trace(mesh, identifier, 1)
    assert (server["kind"], server["parent"]) == (2, parent)
    seen(f"SERVER '{server['name']}' below the client's; no CLIENT")


def test_a_dead_application(mesh, seen, victim):
    """The spans of a call whose callee's application is dead"""
    victim.app_down()
    host = f"victim:{PORT}"
    until(lambda: mesh.call("sleep-v1", host).status == 503, "nobody answers")
    spans = traced_call(mesh, host, 2, pods=())
    seen("; ".join(f"{KINDS[one['kind']]} {outcome(one)}" for one in spans))

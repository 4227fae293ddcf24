"""gRPC's own client and server behind sidecars."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import pytest
from carrier import RUN, inject, marks, object_of
from echo_mesh import PORT
from fault_words import abort, fixed_delay, marked
from grpc_peer import METHOD, Server, call, channel
from grpclib.client import Channel
from grpclib.const import Cardinality
from waiting import until

from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.lab.apps.rpc import Opaque
from chaosmesh_ext.mesh import inbound
from chaosmesh_ext.mesh.fault import Fault
from chaosmesh_ext.mesh.place import Destination, Place
from chaosmesh_ext.mesh.view import View
from chaosmesh_ext.model import Marker

HOST = f"echo:{PORT}"
ALWAYS = {"percentage": {"value": 100}}
WARM = 8
"""Calls in a row that most likely meet every connection of the caller's sidecar."""
EVERY = 40
"""Calls in a row that meet every one of the four (two workers', to two pods), but for one time in 20,000."""
ENDED = ("DEADLINE_EXCEEDED", "UNAVAILABLE")
"""How a call ends at its deadline: by the client's own clock or, a little earlier, by its sidecar's, which is 504."""


@pytest.fixture(scope="module")
def servers(standing_mesh) -> Iterator[dict[str, Server]]:
    """echo, a service of gRPC with a pod of version v1 and one of v2."""
    found, pods = {}, []
    for version in ("v1", "v2"):
        pods.append(standing_mesh.pod("echo", version, grpc=True))
        found[version] = Server(standing_mesh.addresses[pods[-1]].app, PORT)
    ports = [{"name": "grpc", "port": PORT, "targetPort": PORT}]
    standing_mesh.apply("Service", "echo", {"selector": {"app": "echo"}, "ports": ports})
    try:
        yield found
    finally:
        standing_mesh.delete("Service", "echo")
        for pod in pods:
            standing_mesh.remove(pod)
        for server in found.values():
            server.stop()


@pytest.fixture
def echo(mesh, servers) -> dict[str, Server]:
    """Its servers, well."""
    for server in servers.values():
        server.reset()
    until(lambda: all(ask(mesh, 0.2, **marks()).status == "OK" for _ in range(WARM)), "echo answers, and soon")
    for server in servers.values():
        server.reset()
    return servers


def ask(mesh, timeout=10.0, **metadata):
    """What gRPC's client gets through the sidecar of sleep."""
    with channel(mesh.addresses["sleep-v1"].outbound, PORT, HOST) as way:
        return call(way, metadata, timeout)


def traced(mesh, timeout=10.0, **metadata):
    """The same, and the tags of the span that the sidecar of sleep made of the call."""
    metadata = {**marked("nobody"), **metadata}
    got = ask(mesh, timeout, **metadata)
    return got, mesh.span(metadata["traceparent"].split("-")[1], kind=3)["tags"]


def calls(echo):
    return sum(len(server.seen) for server in echo.values())


def shows(tags):
    """What a span says of a gRPC call."""
    names = ("http.status_code", "grpc.status_code", "response_flags", "error")
    return ", ".join(f"{name}={tags[name]}" for name in names if name in tags)


@pytest.fixture
def at_the_inbound_side(mesh, echo) -> Iterator[Callable[[Fault], None]]:
    """Writes what the product's inbound carrier writes for everybody's marked calls to echo.

    Afterwards no connection of the caller's sidecar is left from then: the next test's calls would meet the fault.
    """
    there = Destination(
        host=fqdn("echo", "default"),
        service="echo",
        namespace="default",
        port=PORT,
        ports=(PORT,),
        selector={"app": "echo"},
    )
    place = Place(
        run=RUN,
        cell="1",
        namespace="default",
        source=None,
        destination=there,
        marker=Marker(RUN, "1"),
        subset="",
        match={},
    )
    written: list[str] = []

    def write(fault: Fault) -> None:
        (change,) = inbound.plan(fault, place, View())
        written.append(inject(mesh, change.obj))

    yield write
    for name in written:
        mesh.delete("EnvoyFilter", name)
    until(lambda: all(ask(mesh, 0.2, **marks()).status == "OK" for _ in range(EVERY)), "no connection is from before")


def test_a_call_and_its_metadata(mesh, seen, echo):
    """A call with metadata: what the application is sent"""
    sent = {**marks(), "x-b3-traceid": "a" * 32, "x-b3-spanid": "b" * 16, "x-b3-sampled": "1", "end-user": "jason"}
    assert ask(mesh, **sent).status == "OK"
    ((method, got),) = [one for server in echo.values() for one in server.seen]
    assert method == METHOD
    assert got["traceparent"].split("-")[1] == sent["traceparent"].split("-")[1]
    same = sorted(name for name in sent if got.get(name) == sent[name])
    assert {"tracestate", "end-user", "x-b3-traceid"} <= set(same)
    seen(f"{method}; as sent: {', '.join(same)}; traceparent with the trace of the caller's")


@pytest.mark.parametrize("status", ["INTERNAL", "NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNKNOWN"])
def test_an_error_of_the_application(mesh, seen, echo, status):
    """The application's {status} reaches its caller"""
    for server in echo.values():
        server.status = status
    got, tags = traced(mesh)
    assert (got.status, got.message, calls(echo)) == (status, "as the test says", 1)
    seen(f"{got.status} '{got.message}'; span {shows(tags)}")


def test_an_application_that_is_unavailable(mesh, seen, echo):
    """The application's UNAVAILABLE is tried again by the caller's sidecar"""
    for server in echo.values():
        server.status = "UNAVAILABLE"
    got, tags = traced(mesh)
    assert (got.status, calls(echo)) == ("UNAVAILABLE", 3)
    seen(f"{got.status} after {calls(echo)} calls; span {shows(tags)}")


@pytest.mark.parametrize("status", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "NOT_FOUND", "RESOURCE_EXHAUSTED"])
def test_an_abort_by_virtualservice(mesh, seen, echo, status):
    """VirtualService's fault.abort.grpcStatus {status}: what the client gets"""
    mesh.route("echo", {"fault": {"abort": {"grpcStatus": status, **ALWAYS}}})
    until(lambda: ask(mesh).status == status, "the abort is live")
    before = calls(echo)
    got, tags = traced(mesh)
    assert (got.status, got.message, calls(echo)) == (status, "fault filter abort", before)
    seen(f"{got.status} '{got.message}'; span {shows(tags)}")


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503, 504])
def test_an_abort_by_a_status_of_http(mesh, seen, echo, status):
    """VirtualService's fault.abort.httpStatus {status}: what the client gets"""
    mesh.route("echo", {"fault": abort(status)})
    until(lambda: ask(mesh).status != "OK", "the abort is live")
    got, tags = traced(mesh)
    assert tags["response_flags"] == "FI"
    seen(f"{got.status} '{got.message}'; span {shows(tags)}")


@pytest.mark.parametrize("status", ["UNAVAILABLE", "NOT_FOUND"])
def test_an_abort_by_envoyfilter(mesh, seen, echo, status):
    """EnvoyFilter as we write it, grpc_status {status}: what marked and unmarked calls get"""
    inject(mesh, object_of(Abort(grpc_status=status), "echo"))
    until(lambda: ask(mesh, **marks()).status == status, "the abort is live")
    got, tags = traced(mesh, **marks())
    others = ask(mesh).status, ask(mesh, **marks("12")).status
    assert (got.status, tags["response_flags"], others) == (status, "FI", ("OK", "OK"))
    seen(f"marked {got.status} '{got.message}', span {shows(tags)}; unmarked {others[0]}, another cell's {others[1]}")


@pytest.mark.parametrize(("status", "attempts"), [("UNAVAILABLE", 3), ("NOT_FOUND", 1)])
def test_an_abort_at_the_inbound_side(mesh, seen, at_the_inbound_side, status, attempts):
    """EnvoyFilter as we write it for the callee's side, grpc_status {status}: the caller's sidecar may try again"""
    at_the_inbound_side(Abort(grpc_status=status))
    until(lambda: {ask(mesh, **marks()).status for _ in range(WARM)} == {status}, "the abort is live")
    headers = {**marked("nobody"), **marks()}
    trace = headers["traceparent"].split("-")[1]
    got, tags = traced(mesh, **headers)
    servers = until(
        lambda: (
            len(found := [s for s in mesh.otlp.spans if s["trace"] == trace and s["kind"] == 2]) == attempts and found
        ),
        f"{attempts} spans of the callee's sidecar",
    )
    assert {one["tags"]["response_flags"] for one in servers} == {"FI"}
    assert (got.status, ask(mesh).status) == (status, "OK")
    seen(f"{got.status} after {attempts} attempts; caller's span {shows(tags)}, callee's {shows(servers[0]['tags'])}")


@pytest.mark.parametrize("carrier", ["VirtualService", "EnvoyFilter"])
def test_a_delay_beyond_the_deadline(mesh, seen, echo, carrier):
    """{carrier}'s delay that is longer than the client's deadline"""
    if carrier == "VirtualService":
        mesh.route("echo", {"fault": fixed_delay("5s")})
    else:
        inject(mesh, object_of(Delay(5), "echo"))
    until(lambda: ask(mesh, 0.3, **marks()).status == "DEADLINE_EXCEEDED", "the delay is live")
    for server in echo.values():
        server.reset()
    got, tags = traced(mesh, 0.3, **marks())
    assert 0.28 <= got.took < 4.0
    assert (got.status, tags["response_flags"], calls(echo)) == ("DEADLINE_EXCEEDED", "DI,DR", 0)
    seen(f"{got.status} at the deadline; span {shows(tags)}; the application is not called")


def test_a_client_that_resets_with_no_error(mesh, seen, echo):
    """A delay beyond the deadline, and a client that resets the call with NO_ERROR, as Python's grpclib does"""
    inject(mesh, object_of(Delay(5), "echo"))
    headers = {**marked("nobody"), **marks()}

    async def wait() -> None:
        way = Channel(mesh.addresses["sleep-v1"].outbound, PORT, codec=Opaque())
        way._authority = HOST
        try:
            call = way.request(METHOD, Cardinality.UNARY_UNARY, bytes, bytes, timeout=0.3, metadata=headers)
            with contextlib.suppress(TimeoutError):
                async with call as stream:
                    await stream.send_message(b"", end=True)
                    await stream.recv_message()
        finally:
            way.close()

    until(lambda: ask(mesh, 0.3, **marks()).status == "DEADLINE_EXCEEDED", "the delay is live")
    asyncio.run(wait())
    tags = mesh.span(headers["traceparent"].split("-")[1], kind=3)["tags"]
    assert tags["response_flags"] == "DI"
    seen(f"span {shows(tags)}: no flag of a caller that left")


def test_a_delay_at_the_inbound_side(mesh, seen, at_the_inbound_side):
    """EnvoyFilter as we write it for the callee's side, a delay that is longer than the client's deadline"""
    at_the_inbound_side(Delay(5))
    until(lambda: all(ask(mesh, 0.1, **marks()).status in ENDED for _ in range(WARM)), "the delay is live")
    got = ask(mesh, 0.3, **marks())
    assert got.status in ENDED
    assert 0.28 <= got.took < 4.0
    assert ask(mesh).status == "OK"
    seen(f"{' or '.join(ENDED)} at the deadline; unmarked OK")


def test_a_delay_within_the_deadline(mesh, seen, echo):
    """A delay that is shorter than the client's deadline"""
    inject(mesh, object_of(Delay(0.3), "echo"))
    until(lambda: 0.28 <= ask(mesh, **marks()).took < 4.0, "the delay is live")
    got, tags = traced(mesh, **marks())
    assert got.took >= 0.28
    assert (got.status, tags["response_flags"]) == ("OK", "DI")
    seen(f"{got.status} after the delay; span {shows(tags)}")


def test_an_application_that_is_slower_than_the_deadline(mesh, seen, echo):
    """An application that is slower than the client's deadline"""
    for server in echo.values():
        server.delay = 5.0
    got = ask(mesh, 0.3)
    assert (got.status in ENDED, 0.28 <= got.took < 4.0) == (True, True)
    until(lambda: any(server.gone.is_set() for server in echo.values()), "the application is told")
    seen(f"{' or '.join(ENDED)} at the deadline; the application is told")


def test_a_fault_for_a_subset(mesh, seen, echo):
    """EnvoyFilter as we write it for one subset of a service that is routed to subsets"""
    subsets = [{"name": one, "labels": {"version": one}} for one in ("v1", "v2")]
    mesh.apply("DestinationRule", "echo", {"host": "echo", "subsets": subsets})
    to = [{"destination": {"host": "echo", "subset": one}, "weight": 50} for one in ("v1", "v2")]
    mesh.route("echo", {"route": to})
    inject(mesh, object_of(Abort(grpc_status="UNAVAILABLE"), "echo", subset="v2"))
    until(lambda: "UNAVAILABLE" in {ask(mesh, **marks()).status for _ in range(8)}, "the abort is live")
    for server in echo.values():
        server.reset()
    found = {ask(mesh, **marks()).status for _ in range(30)}
    assert found == {"OK", "UNAVAILABLE"}
    assert (len(echo["v1"].seen) > 0, len(echo["v2"].seen)) == (True, 0)
    seen("v1 OK, v2 UNAVAILABLE")


def test_a_match_on_metadata(mesh, seen, echo):
    """A VirtualService's match on metadata and on the method"""
    mesh.route(
        "echo",
        {
            "match": [{"headers": {"end-user": {"exact": "jason"}}, "uri": {"exact": METHOD}}],
            "fault": {"abort": {"grpcStatus": "UNAVAILABLE", **ALWAYS}},
        },
        {},
    )
    until(lambda: ask(mesh, **{"end-user": "jason"}).status == "UNAVAILABLE", "the abort is live")
    with channel(mesh.addresses["sleep-v1"].outbound, PORT, HOST) as way:
        found = [
            call(way, {"end-user": "jason"}).status,
            call(way, {"end-user": "jane"}).status,
            call(way, {"end-user": "jason"}, method="/a.B/C").status,
        ]
    assert found == ["UNAVAILABLE", "OK", "OK"]
    seen(f"both {found[0]}, another user {found[1]}, another method {found[2]}")

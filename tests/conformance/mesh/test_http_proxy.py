"""Sidecars as HTTP proxies, for programs that know HTTP_PROXY only."""

from __future__ import annotations

from echo_mesh import PORT
from fault_words import http_abort, http_fault, marked

_PROXY = 15001


def test_any_port_of_any_host(mesh, seen):
    """A request for http://reviews:9080/x?y=1 of the sidecar as an HTTP proxy, and one for a host that is not there"""
    reply = mesh.call("sleep-v1", f"reviews:{PORT}", f"http://reviews:{PORT}/x?y=1", port=_PROXY)
    assert (reply.status, reply.json["path"]) == (200, "/x?y=1")
    unknown = [mesh.call("sleep-v1", host, f"http://{host}/", port=_PROXY).status for host in (f"no:{PORT}",)]
    seen(f"{reply.status} {reply.json['path']}; {unknown[0]}")


def test_it_is_one_call_of_the_mesh(mesh, seen):
    """A call by the sidecar as an HTTP proxy, in traces: one span of the caller's, with the trace headers as sent"""
    headers = marked("nobody")
    reply = mesh.call("sleep-v1", f"details:{PORT}", f"http://details:{PORT}/", headers, port=_PROXY)
    trace = headers["traceparent"].split("-")[1]
    client = mesh.span(trace, kind=3)
    server = mesh.span(trace, kind=2)
    mine = [one for one in mesh.otlp.spans if one["trace"] == trace]
    assert (client["parent"], server["parent"]) == (headers["traceparent"].split("-")[2], client["id"])
    arrived = mesh.apps["details-v1"].seen[-1]
    assert arrived["tracestate"] == headers["tracestate"]
    seen(f"{reply.status}; {len(mine)} spans; {client['name']}; host {arrived['host']}")


def test_it_meets_the_faults_of_the_mesh(mesh, seen):
    """A call by the sidecar as an HTTP proxy meets an EnvoyFilter's fault on the route"""
    vhost = {"name": f"details.default.svc.cluster.local:{PORT}"}
    patch = {
        "applyTo": "VIRTUAL_HOST",
        "match": {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": vhost}},
        "patch": {"operation": "MERGE", "value": {"typed_per_filter_config": http_fault(**http_abort(418))}},
    }
    mesh.apply("EnvoyFilter", "fault", {"configPatches": [patch]})
    seen(str(mesh.call("sleep-v1", f"details:{PORT}", f"http://details:{PORT}/", port=_PROXY).status))

"""VirtualService timeouts, and callees that fail."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from fault_words import marked
from waiting import until

HOST = "victim:9080"
CONNECT = "upstream connect error or disconnect/reset before headers. "
REFUSED = f"{CONNECT}retried and the latest reset reason: remote connection failure"
CUT = f"{CONNECT}reset reason: connection termination"


def told(reply, tags):
    """What the caller got, in words."""
    return f"{reply.status} {tags['response_flags']} '{reply.body.decode()}'"


def route(mesh, **entry):
    mesh.route("victim", entry)


def timed_out(mesh):
    until(lambda: mesh.call("sleep-v1", HOST).status == 504, "the timeout is live")


def server_flags(mesh, headers):
    """The status and flags in the span of the callee's sidecar."""
    tags = mesh.span(headers["traceparent"].split("-")[1], kind=2)["tags"]
    return f"{tags['http.status_code']} {tags['response_flags']}"


def test_a_timeout(mesh, seen, victim):
    """timeout ends the call in the caller's sidecar"""
    victim.app.delay = 5.0
    route(mesh, timeout="0.3s")
    timed_out(mesh)
    hits = victim.app.hits
    headers = marked("nobody")
    reply, tags = mesh.traced("sleep-v1", HOST, headers=headers)
    assert (reply.status, reply.body, tags["response_flags"]) == (504, b"upstream request timeout", "UT")
    assert 0.28 <= reply.took < 4.0
    assert victim.app.hits - hits == 1
    assert server_flags(mesh, headers) == "0 DC"
    seen(f"{told(reply, tags)}, one call; the callee's sidecar logs {server_flags(mesh, headers)}")


@pytest.mark.parametrize("length", ["250ms", "0.25s", "0h0m0.25s"])
def test_how_a_timeout_may_be_written(mesh, seen, victim, length):
    """timeout: {length}"""
    victim.app.delay = 5.0
    route(mesh, timeout=length)
    timed_out(mesh)
    took = mesh.call("sleep-v1", HOST).took
    assert 0.23 <= took < 4.0
    seen("504 after 0.25 s")


def test_a_call_within_the_timeout(mesh, seen, victim):
    """A call within its timeout is left alone"""
    victim.app.delay = 0.2
    route(mesh, timeout="1s", rewrite={"uri": "/taken"})
    until(lambda: mesh.call("sleep-v1", HOST).json["path"] == "/taken", "the route is live")
    assert mesh.flags("sleep-v1", HOST) == (200, "-")
    seen("200 -")


def test_a_timeout_is_its_routes(mesh, seen, victim):
    """A timeout holds for its own route"""
    victim.app.delay = 0.5
    mesh.route("victim", {"match": [{"uri": {"prefix": "/quick"}}], "timeout": "0.2s"}, {})
    until(lambda: mesh.call("sleep-v1", HOST, "/quick").status == 504, "the timeout is live")
    found = mesh.flags("sleep-v1", HOST, "/quick"), mesh.flags("sleep-v1", HOST, "/slow")
    assert found == ((504, "UT"), (200, "-"))
    seen("504 UT where it stands, 200 on the next route")


def test_a_timeout_meets_whom_the_match_says(mesh, seen, victim):
    """A timeout with sourceLabels meets that caller only"""
    victim.app.delay = 0.5
    mesh.route("victim", {"match": [{"sourceLabels": {"app": "sleep"}}], "timeout": "0.2s"}, {})
    timed_out(mesh)
    assert mesh.call("other-v1", HOST).status == 200
    seen("sleep-v1 504, other-v1 200")


def test_the_callers_own_timeout_header(mesh, seen, victim):
    """The request header x-envoy-upstream-rq-timeout-ms of an application"""
    victim.app.delay = 0.5
    reply, tags = mesh.traced("sleep-v1", HOST, headers={"x-envoy-upstream-rq-timeout-ms": "100"})
    assert (reply.status, tags["response_flags"]) == (200, "-")
    seen("200 -: not heeded")


def grpc(mesh, **headers):
    """A gRPC call, ended by a clock: the caller's sidecar says 14, the callee's 4, and which is the first is chance."""
    reply = mesh.call("sleep-v1", HOST, headers={"content-type": "application/grpc", **headers}, method="POST")
    assert (reply.status, reply.headers["grpc-status"] in {"4", "14"}) == (200, True)
    assert 0.18 <= reply.took < 4.0


def test_the_header_grpc_timeout(mesh, seen, victim):
    """The request header grpc-timeout ends a gRPC call"""
    victim.app.delay = 5.0
    grpc(mesh, **{"grpc-timeout": "200m"})
    seen("HTTP 200, grpc-status 4 or 14, after that time")


def test_a_timeout_of_a_grpc_call(mesh, seen, victim):
    """timeout ends a gRPC call"""
    victim.app.delay = 5.0
    route(mesh, timeout="0.2s")
    timed_out(mesh)
    grpc(mesh)
    seen("HTTP 200, grpc-status 4 or 14, after that time")


def test_what_the_callee_sees_of_a_timeout(mesh, seen, victim):
    """Envoy's own headers in a request with a timeout"""
    route(mesh, timeout="1s")
    assert mesh.call("sleep-v1", HOST).status == 200
    told = sorted(name for name in victim.app.seen[-1] if name.startswith("x-envoy-"))
    assert told == ["x-envoy-attempt-count"]
    seen(", ".join(told))


def test_a_hung_callee(mesh, seen, victim):
    """A callee whose sidecar hangs (SIGSTOP), with a timeout"""
    route(mesh, timeout="0.3s", rewrite={"uri": "/taken"})
    until(lambda: mesh.call("sleep-v1", HOST).json["path"] == "/taken", "the route is live")
    victim.envoy_halt()
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, reply.body, tags["response_flags"]) == (504, b"upstream request timeout", "UT")
    seen(told(reply, tags))


def test_a_dead_application(mesh, seen, victim):
    """A callee whose application is dead"""
    victim.app_down()
    headers = marked("nobody")
    reply, tags = mesh.traced("sleep-v1", HOST, headers=headers)
    behind = server_flags(mesh, headers)
    assert (reply.status, reply.body.decode(), tags["response_flags"]) == (503, REFUSED, "-")
    assert behind == "503 URX,UF"
    seen(f"{told(reply, tags)}; the callee's sidecar logs {behind}")


def test_a_dead_sidecar(mesh, seen, victim):
    """A callee whose sidecar is dead"""
    victim.envoy_down()
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, reply.body.decode(), tags["response_flags"]) == (503, REFUSED, "URX,UF")
    seen(told(reply, tags))


def test_a_callee_that_dies_meanwhile(mesh, seen, victim):
    """A callee whose sidecar dies while it is called"""
    victim.app.delay = 5.0
    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(mesh.traced, "sleep-v1", HOST)
        until(lambda: victim.app.hits, "the call is under way")
        victim.envoy_down()
        reply, tags = called.result()
    assert (reply.status, reply.body.decode(), tags["response_flags"]) == (503, CUT, "UC")
    seen(told(reply, tags))


@pytest.mark.parametrize("how", ["a reset", "a close"])
def test_an_application_that_hangs_up(mesh, seen, victim, how):
    """A callee whose application answers with {how}"""
    victim.app_answers(lambda _: None if how == "a reset" else b"")
    headers = marked("nobody")
    reply, tags = mesh.traced("sleep-v1", HOST, headers=headers)
    behind = server_flags(mesh, headers)
    assert (reply.status, reply.body.decode(), tags["response_flags"], behind) == (503, CUT, "-", "503 UC")
    assert victim.requests == 1
    seen(f"{told(reply, tags)}, called once; the callee's sidecar logs {behind}")


def test_an_application_that_does_not_speak_http(mesh, seen, victim):
    """A callee whose application answers with something that is not HTTP"""
    victim.app_answers(lambda _: b"hello\r\n\r\n")
    headers = marked("nobody")
    reply, tags = mesh.traced("sleep-v1", HOST, headers=headers)
    behind = server_flags(mesh, headers)
    assert (reply.status, tags["response_flags"], behind) == (502, "-", "502 UPE")
    seen(f"{told(reply, tags)}; the callee's sidecar logs {behind}")


def test_a_service_whose_only_pod_is_not_ready(mesh, seen, victim):
    """A service whose only pod is not ready"""
    mesh.ready("victim-v1", ready=False)
    try:
        until(lambda: mesh.call("sleep-v1", HOST).status == 503, "the endpoint is gone")
        reply, tags = mesh.traced("sleep-v1", HOST)
    finally:
        mesh.ready("victim-v1", ready=True)
    assert (reply.status, reply.body, tags["response_flags"]) == (503, b"no healthy upstream", "UH")
    until(lambda: mesh.call("sleep-v1", HOST).status == 200, "the endpoint is back")
    seen(f"{told(reply, tags)}; 200 once it is ready again")


def test_a_sidecar_that_is_back(mesh, seen, victim):
    """A callee whose sidecar was dead and is started again"""
    victim.envoy_down()
    assert mesh.call("sleep-v1", HOST).status == 503
    victim.mend()
    until(lambda: mesh.call("sleep-v1", HOST).status == 200, "the callee answers")
    assert mesh.flags("sleep-v1", HOST) == (200, "-")
    seen("503, then 200 -")

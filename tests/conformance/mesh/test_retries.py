"""VirtualService retries of calls that break."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from chance import likely
from echo_mesh import PORT
from traffic import gauge
from waiting import until

HOST = "victim:9080"
PAIR = "pair:9080"
CONNECT = "upstream connect error or disconnect/reset before headers. "
GRPC = {"content-type": "application/grpc"}


def answer(status, head=""):
    """A whole answer of an application, as bytes."""
    return f"HTTP/1.1 {status} X\r\n{head}content-length: 0\r\nconnection: close\r\n\r\n".encode()


def retries(mesh, host="victim", **settings):
    """A route with these retries, once it is live."""
    mesh.route(host, {"retries": settings, "headers": {"response": {"set": {"x-live": "yes"}}}})
    until(lambda: "x-live" in mesh.call("sleep-v1", f"{host}:{PORT}").headers, "the route is live")


def retried(mesh, host="victim"):
    """How often sleep's sidecar has tried again to call HOST."""
    return gauge(mesh, "sleep-v1", "upstream_rq_retry", f"{host}.default.svc.cluster.local")


@pytest.fixture
def pair(mesh, victims, victim):
    """Both pods of the service pair, well before and after."""
    until(
        lambda: {mesh.call("sleep-v1", PAIR).json["name"] for _ in range(20)} == {"victim-v1", "victim-v2"},
        "both pods answer",
    )
    for one in victims.values():
        one.app.reset()
    yield victims
    victims["v2"].mend()


@pytest.mark.parametrize(
    ("name", "status", "calls"),
    [("UNAVAILABLE", 14, 3), ("CANCELLED", 1, 3), ("DEADLINE_EXCEEDED", 4, 1), ("INTERNAL", 13, 1), ("OK", 0, 1)],
)
def test_the_default_for_grpc(mesh, seen, victim, name, status, calls):
    """retries absent: a gRPC answer {name}"""
    victim.app_answers(lambda _: answer(200, f"content-type: application/grpc\r\ngrpc-status: {status}\r\n"))
    reply, tags = mesh.traced("sleep-v1", HOST, headers=GRPC, method="POST")
    assert (reply.headers["grpc-status"], victim.requests) == (str(status), calls)
    assert tags["response_flags"] == ("URX" if calls > 1 else "-")
    seen(f"{victim.requests} calls, {tags['response_flags']}")


def test_the_default_for_a_dead_sidecar(mesh, seen, victim):
    """retries absent: how often a dead sidecar is called"""
    victim.envoy_down()
    before = retried(mesh)
    status, flags = mesh.flags("sleep-v1", HOST)
    again = retried(mesh) - before
    assert (status, flags, again) == (503, "URX,UF", 2)
    seen(f"{status} {flags}, tried again {again} times")


def test_the_default_for_one_dead_sidecar_of_two(mesh, seen, pair):
    """retries absent: one of two pods has a dead sidecar"""
    pair["v1"].envoy_down()
    answers = [mesh.call("sleep-v1", PAIR) for _ in range(30)]
    assert {one.status for one in answers} == {200}
    assert {one.json["name"] for one in answers} == {"victim-v2"}
    seen("30 of 30 calls are answered by the other")


def test_the_default_for_one_dead_application_of_two(mesh, seen, pair):
    """retries absent: one of two pods has a dead application"""
    pair["v1"].app_down()
    failed = sum(mesh.call("sleep-v1", PAIR).status == 503 for _ in range(60))
    assert failed in likely(50, 60)
    seen("half of the calls fail: the 503 of the callee's sidecar is not retried")


@pytest.mark.parametrize(
    ("attempts", "flags", "words"), [(0, "UF", ""), (1, "URX,UF", "retried"), (4, "URX,UF", "retried")]
)
def test_attempts_on_a_dead_sidecar(mesh, seen, victim, attempts, flags, words):
    """retries.attempts {attempts}: a dead sidecar"""
    retries(mesh, attempts=attempts)
    victim.envoy_down()
    before = retried(mesh)
    reply, tags = mesh.traced("sleep-v1", HOST)
    again = retried(mesh) - before
    assert (reply.status, tags["response_flags"], again) == (503, flags, attempts)
    assert reply.body.decode().startswith(f"{CONNECT}{words}")
    seen(f"503 {flags}, tried again {again} times: '{reply.body.decode()}'")


@pytest.mark.parametrize(
    ("policy", "status", "calls"),
    [
        ("5xx", 503, 3),
        ("5xx", 500, 3),
        ("5xx", 404, 1),
        ("503", 503, 3),
        ("503", 500, 1),
        ("gateway-error", 502, 3),
        ("gateway-error", 500, 1),
        ("connect-failure", 503, 1),
        ("retriable-4xx", 409, 3),
        ("retriable-4xx", 404, 1),
        ("retriable-status-codes", 503, 1),
        ("retriable-status-codes,418", 418, 3),
        ("404, 429", 429, 3),
        ("gateway-error", 503, 3),
        ("gateway-error", 504, 3),
        ("gateway-error,409", 409, 3),
        ("reset", 503, 1),
    ],
)
def test_what_is_retried(mesh, seen, victim, policy, status, calls):
    """retries.retryOn {policy}: an application's {status}"""
    retries(mesh, attempts=2, retryOn=policy.replace(" ", ""))
    victim.app.answer = status
    before = victim.app.hits
    found, flags = mesh.flags("sleep-v1", HOST)
    assert (found, victim.app.hits - before) == (status, calls)
    assert flags == ("URX" if calls > 1 else "-")
    seen(f"{victim.app.hits - before} calls, {found} {flags}")


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        ({}, 1),
        ({"attempts": 0}, 1),
        ({"attempts": 2}, 1),
        ({"attempts": 1, "retryOn": "5xx"}, 2),
        ({"attempts": 3, "retryOn": "5xx"}, 4),
        ({"attempts": 2, "retryOn": "5xx", "retryRemoteLocalities": True}, 3),
    ],
    ids=str,
)
def test_attempts(mesh, seen, victim, settings, calls):
    """retries {settings}: an application's 503"""
    retries(mesh, **settings)
    victim.app.answer = 503
    before = victim.app.hits
    status, flags = mesh.flags("sleep-v1", HOST)
    found = victim.app.hits - before
    assert (status, flags, found) == (503, "URX" if calls > 1 else "-", calls)
    seen(f"{found} calls, {status} {flags}")


def test_a_timeout_of_all_attempts(mesh, seen, victim):
    """timeout ends all attempts together"""
    again = {"attempts": 5, "perTryTimeout": "0.7s", "retryOn": "5xx"}
    mesh.route("victim", {"timeout": "1.2s", "retries": again})
    victim.app.delay = 5.0
    until(lambda: mesh.call("sleep-v1", HOST).status == 504, "the timeout is live")
    before = victim.app.hits
    reply, tags = mesh.traced("sleep-v1", HOST)
    found = victim.app.hits - before
    assert (reply.status, tags["response_flags"], found) == (504, "UT", 2)
    assert 1.18 <= reply.took < 4.0
    seen(f"{reply.status} {tags['response_flags']}, {found} calls")


def test_a_post_is_retried(mesh, seen, victim):
    """retries of a POST"""
    retries(mesh, attempts=2, retryOn="5xx")
    victim.app.answer = 503
    before = victim.app.hits
    mesh.call("sleep-v1", HOST, method="POST")
    calls = victim.app.hits - before
    assert calls == 3
    seen(f"{calls} calls, as of a GET")


def test_a_callee_that_recovers(mesh, seen, victim):
    """retries.attempts 3: a callee that fails twice"""
    retries(mesh, attempts=3, retryOn="5xx")
    victim.app_answers(lambda number: answer(503 if number <= 2 else 200))
    status, flags = mesh.flags("sleep-v1", HOST)
    assert (status, flags, victim.requests) == (200, "-", 3)
    seen(f"{status} {flags} after {victim.requests} calls")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "3"},
        {"x-envoy-retry-on": "retriable-status-codes", "x-envoy-retriable-status-codes": "503"},
        {"x-envoy-retry-grpc-on": "internal"},
    ],
    ids=" and ".join,
)
def test_the_callers_own_retry_headers(mesh, seen, victim, headers):
    """Request headers of an application that ask for retries"""
    victim.app.answer = 503
    found = mesh.flags("sleep-v1", HOST, headers=headers)
    assert (found, victim.app.hits) == ((503, "-"), 1)
    seen("not heeded: one call")


@pytest.mark.parametrize(("ignore", "percent"), [(True, 50 / 64), (False, 25)])
def test_previous_hosts(mesh, seen, pair, ignore, percent):
    """retries.retryIgnorePreviousHosts {ignore}: calls that fail though one of two pods is well

    The first attempt meets the failing pod every other time; the retry then looks for another up to five times more.
    """
    retries(mesh, "pair", attempts=1, retryOn="5xx", retryIgnorePreviousHosts=ignore)
    pair["v1"].app.answer = 503
    failed = sum(mesh.call("sleep-v1", PAIR).status == 503 for _ in range(200))
    assert failed in likely(percent, 200)
    seen("as if every retry chose anew" if not ignore else "hardly any")


@pytest.mark.parametrize(("policy", "calls"), [("", 1), ("gateway-error", 3), ("5xx", 3), ("reset", 3)])
def test_which_policies_retry_after_a_try_ran_out_of_time(mesh, seen, victim, policy, calls):
    """retries.perTryTimeout with retryOn '{policy}'"""
    retries(mesh, attempts=2, perTryTimeout="0.1s", **({"retryOn": policy} if policy else {}))
    victim.app.delay = 0.6
    before = victim.app.hits
    status, flags = mesh.flags("sleep-v1", HOST)
    found = victim.app.hits - before
    assert (status, flags, found) == (504, "UT" if calls == 1 else "URX,UT", calls)
    seen(f"{status} {flags}, {found} calls")


def test_a_slow_pod_beside_a_quick_one(mesh, seen, pair):
    """retries.perTryTimeout: one of two pods is slow"""
    retries(mesh, "pair", attempts=5, perTryTimeout="0.1s", retryOn="5xx")
    pair["v1"].app.delay = 0.6
    answers = [mesh.call("sleep-v1", PAIR) for _ in range(12)]
    assert {(one.status, one.json["name"]) for one in answers} == {(200, "victim-v2")}
    seen("every call is answered by the quick one")


def test_a_callee_that_dies_meanwhile(mesh, seen, pair):
    """retries.retryOn reset: the callee's sidecar dies while it is called, and there is another"""
    retries(mesh, "pair", attempts=2, retryOn="reset,connect-failure")
    for one in pair.values():
        one.app.reset()
        one.app.delay = 5.0
    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(mesh.flags, "sleep-v1", PAIR)
        first = until(lambda: next((one for one in pair.values() if one.app.hits), None), "the call is under way")
        for one in pair.values():
            if one is not first:
                one.app.delay = 0.0
        first.envoy_down()
        status, flags = called.result()
    first.mend()
    assert (status, flags, sum(one.app.hits for one in pair.values() if one is not first)) == (200, "-", 1)
    seen(f"{status} {flags}, answered by the other pod")

"""VirtualService timeouts, retries and destinations."""

from __future__ import annotations

import os
import signal

import pytest
from chance import likely
from echo_mesh import until
from traffic import shares

HOST = "reviews:9080"
BOTH = ("reviews-v1", "reviews-v2")
SUBSETS = [{"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"version": "v2"}}]


def to(subset="", weight=None, host="reviews", **more):
    destination = {"host": host, **({"subset": subset} if subset else {})}
    entry = {"destination": destination, **more}
    return entry if weight is None else {**entry, "weight": weight}


def slow(mesh, seconds):
    for app in BOTH:
        mesh.apps[app].delay = seconds


def answering(mesh, status):
    for app in BOTH:
        mesh.apps[app].answer = status


def subsets(mesh):
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "subsets": SUBSETS})


def tried(mesh, retries=None, **kwargs):
    """Status, flags and how often reviews was called for one request, under RETRIES or without a VirtualService."""
    if retries is not None:
        mesh.route("reviews", {"retries": retries})
    status, flags = mesh.flags("sleep-v1", HOST, **kwargs)
    return f"{status} {flags}, {mesh.hits('reviews')} attempts"


def test_a_timeout(mesh, seen):
    """timeout ends the call"""
    slow(mesh, 2.0)
    mesh.route("reviews", {"timeout": "0.3s"})
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, reply.body, tags["response_flags"]) == (504, b"upstream request timeout", "UT")
    assert 0.28 <= reply.took < 1.5
    seen(f"{reply.status} {tags['response_flags']} '{reply.body.decode()}'")


def test_the_callee_of_a_timeout(mesh, seen):
    """timeout: the callee's sidecar sees its caller leave"""
    slow(mesh, 2.0)
    mesh.route("reviews", {"timeout": "0.2s"})
    _, tags = mesh.traced("sleep-v1", HOST)
    trace = next(one["trace"] for one in mesh.otlp.spans if one["kind"] == 3)
    server = mesh.span(trace, kind=2)["tags"]
    assert (server["http.status_code"], server["response_flags"]) == ("0", "DC")
    seen(f"SERVER span: code {server['http.status_code']}, {server['response_flags']}")
    assert tags["http.status_code"] == "504"


@pytest.mark.parametrize("with_route", [True, False], ids=["a route without one", "no VirtualService"])
def test_no_timeout(mesh, seen, with_route):
    """timeout absent: there is none, not even Envoy's of 15 s"""
    if with_route:
        mesh.route("reviews", {})
    slow(mesh, 0.4)
    assert mesh.call("sleep-v1", HOST).status == 200
    dump = mesh.stats("sleep-v1", "/config_dump?resource=dynamic_route_configs&name_regex=9080")
    assert '"timeout": "0s"' in dump
    assert '"timeout": "15' not in dump
    seen("none")


def test_the_callers_own_timeout(mesh, seen):
    """The request header x-envoy-upstream-rq-timeout-ms, beside no timeout"""
    slow(mesh, 1.0)
    mesh.route("reviews", {})
    status, flags = mesh.flags("sleep-v1", HOST, headers={"x-envoy-upstream-rq-timeout-ms": "100"})
    assert (status, flags) == (200, "-")
    seen(f"{status} {flags}: not heeded, an application is a stranger to its sidecar")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_default_retries(mesh, seen, status):
    """retries absent: an application's {status}"""
    answering(mesh, status)
    found = tried(mesh)
    assert found == f"{status} -, 1 attempts"
    seen(found)


def test_default_retries_of_a_connection_that_is_refused(mesh, seen):
    """retries absent: a connection that the only pod refuses"""
    sidecar = mesh.sidecars["details-v1"]
    os.kill(sidecar.pid, signal.SIGKILL)
    mesh.do(sidecar.wait())
    try:
        # connections from before are noticed to be closed one by one
        until(lambda: "UF" in mesh.flags("sleep-v1", "details:9080")[1], "connections are refused")
        status, flags = mesh.flags("sleep-v1", "details:9080")
    finally:
        mesh.do(sidecar.start())
        mesh.do(sidecar.ready())
        mesh.synced()
    assert (status, set(flags.split(","))) == (503, {"UF", "URX"})
    seen(f"{status} {','.join(sorted(flags.split(',')))}")
    until(lambda: mesh.call("sleep-v1", "details:9080").status == 200, "details is back")


@pytest.mark.parametrize(
    ("case", "retries", "status", "attempts"),
    [
        ("attempts 2 and retryOn 5xx", {"attempts": 2, "retryOn": "5xx"}, 503, 3),
        ("attempts 2 and retryOn 503", {"attempts": 2, "retryOn": "503"}, 503, 3),
        ("attempts 1 and retryOn gateway-error", {"attempts": 1, "retryOn": "gateway-error"}, 502, 2),
        ("attempts 2 and retryOn gateway-error", {"attempts": 2, "retryOn": "gateway-error"}, 500, 1),
        ("attempts 2 and retryOn 500,503", {"attempts": 2, "retryOn": "500,503"}, 500, 3),
        ("attempts 2 and retryOn retriable-4xx", {"attempts": 2, "retryOn": "retriable-4xx"}, 409, 3),
        ("attempts 2 and retryOn connect-failure", {"attempts": 2, "retryOn": "connect-failure"}, 503, 1),
        ("attempts 2 alone", {"attempts": 2}, 503, 1),
        ("attempts 0", {"attempts": 0}, 503, 1),
        ("nothing in it", {}, 503, 1),
        ("attempts 2, retryOn 5xx and retryIgnorePreviousHosts false",
         {"attempts": 2, "retryOn": "5xx", "retryIgnorePreviousHosts": False}, 503, 3),
        ("attempts 2, retryOn 5xx and retryRemoteLocalities",
         {"attempts": 2, "retryOn": "5xx", "retryRemoteLocalities": True}, 503, 3),
    ],
)  # fmt: skip
def test_retries(mesh, seen, case, retries, status, attempts):
    """retries with {case}: an application's {status}"""
    answering(mesh, status)
    found = tried(mesh, retries)
    flags = "URX" if attempts > 1 else "-"
    assert found == f"{status} {flags}, {attempts} attempts"
    seen(found)


def test_retries_end_with_the_first_success(mesh, seen):
    """retries end with the first attempt that succeeds, on another pod"""
    mesh.apps["reviews-v1"].answer = 503
    mesh.route("reviews", {"retries": {"attempts": 1, "retryOn": "5xx"}})
    replies = [mesh.call("sleep-v1", HOST) for _ in range(30)]
    assert {reply.status for reply in replies} == {200}
    assert {reply.json["name"] for reply in replies} == {"reviews-v2"}
    assert mesh.apps["reviews-v1"].hits > 0
    seen("30 of 30 succeed though one of two pods always fails")


def test_the_attempt_count(mesh, seen):
    """x-envoy-attempt-count tells the callee the attempt"""
    answering(mesh, 503)
    mesh.route("reviews", {"retries": {"attempts": 2, "retryOn": "5xx"}})
    mesh.call("sleep-v1", HOST)
    found = sorted(seen["x-envoy-attempt-count"] for app in BOTH for seen in mesh.apps[app].seen)
    assert found == ["1", "2", "3"]
    seen(", ".join(found))


def test_a_per_try_timeout(mesh, seen):
    """retries.perTryTimeout ends each attempt"""
    slow(mesh, 2.0)
    mesh.route("reviews", {"retries": {"attempts": 2, "perTryTimeout": "100ms", "retryOn": "5xx"}})
    reply, tags = mesh.traced("sleep-v1", HOST)
    flags = ",".join(sorted(tags["response_flags"].split(",")))
    assert (reply.status, flags, mesh.hits("reviews")) == (504, "URX,UT", 3)
    assert reply.took < 1.5
    seen(f"{reply.status} {flags}, {mesh.hits('reviews')} attempts")


def test_the_timeout_of_all_attempts(mesh, seen):
    """timeout ends all attempts together"""
    slow(mesh, 2.0)
    retries = {"attempts": 5, "perTryTimeout": "200ms", "retryOn": "5xx"}
    mesh.route("reviews", {"timeout": "0.3s", "retries": retries})
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, tags["response_flags"]) == (504, "UT")
    assert 0.28 <= reply.took < 1.2
    assert mesh.hits("reviews") == 2
    seen("504 UT during the second attempt")


def test_backoff(mesh, seen):
    """retries.backoff is the pause between attempts"""
    answering(mesh, 503)
    mesh.route("reviews", {"retries": {"attempts": 1, "retryOn": "5xx", "backoff": "400ms"}})
    most = max(mesh.call("sleep-v1", HOST).took for _ in range(12))
    # each pause is drawn evenly between 0 and the backoff: none of 12 above 60 ms happens once in 10⁹
    assert 0.06 <= most < 1.5
    seen("longer than Envoy's own 25 ms")


@pytest.mark.parametrize(("first", "second"), [(50, 50), (10, 90), (1, 3)])
def test_weights(mesh, seen, first, second):
    """Weights {first} and {second} share the calls"""
    subsets(mesh)
    mesh.route("reviews", {"route": [to("v1", first), to("v2", second)]})
    found = shares(mesh, "sleep-v1", HOST, 300)
    assert found["reviews-v1"] in likely(100 * first / (first + second), 300)
    assert sum(found.values()) == found["reviews-v1"] + found["reviews-v2"]
    seen("within the binomial bound of 300 requests")


@pytest.mark.parametrize(
    ("case", "route"),
    [
        ("0 beside 100", [to("v1", 0), to("v2", 100)]),
        ("absent beside 1", [to("v1"), to("v2", 1)]),
        ("0 and alone", [to("v2", 0)]),
    ],
)
def test_no_weight(mesh, seen, case, route):
    """A weight {case}"""
    subsets(mesh)
    mesh.route("reviews", {"route": route})
    found = shares(mesh, "sleep-v1", HOST, 30)
    assert set(found) == {"reviews-v2"}
    seen(", ".join(found))


def test_another_service(mesh, seen):
    """A destination may be another service"""
    mesh.route("reviews", {"route": [to(host="details")]})
    assert set(shares(mesh, "sleep-v1", HOST, 10)) == {"details-v1"}
    seen("details answers for reviews")


@pytest.mark.parametrize(
    ("case", "route", "result"),
    [
        ("a subset that no DestinationRule has", to("v9"), (503, "NC")),
        ("a service that is not there", to(host="missing"), (503, "NC")),
        ("a port that the service has not", {"destination": {"host": "reviews", "port": {"number": 1}}}, (503, "NC")),
    ],
)
def test_no_such_destination(mesh, seen, case, route, result):
    """A destination with {case}"""
    subsets(mesh)
    mesh.route("reviews", {"route": [route]})
    found = mesh.flags("sleep-v1", HOST)
    assert found == result
    seen(f"{found[0]} {found[1]}")


def test_a_missing_rule(mesh, seen):
    """A subset without any DestinationRule, which then comes"""
    mesh.route("reviews", {"route": [to("v1")]})
    assert mesh.flags("sleep-v1", HOST) == (503, "NC")
    subsets(mesh)
    until(lambda: mesh.call("sleep-v1", HOST).status == 200, "the subset is there")
    assert set(shares(mesh, "sleep-v1", HOST, 10)) == {"reviews-v1"}
    seen("503 NC, then v1 answers")


def test_an_empty_subset(mesh, seen):
    """A subset that no pod is in"""
    mesh.apply(
        "DestinationRule", "reviews", {"host": "reviews", "subsets": [{"name": "v3", "labels": {"version": "v3"}}]}
    )
    mesh.route("reviews", {"route": [to("v3")]})
    found = mesh.flags("sleep-v1", HOST)
    assert found == (503, "UH")
    seen(f"{found[0]} {found[1]}")


def test_one_of_two_is_missing(mesh, seen):
    """A weighted destination that is not there fails its own share only"""
    subsets(mesh)
    mesh.route("reviews", {"route": [to("v1", 50), to("v9", 50)]})
    found = shares(mesh, "sleep-v1", HOST, 200)
    assert set(found) == {"reviews-v1", "503"}
    assert found["503"] in likely(50, 200)
    seen("503 for its share, v1 for the rest")


def test_an_unknown_host(mesh, seen):
    """A host that no service has"""
    reply = mesh.call("sleep-v1", "example.com")
    assert (reply.status, reply.body) == (502, b"")
    seen(f"{reply.status} without a body")

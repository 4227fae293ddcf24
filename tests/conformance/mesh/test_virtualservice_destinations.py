"""VirtualService destinations, and what holds without a word."""

from __future__ import annotations

import pytest
from chance import likely
from traffic import shares
from waiting import until

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


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_default_retries(mesh, seen, status):
    """retries absent: an application's {status}"""
    answering(mesh, status)
    found = mesh.flags("sleep-v1", HOST)
    assert (found, mesh.hits("reviews")) == ((status, "-"), 1)
    seen(f"{found[0]} {found[1]}, {mesh.hits('reviews')} attempt")


def test_the_attempt_count(mesh, seen):
    """x-envoy-attempt-count tells the callee the attempt"""
    answering(mesh, 503)
    mesh.route("reviews", {"retries": {"attempts": 2, "retryOn": "5xx"}})
    mesh.call("sleep-v1", HOST)
    found = sorted(seen["x-envoy-attempt-count"] for app in BOTH for seen in mesh.apps[app].seen)
    assert found == ["1", "2", "3"]
    seen(", ".join(found))


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

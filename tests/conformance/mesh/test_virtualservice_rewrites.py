"""VirtualService rewrites, headers and mirrors."""

from __future__ import annotations

import pytest
from chance import likely
from fault_words import marked
from traffic import gauge
from waiting import until

HOST = "reviews:9080"
WHOLE = "details.default.svc.cluster.local"
UNDER_WAY = ("upstream_rq_active", "upstream_rq_pending_active")
SUBSETS = [{"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"version": "v2"}}]


def arrived(mesh, app="reviews"):
    """The headers of the last request that reached APP."""
    return next(one.seen[-1] for name, one in mesh.apps.items() if name.startswith(f"{app}-") and one.seen)


REWRITES = [
    ("uri behind uri.prefix", {"prefix": "/api"}, {"uri": "/v1"}, "/api/reviews?q=1", "/v1/reviews?q=1"),
    ("uri / behind uri.prefix", {"prefix": "/api/"}, {"uri": "/"}, "/api/reviews", "/reviews"),
    ("uri behind uri.exact", {"exact": "/api"}, {"uri": "/v1"}, "/api?q=1", "/v1?q=1"),
    ("uri behind uri.regex", {"regex": "/a.*"}, {"uri": "/v1"}, "/api/reviews", "/v1"),
    ("uri behind no match", None, {"uri": "/v1"}, "/api/reviews", "/v1api/reviews"),
    (
        "uriRegexRewrite with groups",
        {"prefix": "/"},
        {"uriRegexRewrite": {"match": "^/service/([^/]+)(/.*)$", "rewrite": "\\2/instance/\\1"}},
        "/service/foo/v1/api",
        "/v1/api/instance/foo",
    ),
    (
        "uriRegexRewrite that occurs twice",
        {"prefix": "/"},
        {"uriRegexRewrite": {"match": "one", "rewrite": "two"}},
        "/xxx/one/yyy/one/zzz",
        "/xxx/two/yyy/two/zzz",
    ),
    (
        "uriRegexRewrite that does not occur",
        {"prefix": "/"},
        {"uriRegexRewrite": {"match": "(?i)/XXX/", "rewrite": "/yyy/"}},
        "/api",
        "/api",
    ),
]


@pytest.mark.parametrize(("case", "match", "rewrite", "path", "arrives"), REWRITES, ids=[one[0] for one in REWRITES])
def test_a_path(mesh, seen, case, match, rewrite, path, arrives):
    """rewrite.{case}"""
    matches = {} if match is None else {"match": [{"uri": match}]}
    mesh.route("reviews", {**matches, "rewrite": rewrite})
    found = mesh.call("sleep-v1", HOST, path).json["path"]
    assert found == arrives
    seen(f"{path} arrives as {found}")


def test_an_authority(mesh, seen):
    """rewrite.authority is what the callee sees, and does not route"""
    mesh.route("reviews", {"rewrite": {"authority": "elsewhere.com"}})
    name = mesh.call("sleep-v1", HOST).json["name"]
    assert name.startswith("reviews")
    assert arrived(mesh)["host"] == "elsewhere.com"
    seen(f"reviews is reached, as {arrived(mesh)['host']}")


@pytest.mark.parametrize("name", ["host", ":authority", "Host"])
def test_an_authority_among_headers(mesh, seen, name):
    """headers.request.set of {name} rewrites the authority"""
    mesh.route("reviews", {"headers": {"request": {"set": {name: "elsewhere.com"}}}})
    mesh.call("sleep-v1", HOST)
    assert arrived(mesh)["host"] == "elsewhere.com"
    seen(arrived(mesh)["host"])


def test_two_authorities(mesh, seen):
    """The route's authority comes before its destination's"""
    named = {"request": {"set": {"host": "destination.com"}}}
    mesh.route(
        "reviews",
        {"rewrite": {"authority": "route.com"}, "route": [{"destination": {"host": "reviews"}, "headers": named}]},
    )
    mesh.call("sleep-v1", HOST)
    assert arrived(mesh)["host"] == "route.com"
    seen(arrived(mesh)["host"])


REQUESTS = [
    ("set of a new one", {"set": {"x-a": "1"}}, "1"),
    ("set of one that is there", {"set": {"x-b": "1"}}, "1"),
    ("add of a new one", {"add": {"x-a": "1"}}, "1"),
    ("add to one that is there", {"add": {"x-b": "1"}}, "was,1"),
    ("remove", {"remove": ["x-b"]}, "none"),
    ("set and add of one", {"set": {"x-b": "1"}, "add": {"x-b": "2"}}, "1,2"),
    ("set and remove of one", {"set": {"x-b": "1"}, "remove": ["x-b"]}, "1"),
    ("set with an expression", {"set": {"x-b": "%PROTOCOL% 100%%"}}, "HTTP/1.1 100%"),
]


@pytest.mark.parametrize(("case", "operations", "arrives"), REQUESTS, ids=[one[0] for one in REQUESTS])
def test_request_headers(mesh, seen, case, operations, arrives):
    """headers.request.{case}"""
    mesh.route("reviews", {"headers": {"request": operations}})
    mesh.call("sleep-v1", HOST, headers={"x-b": "was"})
    found = arrived(mesh).get("x-b" if "x-b" in str(operations) else "x-a", "none")
    assert found == arrives
    seen(found)


RESPONSES = [
    ("set of a new one", {"set": {"x-a": "1"}}, "x-a", "1"),
    ("set of one that is there", {"set": {"content-type": "a/b"}}, "content-type", "a/b"),
    ("add of a new one", {"add": {"x-a": "1"}}, "x-a", "1"),
    ("remove", {"remove": ["date"]}, "content-type", "application/json; charset=utf-8"),
]


@pytest.mark.parametrize(("case", "operations", "name", "value"), RESPONSES, ids=[one[0] for one in RESPONSES])
def test_response_headers(mesh, seen, case, operations, name, value):
    """headers.response.{case}"""
    mesh.route("reviews", {"headers": {"response": operations}})
    found = mesh.call("sleep-v1", HOST).headers.get(name)
    assert found == value
    seen(f"{name}: {found}")


def test_route_and_destination(mesh, seen):
    """Headers of a route and of its only destination are both applied, the route's first"""
    first = {"request": {"set": {"x-a": "1"}}, "response": {"add": {"x-route": "r"}}}
    second = {"request": {"add": {"x-a": "2"}}, "response": {"set": {"x-destination": "d"}}}
    mesh.route("reviews", {"headers": first, "route": [{"destination": {"host": "reviews"}, "headers": second}]})
    reply = mesh.call("sleep-v1", HOST)
    found = arrived(mesh)["x-a"], reply.headers["x-route"], reply.headers["x-destination"]
    assert found == ("1,2", "r", "d")
    seen(f"x-a: {found[0]}, both responses' headers")


def test_a_weighted_destination(mesh, seen):
    """Headers of one weighted destination are for it only"""
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "subsets": SUBSETS})
    tagged = {"headers": {"response": {"set": {"x-canary": "yes"}}}}
    split = [{"destination": {"host": "reviews", "subset": name}, "weight": 50} for name in ("v1", "v2")]
    mesh.route("reviews", {"route": [{**split[0], **tagged}, split[1]]})
    replies = [mesh.call("sleep-v1", HOST) for _ in range(30)]
    found = {(reply.json["name"], reply.headers.get("x-canary")) for reply in replies}
    assert found == {("reviews-v1", "yes"), ("reviews-v2", None)}
    seen("v1's answers have it, v2's have not")


MIRRORS = [
    ("mirror", {"mirror": {"host": "details"}}, 100),
    ("mirror and mirrorPercentage 100", {"mirror": {"host": "details"}, "mirrorPercentage": {"value": 100}}, 100),
    ("mirror and mirrorPercentage 40", {"mirror": {"host": "details"}, "mirrorPercentage": {"value": 40}}, 40),
    ("mirror and mirrorPercentage 0", {"mirror": {"host": "details"}, "mirrorPercentage": {"value": 0}}, 0),
    ("mirror and an empty mirrorPercentage", {"mirror": {"host": "details"}, "mirrorPercentage": {}}, 0),
    ("mirror and the deprecated mirrorPercent 40", {"mirror": {"host": "details"}, "mirrorPercent": 40}, 40),
    ("mirror with a port", {"mirror": {"host": "details", "port": {"number": 9080}}}, 100),
    ("mirrors", {"mirrors": [{"destination": {"host": "details"}}]}, 100),
    ("mirrors of percentage 40", {"mirrors": [{"destination": {"host": "details"}, "percentage": {"value": 40}}]}, 40),
    ("mirrors, one of them missing", {"mirrors": [{"destination": {"host": one}} for one in ("gone", "details")]}, 100),
]


@pytest.mark.parametrize(("case", "mirror", "percent"), MIRRORS, ids=[one[0] for one in MIRRORS])
def test_a_mirror(mesh, seen, case, mirror, percent):
    """{case}: how many requests are copied"""
    count = 100
    mesh.route("reviews", mirror)
    for _ in range(count):
        assert mesh.call("sleep-v1", HOST).json["name"].startswith("reviews")
    until(lambda: not any(gauge(mesh, "sleep-v1", name, WHOLE) for name in UNDER_WAY), "no copy is under way")
    assert mesh.hits("details") in likely(percent, count)
    assert mesh.hits("reviews") == count
    seen("none" if percent == 0 else "all" if percent == 100 else f"{percent} % within the binomial bound")


def test_what_a_mirror_gets(mesh, seen):
    """mirror: what of the request the copy has"""
    mesh.route("reviews", {"mirror": {"host": "details"}, "headers": {"request": {"set": {"x-a": "1"}}}})
    mesh.call("sleep-v1", HOST, "/path?q=1", headers={"x-b": "2"}, method="POST")
    until(lambda: mesh.hits("details") == 1, "a copy")
    copy = arrived(mesh, "details")
    assert (copy["host"], copy["x-a"], copy["x-b"]) == (HOST, "1", "2")
    seen(f"host {copy['host']}, the caller's header and the route's")


def test_a_mirror_that_is_slow_and_fails(mesh, seen):
    """mirror: a copy that is slow and fails"""
    mesh.apps["details-v1"].answer, mesh.apps["details-v1"].delay = 500, 5.0
    mesh.route("reviews", {"mirror": {"host": "details"}})
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, tags["response_flags"]) == (200, "-")
    assert reply.took < 4.0
    until(lambda: mesh.hits("details") == 1, "a copy")
    seen("200 at once")


def test_a_mirror_is_not_traced(mesh, seen):
    """mirror: the copy in the request's trace"""
    mesh.route("reviews", {"mirror": {"host": "details"}})
    first, later = marked("nobody"), marked("nobody")
    mesh.call("sleep-v1", HOST, headers=first)
    until(lambda: mesh.hits("details") == 1, "a copy")
    # by the time that a later request's span of details is here, so is all that details had to say of the copy
    mesh.call("sleep-v1", "details:9080", headers=later)
    traces = [headers["traceparent"].split("-")[1] for headers in (first, later)]
    mesh.span(traces[1], kind=2)
    for kind in (2, 3):
        mesh.span(traces[0], kind=kind)
    found = sorted(f"{one['service']} {one['kind']}" for one in mesh.otlp.spans if one["trace"] == traces[0])
    assert found == ["reviews.default 2", "sleep.default 3"]
    seen("not in it")

"""HTTPRoutes of the Gateway API on Services: filters and timeouts."""

from __future__ import annotations

import pytest
from chance import likely
from gateway_routes import attach, backend, rule
from traffic import gauge
from waiting import until

HOST = "reviews:9080"
DETAILS = "details.default.svc.cluster.local"
UNDER_WAY = ("upstream_rq_active", "upstream_rq_pending_active")


def arrived(mesh, app="reviews"):
    """The headers of the last request that reached APP."""
    return next(one.seen[-1] for name, one in mesh.apps.items() if name.startswith(f"{app}-") and one.seen)


def headers(**operations):
    named = [{"name": name, "value": value} for name, value in operations.pop("set", {}).items()]
    added = [{"name": name, "value": value} for name, value in operations.pop("add", {}).items()]
    return {**({"set": named} if named else {}), **({"add": added} if added else {}), **operations}


REQUESTS = [
    ("set of a new one", headers(set={"X-A": "1"}), "x-a", "1"),
    ("set of one that is there", headers(set={"x-b": "1"}), "x-b", "1"),
    ("add to one that is there", headers(add={"x-b": "1"}), "x-b", "was,1"),
    ("remove", headers(remove=["x-b"]), "x-b", "none"),
    ("set of Host rewrites the authority", headers(set={"Host": "elsewhere.com"}), "host", "elsewhere.com"),
]


@pytest.mark.parametrize(("case", "changes", "name", "value"), REQUESTS, ids=[one[0] for one in REQUESTS])
def test_request_headers(mesh, seen, case, changes, name, value):
    """RequestHeaderModifier: {case}"""
    attach(mesh, rule(filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": changes}]))
    mesh.call("sleep-v1", HOST, headers={"x-b": "was"})
    found = arrived(mesh).get(name, "none")
    assert found == value
    seen(found)


RESPONSES = [
    ("set of one that is there", headers(set={"content-type": "a/b"}), "content-type", "a/b"),
    ("add of a new one", headers(add={"x-a": "1"}), "x-a", "1"),
    ("remove", headers(remove=["content-type"]), "content-type", "none"),
]


@pytest.mark.parametrize(("case", "changes", "name", "value"), RESPONSES, ids=[one[0] for one in RESPONSES])
def test_response_headers(mesh, seen, case, changes, name, value):
    """ResponseHeaderModifier: {case}"""
    attach(mesh, rule(filters=[{"type": "ResponseHeaderModifier", "responseHeaderModifier": changes}]))
    found = mesh.call("sleep-v1", HOST).headers.get(name, "none")
    assert found == value
    seen(found)


@pytest.mark.parametrize("several", [False, True], ids=["the only one", "one of two"])
def test_headers_of_a_backend(mesh, seen, several):
    """Filters of a backend"""
    changes = {"type": "ResponseHeaderModifier", "responseHeaderModifier": headers(set={"x-a": "1"})}
    refs = [backend(filters=[changes]), *([backend("details")] if several else [])]
    attach(mesh, rule(backendRefs=refs))
    replies = [mesh.call("sleep-v1", HOST) for _ in range(30 if several else 1)]
    found = {(reply.json["name"].partition("-")[0], reply.headers.get("x-a")) for reply in replies}
    assert found == {("reviews", "1"), *([("details", None)] if several else [])}
    seen("its responses alone have the header" if several else "its responses have the header")


REDIRECTS = [
    ("hostname", {"hostname": "a.com"}, "302 http://a.com:9080/a/b?q=1"),
    ("hostname and port 80", {"hostname": "a.com", "port": 80}, "302 http://a.com/a/b?q=1"),
    ("port", {"port": 8080}, "302 http://reviews:8080/a/b?q=1"),
    ("scheme", {"scheme": "https", "hostname": "a.com"}, "302 https://a.com/a/b?q=1"),
    ("scheme and port 443", {"scheme": "https", "port": 443, "hostname": "a.com"}, "302 https://a.com/a/b?q=1"),
    ("statusCode", {"hostname": "a.com", "statusCode": 301}, "301 http://a.com:9080/a/b?q=1"),
    ("statusCode 308", {"hostname": "a.com", "statusCode": 308}, "308 http://a.com:9080/a/b?q=1"),
    (
        "path ReplaceFullPath",
        {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"}},
        "302 http://reviews:9080/x?q=1",
    ),
    (
        "path ReplacePrefixMatch",
        {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}},
        "302 http://reviews:9080/x/b?q=1",
    ),
]


@pytest.mark.parametrize(("case", "redirect", "answer"), REDIRECTS, ids=[one[0] for one in REDIRECTS])
def test_a_redirect(mesh, seen, case, redirect, answer):
    """RequestRedirect: {case}"""
    turned = {"type": "RequestRedirect", "requestRedirect": redirect}
    attach(mesh, rule({"path": {"type": "PathPrefix", "value": "/a"}}, filters=[turned], backendRefs=[]))
    reply = mesh.call("sleep-v1", HOST, "/a/b?q=1")
    found = f"{reply.status} {reply.headers['location']}"
    assert found == answer
    seen(found)


def replaced(kind, value):
    return {"path": {"type": f"Replace{kind}", f"replace{kind}": value}}


REWRITES = [
    ("ReplacePrefixMatch", replaced("PrefixMatch", "/x"), "/a/b?q=1", "/x/b?q=1"),
    ("ReplacePrefixMatch of the whole path", replaced("PrefixMatch", "/x"), "/a", "/x"),
    ("ReplacePrefixMatch that ends with a slash", replaced("PrefixMatch", "/x/"), "/a/b", "/x/b"),
    ("ReplacePrefixMatch by /", replaced("PrefixMatch", "/"), "/a/b?q=1", "/b?q=1"),
    ("ReplacePrefixMatch of the whole path by /", replaced("PrefixMatch", "/"), "/a", "/"),
    ("ReplacePrefixMatch by nothing", replaced("PrefixMatch", ""), "/a/b", "/b"),
    ("ReplaceFullPath", replaced("FullPath", "/x"), "/a/b?q=1", "/x?q=1"),
]


@pytest.mark.parametrize(("case", "rewrite", "path", "arrives"), REWRITES, ids=[one[0] for one in REWRITES])
def test_a_path(mesh, seen, case, rewrite, path, arrives):
    """URLRewrite: {case}"""
    changed = {"type": "URLRewrite", "urlRewrite": rewrite}
    attach(mesh, rule({"path": {"type": "PathPrefix", "value": "/a"}}, filters=[changed]))
    found = mesh.call("sleep-v1", HOST, path).json["path"]
    assert found == arrives
    seen(f"{path} arrives as {found}")


def test_an_authority(mesh, seen):
    """URLRewrite: hostname"""
    attach(mesh, rule(filters=[{"type": "URLRewrite", "urlRewrite": {"hostname": "elsewhere.com"}}]))
    name = mesh.call("sleep-v1", HOST).json["name"]
    assert name.startswith("reviews")
    assert arrived(mesh)["host"] == "elsewhere.com"
    seen(f"reviews is reached, as {arrived(mesh)['host']}")


MIRRORS = [
    ("all", {}, 100),
    ("percent 40", {"percent": 40}, 40),
    ("percent 0", {"percent": 0}, 0),
    ("fraction 1 of 4", {"fraction": {"numerator": 1, "denominator": 4}}, 25),
    ("fraction of 100 where it does not say", {"fraction": {"numerator": 40}}, 40),
]


@pytest.mark.parametrize(("case", "share", "percent"), MIRRORS, ids=[one[0] for one in MIRRORS])
def test_a_mirror(mesh, seen, case, share, percent):
    """RequestMirror: {case}"""
    count = 100
    mirror = {"backendRef": backend("details"), **share}
    attach(mesh, rule(filters=[{"type": "RequestMirror", "requestMirror": mirror}]))
    for _ in range(count):
        assert mesh.call("sleep-v1", HOST).json["name"].startswith("reviews")
    until(lambda: not any(gauge(mesh, "sleep-v1", name, DETAILS) for name in UNDER_WAY), "no copy is under way")
    assert mesh.hits("details") in likely(percent, count)
    seen("none" if percent == 0 else "all" if percent == 100 else f"{percent} % within the binomial bound")


def test_mirrors(mesh, seen):
    """RequestMirror: one that is not there beside one that is"""
    filters = [
        {"type": "RequestMirror", "requestMirror": {"backendRef": backend(name)}} for name in ("gone", "details")
    ]
    attach(mesh, rule(filters=filters))
    assert mesh.call("sleep-v1", HOST).status == 200
    until(lambda: mesh.hits("details") == 1, "a copy")
    seen("the other one has its copy, and the caller 200")


TIMEOUTS = [
    ("request", {"request": "300ms"}, 504),
    ("backendRequest", {"backendRequest": "300ms"}, 504),
    ("a shorter backendRequest beside request", {"request": "5s", "backendRequest": "300ms"}, 504),
    ("request 0s", {"request": "0s"}, 200),
    ("backendRequest 0s beside request", {"request": "300ms", "backendRequest": "0s"}, 504),
    ("none", {}, 200),
]


@pytest.mark.parametrize(("case", "timeouts", "status"), TIMEOUTS, ids=[one[0] for one in TIMEOUTS])
def test_a_timeout(mesh, seen, case, timeouts, status):
    """timeouts: {case}"""
    attach(mesh, rule(timeouts=timeouts))
    for name in ("reviews-v1", "reviews-v2"):
        mesh.apps[name].delay = 0.6
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert reply.status == status
    if status == 504:
        assert reply.took >= 0.28
    seen(f"{status} {tags['response_flags']} of an answer after 0.6 s")

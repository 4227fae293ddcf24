"""VirtualService matches."""

from __future__ import annotations

import pytest
from fault_words import abort

HOST = "reviews:9080"

MATCHES = [
    ("no condition", {}, "/", {}, True),
    ("uri.exact, the same path", {"uri": {"exact": "/a"}}, "/a", {}, True),
    ("uri.exact, the path in another case", {"uri": {"exact": "/a"}}, "/A", {}, False),
    ("uri.exact, a longer path", {"uri": {"exact": "/a"}}, "/a/b", {}, False),
    ("uri.exact, the path with a query", {"uri": {"exact": "/a"}}, "/a?q=1", {}, True),
    (
        "uri.exact with ignoreUriCase, the path in another case",
        {"uri": {"exact": "/a"}, "ignoreUriCase": True},
        "/A",
        {},
        True,
    ),
    ("uri.prefix, a longer path", {"uri": {"prefix": "/a"}}, "/abc", {}, True),
    ("uri.prefix, another path", {"uri": {"prefix": "/a"}}, "/b", {}, False),
    ("uri.prefix with ignoreUriCase", {"uri": {"prefix": "/a"}, "ignoreUriCase": True}, "/ABC", {}, True),
    ("uri.prefix that is empty", {"uri": {"prefix": ""}}, "/b", {}, True),
    ("uri.regex, the whole path", {"uri": {"regex": "/a[0-9]+"}}, "/a12", {}, True),
    ("uri.regex, a longer path", {"uri": {"regex": "/a[0-9]+"}}, "/a12b", {}, False),
    ("uri.regex, the path with a query", {"uri": {"regex": "/a[0-9]+"}}, "/a12?q=1", {}, True),
    ("uri without a kind", {"uri": {}}, "/b", {}, True),
    ("headers.exact, the value", {"headers": {"end-user": {"exact": "jason"}}}, "/", {"end-user": "jason"}, True),
    (
        "headers.exact, the name in another case",
        {"headers": {"end-user": {"exact": "jason"}}},
        "/",
        {"End-User": "jason"},
        True,
    ),
    (
        "headers.exact, the value in another case",
        {"headers": {"end-user": {"exact": "jason"}}},
        "/",
        {"end-user": "Jason"},
        False,
    ),
    ("headers.exact, no such header", {"headers": {"end-user": {"exact": "jason"}}}, "/", {}, False),
    ("headers.prefix", {"headers": {"end-user": {"prefix": "ja"}}}, "/", {"end-user": "jason"}, True),
    ("headers.regex, the whole value", {"headers": {"end-user": {"regex": "j.*n"}}}, "/", {"end-user": "jason"}, True),
    ("headers.regex, a longer value", {"headers": {"end-user": {"regex": "j.*n"}}}, "/", {"end-user": "jasons"}, False),
    ("headers without a kind, the header is there", {"headers": {"end-user": {}}}, "/", {"end-user": ""}, True),
    ("headers without a kind, no such header", {"headers": {"end-user": {}}}, "/", {}, False),
    ("two headers, one of them", {"headers": {"a": {"exact": "1"}, "b": {"exact": "2"}}}, "/", {"a": "1"}, False),
    (
        "withoutHeaders.exact, the value",
        {"withoutHeaders": {"end-user": {"exact": "jason"}}},
        "/",
        {"end-user": "jason"},
        False,
    ),
    (
        "withoutHeaders.exact, another value",
        {"withoutHeaders": {"end-user": {"exact": "jason"}}},
        "/",
        {"end-user": "a"},
        True,
    ),
    ("withoutHeaders.exact, no such header", {"withoutHeaders": {"end-user": {"exact": "jason"}}}, "/", {}, True),
    (
        "withoutHeaders without a kind, the header is there",
        {"withoutHeaders": {"end-user": {}}},
        "/",
        {"end-user": "a"},
        False,
    ),
    ("withoutHeaders without a kind, no such header", {"withoutHeaders": {"end-user": {}}}, "/", {}, True),
    (
        "withoutHeaders.regex *, the header is there",
        {"withoutHeaders": {"end-user": {"regex": "*"}}},
        "/",
        {"end-user": "a"},
        False,
    ),
    ("queryParams.exact, the value", {"queryParams": {"u": {"exact": "test"}}}, "/?u=test", {}, True),
    ("queryParams.exact, another value", {"queryParams": {"u": {"exact": "test"}}}, "/?u=other", {}, False),
    ("queryParams.prefix", {"queryParams": {"u": {"prefix": "te"}}}, "/?v=1&u=test", {}, True),
    ("queryParams without a kind, the parameter is there", {"queryParams": {"u": {}}}, "/?u", {}, True),
    ("queryParams without a kind, no such parameter", {"queryParams": {"u": {}}}, "/?v=1", {}, False),
    ("authority.exact", {"authority": {"exact": HOST}}, "/", {}, True),
    ("authority.prefix", {"authority": {"prefix": "reviews"}}, "/", {}, True),
    ("scheme.exact http", {"scheme": {"exact": "http"}}, "/", {}, True),
    ("scheme.exact https", {"scheme": {"exact": "https"}}, "/", {}, False),
    ("method.exact GET", {"method": {"exact": "GET"}}, "/", {}, True),
    ("method.exact POST", {"method": {"exact": "POST"}}, "/", {}, False),
    ("method.regex", {"method": {"regex": "GET|POST"}}, "/", {}, True),
    ("port, the service's", {"port": 9080}, "/", {}, True),
    ("port, another", {"port": 80}, "/", {}, False),
    ("sourceNamespace, the caller's", {"sourceNamespace": "default"}, "/", {}, True),
    ("sourceNamespace, another", {"sourceNamespace": "elsewhere"}, "/", {}, False),
    ("sourceLabels, the caller's", {"sourceLabels": {"app": "sleep", "version": "v1"}}, "/", {}, True),
    ("sourceLabels, one of two", {"sourceLabels": {"app": "sleep", "version": "v2"}}, "/", {}, False),
    ("gateways, mesh", {"gateways": ["mesh"]}, "/", {}, True),
    ("gateways, another", {"gateways": ["another"]}, "/", {}, False),
    ("two conditions, both", {"uri": {"exact": "/a"}, "headers": {"a": {"exact": "1"}}}, "/a", {"a": "1"}, True),
    ("two conditions, one", {"uri": {"exact": "/a"}, "headers": {"a": {"exact": "1"}}}, "/a", {}, False),
]


@pytest.mark.parametrize(("case", "match", "path", "headers", "matched"), MATCHES, ids=[one[0] for one in MATCHES])
def test_a_match(mesh, seen, case, match, path, headers, matched):
    """http.match with {case}."""
    mesh.route("reviews", {"match": [match], "fault": abort(507)}, {})
    found = mesh.call("sleep-v1", HOST, path, headers).status
    assert found == (507 if matched else 200)
    seen("matches" if found == 507 else "does not match")


def test_alternatives(mesh, seen):
    """The matches of one route are alternatives."""
    mesh.route("reviews", {"match": [{"uri": {"exact": "/a"}}, {"uri": {"exact": "/b"}}], "fault": abort(507)}, {})
    found = [mesh.call("sleep-v1", HOST, path).status for path in ("/a", "/b", "/c")]
    assert found == [507, 507, 200]
    seen(str(found))


def test_the_first_one_counts(mesh, seen):
    """The first route that matches counts, in the order of the VirtualService."""
    mesh.route(
        "reviews",
        {"match": [{"uri": {"prefix": "/a"}}], "fault": abort(501)},
        {"match": [{"uri": {"exact": "/a/b"}}], "fault": abort(502)},
        {"fault": abort(503)},
        {"match": [{"uri": {"exact": "/c"}}], "fault": abort(504)},
    )
    found = [mesh.call("sleep-v1", HOST, path).status for path in ("/a/b", "/c")]
    assert found == [501, 503]
    seen(str(found))


def test_none(mesh, seen):
    """A request that no route matches is answered by the caller's sidecar."""
    mesh.route("reviews", {"match": [{"uri": {"exact": "/only"}}]})
    status, flags = mesh.flags("sleep-v1", HOST)
    assert (status, flags) == (404, "NR")
    assert mesh.call("sleep-v1", HOST, "/only").status == 200
    seen(f"{status} {flags}")

"""VirtualService redirects and direct responses."""

from __future__ import annotations

import base64

import pytest

HOST = "reviews:9080"
BINARY = base64.b64encode(b"\x00\xff").decode()


def answered(mesh, match=None, path="/old?q=1", **http):
    """What the caller gets from a VirtualService that answers itself; the callee is not asked."""
    if match:
        http["match"] = [match]
    mesh.apply("VirtualService", "reviews", {"hosts": ["reviews"], "http": [http]})
    reply = mesh.call("sleep-v1", HOST, path)
    assert mesh.hits("reviews") == 0
    return reply


REDIRECTS = [
    ("uri", {"uri": "/new"}, "http://reviews:9080/new?q=1"),
    ("uri with a query of its own", {"uri": "/new?r=2"}, "http://reviews:9080/new?r=2"),
    ("authority", {"authority": "details"}, "http://details/old?q=1"),
    ("authority and uri", {"authority": "details", "uri": "/new"}, "http://details/new?q=1"),
    ("scheme https", {"scheme": "https"}, "https://reviews:9080/old?q=1"),
    ("scheme https and port 8443", {"port": 8443, "scheme": "https"}, "https://reviews:8443/old?q=1"),
    ("scheme https and port 443", {"port": 443, "scheme": "https", "authority": "a.com"}, "https://a.com/old?q=1"),
    ("port 8080", {"port": 8080}, "http://reviews:8080/old?q=1"),
    ("port 80", {"port": 80}, "http://reviews:9080/old?q=1"),
    (
        "derivePort FROM_REQUEST_PORT",
        {"derivePort": "FROM_REQUEST_PORT", "authority": "a.com"},
        "http://a.com:9080/old?q=1",
    ),
    (
        "derivePort FROM_PROTOCOL_DEFAULT",
        {"derivePort": "FROM_PROTOCOL_DEFAULT", "authority": "a.com"},
        "http://a.com/old?q=1",
    ),
]


@pytest.mark.parametrize(("case", "redirect", "location"), REDIRECTS, ids=[one[0] for one in REDIRECTS])
def test_a_redirect(mesh, seen, case, redirect, location):
    """redirect with {case}"""
    reply = answered(mesh, redirect=redirect)
    assert (reply.status, reply.headers["location"]) == (301, location)
    seen(f"{reply.status} {reply.headers['location']}")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_code(mesh, seen, code):
    """redirect.redirectCode {code}"""
    found = answered(mesh, redirect={"uri": "/new", "redirectCode": code}).status
    assert found == code
    seen(str(found))


def test_a_prefix(mesh, seen):
    """redirect.prefixRewrite replaces the prefix that matched"""
    reply = answered(mesh, {"uri": {"prefix": "/old"}}, "/old/page", redirect={"prefixRewrite": "/new"})
    assert reply.headers["location"] == "http://reviews:9080/new/page"
    seen(reply.headers["location"])


def test_flags_of_a_redirect(mesh, seen):
    """A redirect in the caller's span"""
    answered(mesh, redirect={"uri": "/new"})
    status, flags = mesh.flags("sleep-v1", HOST)
    assert (status, flags) == (301, "-")
    seen(f"{status} {flags}")


BODIES = [
    ("without a body", {}, b""),
    ("with an empty body", {"body": {}}, b""),
    ("with body.string", {"body": {"string": "gone fishing"}}, b"gone fishing"),
    ("with body.bytes", {"body": {"bytes": BINARY}}, b"\x00\xff"),
    ("with a body.string of 100 000 characters", {"body": {"string": "x" * 100_000}}, b"x" * 100_000),
]


@pytest.mark.parametrize(("case", "body", "text"), BODIES, ids=[one[0] for one in BODIES])
def test_a_direct_response(mesh, seen, case, body, text):
    """directResponse.status 418 {case}"""
    reply = answered(mesh, directResponse={"status": 418, **body})
    assert (reply.status, reply.body) == (418, text)
    seen(f"{reply.status}, {len(reply.body)} bytes, content-type {reply.headers.get('content-type', 'none')}")


def test_flags_of_a_direct_response(mesh, seen):
    """A direct response of 503 in the caller's span"""
    answered(mesh, directResponse={"status": 503})
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, tags["response_flags"]) == (503, "-")
    seen(f"{reply.status} {tags['response_flags']}, error={tags.get('error')}")


def test_headers(mesh, seen):
    """headers.response act on a direct response"""
    reply = answered(mesh, directResponse={"status": 200}, headers={"response": {"set": {"x-answered": "by sidecar"}}})
    assert reply.headers["x-answered"] == "by sidecar"
    seen(reply.headers["x-answered"])


def test_the_rest(mesh, seen):
    """What a direct response does not match is served"""
    gone = {"match": [{"uri": {"prefix": "/gone"}}], "directResponse": {"status": 410}}
    rest = {"route": [{"destination": {"host": "reviews"}}]}
    mesh.apply("VirtualService", "reviews", {"hosts": ["reviews"], "http": [gone, rest]})
    found = [mesh.call("sleep-v1", HOST, path).status for path in ("/gone", "/here")]
    assert found == [410, 200]
    seen(str(found))

"""Redirects and direct responses: the caller's own sidecar answers, as under istiod."""

import base64

import pytest

HOST = "reviews:9080"


def answered(mesh, match=None, path="/old?q=1", **http):
    """What the caller gets from a VirtualService that answers itself; nobody else is asked."""
    if match:
        http["match"] = [match]
    mesh.apply("VirtualService", "reviews", {"hosts": ["reviews"], "http": [http]})
    reply = mesh.call("sleep-v1", HOST, path)
    assert mesh.hits("reviews") == 0
    return reply


@pytest.mark.parametrize(
    ("redirect", "location"),
    [
        ({"uri": "/new"}, "http://reviews:9080/new?q=1"),
        ({"authority": "details"}, "http://details/old?q=1"),
        ({"scheme": "https"}, "https://reviews:9080/old?q=1"),
        ({"port": 8443, "scheme": "https"}, "https://reviews:8443/old?q=1"),
        ({"port": 443, "scheme": "https", "authority": "a.com"}, "https://a.com/old?q=1"),
        ({"port": 80}, "http://reviews:9080/old?q=1"),
        ({"derivePort": "FROM_REQUEST_PORT", "authority": "a.com"}, "http://a.com:9080/old?q=1"),
        ({"derivePort": "FROM_PROTOCOL_DEFAULT", "authority": "a.com"}, "http://a.com/old?q=1"),
    ],
)
def test_a_redirect_says_where_to_go(mesh, redirect, location):
    reply = answered(mesh, redirect=redirect)
    assert (reply.status, reply.headers["location"]) == (301, location)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_has_the_code_that_is_asked_for(mesh, code):
    assert answered(mesh, redirect={"uri": "/new", "redirectCode": code}).status == code


def test_a_redirect_replaces_a_prefix(mesh):
    reply = answered(mesh, {"uri": {"prefix": "/old"}}, "/old/page", redirect={"prefixRewrite": "/new"})
    assert reply.headers["location"] == "http://reviews:9080/new/page"


def test_a_code_that_istiod_keeps_from_envoy_is_refused(mesh):
    """Under istiod the whole route configuration is lost to it."""
    mesh.apply(
        "VirtualService", "bad-code", {"hosts": ["reviews"], "http": [{"redirect": {"redirectCode": 304, "uri": "/"}}]}
    )
    (problem,) = mesh.problems()
    assert "spec.http[0].redirect.redirectCode: 304 is none that istiod gives to Envoy" in problem


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, b""),
        ({"body": {}}, b""),
        ({"body": {"string": "gone fishing"}}, b"gone fishing"),
        ({"body": {"bytes": base64.b64encode(b"\x00\xff").decode()}}, b"\x00\xff"),
        ({"body": {"string": "x" * 100_000}}, b"x" * 100_000),
    ],
)
def test_a_direct_response_is_status_and_body(mesh, body, text):
    reply = answered(mesh, directResponse={"status": 418, **body})
    assert (reply.status, reply.body) == (418, text)


def test_header_operations_act_on_answers_too(mesh):
    reply = answered(mesh, directResponse={"status": 200}, headers={"response": {"set": {"x-answered": "by sidecar"}}})
    assert reply.headers["x-answered"] == "by sidecar"


def test_what_the_answer_does_not_match_is_served(mesh):
    gone = {"match": [{"uri": {"prefix": "/gone"}}], "directResponse": {"status": 410}}
    mesh.apply(
        "VirtualService",
        "reviews",
        {"hosts": ["reviews"], "http": [gone, {"route": [{"destination": {"host": "reviews"}}]}]},
    )
    assert [mesh.call("sleep-v1", HOST, path).status for path in ("/gone", "/here")] == [410, 200]

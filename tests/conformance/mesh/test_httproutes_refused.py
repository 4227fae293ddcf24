"""HTTPRoutes of the Gateway API: what their definition refuses.

The API server of a cluster refuses the write; the lab's own control plane says it in a condition and an Event.
"""

from __future__ import annotations

import re

import pytest
from gateway_routes import backend, rule, to_service
from refused import refused


def route(**fields):
    return {"parentRefs": [to_service()], "rules": [rule(**fields)]}


def match(**fields):
    return {"parentRefs": [to_service()], "rules": [rule(fields)]}


def path(kind, value):
    return match(path={"type": kind, "value": value})


def alone(*filters):
    return {"parentRefs": [to_service()], "rules": [{"filters": list(filters)}]}


def parents(*refs):
    return {"parentRefs": list(refs), "rules": [rule()]}


REWRITE = {"type": "URLRewrite", "urlRewrite": {"hostname": "a.com"}}
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"hostname": "a.com"}}
PREFIX = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}
EXACT = {"path": {"type": "Exact", "value": "/a"}}


def rewritten(**changed):
    return route(filters=[{"type": "URLRewrite", "urlRewrite": {"path": changed}}])


def mirrored(**share):
    return route(filters=[{"type": "RequestMirror", "requestMirror": {"backendRef": backend("details"), **share}}])


CASES = [
    ("a path that is not absolute", path("PathPrefix", "a"), "value must be an absolute path"),
    ("a path with an empty element", path("Exact", "/a//b"), "must not contain '//'"),
    ("a path that ends with two dots", path("Exact", "/a/.."), "must not end with '/..'"),
    ("a path with a blank", path("Exact", "/a b"), "must only contain valid characters"),
    ("a header's name with a blank", match(headers=[{"name": "a b", "value": "1"}]), "should match"),
    ("two headers of one name", match(headers=[{"name": "a", "value": one} for one in "12"]), "Duplicate value"),
    ("the name of a rule in capitals", route(name="Mine"), "should match"),
    ("a hostname in capitals", {**route(), "hostnames": ["A.com"]}, "should match"),
    ("RequestRedirect beside backendRefs", route(filters=[REDIRECT]), "must not be used together with backendRefs"),
    ("RequestRedirect beside URLRewrite", alone(REDIRECT, REWRITE), "May specify either"),
    ("URLRewrite twice", route(filters=[REWRITE, REWRITE]), "filter cannot be repeated"),
    ("URLRewrite without urlRewrite", route(filters=[{"type": "URLRewrite"}]), "must be specified for URLRewrite"),
    (
        "URLRewrite with another filter's field",
        route(filters=[{**REWRITE, "requestHeaderModifier": {"remove": ["a"]}}]),
        "must be nil if the filter.type is not",
    ),
    (
        "URLRewrite of a prefix without one that matches",
        {"parentRefs": [to_service()], "rules": [rule(EXACT, filters=[{**REWRITE, "urlRewrite": {"path": PREFIX}}])]},
        "exactly one PathPrefix match must be specified",
    ),
    ("ReplaceFullPath without a path", rewritten(type="ReplaceFullPath"), "replaceFullPath must be specified"),
    ("percent beside fraction", mirrored(percent=1, fraction={"numerator": 1}), "Only one of percent or fraction"),
    ("a fraction above one", mirrored(fraction={"numerator": 2, "denominator": 1}), "numerator must be less than"),
    ("a backend without a port", route(backendRefs=[{"name": "reviews"}]), "Must have port for Service reference"),
    ("a timeout with a fraction", route(timeouts={"request": "1.5s"}), "should match"),
    (
        "backendRequest longer than request",
        route(timeouts={"request": "1s", "backendRequest": "2s"}),
        "backendRequest timeout cannot be longer",
    ),
    ("one parent twice", parents(to_service(), to_service()), "sectionName must be unique"),
    ("one parent by two ports", parents(to_service(port=1), to_service(port=2)), "sectionName must be unique"),
    (
        "one parent with a sectionName and without",
        parents(to_service(), to_service(sectionName="a")),
        "sectionName must be specified",
    ),
]


@pytest.mark.parametrize(("case", "spec", "words"), CASES, ids=[one[0] for one in CASES])
def test_it_is_refused(mesh, seen, case, spec, words):
    """{case}"""
    text = bare(refused(mesh, "HTTPRoute", "refused", spec))
    assert words in text
    seen(f"refused: {text}")


def bare(text):
    """TEXT without what an API server says of the field and its value in front of the words."""
    text = re.sub(r"^.*?(Invalid value: |(?=Duplicate value))", "", text)
    return text.partition(" in body ")[2] or text


OTHER_WORDS = [
    ("a path of an unknown type", path("Suffix", "/a")),
    ("a method in lower case", match(method="get")),
    ("a header without a value", match(headers=[{"name": "a"}])),
    ("a redirect with status 300", alone({**REDIRECT, "requestRedirect": {"statusCode": 300}})),
    ("a redirect to another scheme", alone({**REDIRECT, "requestRedirect": {"scheme": "ftp"}})),
    ("a mirror of 101 percent", mirrored(percent=101)),
    ("a weight below 0", route(backendRefs=[backend(weight=-1)])),
    ("port 0", route(backendRefs=[backend(port=0)])),
    ("an empty list of rules", {"parentRefs": [to_service()], "rules": []}),
]


@pytest.mark.parametrize(("case", "spec"), OTHER_WORDS, ids=[one[0] for one in OTHER_WORDS])
def test_it_is_refused_in_other_words(mesh, seen, case, spec):
    """{case}"""
    assert refused(mesh, "HTTPRoute", "refused", spec)
    seen("refused")


@pytest.mark.differs("what the lab's control plane does not know it refuses; an API server drops what has no schema")
def test_a_field_of_the_experimental_channel(mesh, seen):
    """retry in a rule, which the standard channel's definition has not"""
    spec = route(retry={"attempts": 1})
    if mesh.control_plane == "embedded":
        assert "not implemented" in refused(mesh, "HTTPRoute", "refused", spec)
        seen("refused, as not implemented")
    else:
        mesh.apply("HTTPRoute", "dropped", spec)
        assert "retry" not in mesh.get("HTTPRoute", "dropped")["spec"]["rules"][0]
        seen("taken without it")


@pytest.mark.differs("the lab's control plane does not implement CORS")
def test_cors(mesh, seen):
    """The filter CORS"""
    spec = route(filters=[{"type": "CORS", "cors": {"allowOrigins": ["http://a.com"]}}])
    if mesh.control_plane == "embedded":
        assert "not implemented" in refused(mesh, "HTTPRoute", "refused", spec)
        seen("refused, as not implemented")
    else:
        mesh.apply("HTTPRoute", "taken", spec)
        headers = {"origin": "http://a.com"}
        assert mesh.call("sleep-v1", "reviews:9080", headers=headers).status == 200
        seen("taken")


@pytest.mark.differs("what has no effect the lab's control plane refuses, so that nothing is ignored in silence")
@pytest.mark.parametrize("group", ["core", "gateway.networking.k8s.io"])
def test_a_service_of_another_group(mesh, seen, group):
    """A parent of kind Service and group {group}"""
    spec = {"parentRefs": [to_service(group=group)], "rules": [rule(backendRefs=[])]}
    if mesh.control_plane == "embedded":
        assert "istiod ignores" in refused(mesh, "HTTPRoute", "refused", spec)
        seen("refused")
    else:
        mesh.apply("HTTPRoute", "ignored", spec)
        assert mesh.call("sleep-v1", "reviews:9080").status == 200
        seen("taken, and ignored")

from __future__ import annotations

import re

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.match import NoOverlap, check, conjunction, covers, for_envoy, sample_headers


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ([], "not an object"),
        ({"header": {}}, "match.header cannot be used"),
        ({"sourceLabels": {"app": "a"}}, "name the calling workload as source"),
        ({"gateways": ["mesh"]}, "mesh's own calls"),
        ({"port": 9080}, "details:9080"),
        ({"uri": "/x"}, "match.uri is not one of"),
        ({"uri": {"exact": "/x", "prefix": "/"}}, "match.uri is not one of"),
        ({"uri": {}}, "match.uri is not one of"),
        ({"headers": {}}, "not an object of names"),
        ({"headers": {"end-user": {"exact": 3}}}, "not a text"),
        ({"uri": {"exact": ""}}, "match.uri.exact is empty: give a text, or leave match.uri out"),
        ({"headers": {"End-User": {"exact": "jason"}}}, "write end-user"),
        ({"headers": {"X Y": {"exact": "a"}}}, "match.headers.X Y: 'X Y' is no header's name: write e.g. end-user"),
        ({"withoutHeaders": {"x y": {}}}, "'x y' is no header's name"),
        ({"headers": {"": {"exact": "a"}}}, "'' is no header's name"),
        ({"headers": {"end-user": {"exact": "jäson"}}}, "exact: the header end-user holds letters beyond ASCII"),
        ({"headers": {"end-user": {"prefix": "jä"}}}, "prefix: the header end-user holds letters beyond ASCII"),
        ({"headers": {"end-user": {"exact": "a\r\nX: y"}}}, "a line break or a blank end"),
        ({"headers": {"a": {"regex": "("}}}, "no regular expression"),
        ({"headers": {"a": {"regex": "a(?=b)"}}}, "'(?=', which RE2"),
        ({"headers": {"a": {"regex": "(?<!a)b"}}}, "which RE2"),
        ({"headers": {"a": {"regex": r"(a)\1"}}}, "which RE2"),
        ({"headers": {"a": {"regex": "a++"}}}, "which RE2"),
        ({"headers": {"tracestate": {"exact": "x"}}}, "marker"),
        ({"ignoreUriCase": "yes"}, "neither true nor false"),
    ],
)
def test_what_is_no_match_is_refused_and_named(match, words):
    with pytest.raises(InvalidInput, match=re.escape(words)):
        check(match)


def test_what_is_a_match_passes():
    check(
        {
            "uri": {"prefix": "/details"},
            "method": {"exact": "GET"},
            "headers": {"end-user": {"regex": "j.*"}, "x-there": {}, "x-kind": {"prefix": "a "}},
            "withoutHeaders": {"x-robot": {}},
            "queryParams": {"u": {"exact": "test"}},
            "ignoreUriCase": True,
        }
    )


@pytest.mark.parametrize(
    ("owner", "scope", "both"),
    [
        ({}, {"uri": {"exact": "/a"}}, {"uri": {"exact": "/a"}}),
        ({"uri": {"prefix": "/"}}, {"uri": {"exact": "/a"}}, {"uri": {"exact": "/a"}}),
        ({"uri": {"exact": "/a"}}, {"uri": {"prefix": "/"}}, {"uri": {"exact": "/a"}}),
        ({"uri": {"prefix": "/api/v1"}}, {"uri": {"prefix": "/api"}}, {"uri": {"prefix": "/api/v1"}}),
        ({"method": {"regex": "GET|PUT"}}, {"method": {"exact": "PUT"}}, {"method": {"exact": "PUT"}}),
        (
            {"headers": {"end-user": {"exact": "jason"}}},
            {"headers": {"tracestate": {"regex": "x"}}},
            {"headers": {"end-user": {"exact": "jason"}, "tracestate": {"regex": "x"}}},
        ),
        ({"headers": {"a": {}}}, {"headers": {"a": {"exact": "1"}}}, {"headers": {"a": {"exact": "1"}}}),
        ({"withoutHeaders": {"a": {"exact": "1"}}}, {"withoutHeaders": {"a": {}}}, {"withoutHeaders": {"a": {}}}),
        (
            {"sourceLabels": {"app": "a"}},
            {"sourceLabels": {"version": "v1"}},
            {"sourceLabels": {"app": "a", "version": "v1"}},
        ),
        ({"gateways": ["mesh"], "port": 80}, {"port": 80}, {"port": 80}),
        ({"name": "mine", "statPrefix": "p"}, {}, {"name": "mine", "statPrefix": "p"}),
    ],
)
def test_two_matches_together_take_what_both_take(owner, scope, both):
    """`gateways` never gets into it: beside it a real istiod ignores `sourceLabels`."""
    assert conjunction(owner, scope) == both


@pytest.mark.parametrize(
    ("owner", "scope", "words"),
    [
        (
            {"headers": {"end-user": {"exact": "jason"}}},
            {"headers": {"end-user": {"exact": "bob"}}},
            "'jason' and exact 'bob'",
        ),
        ({"uri": {"prefix": "/a"}}, {"uri": {"exact": "/b"}}, "uri would have to be"),
        ({"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/b"}}, "uri would have to be"),
        ({"method": {"regex": "GET|PUT"}}, {"method": {"exact": "POST"}}, "method would have to be"),
        ({"withoutHeaders": {"x": {}}}, {"headers": {"x": {"exact": "1"}}}, "header x"),
        ({"headers": {"x": {"exact": "ab"}}}, {"withoutHeaders": {"x": {"prefix": "a"}}}, "header x"),
        ({"sourceLabels": {"app": "a"}}, {"sourceLabels": {"app": "b"}}, "label app"),
        ({"port": 80}, {"port": 81}, "port would have to be"),
    ],
)
def test_matches_that_no_request_can_meet_are_told_with_the_reason(owner, scope, words):
    with pytest.raises(NoOverlap, match=re.escape(words)):
        conjunction(owner, scope)


@pytest.mark.parametrize(
    ("owner", "scope"),
    [
        ({"headers": {"a": {"regex": "x.*"}}}, {"headers": {"a": {"regex": ".*y"}}}),
        ({"uri": {"prefix": "/a"}}, {"uri": {"regex": "/a.*"}}),
        ({"withoutHeaders": {"a": {"exact": "1"}}}, {"withoutHeaders": {"a": {"exact": "2"}}}),
        ({"uri": {"prefix": "/a"}, "ignoreUriCase": True}, {"uri": {"prefix": "/a"}}),
        ({"brandNew": 1}, {}),
    ],
)
def test_what_one_match_cannot_say_is_refused_rather_than_approximated(owner, scope):
    with pytest.raises(InvalidInput):
        conjunction(owner, scope)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"uri": {"exact": "/a"}}),
        ({"uri": {"prefix": "/"}}, {}),
        ({"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/ab"}, "method": {"exact": "GET"}}),
        ({"uri": {"prefix": "/a"}}, {"uri": {"exact": "/a/b"}}),
        ({"uri": {"regex": "/a|/b"}}, {"uri": {"regex": "/a|/b"}, "port": 80}),
        ({"headers": {"a": {}}}, {"headers": {"a": {"regex": "x"}, "b": {"exact": "y"}}}),
        ({"withoutHeaders": {"a": {}}}, {"withoutHeaders": {"a": {}, "b": {}}}),
        ({"sourceLabels": {"app": "a"}}, {"sourceLabels": {"app": "a", "version": "v1"}}),
        ({"name": "mine", "statPrefix": "p", "port": 80}, {"port": 80}),
    ],
)
def test_a_match_covers_what_takes_less_and_not_the_reverse(one, other):
    assert covers(one, other)
    assert covers(one, one)
    assert covers(other, one) is ("name" in one or one == {"uri": {"prefix": "/"}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/b"}}),
        ({"uri": {"prefix": "/a"}}, {"uri": {"regex": "/a.*"}}),
        ({"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/A"}, "ignoreUriCase": True}),
        ({"uri": {"exact": "/a"}}, {"uri": {"prefix": "/a"}}),
        ({"uri": {"prefix": "/a"}}, {}),
        ({"port": 80}, {"port": 81}),
        ({"headers": {"a": {"exact": "1"}}}, {"headers": {"a": {"exact": "2"}}}),
        ({"queryParams": {"a": {"exact": "1"}}}, {"headers": {"a": {"exact": "1"}}}),
        ({"withoutHeaders": {"a": {"exact": "1"}}}, {"withoutHeaders": {"a": {}}}),
        ({"sourceNamespace": "a"}, {}),
    ],
)
def test_a_match_covers_only_what_it_surely_takes(one, other):
    assert not covers(one, other)


def _header(match: dict, name: str) -> dict:
    (found,) = [header for header in for_envoy(match) if header["name"] == name]
    return found


@pytest.mark.parametrize(
    ("match", "path", "taken"),
    [
        ({"uri": {"exact": "/details/0"}}, "/details/0", True),
        ({"uri": {"exact": "/details/0"}}, "/details/0?u=test", True),
        ({"uri": {"exact": "/details/0"}}, "/details/01", False),
        ({"uri": {"prefix": "/details"}}, "/details/0?u=1", True),
        ({"uri": {"prefix": "/details"}}, "/reviews?/details", False),
        ({"uri": {"exact": "/Details"}, "ignoreUriCase": True}, "/details", True),
        ({"uri": {"regex": "/a|/b"}}, "/b?x", True),
        ({"uri": {"regex": "/a|/b"}}, "/bb", False),
        ({"queryParams": {"u": {"exact": "test"}}}, "/p?x=1&u=test", True),
        ({"queryParams": {"u": {"exact": "test"}}}, "/p?u=tester", False),
        ({"queryParams": {"u": {"prefix": "te"}}}, "/p?u=test&x", True),
        ({"queryParams": {"u": {}}}, "/p?u=&x", True),
        ({"queryParams": {"u": {}}}, "/p/u=1", False),
    ],
)
def test_envoy_matches_a_path_as_istio_does_with_and_without_a_query(match, path, taken):
    """Envoy's :path holds the query, Istio's uri does not."""
    expression = _header(match, ":path")["string_match"]["safe_regex"]["regex"]
    assert bool(re.fullmatch(expression, path)) is taken


def test_headers_and_pseudo_headers_reach_envoy():
    assert _header({"headers": {"end-user": {"exact": "jason"}}}, "end-user")["string_match"] == {"exact": "jason"}
    assert _header({"headers": {"x": {}}}, "x")["present_match"] is True
    assert _header({"withoutHeaders": {"x": {"prefix": "a"}}}, "x")["invert_match"] is True
    assert _header({"method": {"exact": "POST"}}, ":method")["string_match"] == {"exact": "POST"}
    assert _header({"authority": {"prefix": "details"}}, ":authority")["string_match"] == {"prefix": "details"}


def test_our_own_requests_carry_what_the_match_asks_for():
    match = {"headers": {"end-user": {"exact": "jason"}, "x": {"prefix": "a"}, "y": {"regex": "z"}, "w": {}}}
    assert sample_headers(match) == {"end-user": "jason", "x": "a"}


@pytest.mark.parametrize("text", [r"a\(?=", r"[(?=]", r"(?:a|b)+?", r"\d{1,2}\.\+", r"(?i)a", r"(?P<n>a)", r"\\d"])
def test_what_re2_knows_is_taken(text):
    check({"headers": {"a": {"regex": text}}})

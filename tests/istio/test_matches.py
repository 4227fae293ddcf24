"""Istio's matches in Envoy's words."""

import pytest

from chaosmesh_ext.istio.matches import (
    header_matcher,
    may_match,
    query_matcher,
    route_match,
    source_matches,
    string_matcher,
)
from chaosmesh_ext.istio.selectors import covers, selects


def decide(match, **more):
    source = {"labels": {"app": "sleep"}, "namespace": "default", "gateways": frozenset(["mesh"]), "port": 9080, **more}
    return source_matches(match, **source)


def test_each_kind_of_string_match_has_its_matcher():
    assert string_matcher({"exact": "a"}) == {"exact": "a"}
    assert string_matcher({"prefix": "a"}) == {"prefix": "a"}
    assert string_matcher({"regex": "a.*"}) == {"safe_regex": {"regex": "a.*"}}


def test_an_empty_match_and_the_regex_star_ask_for_presence():
    assert header_matcher("x", {}) == {"name": "x", "present_match": True}
    assert header_matcher("x", {"regex": "*"}) == {"name": "x", "present_match": True}
    assert query_matcher("x", {}) == {"name": "x", "present_match": True}


def test_without_headers_lets_a_request_pass_that_lacks_the_header():
    matcher = header_matcher("x", {"exact": "a"}, invert=True)
    assert (matcher["invert_match"], matcher["treat_missing_header_as_empty"]) == (True, True)


def test_no_match_is_every_path():
    assert route_match(None) == {"prefix": "/"}
    assert route_match({}) == {"prefix": "/", "case_sensitive": True}


def test_headers_come_in_a_stable_order():
    """The same object twice is the same bytes: nothing is sent for nothing."""
    one = route_match({"headers": {"b": {"exact": "1"}, "a": {"exact": "2"}}})
    two = route_match({"headers": {"a": {"exact": "2"}, "b": {"exact": "1"}}})
    assert one == two


def test_source_labels_select_the_source():
    assert decide({"sourceLabels": {"app": "sleep"}})
    assert not decide({"sourceLabels": {"app": "other"}})


def test_gateways_beside_source_labels_are_all_that_counts():
    assert decide({"gateways": ["mesh"], "sourceLabels": {"app": "other"}})
    assert not decide({"gateways": ["default/entry"], "sourceLabels": {"app": "sleep"}})


def test_port_and_namespace_select_too():
    assert not decide({"port": 80})
    assert not decide({"sourceNamespace": "elsewhere"})
    assert decide({"port": 9080, "sourceNamespace": "default"})


def test_an_empty_selector_selects_everything():
    assert selects({}, {"app": "details"})
    assert not selects({"app": "details", "version": "v2"}, {"app": "details"})


def test_wildcards_cover_what_ends_alike():
    assert covers("*", "details.default.svc.cluster.local")
    assert covers("*.default.svc.cluster.local", "details.default.svc.cluster.local")
    assert not covers("*.other.svc.cluster.local", "details.default.svc.cluster.local")
    assert covers("a.example.com", "a.example.com")


@pytest.mark.parametrize(
    ("match", "may"),
    [
        ({}, True),
        ({"uri": {"exact": "/details/0"}}, True),
        ({"uri": {"exact": "/details"}}, False),
        ({"uri": {"prefix": "/details"}}, True),
        ({"uri": {"prefix": "/ratings"}}, False),
        ({"uri": {"regex": "/details/[0-9]+"}}, True),
        ({"uri": {"regex": "/details"}}, False),
        ({"uri": {"regex": "*"}}, True),
        ({"uri": {"regex": "(?s:/x"}}, True),
        ({"uri": {"exact": "/Details/0"}}, False),
        ({"uri": {"exact": "/Details/0"}, "ignoreUriCase": True}, True),
        ({"uri": {"regex": "/DETAILS/.*"}, "ignoreUriCase": True}, True),
        ({"method": {"exact": "GET"}}, True),
        ({"method": {"regex": "POST|PUT"}}, False),
        ({"headers": {"end-user": {"exact": "jason"}}}, True),
    ],
)
def test_a_call_in_a_trace_may_be_one_that_a_match_means(match, may):
    assert may_match(match, method="GET", path="/details/0") is may


def test_what_a_trace_does_not_tell_is_taken_to_match():
    assert may_match({"uri": {"exact": "/x"}, "method": {"exact": "POST"}}, method="", path="")

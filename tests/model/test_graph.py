"""Graphs of calls: what leads where, and the file that one is given in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from graphs import bookinfo, edge, graphs, site
from hypothesis import given, settings

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model import Graph


def text(*calls, **keys) -> str:
    return json.dumps({"schema": "chaosmesh-ext/graph/v1", "calls": list(calls), **keys})


DOCUMENTED = Path(__file__).parents[2] / "docs" / "explore.md"
CALL = {"source": "a", "destination": "b", "operation": "GET /"}


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_a_graph_reads_back_as_it_was_written(graph):
    assert Graph.from_json(graph.to_json()) == graph


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_what_leads_where_is_what_following_the_calls_finds(graph):
    """The bits are an optimisation; this is the meaning."""

    def follow(service):
        seen, waiting = {service}, [service]
        while waiting:
            at = waiting.pop()
            further = {each.destination for each in graph.edges if each.source.service == at} - seen
            seen |= further
            waiting += further
        return seen

    for first in graph.edges:
        reached = follow(first.destination)
        assert graph.reached(first.destination) == reached
        assert [then for then in graph.edges if graph.leads(first, then)] == [
            then for then in graph.edges if then.source.service in reached
        ]
        assert {each.edge for each in graph.below(first)} == {e for e in graph.edges if e.source.service in reached}
    entered = set().union(*(follow(entry) for entry in graph.entries))
    assert graph.reachable == {each for each in graph.edges if each.source.service in entered}


def test_the_graph_that_the_documentation_shows_is_one():
    shown = DOCUMENTED.read_text().partition("```json\n")[2].partition("```")[0]
    graph = Graph.from_json(shown)
    assert [(str(each.edge), each.operation) for each in graph.sites] == [("frontend-v1 → cart", "GET /cart/{id}")]


def test_what_nobody_calls_is_where_requests_come_in():
    assert bookinfo().entries == ("gateway",)


def test_above_a_call_are_those_that_lead_to_it():
    above = {str(each.edge) for each in bookinfo().above(edge("reviews-v2 → ratings"))}
    assert above == {"gateway → productpage", "productpage-v1 → reviews"}


def test_the_same_call_twice_is_one_site_with_both_calls():
    graph = Graph.of([site("a → b"), site("a → b", calls=2), site("a → b", url="http://x/")])
    assert graph.sites == (site("a → b", url="http://x/"), site("a → b", calls=3))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{", "not JSON"),
        ('{\n "calls": [,]}', "line 2: not JSON"),
        (b"\xff", "not JSON"),
        ("[]", "the whole: Expected `object`"),
        ('{"schema": "other"}', "schema is 'other'"),
        (text(), "calls is empty"),
        (text({**CALL, "source": " "}), "calls[0].source is empty"),
        (text(CALL, {"source": "a"}), "calls[1]: Object missing required field `destination`"),
        (text({**CALL, "to": "c"}), "calls[0]: Object contains unknown field `to`"),
        (text({**CALL, "calls": 0}), "calls[0].calls is 0"),
        (text({**CALL, "calls": "two"}), "calls[0].calls: Expected `float`"),
        (text(CALL, entries=["c"]), "entries: 'c' neither calls nor is called"),
        (text(CALL, {**CALL, "source": "b", "destination": "a"}), "say in entries where requests come in"),
    ],
)
def test_what_is_no_graph_is_refused_in_one_line_that_names_the_place(given, words):
    with pytest.raises(InvalidInput) as refused:
        Graph.from_json(given, "calls.json")
    assert str(refused.value).startswith("calls.json: ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)

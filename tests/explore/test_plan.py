"""The plan: everything that can teach something, once, and nothing else."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from graphs import PAGE, bookinfo, edge, graphs, site
from hypothesis import given, settings

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.explore.plan import plan
from chaosmesh_ext.model import Graph


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_every_edge_is_in_exactly_one_cell_of_each_stateless_wave(graph):
    try:
        made = plan(graph)
    except InvalidInput:
        assert not graph.reachable
        return
    assert [(wave.number, wave.name, wave.stateful) for wave in made.waves] == [
        (0, "healthy", False),
        (1, "delay", False),
        (2, "abort", False),
    ]
    assert made.waves[0].cells == ()
    for wave in made.waves[1:]:
        assert Counter(edge for cell in wave.cells for edge in cell.edges) == dict.fromkeys(graph.reachable, 1)
        for cell in wave.cells:
            assert len({(edge.source.service, edge.destination) for edge in cell.edges}) == 1
            sites = [each for edge in cell.edges for each in graph.by_edge[edge]]
            assert set(cell.operations) == {each.operation for each in sites}
            reached = {(each.edge, each.operation) for each in sites if each.url in cell.urls}
            assert reached >= {(each.edge, each.operation) for each in sites if each.url}
    assert made.one_by_one >= len(made.cells)
    assert {cell.number for cell in made.cells} == set(range(1, len(made.cells) + 1))
    assert {each.edge for each in made.skipped if not each.rule} == {
        str(each) for each in set(graph.edges) - graph.reachable
    }


def test_bookinfo_takes_two_waves_of_four_cells():
    made = plan(bookinfo())
    assert [len(wave.cells) for wave in made.waves] == [0, 4, 4]
    assert {(cell.delay, cell.status) for cell in made.cells} == {(12.0, 0), (0.0, 507)}
    assert {cell.url for cell in made.cells} == {PAGE}


def test_all_versions_of_a_caller_are_faulted_at_once():
    """Else a request that is tried again above may come to one that the fault spares."""
    (cell,) = [cell for cell in plan(bookinfo()).waves[1].cells if cell.edge.destination == "ratings"]
    assert [str(each) for each in cell.edges] == ["reviews-v2 → ratings", "reviews-v3 → ratings"]
    assert cell.in_a_row == 1


def test_calls_that_are_equal_are_one_cell():
    """A request that asks for ten prices, one by one, and from two pages, is faulted once."""
    graph = Graph.of([site("a → prices", calls=10, url="http://x/1"), site("a → prices", calls=2, url="http://x/2")])
    made = plan(graph)
    assert len(made.cells) == 2
    assert made.one_by_one == 24
    assert made.cells[0].urls == ("http://x/1",)


def test_a_cell_asks_from_as_few_pages_as_make_all_its_calls():
    pages = [("GET /a", "1"), ("GET /a", "2"), ("GET /b", "2"), ("GET /c", "3")]
    graph = Graph.of([site("a → b", operation, url=url) for operation, url in pages])
    assert plan(graph).cells[0].urls == ("2", "3")


def test_what_no_request_reaches_is_left_out_with_the_reason():
    graph = Graph.of([site("shop → cart"), site("cron → stock")], ["shop"])
    made = plan(graph)
    assert {str(cell.edge) for cell in made.cells} == {"shop → cart"}
    assert [(each.edge, each.reason) for each in made.skipped if not each.rule] == [
        ("cron → stock", "no request from shop reaches it")
    ]


def test_a_graph_whose_entries_call_nobody_is_refused():
    with pytest.raises(InvalidInput, match="no request from cart reaches a call"):
        plan(Graph.of([site("shop → cart")], ["cart"]))


def test_a_rule_needs_no_other_waves_than_those_it_is_judged_from():
    assert [wave.name for wave in plan(bookinfo(), only=["rule=timeout"]).waves] == ["healthy", "delay"]
    assert [wave.name for wave in plan(bookinfo(), only=["rule=error-*"]).waves] == ["healthy", "abort"]
    assert [wave.name for wave in plan(bookinfo(), only=["rule=broken-propagation"]).waves] == ["healthy"]


def test_the_estimate_follows_the_slowest_calls_and_the_requests_in_flight():
    made = plan(bookinfo(), delay=10.0)
    assert made.seconds(100) == pytest.approx(2 + 12 + 2)
    assert made.seconds(1) == pytest.approx(2 + (2 + 5 * 3 * 10) + 2)
    assert made.seconds_one_by_one(100) == pytest.approx(5 * 12 + 5 * 2)


def test_a_thousand_services_are_planned_in_seconds():
    """Processor time, of which other tests take nothing away."""
    edges = {(caller, (caller * 7 + step * 13 + 1) % 1000) for caller in range(1000) for step in range(5)}
    graph = Graph.of([site(f"s{caller} → s{callee}") for caller, callee in edges], ["s0"])
    began = time.process_time()
    made = plan(graph)
    assert time.process_time() - began < 2
    assert len(made.cells) == 2 * len(graph.reachable) == 10_000


@pytest.mark.parametrize("wrong", [{"delay": 0}, {"delay": float("nan")}, {"status": 200}, {"status": 600}])
def test_faults_that_cannot_be_are_refused(wrong):
    with pytest.raises(InvalidInput, match=f"the {next(iter(wrong))} is"):
        plan(bookinfo(), **wrong)


def test_what_is_selected_is_all_that_is_faulted():
    made = plan(bookinfo(), only=["edge=reviews:ratings"], skip=["edge=*-v3:*"])
    assert {cell.edge for cell in made.cells} == {edge("reviews-v2 → ratings")}
    assert sum(1 for each in made.skipped if not each.rule) == 4


def test_rules_that_are_not_looked_for_are_named():
    """Else their findings of the last run would seem to be gone."""
    made = plan(bookinfo(), skip=["rule=hedge"])
    assert {(each.edge, each.rule, each.reason.partition(",")[0]) for each in made.skipped} == {
        ("*", "hedge", "left out by --only or --skip"),
        ("*", "metastable", "is not looked for by an exploration"),
        ("*", "circuit-breaker", "needs stateful waves"),
        ("*", "connection-limit", "needs stateful waves"),
        ("*", "bulkhead", "needs stateful waves"),
        ("*", "unsafe-retry", "needs stateful waves"),
    }
    assert {each.rule for each in plan(bookinfo(), stateful=True).skipped} == {"metastable"}


def test_where_no_fault_can_be_put_none_is_planned_and_none_counted():
    graph = bookinfo()
    whole, barred = plan(graph), plan(graph, barred=[edge for edge in graph.edges if edge.destination == "details"])
    assert {cell.edge.destination for cell in barred.cells} == {cell.edge.destination for cell in whole.cells} - {
        "details"
    }
    assert whole.one_by_one - barred.one_by_one == 2

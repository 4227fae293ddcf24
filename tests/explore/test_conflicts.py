"""Waves of stateful cells: what is in at once disturbs nobody else's experiment."""

from __future__ import annotations

from itertools import combinations

import pytest
from graphs import bookinfo, edge, graphs
from hypothesis import given, settings

from chaosmesh_ext.explore import conflicts
from chaosmesh_ext.explore.conflicts import coloured, conflict, conflict_graph
from chaosmesh_ext.explore.waves import PlannedCell


def cells_on(graph, kinds=("breaker", "bulkhead")):
    """A cell of each kind on every edge, and unsafe retries, which have two edges."""
    edges = [(each, kind, None) for each in graph.edges for kind in kinds]
    edges += [(below.edge, "unsafe-retry", each) for each in graph.edges for below in graph.below(each)[:1]]
    return [PlannedCell(at, each, kind, judged=judged) for at, (each, kind, judged) in enumerate(edges, 1)]


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_no_wave_holds_two_cells_that_conflict(graph):
    cells = cells_on(graph)
    groups = coloured(graph, cells)
    assert sorted(cell.number for group in groups for cell in group) == [cell.number for cell in cells]
    assert not [pair for group in groups for pair in combinations(group, 2) if conflict(graph, *pair)]


def test_so_it_is_where_the_cells_are_too_many_to_be_coloured_together(monkeypatch):
    monkeypatch.setattr(conflicts, "_AT_ONCE", 3)
    graph = bookinfo()
    cells = cells_on(graph)
    groups = coloured(graph, cells)
    assert sum(map(len, groups)) == len(cells)
    assert not [pair for group in groups for pair in combinations(group, 2) if conflict(graph, *pair)]


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_the_conflict_graph_has_exactly_the_conflicts(graph):
    cells = cells_on(graph)
    found = conflict_graph(graph, cells)
    assert {frozenset(pair) for pair in found.edges} == {
        frozenset((one, other))
        for one, other in combinations(range(len(cells)), 2)
        if conflict(graph, cells[one], cells[other])
    }


@pytest.mark.parametrize(
    ("one", "other", "disturb"),
    [
        ("productpage-v1 → details", "productpage-v1 → reviews", True),  # one workload's threads
        ("productpage-v1 → reviews", "reviews-v2 → ratings", True),  # on the way there
        ("gateway → productpage", "reviews-v3 → ratings", True),
        ("productpage-v1 → details", "reviews-v2 → ratings", False),
        ("reviews-v2 → ratings", "reviews-v3 → ratings", False),  # other pods
    ],
)
def test_cells_conflict_by_workload_and_by_path(one, other, disturb):
    pair = [PlannedCell(at, edge(each), "breaker") for at, each in enumerate((one, other), 1)]
    assert conflict(bookinfo(), *pair) is disturb
    assert conflict(bookinfo(), *reversed(pair)) is disturb


def test_a_cell_that_holds_up_another_edge_than_its_own_conflicts_there_too():
    """An unsafe retry slows reviews' call to ratings, and asks how productpage calls reviews."""
    graph = bookinfo()
    unsafe = PlannedCell(1, edge("reviews-v2 → ratings"), "unsafe-retry", judged=edge("productpage-v1 → reviews"))
    assert conflict(graph, unsafe, PlannedCell(2, edge("productpage-v1 → details"), "breaker"))


def test_bookinfo_needs_no_more_waves_than_its_longest_chain():
    groups = coloured(bookinfo(), [cell for cell in cells_on(bookinfo(), ("breaker",)) if cell.judged is None])
    assert len(groups) == 3

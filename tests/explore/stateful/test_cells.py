"""Stateful cells: only those that the stateless waves make worth it."""

from __future__ import annotations

from itertools import combinations

import pytest
from graphs import bookinfo, edge, graphs, site
from hypothesis import given, settings

from chaosmesh_ext.explore.conflicts import conflict
from chaosmesh_ext.explore.plan import plan, stateful_waves
from chaosmesh_ext.explore.selection import selection
from chaosmesh_ext.explore.stateful.cells import HANG
from chaosmesh_ext.model import Finding, Graph


def found(rule, source, destination, operation, value=None, condition="slow") -> Finding:
    return Finding(
        id="0",
        rule=rule,
        condition=condition,
        severity="info",
        source=source,
        destination=destination,
        operation=operation,
        value=value,
        unit="s",
        summary="",
        advice="",
        confidence=1.0,
        evidence=(),
    )


def worth(graph, findings, only=(), **more):
    """Each cell that is planned, as (kind, edge, delay), and what is not and why."""
    waves, skipped = stateful_waves(graph, findings, selection(only), delay=12.0, status=507, wave=3, cell=11, **more)
    return [(cell.kind, str(cell.edge), cell.delay) for wave in waves for cell in wave.cells], skipped


ORDERS = Graph.of(
    [
        site("shop-v1 → orders", "POST /orders"),
        site("shop-v1 → orders", "GET /orders"),
        site("orders-v1 → stock"),
        site("orders-v1 → mail"),
    ]
)
RETRIED = found("retry", "shop", "orders", "POST /orders", 2.0)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_no_wave_of_a_plan_holds_a_conflict(graph):
    if not graph.reachable:
        return
    made = plan(graph, stateful=True)
    assert len({cell.number for cell in made.cells}) == len(made.cells)
    assert [wave.number for wave in made.waves] == list(range(len(made.waves)))
    for wave in made.waves:
        assert wave.stateful == any(cell.kind not in ("delay", "abort") for cell in wave.cells)
        if wave.stateful:
            assert not [pair for pair in combinations(wave.cells, 2) if conflict(graph, *pair)]


def test_what_no_fault_reached_is_not_tried_again():
    assert worth(bookinfo(), []) == ([], [])


def test_a_breaker_is_looked_for_where_an_abort_reached_the_caller():
    findings = [found("retry", "reviews", "ratings", "GET /ratings/{id}", 0.0, "status")]
    cells, _ = worth(bookinfo(), findings)
    assert cells == [("breaker", "reviews-v2 → ratings", 0.0)]
    [wave], _ = stateful_waves(bookinfo(), findings, selection(), delay=12.0, status=507, wave=3, cell=11)
    assert [str(each) for each in wave.cells[0].edges] == ["reviews-v2 → ratings", "reviews-v3 → ratings"]


def test_a_bulkhead_is_looked_for_where_the_caller_waits():
    findings = [found("missing-timeout", "reviews-v3", "ratings", "GET /ratings/{id}", 12.0)]
    assert worth(bookinfo(), findings)[0] == [("bulkhead", "reviews-v3 → ratings", HANG)]
    cells, skipped = worth(bookinfo(), findings, spared=[edge("productpage-v1 → details")])
    assert (cells, [(each.edge, each.rule) for each in skipped]) == ([], [("reviews-v3 → ratings", "bulkhead")])


def test_an_unsafe_retry_is_looked_for_below_a_post_that_is_tried_again_when_slow():
    """The callee's own children are slowed: longer than its caller waits, so that it completes after that one left."""
    findings = [RETRIED, found("timeout", "shop-v1", "orders", "POST /orders", 2.0)]
    cells, _ = worth(ORDERS, findings, ["rule=unsafe-retry"])
    assert sorted(cells) == [("unsafe-retry", "orders-v1 → mail", 2.5), ("unsafe-retry", "orders-v1 → stock", 2.5)]
    waves, _ = stateful_waves(
        ORDERS, findings, selection(["rule=unsafe-retry"]), delay=12.0, status=507, wave=3, cell=11
    )
    # two questions about one edge disturb each other
    assert [[cell.judged for cell in wave.cells] for wave in waves] == [[edge("shop-v1 → orders")]] * 2
    assert {cell.operations for wave in waves for cell in wave.cells} == {("POST /orders",)}


@pytest.mark.parametrize(
    ("graph", "more", "reason"),
    [
        (ORDERS, [found("timeout", "orders", "stock", "GET /", 2.1)], "orders waits no longer for stock"),
        (Graph.of([site("shop-v1 → orders", "POST /orders")]), [], "orders calls nobody who could be slow"),
    ],
)
def test_why_an_unsafe_retry_cannot_be_shown_is_said(graph, more, reason):
    findings = [RETRIED, found("timeout", "shop", "orders", "POST /orders", 2.0), *more]
    _, skipped = worth(graph, findings, ["rule=unsafe-retry"])
    assert [(each.edge, each.rule) for each in skipped] == [("shop-v1 → orders", "unsafe-retry")]
    assert reason in skipped[0].reason


def test_a_get_that_is_tried_again_is_safe():
    assert worth(ORDERS, [found("retry", "shop", "orders", "GET /orders", 2.0)]) == ([], [])


def test_metastable_is_planned_only_where_asked_for_and_then_alone():
    findings = [found("retry", "reviews", "ratings", "GET /ratings/{id}", 2.0)]
    assert worth(bookinfo(), findings)[0] == []
    waves, _ = stateful_waves(
        bookinfo(), findings, selection(), delay=12.0, status=507, wave=3, cell=11, kinds=("metastable",)
    )
    assert [(wave.number, wave.name, len(wave.cells)) for wave in waves] == [(3, "metastable", 1), (4, "metastable", 1)]

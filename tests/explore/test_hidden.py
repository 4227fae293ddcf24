"""Hidden operations: calls that nobody makes once another call to the same service has failed."""

from __future__ import annotations

import re

import pytest
from graphs import PAGE, edge, site

from chaosmesh_ext.explore.plan import PlannedCell, hidden
from chaosmesh_ext.explore.selection import selection
from chaosmesh_ext.model import Answer, Cell, Graph, Injected, Span, Trace, Workload

EDGE = "shop-v1 → cart"
GRAPH = Graph.of(
    [site(EDGE, operation, url=PAGE) for operation in ("GET /cart/{id}", "POST /items", "PUT /total")]
    + [site("shop-v1 → stock", "GET /stock", url=PAGE)]
)
ABORT = Injected("abort", "cart", ("shop-v1",), status=507, carrier="envoyfilter")


def cell(*made: tuple[str, str], injected=ABORT) -> Cell:
    """A request of which the shop makes calls to the cart: (operation, flags)."""
    spans = []
    for number, (operation, flags) in enumerate(made):
        method, path = operation.split()
        span_id = f"{number:016x}"
        where = Workload("shop", "v1"), "cart", method, f"http://cart{path}"
        spans.append(Span("1", span_id, "", "CLIENT", "x", 1.0 + number, 0.1, *where, 507, None, frozenset([flags])))
    return Cell("2", injected, (Answer("1", PAGE, 1.0, 0.1, 200),), {"1": Trace("1", tuple(spans))})


def test_what_never_met_the_fault_since_another_call_did_is_faulted_alone():
    made = hidden(GRAPH, [cell(("GET /cart/7", "FI"))], wave=3, cell=9)
    assert [(wave.number, wave.name, wave.stateful) for wave in made] == [
        (3, "hidden abort", False),
        (4, "hidden abort", False),
    ]
    cells = [each for wave in made for each in wave.cells]
    assert [(each.number, each.edge, each.status, each.operations, each.url) for each in cells] == [
        (9, edge(EDGE), 507, ("POST /items",), PAGE),
        (10, edge(EDGE), 507, ("PUT /total",), PAGE),
    ]
    assert cells[0].match == {"method": {"exact": "POST"}, "uri": {"regex": "/items"}}


def test_what_met_the_fault_or_is_not_asked_about_is_left_alone():
    all_met = cell(("GET /cart/7", "FI"), ("POST /items", "FI"), ("PUT /total", "FI"))
    assert hidden(GRAPH, [all_met], wave=3, cell=9) == ()
    one = cell(("GET /cart/7", "FI"))
    assert hidden(GRAPH, [one], wave=3, cell=9, chosen=selection([], ["operation=P*"])) == ()


@pytest.mark.parametrize("other", [cell(("GET /cart/7", "-")), cell(("GET /cart/7", "FI"), injected=None)])
def test_where_no_call_met_the_fault_nothing_is_hidden_by_it(other):
    assert hidden(GRAPH, [other], wave=3, cell=9) == ()


@pytest.mark.parametrize(
    ("path", "fits"),
    [("/cart/7", True), ("/cart/a.b", True), ("/cart/7/x", False), ("/cart/", False), ("/cartx7", False)],
)
def test_an_identifier_in_the_path_stands_for_one_segment(path, fits):
    match = PlannedCell(1, edge(EDGE), "abort", operations=("GET /cart/{id}",), alone=True).match
    assert bool(re.fullmatch(match["uri"]["regex"], path)) is fits


def test_a_cell_for_all_calls_of_its_edge_has_no_match():
    assert PlannedCell(1, edge(EDGE), "abort", operations=("GET /cart/{id}",)).match == {}

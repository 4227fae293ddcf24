"""No more hosts are faulted at once than are allowed."""

from __future__ import annotations

from graphs import bookinfo, edge, graphs, site
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosmesh_ext.cli import planned
from chaosmesh_ext.explore.plan import Given, plan
from chaosmesh_ext.explore.splitting import split
from chaosmesh_ext.explore.waves import PlannedCell, Wave
from chaosmesh_ext.model import Graph


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(1, 4))
def test_every_cell_is_in_one_part_and_no_part_is_too_large(graph, most):
    if not graph.reachable:
        return
    whole, parts = plan(graph), plan(graph, hosts=most)
    assert sorted(parts.cells, key=lambda cell: cell.number) == sorted(whole.cells, key=lambda cell: cell.number)
    assert [wave.number for wave in parts.waves] == list(range(len(parts.waves)))
    for wave in parts.waves:
        assert len({cell.edge.destination for cell in wave.cells}) <= most
        assert len({bool(cell.delay) for cell in wave.cells}) < 2
    assert parts.one_by_one == whole.one_by_one


def test_it_takes_no_more_parts_than_it_must():
    graph = Graph.of([site(f"{caller} → {callee}") for caller in "ab" for callee in ("c1", "c2", "c3", "c4")])
    made = plan(graph, hosts=2)
    assert [wave.name for wave in made.waves] == [
        "healthy",
        "delay, part 1 of 2",
        "delay, part 2 of 2",
        "abort, part 1 of 2",
        "abort, part 2 of 2",
    ]
    assert "Waves are in parts: no more than 2 hosts are faulted at once (CHAOSMESH_MAX_HOSTS)." in planned.lines(
        graph, made, 2
    )
    assert planned.as_json(graph, made, 2)["hosts_at_once"] == 2


def test_where_all_fits_nothing_is_divided_or_said():
    made = plan(bookinfo(), hosts=10)
    assert made == plan(bookinfo())
    assert not made.note


def test_a_first_fault_counts_too_and_a_cell_is_never_divided():
    def cell(number: int, to: str, first: str) -> PlannedCell:
        return PlannedCell(number, edge(f"a → {to}"), "delay", delay=1.0, given=Given(edge(f"a → {first}"), status=507))

    waves = split([Wave(5, "x", (cell(1, "b", "c"), cell(2, "d", "e")))], 1)
    assert [(wave.number, [each.number for each in wave.cells]) for wave in waves] == [(5, [1]), (6, [2])]

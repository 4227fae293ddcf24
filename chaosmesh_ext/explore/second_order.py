"""Second order: calls that are made only while another one fails, such as those of a fallback.

They cannot be faulted alone, since in a healthy mesh nobody makes them. So the fault that brought them out stays in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from chaosmesh_ext.explore.selection import Selection
from chaosmesh_ext.explore.sites import alike
from chaosmesh_ext.explore.waves import Given, Kind, PlannedCell, Wave
from chaosmesh_ext.findings.calls import Call, calls
from chaosmesh_ext.model import Cell, Edge, Graph, Workload

__all__ = ["second_order"]


def second_order(
    graph: Graph,
    control: Cell,
    cells: Sequence[Cell],
    *,
    delay: float,
    status: int,
    wave: int,
    cell: int,
    chosen: Selection | None = None,
) -> tuple[Wave, ...]:
    """Waves for the calls that CELLS show and GRAPH has not: all delayed, then all aborted; nothing where none are.

    A call counts when its request met the cell's fault before, and when a workload makes it that CONTROL saw too, or
    whose service it never saw: another version that the control happened to miss is no second order. Nor is an edge of
    the control's that GRAPH leaves out, as where healthy calls fail. The first fault is an abort where one brings the
    call out, since it lets the request go on at once. wave, cell: the first numbers that
    are free. Cells of the same edge differ in their first fault.
    """
    chosen = chosen or Selection()
    found = _new(graph, control, cells)
    wanted = {
        edge: operations
        for edge in sorted(found)
        if chosen.edge(edge)
        and (operations := {each: at for each, at in found[edge].items() if chosen.operation(each)})
    }
    if not wanted:
        return ()
    numbers, together = count(cell), list(_by_first(wanted))
    waves: list[Wave] = []
    faults: tuple[tuple[Kind, dict[str, Any]], ...] = (("delay", {"delay": delay}), ("abort", {"status": status}))
    for kind, fault in faults:
        if chosen.kind(kind):
            planned = tuple(
                PlannedCell(
                    next(numbers), edges[0], kind, operations=those, urls=urls, given=given, also=edges[1:], **fault
                )
                for edges, given, those, urls in together
            )
            waves.append(Wave(wave + len(waves), f"second-order {kind}", planned))
    return tuple(waves)


_First = tuple[Given, str]
"""The fault that brought a call out, and the URL of the request."""


def _new(graph: Graph, control: Cell, cells: Sequence[Cell]) -> dict[Edge, dict[str, _First]]:
    """By edge and operation what GRAPH has not."""
    known = {(site.edge, site.operation) for site in graph.sites}
    left_out = {call.edge for call in calls(control, frozenset(graph.edges))} - {*graph.edges}
    seen = {span.workload for trace in control.traces.values() for span in trace.spans if span.proxy}
    found: dict[Edge, dict[str, _First]] = {}
    for each in sorted(cells, key=_aborts_first):
        for call, first, url in _after_the_fault(each, frozenset(graph.edges)):
            new = (call.edge, call.operation) not in known and call.edge not in {first.edge, *left_out}
            if new and _may_call(call.edge.source, seen):
                found.setdefault(call.edge, {}).setdefault(call.operation, (first, url))
    return found


def _aborts_first(cell: Cell) -> tuple[bool, int]:
    return cell.injected is None or cell.injected.kind != "abort", int(cell.id)


def _may_call(source: Workload, seen: set[Workload]) -> bool:
    same_service = {each for each in seen if (each.namespace, each.service) == (source.namespace, source.service)}
    return source in seen or not same_service


def _after_the_fault(cell: Cell, known: frozenset[Edge]) -> Iterator[tuple[Call, Given, str]]:
    """The calls of CELL that began once a call of the same request had met the fault, that fault, and the URL."""
    injected = cell.injected
    if injected is None or not injected.at_the_caller:
        return
    by_trace: dict[str, list[Call]] = {}
    for call in calls(cell, known):
        by_trace.setdefault(call.trace.trace_id, []).append(call)
    for made in by_trace.values():
        faulted = [call for call in made if call.faulted and injected.covers(call.edge)]
        if faulted:
            first = min(faulted, key=lambda call: call.span.start)
            same = [edge for edge in known if injected.covers(edge) and _versions(edge) == _versions(first.edge)]
            given = Given(first.edge, injected.delay, injected.status, tuple(sorted({*same} - {first.edge})))
            for call in made:
                if call.span.start >= first.span.start and call is not first:
                    yield call, given, call.answer.url


def _versions(edge: Edge) -> tuple[str, str, str]:
    """What edges have in common that are the same call of several versions."""
    return edge.source.namespace, edge.source.service, edge.destination


def _by_first(
    wanted: Mapping[Edge, Mapping[str, _First]],
) -> Iterator[tuple[tuple[Edge, ...], Given, tuple[str, ...], tuple[str, ...]]]:
    """The edges of several versions, with the operations that the same first fault brings out, and their URLs."""
    for edges in alike(wanted):
        grouped: dict[
            tuple[tuple[Edge, ...], float], tuple[Given, dict[Edge, None], dict[str, None], dict[str, None]]
        ] = {}
        for edge in edges:
            for operation, (given, url) in sorted(wanted[edge].items(), key=lambda each: each[0]):
                key = tuple(sorted(given.edges)), given.delay
                _, on, those, urls = grouped.setdefault(key, (given, {}, {}, {}))
                on[edge] = those[operation] = None
                urls |= {url: None} if url else {}
        for given, on, those, urls in grouped.values():
            yield tuple(on), given, tuple(those), tuple(urls)

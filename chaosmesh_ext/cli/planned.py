"""A plan for people, and for scripts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from chaosmesh_ext.explore.plan import EVERYWHERE
from chaosmesh_ext.explore.waves import Plan, PlannedCell, Wave
from chaosmesh_ext.model import Edge, Graph, Skipped

__all__ = ["as_json", "lines", "on"]

_SHOWN: Final = 40
"""Cells of a wave, and edges left out, that a person is shown; JSON has them all."""


def lines(graph: Graph, plan: Plan, in_flight: int) -> Iterator[str]:
    """The waves with their cells, and what one experiment for each call would have needed.

    in_flight: our requests at once, for the time that it takes.
    """
    size = f"{_count(len(graph.services), 'service')}, {_count(len(graph.edges), 'edge')}"
    yield (
        f"{size}: {_count(len(plan.cells), 'cell')} in {_count(len(plan.waves), 'wave')}, about "
        f"{_time(plan.seconds(in_flight))} with {_count(in_flight, 'request')} in flight (CHAOSMESH_REQUEST_BUDGET)."
    )
    yield (
        f"One by one it would be {_count(plan.one_by_one, 'experiment')}, "
        f"about {_time(plan.seconds_one_by_one(in_flight))}."
    )
    if plan.note:
        yield f"{plan.note[0].upper()}{plan.note[1:]}."
    for wave in plan.waves:
        yield ""
        yield f"Wave {wave.number}, {wave.name}: {_about(wave)}, about {_time(wave.seconds(in_flight))}"
        yield from (f"  {_cell(cell)}" for cell in wave.cells[:_SHOWN])
        if len(wave.cells) > _SHOWN:
            yield f"  … and {len(wave.cells) - _SHOWN:,} more; --json has them all"
    if plan.skipped:
        yield ""
        yield "Left out:"
        yield from (f"  {_skipped(each)}" for each in plan.skipped[:_SHOWN])
        if len(plan.skipped) > _SHOWN:
            yield f"  … and {len(plan.skipped) - _SHOWN:,} more; --json has them all"


def on(made: Plan, edges: Collection[Edge]) -> Plan:
    """The plan MADE with its cells on EDGES alone."""
    waves = (
        msgspec.structs.replace(wave, cells=tuple(cell for cell in wave.cells if cell.edge in edges))
        for wave in made.waves
    )
    return msgspec.structs.replace(made, waves=tuple(wave for wave in waves if wave.cells or not wave.number))


def as_json(graph: Graph, plan: Plan, in_flight: int) -> dict[str, Any]:
    """The same as plain JSON; times in seconds."""
    return {
        "services": len(graph.services),
        "edges": len(graph.edges),
        "entries": list(graph.entries),
        "cells": len(plan.cells),
        "one_by_one": plan.one_by_one,
        "in_flight": in_flight,
        "seconds": round(plan.seconds(in_flight), 1),
        "seconds_one_by_one": round(plan.seconds_one_by_one(in_flight), 1),
        **({"hosts_at_once": plan.hosts} if plan.hosts else {}),
        "waves": [
            {
                "number": wave.number,
                "name": wave.name,
                "stateful": wave.stateful,
                "seconds": round(wave.seconds(in_flight), 1),
                "cells": [_cell_json(cell) for cell in wave.cells],
            }
            for wave in plan.waves
        ],
        "skipped": [
            {"edge": each.edge, "reason": each.reason, **({"rule": each.rule} if each.rule else {})}
            for each in plan.skipped
        ],
    }


def _cell_json(cell: PlannedCell) -> dict[str, Any]:
    found: dict[str, Any] = {"number": cell.number, **_edge_json(cell.edge), "kind": cell.kind}
    found |= {"delay": cell.delay} if cell.delay else {"status": cell.status}
    found |= {"operations": list(cell.operations)}
    if cell.also:
        found["sources"] = [str(edge.source) for edge in cell.edges]
    if cell.urls:
        found["urls"] = list(cell.urls)
    if cell.judged is not None:
        found["judged"] = _edge_json(cell.judged)
    return found


def _edge_json(edge: Edge) -> dict[str, str]:
    return {"source": str(edge.source), "destination": edge.destination}


def _about(wave: Wave) -> str:
    if not wave.cells:
        return "no fault: what calls what, how often, how fast"
    faults = {_fault(cell) for cell in wave.cells}
    cells = _count(len(wave.cells), "cell")
    return f"{cells}, {faults.pop()} each" if len(faults) == 1 else cells


def _fault(cell: PlannedCell) -> str:
    return f"a delay of {cell.delay:g} s" if cell.delay else f"aborts with {cell.status}"


def _cell(cell: PlannedCell) -> str:
    about = f", for {cell.judged}" if cell.judged is not None else ""
    callers = ", ".join(str(edge.source) for edge in cell.edges)
    kind = "" if cell.kind in ("delay", "abort") else f"{cell.kind}, {_fault(cell)}  "
    return f"{cell.number:>4}  {callers} → {cell.edge.destination}{about}  {kind}" + ", ".join(cell.operations)


def _skipped(each: Skipped) -> str:
    if each.edge == EVERYWHERE:
        return f"{each.rule}: {each.reason}"
    return f"{each.edge}: {f'{each.rule}: ' if each.rule else ''}{each.reason}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes / 60:,.0f} h"

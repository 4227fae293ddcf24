"""The plan: which faults are worth injecting, and which of them can be in at once.

Wave 0 is healthy. Wave 1 delays every edge at once and wave 2 aborts every edge at once: each edge has a marker of its
own, so no request meets two faults, and a breaker that an abort opens hides no delay. An edge is one version of a
workload and a service that it calls: versions are never taken for each other, as one may time out where another waits.
But all versions' edges to one service are one cell: a request meets one of them, and with another one spared it might
get through when it is tried again above. What is equal is merged: the calls of one edge, however often a request makes
them and whichever entry URLs lead there, are one cell. Stateful cells follow, coloured by conflict. Second-order cells,
and those for hidden operations, are planned once the first waves show that such calls exist.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import count
from typing import Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.explore.hidden import hidden
from chaosmesh_ext.explore.second_order import second_order
from chaosmesh_ext.explore.selection import NEVER, STATEFUL, TAUGHT_BY, Selection, selection
from chaosmesh_ext.explore.sites import alike, cell_for
from chaosmesh_ext.explore.splitting import split
from chaosmesh_ext.explore.stateful.cells import stateful_waves
from chaosmesh_ext.explore.waves import Given, Plan, PlannedCell, Wave
from chaosmesh_ext.model import CallSite, Edge, Finding, Graph, Skipped

__all__ = [
    "DELAY",
    "EVERYWHERE",
    "STATUS",
    "Given",
    "Plan",
    "PlannedCell",
    "Wave",
    "hidden",
    "plan",
    "refuse",
    "second_order",
    "stateful_waves",
]

DELAY: Final = 12.0
"""Seconds by which calls are held back: longer than most timeouts, so that a caller without one is told apart."""

EVERYWHERE: Final = "*"
"""What is skipped on every edge."""

_SHORTEST: Final = 0.1
"""Seconds: twice what two times may differ by and be the same (eps)."""

_LONGEST: Final = 600.0
"""Seconds."""

STATUS: Final = 507
"""The status that calls are aborted with: a rare one, so that it is recognised wherever it is passed on."""


def plan(
    graph: Graph,
    *,
    delay: float = DELAY,
    status: int = STATUS,
    stateful: bool = False,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
    findings: Sequence[Finding] | None = None,
    barred: Collection[Edge] = (),
    hosts: int | None = None,
) -> Plan:
    """The smallest plan for GRAPH.

    delay: seconds, 0.1–600. status: HTTP status, 400–599. stateful: breakers, bulkheads and unsafe retries as well.
    findings: of the stateless waves; only those stateful cells are planned that they make worth it. None: not known
    yet, so all that may turn out to be. only, skip: see `selection`. barred: edges on which no fault can be put. hosts:
    how many may be faulted at once; None: any number. Raises InvalidInput for a pattern that fits nothing, and for
    numbers that cannot be.
    """
    refuse(delay, status)
    chosen = selection(only, skip)
    chosen.check(graph, stateful=stateful)
    wanted = [edge for edge in graph.edges if edge in graph.reachable and any(map(chosen.site, graph.by_edge[edge]))]
    if not wanted:
        raise InvalidInput(f"no request from {_entries(graph)} reaches a call that is to be faulted; look at entries")
    wanted = [edge for edge in wanted if edge not in barred]
    numbers, together = count(1), alike(wanted)
    waves = [Wave(0, "healthy")]
    if chosen.kind("delay"):
        cells = tuple(cell_for(graph, chosen, each, next(numbers), "delay", delay=delay) for each in together)
        waves.append(Wave(len(waves), "delay", cells))
    if chosen.kind("abort"):
        cells = tuple(cell_for(graph, chosen, each, next(numbers), "abort", status=status) for each in together)
        waves.append(Wave(len(waves), "abort", cells))
    stateless = len(waves) - 1
    skipped = [*_rules_left_out(chosen, stateful=stateful), *_left_out(graph, chosen)]
    if stateful:
        more, undecided = stateful_waves(
            graph, findings, chosen, delay=delay, status=status, wave=len(waves), cell=next(numbers), apart=barred
        )
        waves += more
        skipped += undecided
    alone = sum(_calls(site) for edge in wanted for site in graph.by_edge[edge] if chosen.site(site))
    parts = split(waves, hosts) if hosts is not None else tuple(waves)
    return Plan(
        parts,
        alone * stateless + sum(len(wave.cells) for wave in waves if wave.stateful),
        tuple(sorted(skipped, key=lambda each: (each.edge, each.rule, each.reason))),
        hosts or 0 if len(parts) > len(waves) else 0,
    )


def refuse(delay: float, status: int) -> None:
    """Raise InvalidInput where nothing could be learnt from a DELAY of so many seconds, or an abort with STATUS."""
    if not _SHORTEST <= delay <= _LONGEST:
        raise InvalidInput(
            f"the delay is {delay:g} s; give {_SHORTEST:g} to {_LONGEST:g}: less is noise, and nobody waits longer"
        )
    if not 400 <= status <= 599:
        raise InvalidInput(f"the status is {status}; aborts are failures, 400 to 599")


def _calls(site: CallSite) -> int:
    """How often an experiment for each call alone would have to name SITE."""
    return max(1, round(site.calls))


def _rules_left_out(chosen: Selection, *, stateful: bool) -> Iterator[Skipped]:
    """What is not looked for on any edge: who compares two runs must know that its findings are not gone."""
    for rule in TAUGHT_BY:
        if not chosen.rule(rule):
            yield Skipped(EVERYWHERE, "left out by --only or --skip", rule)
        elif rule == NEVER:
            yield Skipped(EVERYWHERE, "is not looked for by an exploration", rule)
        elif rule in STATEFUL and not stateful:
            yield Skipped(EVERYWHERE, "needs stateful waves, which were not asked for (--stateful)", rule)


def _left_out(graph: Graph, chosen: Selection) -> Iterator[Skipped]:
    for edge in graph.edges:
        if edge not in graph.reachable:
            yield Skipped(str(edge), f"no request from {_entries(graph)} reaches it")
        elif not any(map(chosen.site, graph.by_edge[edge])):
            yield Skipped(str(edge), "left out by --only or --skip")


def _entries(graph: Graph) -> str:
    return " or ".join(graph.entries)

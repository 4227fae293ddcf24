"""Truth of what only many requests show: circuit-breaker, bulkhead."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import quantiles
from typing import Final

from chaosmesh_ext.model.topology import Call
from truths.ground import Context, Ground, Site, on
from truths.items import Item
from truths.of_calls import item
from truths.simulate import Simulation
from truths.story import Abort, Delay

__all__ = ["bulkhead", "circuit_breaker"]

_SILENT: Final = 3
"""Requests in a row without a call that tell an open breaker."""

_LOAD: Final = 16
"""Requests at once, the most that a lab is asked for."""

_SLOWER: Final = 2.0
_SHARE: Final = 0.01


def circuit_breaker(ground: Ground, site: Site) -> Iterator[Item]:
    """After how many failures in a row it stops calling, and for how long."""
    call = ground.call(site)
    if call.breaker is None:
        return
    words = call.breaker
    exact = ground.version(site.source).replicas == 1
    numbers = (("open_s", words.open, max(0.1 * words.open, 0.1)),)
    if any(_opens(ground, site, context, call) for context in ground.contexts(site.source)):
        yield item(
            ground,
            "circuit-breaker",
            site,
            "",
            "present",
            value=float(words.failures),
            close=0.0 if exact else float("inf"),
            numbers=numbers,
        )
    else:
        yield item(ground, "circuit-breaker", site, "", "undecidable", "its callers stop calling it before it opens")


def _opens(ground: Ground, site: Site, context: Context, call: Call) -> bool:
    """One request after the other while it fails: after exactly that many failures it is asked and makes no call."""
    if call.breaker is None or not on(context.healthy, site):
        return False
    fault = {(site.source, site.destination): Abort(ground.status)}
    simulation = Simulation(ground.topology, faults=fault, versions=context.versions)
    for turn in range(call.breaker.failures + 4 * _SILENT):
        simulation.visit(context.path, at=turn * call.breaker.open / (4 * _SILENT))
    story = simulation.run()
    made: dict[int, int] = {}
    for each in on(story, site):
        made[each.request] = made.get(each.request, 0) + 1
    failed = silent = 0
    for served in story.served:
        if served.workload != site.source:
            continue
        if served.id in made and not silent:
            failed += made[served.id]
        elif served.id not in made:
            silent += 1
            if silent == _SILENT:
                return failed == call.breaker.failures
        else:
            return False
    return False


def bulkhead(ground: Ground, site: Site) -> Iterator[Item]:
    """Whether requests of its caller that do without the call suffer while it hangs."""
    for context in ground.contexts(site.source):
        if not on(context.healthy, site):
            continue
        for beside in ground.contexts(site.source):
            others = {each.path for each in beside.healthy.served if each.workload == site.source}
            those = {each.path for each in context.healthy.served if each.workload == site.source}
            apart = beside.versions == context.versions and not on(beside.healthy, site) and not others & those
            if apart:
                yield from _bulkhead(ground, site, context, beside)
                return


def _bulkhead(ground: Ground, site: Site, context: Context, beside: Context) -> Iterator[Item]:
    """How many calls hang together follows from the load too: it is told, and not scored."""
    version, call = ground.version(site.source), ground.call(site)
    bounds = [bound for bound in (version.workers, call.pool) if bound is not None]
    hanging = float(min([_LOAD, *(bound * version.replicas for bound in bounds)]))
    if _harmed(ground, site, context, beside):
        yield item(ground, "bulkhead", site, "", "present", value=hanging, kind="starved", close=float("inf"))
    elif call.pool is not None and call.pool * version.replicas < _LOAD:
        yield item(ground, "bulkhead", site, "", "present", value=hanging, kind="isolated", close=float("inf"))


def _harmed(ground: Ground, site: Site, context: Context, beside: Context) -> bool:
    fault = {(site.source, site.destination): Delay(ground.delay)}
    simulation = Simulation(ground.topology, faults=fault, versions=context.versions)
    for turn in range(_LOAD):
        simulation.visit(context.path, at=turn * 0.001)
    for turn in range(20):
        simulation.visit(beside.path, at=0.05 + 0.02 * turn, marked=False)
    story = simulation.run()
    usual = beside.healthy.visit
    unmarked = [each for each in story.visits if each.path == beside.path]
    good = sum(each.status == usual.status for each in unmarked) / len(unmarked)
    return good < 1 - _SHARE or _p95([each.end - each.start for each in unmarked]) > _SLOWER * (usual.end - usual.start)


def _p95(times: list[float]) -> float:
    return quantiles(times, n=20)[-1]

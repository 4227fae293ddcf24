"""Truth of what happens along a way: retry-amplification, timeout-inversion, unsafe-retry, broken-propagation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from truths.ground import Cell, Ground, Site, by_request, close_clocks, on, series
from truths.items import Item
from truths.of_calls import CANCELLED, RACE, item, timeout

__all__ = ["broken_propagation", "retry_amplification", "timeout_inversion", "unsafe_retry"]

_EPS: Final = 0.05
_MARGIN: Final = 1.25
_UNSAFE: Final = ("POST", "PATCH")


def retry_amplification(ground: Ground, site: Site) -> Iterator[Item]:
    """How many times more calls a failing leaf gets for one request of a user, where two layers or more retry."""
    if _calls_others(ground, site):
        return
    for condition, cells in (("slow", ground.slow(site)), ("status", ground.failing(site))):
        factors: set[float] = set()
        for cell in cells:
            factors.add(_factor(cell, site))
        several = {factor for factor in factors if factor}
        if not several:
            continue
        least, most = min(several), max(several)
        if 0.0 in factors or most - least > 0.05 * least:
            reason = "timeouts or versions above it make it vary"
            yield item(ground, "retry-amplification", site, condition, "undecidable", reason)
        else:
            value = sum(several) / len(several)
            yield item(ground, "retry-amplification", site, condition, "present", value=value, close=0.05 * value)


def _calls_others(ground: Ground, site: Site) -> bool:
    return any(list(version.calls()) for version in ground.topology.service(site.destination).versions)


def _factor(cell: Cell, site: Site) -> float:
    """Attempts against healthy ones; 0 where fewer than two layers retry."""
    layers = set()
    tried: dict[tuple[int, int], int] = {}
    for each in cell.story.attempts:
        key = each.request, each.call
        tried[key] = tried.get(key, 0) + 1
        if tried[key] > 1:
            layers.add(each.source.rpartition("-")[0])
    if len(layers) < 2:
        return 0.0
    return len(on(cell.story, site)) / len(on(cell.context.healthy, site))


def timeout_inversion(ground: Ground, site: Site) -> Iterator[Item]:
    """Its caller leaves while it still tries: work for nobody."""
    call = ground.call(site)
    patience = series(call)
    above = [(parent, words) for parent, words in ground.above(site) if words.timeout is not None]
    clocks = [words.timeout for _, words in above if words.timeout is not None and words.timeout <= ground.delay]
    if call.timeout is None or call.timeout > ground.delay or not clocks:
        return
    close = [each for each in clocks if close_clocks(each, call.timeout) or close_clocks(each, patience)]
    inverted = [each for each in clocks if patience >= _MARGIN * each and each not in close]
    orphaned = any(
        served.orphaned > _EPS
        for cell in ground.slow(site)
        if cell.skew == 1
        for served, _ in by_request(cell.story, site)
    )
    sure = all(
        each.verdict == "present"
        for clock in (site, *(parent for parent, _ in above))
        for each in timeout(ground, clock)
    )
    if inverted and orphaned and sure:
        yield item(ground, "timeout-inversion", site, "", "present")
    elif inverted and orphaned:
        yield item(ground, "timeout-inversion", site, "", "undecidable", "one of the two timeouts cannot be told")
    elif close:
        yield item(ground, "timeout-inversion", site, "", "undecidable", RACE)
    elif inverted:
        yield item(ground, "timeout-inversion", site, "", "absent", "it stops when its caller is gone")


def unsafe_retry(ground: Ground, site: Site) -> Iterator[Item]:
    """It does again, after a timeout, what its callee completes all the same."""
    call = ground.call(site)
    retries = call.retries
    if call.method not in _UNSAFE or retries is None or not retries.attempts or "timeout" not in retries.on:
        return
    # gRPC POSTs whatever it asks for: its methods say nothing of what must not be done twice
    if call.timeout is None or call.timeout > ground.delay or ground.topology.service(site.destination).grpc:
        return
    shown = {
        _limits(ground, site, call.timeout, version.name)
        for version in ground.topology.service(site.destination).versions
    }
    cells = ground.slow(site)
    if any(made[-1].ended == "called off" for cell in cells for _, made in by_request(cell.story, site)):
        yield item(ground, "unsafe-retry", site, "", "undecidable", CANCELLED)
    elif "present" in shown:
        yield item(ground, "unsafe-retry", site, "", "present")
    elif "close" in shown:
        yield item(ground, "unsafe-retry", site, "", "undecidable", RACE)
    else:
        yield item(ground, "unsafe-retry", site, "", "absent", "nothing of its callee's can be slowed for long enough")


def _limits(ground: Ground, site: Site, patience: float, version: str) -> str:
    """Whether a callee of this VERSION completes though one of its own calls takes longer than PATIENCE."""
    workload = f"{site.destination}-{version}"
    if ground.version(workload).on_caller_gone == "cancel":
        return "absent"
    path = ground.call(site).path
    limits = [
        call.timeout
        for call in ground.version(workload).calls()
        if call.concerns(path) and any(each.source == workload and each.destination == call.to for each in ground.sites)
    ]
    if any(limit is None or (limit > patience and not close_clocks(limit, patience)) for limit in limits):
        return "present"
    return "close" if any(close_clocks(limit, patience) for limit in limits) else "absent"


def broken_propagation(ground: Ground, site: Site) -> Iterator[Item]:
    """The mark gets as far as the caller, and not on."""
    service = ground.service(site.source).name
    yield Item("broken-propagation", site.source, service, site.destination, "", "", "present")

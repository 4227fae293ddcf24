"""Truth of one call: timeout, missing-timeout, retry, fallback, missing-fallback, error-propagation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from truths.answers import compare
from truths.ground import Cell, Ground, Site, by_request, close_clocks, on, series
from truths.items import Item, Verdict

__all__ = ["CANCELLED", "RACE", "error_propagation", "fallback", "item", "retry", "time_tolerance", "timeout"]

CANCELLED: Final = "cancel, and its caller leaves first"
RACE: Final = "within 25 % of its caller's timeout"


def item(
    ground: Ground, rule: str, site: Site, condition: str, verdict: Verdict, reason: str = "", **facts: object
) -> Item:
    """An item about SITE."""
    service = ground.service(site.source).name
    return Item(
        rule,
        site.source,
        service,
        site.destination,
        site.operation,
        condition,
        verdict,
        reason,
        **facts,  # type: ignore[arg-type]
    )


def time_tolerance(value: float) -> float:
    """Within which a timeout is right: max(5 %, 25 ms)."""
    return max(0.05 * value, 0.025)


def _races(ground: Ground, site: Site) -> bool:
    """Every way to SITE has a timeout that ends about when its own does."""
    own = ground.call(site)
    above = ground.above(site)
    return bool(above) and all(
        close_clocks(call.timeout, own.timeout) or close_clocks(call.timeout, series(own)) for _, call in above
    )


def timeout(ground: Ground, site: Site) -> Iterator[Item]:
    """How long it waits, where that is no longer than the delay; or that it waits for all of the delay."""
    limit = ground.call(site).timeout
    cells = ground.slow(site)
    if limit is None or limit > ground.delay:
        shown = _shown(cells, site, "answered")
        value = ground.delay
        if _all(shown):
            yield item(ground, "missing-timeout", site, "slow", "present", value=value, close=time_tolerance(value))
        else:
            yield item(ground, "missing-timeout", site, "slow", "undecidable", CANCELLED)
        return
    if not _all(_shown(cells, site, "timeout")):
        yield item(ground, "timeout", site, "slow", "undecidable", CANCELLED)
    elif _races(ground, site):
        yield item(ground, "timeout", site, "slow", "undecidable", RACE)
    else:
        yield item(ground, "timeout", site, "slow", "present", value=limit, close=time_tolerance(limit))


def _shown(cells: list[Cell], site: Site, ended: str) -> dict[float, bool]:
    """By skew, whether any request shows a call that ends so."""
    found: dict[float, bool] = {}
    for cell in cells:
        seen = any(each.faulted and each.ended == ended for each in on(cell.story, site))
        found[cell.skew] = found.get(cell.skew, False) or seen
    return found


def _all(shown: dict[float, bool]) -> bool:
    return bool(shown) and all(shown.values())


def retry(ground: Ground, site: Site) -> Iterator[Item]:
    """How often it tries again, after a timeout and after an error; never is claimed of errors only."""
    call = ground.call(site)
    planned = call.retries.attempts if call.retries else 0
    on_words = call.retries.on if call.retries else ()
    for condition, trigger in (("slow", "timeout"), ("status", "5xx")):
        expected = planned if trigger in on_words else 0
        if condition == "slow" and (call.timeout is None or call.timeout > ground.delay):
            if expected:
                yield item(ground, "retry", site, condition, "absent", "no timeout ends its attempts")
            continue
        if condition == "slow" and not expected:
            if planned:
                yield item(ground, "retry", site, condition, "absent", "not tried again after a timeout")
            continue
        cells = ground.slow(site) if condition == "slow" else ground.failing(site)
        counts = {len(made) - 1 for cell in cells for _, made in by_request(cell.story, site)}
        if counts != {expected}:
            reason = "the breaker opens in between" if call.breaker else CANCELLED
            yield item(ground, "retry", site, condition, "undecidable", reason)
        elif condition == "slow" and _races(ground, site):
            yield item(ground, "retry", site, condition, "undecidable", RACE)
        else:
            kind = _backoff(ground, site, expected)
            yield item(ground, "retry", site, condition, "present", value=float(expected), kind=kind)


def _backoff(ground: Ground, site: Site, gaps: int) -> str | None:
    """How the pauses between attempts must be called; None where there are too few gaps to tell."""
    retries = ground.call(site).retries
    if not gaps or retries is None:
        return None
    if not retries.backoff:
        return "no backoff"
    if retries.growth > 1:
        return "growing backoff" if gaps >= 3 else None
    return "fixed backoff" if gaps >= 2 else None


def fallback(ground: Ground, site: Site) -> Iterator[Item]:
    """What the user of the request loses."""
    for condition, cells in (("slow", ground.slow(site)), ("status", ground.failing(site))):
        found: dict[float, set[str]] = {}
        for cell in cells:
            found.setdefault(cell.skew, set()).add(_harm(cell, site))
        verdicts = [harms - {""} for harms in found.values()]
        if any(each != verdicts[0] for each in verdicts):
            for rule in ("fallback", "missing-fallback"):
                yield item(ground, rule, site, condition, "undecidable", "a race of two timeouts decides")
        elif verdicts[0] == {"lost", "kept"}:
            for rule in ("fallback", "missing-fallback"):
                yield item(ground, rule, site, condition, "undecidable", "versions above it differ")
        elif verdicts[0]:
            rule = "fallback" if verdicts[0] == {"kept"} else "missing-fallback"
            yield item(ground, rule, site, condition, "present")


def _harm(cell: Cell, site: Site) -> str:
    """``lost``, ``kept`` although the call failed or something stands in, or nothing where all went well."""
    harm = compare(cell.context.healthy.visit, cell.story.visit)
    if harm == "lost":
        return "lost"
    failed = any(made[-1].failed for _, made in by_request(cell.story, site))
    return "kept" if failed or harm == "replaced" else ""


def error_propagation(ground: Ground, site: Site) -> Iterator[Item]:
    """What becomes of a rare status at the caller's own caller."""
    kinds: dict[str, str] = {"raw": "raw", "fail": "translated", "bug": "translated"}
    answered = [
        served.gone is None and served.status > 0
        for cell in ground.failing(site)
        for served, _ in by_request(cell.story, site)
    ]
    if any(answered):
        kind = kinds.get(ground.call(site).on_failure, "absorbed")
        yield item(ground, "error-propagation", site, "", "present", kind=kind)
    elif answered:
        yield item(ground, "error-propagation", site, "", "undecidable", "its caller leaves before it answers")

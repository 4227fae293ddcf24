"""The named metrics of `promql`, as numbers that can be trusted, or none."""

from __future__ import annotations

import time

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.observe import promql
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.promql import ENVOY, Calls

__all__ = ["OLDEST", "await_scrape", "measure", "refuse_down", "refuse_untold"]

OLDEST = 90.0
"""Seconds after which a sample is stale: Prometheus' usual longest interval of 60, and half of it."""

_PAUSE = 0.25


def measure(
    prometheus: Prometheus, metric: str, calls: Calls, *, window: float = 60.0, quantile: float = 0.5, wait: float = 0.0
) -> float:
    """METRIC, a line of `promql.TABLE`, of CALLS in the last WINDOW seconds.

    wait: seconds, at most, until every proxy that counts such calls was scraped once more, so that what was sent just
    now is in it; 0 takes what is there. Raises Inconclusive where there is no data, a sample is stale, or a proxy that
    told of such calls cannot be scraped now; and what `Prometheus` raises.
    """
    if not window > 0:
        raise InvalidInput(f"window is {window!r}: give seconds above 0, at least two of Prometheus' scrape intervals")
    if not 0 <= quantile <= 1:
        raise InvalidInput(f"quantile {quantile!r} is not between 0 and 1: 0.5 is the median")
    expression = promql.expression(metric, calls, window, quantile=quantile)
    oldest = promql.oldest(metric, calls)
    if wait:
        await_scrape(prometheus, oldest, wait)
    age = prometheus.scalar(f"time() - {oldest}")
    if age is not None and age > OLDEST:
        raise Inconclusive(
            f"no data: {metric} of {calls} was last told {age:.0f} s ago: see whether Prometheus still gets it"
        )
    refuse_down(prometheus, promql.down(metric, calls, window), f"{metric} of {calls}")
    value = prometheus.scalar(expression)
    if value is None:
        raise Inconclusive(f"no data for {metric} of {calls} in the last {window:g} s: {_why(calls)}")
    return float(value)


def await_scrape(prometheus: Prometheus, oldest: str, wait: float) -> None:
    """Until OLDEST, the PromQL of a time, is after now, by Prometheus' own clock; at most WAIT seconds.

    Raises Inconclusive where it then is not.
    """
    now, end = prometheus.scalar("time()") or 0.0, time.monotonic() + wait
    while (prometheus.scalar(oldest) or 0.0) <= now:
        if time.monotonic() >= end:
            raise Inconclusive(
                f"no data: not every proxy was scraped within {wait:g} s: give wait more than the interval of scrapes, "
                "and see that there are such calls"
            )
        time.sleep(_PAUSE)


def refuse_down(prometheus: Prometheus, down: str, what: str) -> None:
    """Raise Inconclusive where DOWN, a PromQL expression, has targets: WHAT would be of the others alone."""
    if found := sorted(sample.labels.get("instance", "?") for sample in prometheus.query(down)):
        raise Inconclusive(f"only part of the data for {what}: Prometheus cannot scrape {', '.join(found)}")


def refuse_untold(prometheus: Prometheus, targets: str, what: str) -> None:
    """Raise Inconclusive where TARGETS, a selector of ``up``, matches no target, or some that cannot be scraped."""
    if not prometheus.query(targets):
        raise Inconclusive(f"no data that can be trusted for {what}: {targets} matches no target; check its labels")
    refuse_down(prometheus, f"{targets} == 0", what)


def _why(calls: Calls) -> str:
    if calls.reporter == ENVOY:
        return (
            "proxies count these only when told to (annotation sidecar.istio.io/statsInclusionPrefixes: "
            "cluster.outbound), and the window must hold two scrapes"
        )
    return "were there any, does Prometheus scrape the proxies, and does the window hold two scrapes?"

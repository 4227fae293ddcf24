"""What Prometheus says, as one number."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
import time

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.observe.metrics import refuse_untold
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.reach import target
from chaosmesh_ext.probes.configured import number, run_of

__all__ = ["metric", "metric_change", "prometheus_of"]


def metric(
    query: str,
    targets: str = None,
    prometheus_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> float:
    """
    The one number that a PromQL `query` comes to now. Fails, as inconclusive,
    when there is no data (NaN and the infinities of a division by 0 included), or
    only part of it: the answer comes with warnings, or `targets`, a selector of
    `up` such as `{job="envoy-stats"}`, has none, or one that cannot be scraped.
    Refuses several series.
    """
    prometheus = prometheus_of(prometheus_url, configuration, secrets)
    if targets:
        refuse_untold(prometheus, f"up{targets.strip().removeprefix('up')}", repr(query))
    value = prometheus.scalar(query)
    if value is None:
        raise Inconclusive(
            f"no data for {query!r}: does the metric exist, is its target up, and is nothing divided by 0?"
        )
    return float(value)


def metric_change(
    query: str,
    before: float = 60.0,
    relative: bool = True,
    prometheus_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> float:
    """
    How a PromQL `query`, one number, differs now from what it was `before`
    seconds ago: 0.5 is half as much again, -1 all gone; with `relative: false`
    the difference in the metric's own unit. Fails when either has no data.
    """
    before = number("before", before)
    if not before:
        raise InvalidInput(f"before is {before!r}: give seconds above 0, e.g. 60")
    change = prometheus_of(prometheus_url, configuration, secrets).compare(query, time.time() - before)
    if change.delta is None:
        when = f"{before:g} s ago" if change.before is None else "now"
        raise Inconclusive(f"no data {when} for {query!r}: does the metric exist, and was its target up?")
    if not relative:
        return float(change.delta)
    if change.ratio is None:
        raise Inconclusive(f"{query!r} was 0 {before:g} s ago: ask for the difference with relative: false")
    return float(change.ratio - 1)


def prometheus_of(url: str | None, configuration: Configuration | None, secrets: Secrets | None) -> Prometheus:
    """The Prometheus at URL, or the settings' own, with the settings' credentials."""
    return Prometheus(target(run_of(configuration, secrets).settings, "prometheus", url or ""))

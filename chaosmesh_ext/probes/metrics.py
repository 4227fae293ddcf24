"""What Prometheus says, as one number."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
import time

from chaoslib.types import Configuration

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.reach import target
from chaosmesh_ext.probes.configured import run_of

__all__ = ["metric", "metric_change"]


def metric(query: str, prometheus_url: str = None, configuration: Configuration = None) -> float:
    """
    The one number that a PromQL `query` comes to now. Fails when there is no
    data, several series, or no Prometheus (PROMETHEUS_URL).
    """
    value = _prometheus(prometheus_url, configuration).scalar(query)
    if value is None:
        raise Inconclusive(f"no data for {query!r}: does the metric exist, and is its target up?")
    return float(value)


def metric_change(
    query: str,
    before: float = 60.0,
    relative: bool = True,
    prometheus_url: str = None,
    configuration: Configuration = None,
) -> float:
    """
    How a PromQL `query`, one number, differs now from what it was `before`
    seconds ago: 0.5 is half as much again, -1 all gone; with `relative: false`
    the difference in the metric's own unit. Fails when either has no data.
    """
    if not before > 0:
        raise InvalidInput(f"before is {before!r}: give seconds above 0, e.g. 60")
    change = _prometheus(prometheus_url, configuration).compare(query, time.time() - before)
    if change.delta is None:
        when = f"{before:g} s ago" if change.before is None else "now"
        raise Inconclusive(f"no data {when} for {query!r}: does the metric exist, and was its target up?")
    if not relative:
        return float(change.delta)
    if change.ratio is None:
        raise Inconclusive(f"{query!r} was 0 {before:g} s ago: ask for the difference with relative: false")
    return float(change.ratio - 1)


def _prometheus(url: str | None, configuration: Configuration | None) -> Prometheus:
    return Prometheus(target(run_of(configuration).settings, "prometheus", url or ""))

"""What the mesh counts of the calls to a service: named metrics, whose PromQL is in `observe.promql`."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.observe.metrics import measure
from chaosmesh_ext.observe.patterns import refuse_statuses
from chaosmesh_ext.observe.promql import ENVOY, Calls
from chaosmesh_ext.probes.configured import number, run_of
from chaosmesh_ext.probes.metrics import prometheus_of

__all__ = ["ejections", "latency_quantile", "overflow", "request_rate", "success_rate"]


def success_rate(
    destination: str,
    source: str = None,
    namespace: str = None,
    window: float = 60.0,
    failures: str = "5..|0",
    reporter: str = "source",
    wait: float = 0.0,
    prometheus_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> float:
    """
    The share, 0 to 1, of the calls to the service `destination` in the last
    `window` seconds that succeeded. Failures are the response codes that the
    regular expression `failures` matches (0: no answer), and gRPC's statuses of
    failed servers.

    `source` is the calling workload, by default every one. `namespace` is the
    service's. `reporter` says who counted: source (the callers' sidecars),
    destination, waypoint, or envoy (the callers' own counters, where only 5xx are
    failures). `wait` waits, at most so many seconds, until what was sent just now
    has been scraped. Fails, as inconclusive, when there were no calls, or part of
    the data is missing or stale.
    """
    if failures:
        refuse_statuses("failures", failures)
    codes = "" if reporter == ENVOY and failures == "5..|0" else failures
    calls = _calls(configuration, secrets, destination, source, namespace, reporter, codes=codes)
    return _measure("success_rate", calls, window, wait, prometheus_url, configuration, secrets)


def latency_quantile(
    destination: str,
    quantile: float = 0.99,
    source: str = None,
    namespace: str = None,
    window: float = 60.0,
    response_code: str = None,
    reporter: str = "source",
    wait: float = 0.0,
    prometheus_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> float:
    """
    Seconds within which the share `quantile` (0 to 1) of the calls to the service
    `destination` in the last `window` seconds were answered, as exact as the
    histogram's buckets. `response_code` is a regular expression: without it
    errors, which are fast, count too. The rest, and when it fails, as in
    `success_rate`.
    """
    calls = _calls(configuration, secrets, destination, source, namespace, reporter, codes=response_code)
    share = number("quantile", quantile)
    return _measure("latency_quantile", calls, window, wait, prometheus_url, configuration, secrets, quantile=share)


def request_rate(
    destination: str,
    source: str = None,
    namespace: str = None,
    window: float = 60.0,
    response_code: str = None,
    response_flags: str = None,
    reporter: str = "source",
    wait: float = 0.0,
    prometheus_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> float:
    """
    Calls a second to the service `destination` over the last `window` seconds.
    `response_code` and `response_flags` are regular expressions of those that
    count, e.g. `5..` and `.*URX.*`; 0 where there are calls, but no such ones.
    The rest, and when it fails, as in `success_rate`.
    """
    calls = _calls(
        configuration, secrets, destination, source, namespace, reporter, codes=response_code, flags=response_flags
    )
    return _measure("request_rate", calls, window, wait, prometheus_url, configuration, secrets)


def overflow(
    destination: str,
    source: str = None,
    namespace: str = None,
    window: float = 60.0,
    reporter: str = "source",
    wait: float = 0.0,
    prometheus_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> float:
    """
    How many calls to the service `destination` in the last `window` seconds were
    refused because a connection pool was full (UO; with `reporter: envoy`,
    Envoy's upstream_rq_pending_overflow). The rest, and when it fails, as in
    `success_rate`.
    """
    calls = _calls(configuration, secrets, destination, source, namespace, reporter)
    return _measure("overflow", calls, window, wait, prometheus_url, configuration, secrets)


def ejections(
    destination: str,
    source: str = None,
    namespace: str = None,
    subset: str = None,
    wait: float = 0.0,
    prometheus_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> float:
    """
    How many endpoints of the service `destination` a caller has ejected now as
    outliers: the most that one caller's proxy has. `subset` is of a
    DestinationRule. Envoy's own metric, which it has where outlierDetection is
    configured, and which proxies of a real mesh tell when told to. The rest, and
    when it fails, as in `success_rate`.
    """
    calls = _calls(configuration, secrets, destination, source, namespace, ENVOY, subset=subset)
    return _measure("ejections", calls, 60.0, wait, prometheus_url, configuration, secrets)


def _calls(
    configuration: Configuration | None,
    secrets: Secrets | None,
    destination: str,
    source: str | None,
    namespace: str | None,
    reporter: str,
    **more: str | None,
) -> Calls:
    where = namespace or run_of(configuration, secrets).settings.namespace
    given = {name: value for name, value in more.items() if value is not None}
    return Calls(str(destination or ""), where, source or "", reporter, **given)


def _measure(
    metric: str,
    calls: Calls,
    window: float,
    wait: float,
    url: str | None,
    configuration: Configuration | None,
    secrets: Secrets | None,
    **more: Any,
) -> float:
    over, patience = number("window", window), number("wait", wait)
    return measure(prometheus_of(url, configuration, secrets), metric, calls, window=over, wait=patience, **more)

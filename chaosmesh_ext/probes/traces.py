"""What traces say of the calls between two workloads."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import List, Union

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.observe.quantiles import quantile as quantile_of
from chaosmesh_ext.observe.tags import flags_of
from chaosmesh_ext.probes import edges
from chaosmesh_ext.probes.configured import run_of

__all__ = [
    "call_durations",
    "call_flags",
    "call_share",
    "calls_per_request",
    "edge_latency",
    "retries",
    "spans_with_flags",
]


def call_durations(
    source: str,
    destination: str,
    cell: str = None,
    lookback: float = None,
    jaeger_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> List[float]:
    """
    Seconds that each call from `source` (a workload such as `productpage-v1`, or
    a service) to the service `destination` took, as the caller's sidecar
    measured it, in the order of their start.

    Of the requests that this run sent in its current `cell` (0: before or
    without a fault); or, with `lookback`, of all traced calls of the last so many
    seconds. Fails when there was no such call.
    """
    traces = edges.traces(run_of(configuration, secrets), source, cell or "", lookback or 0.0, jaeger_url or "")
    return [span.duration for span in edges.calls(traces, source, destination)]


def call_flags(
    source: str,
    destination: str,
    cell: str = None,
    lookback: float = None,
    jaeger_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> List[str]:
    """
    Envoy's response flags of each call from `source` to `destination`, e.g.
    `DC,DI` (delayed, and given up by the caller), or an empty text; which calls,
    as in `call_durations`.
    """
    traces = edges.traces(run_of(configuration, secrets), source, cell or "", lookback or 0.0, jaeger_url or "")
    return [",".join(sorted(span.flags)) for span in edges.calls(traces, source, destination)]


def call_share(
    source: str,
    destination: str,
    flag: str = "FI",
    cell: str = None,
    lookback: float = None,
    jaeger_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> float:
    """
    The share, 0 to 1, of the calls from `source` to `destination` that have
    Envoy's response flag `flag`: FI aborted by a fault, DI delayed by one, UT
    timed out in the sidecar, UO overflow, UH no healthy upstream, DC the caller
    left; which calls, as in `call_durations`.
    """
    found = edges.traces(run_of(configuration, secrets), source, cell or "", lookback or 0.0, jaeger_url or "")
    spans = edges.calls(found, source, destination)
    return sum(flag in span.flags for span in spans) / len(spans)


def retries(
    source: str,
    destination: str,
    cell: str = None,
    lookback: float = None,
    jaeger_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> int:
    """
    The most attempts beyond the first that one request led to: calls from
    `source` to `destination` of the same method and path that began after one
    of them had failed; which calls, as in `call_durations`.
    """
    traces = edges.traces(run_of(configuration, secrets), source, cell or "", lookback or 0.0, jaeger_url or "")
    return edges.most_retries(traces, source, destination)


def edge_latency(
    source: str,
    destination: str,
    quantile: Union[float, List[float]] = 0.5,
    failures: bool = False,
    cell: str = None,
    lookback: float = None,
    traces_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Union[float, List[float]]:
    """
    Seconds that calls from `source` to `destination` took, as the caller's
    sidecar measured them: the `quantile` (0 to 1, by default the median), or a
    list for a list. Calls that failed, or that the caller gave up, are left out
    unless `failures`: they are short for other reasons.

    Of the requests that this run sent in its current `cell` (0: before or
    without a fault); or, with `lookback`, of all traced calls of the last so many
    seconds. `traces_url` is the base of a Jaeger, Zipkin or Tempo, by default the
    one of the settings. Fails, as inconclusive, when there was no such call.
    """
    wanted = quantile if isinstance(quantile, (list, tuple)) else [quantile]
    for share in wanted:
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise InvalidInput(f"quantile {share!r} is not between 0 and 1: 0.5 is the median, 1 the slowest")
    if not wanted:
        raise InvalidInput("quantile is an empty list: give at least one, e.g. [0.5, 0.95]")
    run = run_of(configuration, secrets)
    found = edges.traces(run, source, cell or "", lookback or 0.0, traces_url=traces_url or "")
    spans = edges.calls(found, source, destination)
    durations = sorted(span.duration for span in spans if failures or not edges.failed(span))
    if not durations:
        raise Inconclusive(
            f"no data: all {len(spans)} calls {source} → {destination} failed: give failures to see them"
        )
    quantiles = [quantile_of(durations, share) for share in wanted]
    return quantiles if isinstance(quantile, (list, tuple)) else quantiles[0]


def calls_per_request(
    source: str,
    destination: str,
    cell: str = None,
    lookback: float = None,
    traces_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> List[int]:
    """
    How many calls to `destination` each request led `source` to make, attempts
    included: one number for each traced request that came to `source`, 0 where it
    made none. Which requests, as in edge_latency. Fails, as inconclusive, when no
    request came to `source`.
    """
    run = run_of(configuration, secrets)
    found = edges.traces(run, source, cell or "", lookback or 0.0, traces_url=traces_url or "")
    return edges.counts(found, source, destination)


def spans_with_flags(
    flags: Union[str, List[str]],
    source: str = None,
    destination: str = None,
    cell: str = None,
    lookback: float = None,
    traces_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> int:
    """
    How many spans of sidecars have one of Envoy's response `flags`, e.g. `UO` or
    `[UT, UF]`; of calls from `source`, or to `destination`, where these are
    given, else of any. Which requests, as in edge_latency; `lookback` needs the
    `source`. Fails, as inconclusive, when there is no such span at all, with or
    without flags.
    """
    given = flags if isinstance(flags, (list, tuple)) else [flags]
    if not given or not all(isinstance(flag, str) and flag.strip(" -,") for flag in given):
        raise InvalidInput(f"flags is {flags!r}: give Envoy's, e.g. UO, or [UT, UF]")
    wanted = flags_of(",".join(given))
    run = run_of(configuration, secrets)
    found = edges.traces(run, source or "", cell or "", lookback or 0.0, traces_url=traces_url or "")
    spans = edges.of_proxies(found, source or "", destination or "")
    return sum(not wanted.isdisjoint(span.flags) for span in spans)

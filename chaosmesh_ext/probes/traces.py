"""What traces say of the calls between two workloads."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import List

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.probes import edges
from chaosmesh_ext.probes.configured import run_of

__all__ = ["call_durations", "call_flags", "call_share", "retries"]


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

"""Where calls arrive, by traces."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import List

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.probes import edges
from chaosmesh_ext.probes.configured import run_of

__all__ = ["arrival_shares", "arrivals_per_request"]


def arrival_shares(
    source: str,
    destination: str,
    versions: List[str],
    cell: str = None,
    lookback: float = None,
    traces_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> List[float]:
    """
    The shares, 0 to 1, of the calls from `source` to `destination` that arrived
    at each of its `versions`, in their order; what arrived elsewhere counts in
    the whole. An attempt counts once, where it arrived. Which calls, as in
    edge_latency. Fails, as inconclusive, when none arrived at a sidecar.
    """
    if not versions:
        raise InvalidInput("versions is an empty list: give at least one, e.g. [v1, v2]")
    run = run_of(configuration, secrets)
    found = edges.traces(run, source, cell or "", lookback or 0.0, traces_url=traces_url or "")
    traces = {trace.trace_id: trace for trace in found}
    arrived = [
        child.workload.version
        for span in edges.calls(found, source, destination)
        for child in traces[span.trace_id].children(span)
        if child.kind == "SERVER" and child.proxy
    ]
    if not arrived:
        raise Inconclusive(f"no data: no call {source} → {destination} arrived at a sidecar that reports it")
    return [arrived.count(version) / len(arrived) for version in versions]


def arrivals_per_request(
    source: str,
    destination: str,
    cell: str = None,
    lookback: float = None,
    traces_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> List[int]:
    """
    How many requests each traced request that led `source` to call `destination`
    made arrive there: the application's own attempts, and those of `source`'s
    sidecar, which one call hides. 0 where calls were made and none arrived, or
    where the trace breaks on the way. Which requests, as in edge_latency.
    """
    run = run_of(configuration, secrets)
    found = edges.traces(run, source, cell or "", lookback or 0.0, traces_url=traces_url or "")
    traces = {trace.trace_id: trace for trace in found}
    arrived = dict.fromkeys((span.trace_id for span in edges.calls(found, source, destination)), 0)
    for span in edges.calls(found, source, destination):
        children = traces[span.trace_id].children(span)
        arrived[span.trace_id] += sum(child.kind == "SERVER" and child.proxy for child in children)
    return list(arrived.values())

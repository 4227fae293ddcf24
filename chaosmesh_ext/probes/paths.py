"""Ways through traces: of errors, of time, and what hangs on nothing."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
import logging
from typing import Any, Dict

import msgspec
from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.observe import paths
from chaosmesh_ext.probes import edges
from chaosmesh_ext.probes.configured import run_of

__all__ = ["error_path", "orphans", "slowest_path"]

_SETTLED = 10.0
"""Seconds after which a trace's spans have come: the slowest exporter in use sends every five."""

_logger = logging.getLogger("chaostoolkit")


def error_path(
    service: str = None,
    cell: str = None,
    lookback: float = None,
    traces_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    The way that most errors took: `path` (workloads, from the one that requests
    enter to the one where the error began), `status`, `grpc_status` (of a gRPC
    call, whose `status` is 200) and Envoy's `flags` there, `requests` with an error
    on this path, `of` how many, `failed` anywhere, `reached` (how many of these
    failed for the user too), `trace_id` of one. All empty where nothing failed; see
    the tolerance error_stops_at.

    Of the requests that this run sent in its current `cell` (0: before or without
    a fault); or, with `lookback`, of all traces of the last so many seconds in
    which `service` took part. `traces_url` is the base of a Jaeger, Zipkin or
    Tempo, by default the one of the settings. Fails, as inconclusive, when there
    are no traces.
    """
    run = run_of(configuration, secrets)
    found = edges.traces(run, service or "", cell or "", lookback or 0.0, traces_url=traces_url or "")
    return _plain(paths.error_path(found))


def slowest_path(
    service: str = None,
    cell: str = None,
    lookback: float = None,
    traces_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Where the time of the slowest request went: its `duration` (seconds) and
    `trace_id`, the `path` of workloads to where most of it was spent, and `own`:
    by workload, or call `a → b` (the caller's proxy, the wire, and a callee that
    was not traced), the seconds that it held the request up, most first. Which
    requests, as in error_path; see the tolerance slowest_at.
    """
    run = run_of(configuration, secrets)
    found = edges.traces(run, service or "", cell or "", lookback or 0.0, traces_url=traces_url or "")
    slowest = paths.slowest_path(found)
    if slowest is None:
        raise Inconclusive("no data: the traces have no spans")
    return _plain(slowest)


def orphans(
    service: str = None,
    cell: str = None,
    lookback: float = None,
    traces_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> int:
    """
    How many spans have a parent that is not in their trace: somebody does not
    pass headers on, or a span was lost. Which requests, as in error_path; of
    `lookback` only those that ended at least 10 s ago, since spans come late.
    """
    run = run_of(configuration, secrets)
    found = edges.traces(run, service or "", cell or "", lookback or 0.0, traces_url=traces_url or "", settled=_SETTLED)
    lost = [span for trace in found for span in paths.orphans(trace)]
    for span in lost[:3]:
        _logger.info("orphan: %s of %s in trace %s", span.operation, span.workload, span.trace_id)
    return len(lost)


def _plain(found: paths.ErrorPath | paths.SlowestPath) -> Dict[str, Any]:
    plain: Dict[str, Any] = msgspec.to_builtins(found)
    return {**plain, "path": list(found.path)}

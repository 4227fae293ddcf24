"""The action that delays calls."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject, seconds_of
from chaosmesh_ext.faults import Delay
from chaosmesh_ext.run.guard import share

__all__ = ["inject_delay"]


def inject_delay(
    destination: str,
    fixed_delay: float,
    source: str = None,
    subset: str = None,
    namespace: str = None,
    match: Dict[str, Any] = None,
    percentage: float = None,
    requests: str = "marked",
    url: str = None,
    request_headers: Dict[str, str] = None,
    carrier: str = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Delay calls to `destination` (a service, e.g. `details`, or `details:9080`)
    by `fixed_delay` (seconds, or a text such as `250ms`) in the caller's
    sidecar, and prove that it is live there and nowhere else.

    `source` is the calling workload, e.g. `productpage-v1`, or an ingress
    gateway, e.g. `istio-ingressgateway` (also with its namespace before a slash),
    for what comes in by it; by default every caller in `namespace`. `subset` faults only what goes to that subset of a
    DestinationRule. `match` is an Istio HTTPMatchRequest (uri, method, headers,
    withoutHeaders, queryParams, authority). `percentage` is of the requests in
    scope: 100 by default, and 0 affects nobody. `requests` is `marked` for this
    fault's own requests only, `run` for all of this run's but the control's (so
    that they meet it beside another fault), or `all` for everybody's; the latter
    needs a `percentage` unless a `source` or a `match` narrows it.

    The proof sends marked requests to `url` (a path is taken on APP_URL), with
    `request_headers`, and reads their traces from JAEGER_URL. `carrier` is
    auto, envoyfilter, virtualservice, or inbound: at the destination's sidecar, so
    that the caller's timeouts and retries in the mesh stay in force. Without `prove` the run ends
    inconclusive.

    Returns the proof: carrier, objects, live_after (seconds), traces, cell.
    """
    with counted(configuration, secrets) as run:
        fault = Delay(seconds_of(fixed_delay), share(percentage, requests, source, match))
        return inject(
            run, fault, destination, source, subset, namespace, match, requests, url, request_headers, carrier, prove
        )

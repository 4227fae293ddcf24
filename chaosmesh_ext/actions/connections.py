"""The action that limits callers' connections to a host."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject, seconds_of
from chaosmesh_ext.faults import Connections

__all__ = ["limit_connections"]


def limit_connections(
    destination: str,
    max_connections: int = None,
    http1_max_pending_requests: int = None,
    http2_max_requests: int = None,
    max_requests_per_connection: int = None,
    connect_timeout: float = None,
    source: str = None,
    subset: str = None,
    namespace: str = None,
    requests: str = None,
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Limit the connections of callers to `destination`, and the requests on their
    way to it: the `connectionPool` of a DestinationRule. What is too much gets
    503 with Envoy's flag UO and the header `x-envoy-overloaded`. Each caller's
    sidecar counts for itself, and so does the called one towards its application.

    `max_connections` is of HTTP/1.1 and TCP; `http1_max_pending_requests` wait for
    one; `http2_max_requests` are on their way at once, of HTTP/1.1 too; a
    connection ends after `max_requests_per_connection`; `connect_timeout` is in
    seconds, or a text such as `250ms`. One of them at least; what is not given
    stays as it is.

    No request can be told from another here, so `requests: all` must be said. In a
    DestinationRule of somebody's the limits are for every caller; where nobody
    has one, it is made, for callers in `namespace` or for the `source` alone.
    `subset` limits calls to that subset only.

    The proof sends as many requests at once as cross the limit, where the
    budget (`request_budget`) has so many, and reads their traces. When none of
    them is refused within 2 s, that every sidecar took the limits is asked of
    istiod, and the proof says `by: sync`. All other arguments, and what is
    returned, are those of `inject_delay`.
    """
    with counted(configuration, secrets) as run:
        wait = None if connect_timeout is None else seconds_of(connect_timeout, "connect_timeout")
        fault = Connections(
            max_connections, http1_max_pending_requests, http2_max_requests, max_requests_per_connection, wait
        )
        return inject(
            run, fault, destination, source, subset, namespace, None, requests, url, request_headers, None, prove
        )

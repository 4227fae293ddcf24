"""The action that breaks traces on the way."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject
from chaosmesh_ext.faults import Propagation

__all__ = ["break_propagation"]


def break_propagation(
    destination: str,
    source: str = None,
    namespace: str = None,
    requests: str = "marked",
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Take the trace headers (traceparent, tracestate, B3, x-request-id ...) off
    calls to `destination` between the caller's sidecar and the callee's, as
    where an application does not pass them on: what follows is orphaned, in a
    trace of its own.

    An EnvoyFilter puts a filter between the caller's router and the wire; header
    operations of a VirtualService come too early, since Envoy writes the trace
    context after them. It changes the callers' listeners: applications'
    connections to their sidecar are drained.

    The proof is that the called side is in no marked trace any more. It holds
    where proxies send their spans within about a second. Behind the call
    requests bear no marker: no other fault of this run is met there.

    All other arguments, and what is returned, are those of `inject_delay`.
    """
    with counted(configuration, secrets) as run:
        return inject(
            run,
            Propagation(),
            destination,
            source,
            None,
            namespace,
            None,
            requests,
            url,
            request_headers,
            None,
            prove,
        )

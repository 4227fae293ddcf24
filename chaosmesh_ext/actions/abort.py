"""The action that answers calls with an error."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.run.guard import share

__all__ = ["inject_abort"]


def inject_abort(
    destination: str,
    http_status: int = None,
    grpc_status: str = None,
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
    Answer calls to `destination` with an error in the caller's sidecar, and
    prove that it is live there and nowhere else.

    Either `http_status` (200 to 599) or `grpc_status` (gRPC's name, e.g.
    `UNAVAILABLE`), which is refused where the port is declared to speak plain HTTP;
    a gRPC client takes an `http_status` for UNAVAILABLE (429, 503, 504), UNKNOWN
    (500 and most others), and so on, as gRPC's libraries translate. All other
    arguments, and what is returned, are those of `inject_delay`.
    """
    with counted(configuration, secrets) as run:
        fault = Abort(http_status, grpc_status, share(percentage, requests, source, match))
        return inject(
            run, fault, destination, source, subset, namespace, match, requests, url, request_headers, carrier, prove
        )

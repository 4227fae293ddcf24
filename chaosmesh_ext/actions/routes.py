"""The action that takes routes away."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict, List

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject
from chaosmesh_ext.faults import Routes

__all__ = ["restrict_routes"]


def restrict_routes(
    destination: str,
    keep: List[Dict[str, Any]] = None,
    gateway: str = None,
    namespace: str = None,
    requests: str = "marked",
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Take the routes to `destination` away from the requests in scope, in the mesh
    or, with `gateway`, for what comes in by that Gateway of Istio's (e.g.
    `bookinfo-gateway`): Envoy answers them 404, flag NR, as it does after a
    change to a VirtualService that somebody got wrong.

    `keep` is a list of Istio HTTPMatchRequests (uri, method, headers ...): what
    they take keeps its route; without it every route is gone. `requests` is
    `marked`, `run` or `all` as in `inject_delay`; with `all`, `keep` must be
    given. The field `match` of the owner's routes is set, and given back
    afterwards; where nobody routes the host, a VirtualService of ours does.

    All other arguments, and what is returned, are those of `inject_delay`.
    """
    with counted(configuration, secrets) as run:
        return inject(
            run,
            Routes(tuple(keep or ())),
            destination,
            None,
            None,
            namespace,
            None,
            requests,
            url,
            request_headers,
            None,
            prove,
            gateway=gateway,
        )

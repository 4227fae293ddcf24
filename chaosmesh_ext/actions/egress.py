"""The action that closes one application's way to hosts outside the mesh."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject
from chaosmesh_ext.faults import Egress

__all__ = ["block_egress"]


def block_egress(
    destination: str,
    source: str,
    everything: bool = False,
    namespace: str = None,
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Keep the workload `source` from the host `destination` outside the mesh, one
    that a ServiceEntry declares (e.g. `api.example.com` or
    `api.example.com:443`, plain HTTP as its sidecar sees it); all other workloads
    go on. With `everything`, from every other host outside too; `destination` is
    then the one whose calls the proof looks at.

    By a Sidecar with REGISTRY_ONLY for that workload alone, which says
    otherwise what the one in force for it says: one of ours, or, where it has
    one to itself, that one. Every request of the workload meets it, from
    whomever: 502 from its own sidecar, or 503 where a route still leads there.

    `url` leads to such a call, with `request_headers`; the proof reads the
    traces of requests to it. Returns the proof, as `inject_delay` does.
    """
    with counted(configuration, secrets) as run:
        fault = Egress(everything)
        return inject(run, fault, destination, source, None, namespace, None, "all", url, request_headers, None, prove)

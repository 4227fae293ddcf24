"""The action that changes what connections a destination takes: mutual TLS, plain text, or both."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject
from chaosmesh_ext.faults import RequireMtls

__all__ = ["require_mtls"]


def require_mtls(
    destination: str,
    mode: str = "STRICT",
    port: int = 0,
    subset: str = None,
    namespace: str = None,
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Set the PeerAuthentication `mode` of the pods of `destination`: `STRICT`, so
    that clients in plain text are refused, `PERMISSIVE`, or `DISABLE`; for one
    `port` of the pods' own, or for all. The field of somebody's PeerAuthentication
    for exactly these pods is changed, and given back afterwards; else one of ours
    is made. It is for everybody's connections: no request can be told from another
    before the handshake.

    The proof is a plain client: `url` leads straight to the pods, e.g.
    `k8s://default/details:9080/details/0` (the Kubernetes API is no part of the
    mesh), and is answered before, not while it is STRICT, and again afterwards.
    That meshed callers go on is for the experiment's own probes.

    Returns what `inject_delay` returns.
    """
    with counted(configuration, secrets) as run:
        fault = RequireMtls(mode, int(port))
        return inject(run, fault, destination, None, subset, namespace, None, "all", url, request_headers, None, prove)

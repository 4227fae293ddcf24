"""Whether a fault's words are those of the protocol that its destination speaks."""

from __future__ import annotations

from typing import Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import Destination, Fault

__all__ = ["refuse_unspoken"]

_NOT_GRPC: Final = frozenset({"http", "kubernetes.io/ws"})
"""Declared so, Istio calls a port in HTTP/1.1, over which gRPC does not go; ``http2`` and its like may be gRPC."""


def refuse_unspoken(fault: Fault, there: Destination) -> None:
    """Raise InvalidInput for an abort in gRPC's words where plain HTTP is spoken: Envoy answers such calls 200."""
    if isinstance(fault, Abort) and fault.grpc_status and there.protocol in _NOT_GRPC:
        raise InvalidInput(
            f"port {there.port} of {there.service} is declared to speak {there.protocol}, not gRPC, so its calls would "
            "be answered 200: give http_status, or, if it speaks gRPC, say so by the port's name or appProtocol"
        )

"""Loopback addresses of a lab: one /16 of 127/8 for itself, one /24 for each pod."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable

import msgspec

from chaosmesh_ext.errors import LabError

__all__ = [
    "API_PORT",
    "CLAIM_PORT",
    "ETCD_PEER_PORT",
    "ETCD_PORT",
    "JAEGER_PORT",
    "KUBELET_PORT",
    "OTLP_PORT",
    "PROMETHEUS_PORT",
    "SDS_PORT",
    "XDS_PORT",
    "Network",
    "PodAddresses",
    "check_free",
]

API_PORT = 6443
CLAIM_PORT = 7001
"""Held by a lab's supervisor and never answered: whoever has it, has the block."""
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
KUBELET_PORT = 10250
XDS_PORT = 15010
SDS_PORT = 15011
JAEGER_PORT = 16686
OTLP_PORT = 4318
PROMETHEUS_PORT = 9090


class PodAddresses(msgspec.Struct, frozen=True):
    """Where a pod listens: `inbound` is its sidecar's face to others (the podIP), `outbound` its sidecar's face to
    its application and to us (admin on port 15000), `app` the application's own.
    """

    inbound: str
    outbound: str
    app: str


class Network(msgspec.Struct, frozen=True):
    """The addresses 127.BLOCK.0.0/16, BLOCK from 64 to 254."""

    block: int

    @property
    def control(self) -> str:
        """The address of the API server, the control plane, the trace store and Prometheus."""
        return f"127.{self.block}.0.1"

    def pod(self, index: int) -> PodAddresses:
        """The addresses of pod INDEX, 1 to 254."""
        if not 1 <= index <= 254:
            raise ValueError(f"a lab holds 254 pods, not {index}")
        base = f"127.{self.block}.{index}"
        return PodAddresses(inbound=f"{base}.1", outbound=f"{base}.2", app=f"{base}.3")


def check_free(addresses: Iterable[tuple[str, int]]) -> None:
    """See that a program of ours could listen at each of ADDRESSES.

    Raises LabError that names the first which somebody holds, and how to find out who.
    """
    for host, port in addresses:
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except OSError as error:
                raise LabError(
                    f"{host}:{port} cannot be had ({error.strerror}): another program holds port {port};"
                    f" `ss -ltnp 'sport = :{port}'` names it, end it and try again"
                ) from None

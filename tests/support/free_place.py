"""A place for a part of a lab, on an address that nobody else uses."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

from chaosmesh_ext.lab import network
from chaosmesh_ext.lab.place import Place

__all__ = ["free_place"]

_PORTS = (network.API_PORT, network.KUBELET_PORT, network.ETCD_PORT, network.ETCD_PEER_PORT)


def free_place(directory: Path) -> Place:
    """An address on which nobody listens at an API server's ports; labs' own begin at 127.64."""
    while True:
        host = f"127.{random.randint(1, 62)}.{random.randint(1, 254)}.9"
        try:
            for port in _PORTS:
                with contextlib.closing(socket.socket()) as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return Place(control=host, directory=directory)

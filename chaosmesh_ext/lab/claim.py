"""Which addresses a lab takes, and what keeps other labs off them."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Collection, Iterator

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.kubelet import ADMIN_PORT
from chaosmesh_ext.lab.network import CLAIM_PORT, Network, check_free

__all__ = ["claim"]

_FIRST_BLOCK, _LAST_BLOCK = 64, 254
_USUAL_PORT = 9080
"""Where Bookinfo's services and, by default, a topology's listen."""


def claim(who: str, pods: int, ports: Collection[int], *, block: int = 0) -> tuple[Network, socket.socket]:
    """The first block of addresses with room for PODS and for PORTS of its control address, and what holds it.

    Labs of one WHO try the same block first. The socket keeps other labs out for as long as it is open, also before
    this one's parts listen. block: that one and no other, unless it is 0. Raises LabError or OSError of the last tried.
    """
    span = _LAST_BLOCK - _FIRST_BLOCK + 1
    first = zlib.crc32(who.encode()) % span
    blocks = [block] if block else [_FIRST_BLOCK + (first + step) % span for step in range(span)]
    for each in blocks:
        network = Network(each)
        held = socket.socket()
        try:
            check_free([(network.control, CLAIM_PORT)])
            held.bind((network.control, CLAIM_PORT))
            held.listen(1)
            check_free(_addresses(network, pods, ports))
        except (OSError, LabError):
            held.close()
            if each == blocks[-1]:
                raise
            continue
        return network, held
    raise AssertionError


def _addresses(network: Network, pods: int, ports: Collection[int]) -> Iterator[tuple[str, int]]:
    """What a lab of so many Pods, whose parts take PORTS, will want of NETWORK."""
    for port in sorted(ports):
        yield network.control, port
    for index in range(1, min(pods, 254) + 1):
        yield network.pod(index).outbound, ADMIN_PORT
        yield network.pod(index).inbound, _USUAL_PORT

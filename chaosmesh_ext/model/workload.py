"""Workloads, and the calls between them."""

from __future__ import annotations

import msgspec

__all__ = ["Edge", "Workload"]


class Workload(msgspec.Struct, frozen=True, order=True, gc=False, cache_hash=True):
    """Something that answers calls: a service's name, and the version that ran.

    service: Istio's canonical service, e.g. ``reviews``. version: its canonical revision, e.g. ``v2``, or empty where
    no span said it (the callee of a call that never arrived).
    """

    service: str
    version: str = ""
    namespace: str = "default"

    def __str__(self) -> str:
        return f"{self.service}-{self.version}" if self.version else self.service


class Edge(msgspec.Struct, frozen=True, order=True, gc=False, cache_hash=True):
    """Calls from one workload to one service.

    source: caller, with its version. destination: callee's service name, without version: the caller cannot choose.
    """

    source: Workload
    destination: str

    def __str__(self) -> str:
        return f"{self.source} → {self.destination}"

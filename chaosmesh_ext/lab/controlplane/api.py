"""What the rest of the lab asks of its control plane, whichever it is."""

from __future__ import annotations

from typing import Protocol

import msgspec

from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["ControlPlane", "ProxyStatus"]


class ProxyStatus(msgspec.Struct, frozen=True):
    """How a proxy is doing.

    name: ``pod.namespace``. connected: it has a stream open. synced: it acknowledged everything that it was sent.
    error: what it refused, in its own words, or empty.
    """

    name: str
    connected: bool
    synced: bool
    error: str = ""


class ControlPlane(Protocol):
    """Turns Istio's objects into the configuration of every Envoy of the lab's."""

    async def start(self) -> None:
        """Listen; raises LabError when the address is taken."""

    async def stop(self) -> None:
        """Close every stream."""

    def bootstrap(self, pod: Obj) -> Obj:
        """The Envoy bootstrap of a placed Pod."""

    def proxies(self) -> list[ProxyStatus]:
        """Every proxy that is connected, or should be."""

    def problems(self) -> list[str]:
        """What was refused, by the control plane or by an Envoy, one line each."""

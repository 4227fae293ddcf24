"""What the rest of the lab asks of its control plane, whichever it is.

A module beside this one is a control plane when it has ``KUBE``, the name of the Kubernetes API that it needs, and
``create(place: Place, kube: Kube, authority: Authority, otlp: tuple[str, int]) -> ControlPlane``.
It may have ``TOOLS``, which of `lab.tools` it needs, and ``PORTS``, those of the control address that it takes.
"""

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
        """Start and wait until it is ready; raises LabError when it cannot be, e.g. because an address is taken."""

    async def stop(self) -> None:
        """Close every stream; a second call does nothing."""

    async def bootstrap(self, pod: Obj) -> Obj:
        """The Envoy bootstrap of a placed Pod; raises LabError while the Pod has no address."""

    async def proxies(self) -> list[ProxyStatus]:
        """Every proxy that is connected, or should be; raises LabError when the control plane does not answer."""

    async def problems(self) -> list[str]:
        """What was refused, by the control plane or by an Envoy, one line each."""

    def dead(self) -> str:
        """Why it is no more, with its last words; empty while it runs and once it was stopped."""

"""What an HTTPRoute is attached to: Services of the mesh, and listeners of Gateways; and why it is not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers
from chaosmesh_ext.lab.controlplane.embedded.virtualservices import MESH
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["Attachment", "Listener", "attachments", "home_of"]


class Listener(msgspec.Struct, frozen=True):
    """A listener of a Gateway of the Gateway API.

    name: the Gateway's namespace and name. section: the listener's. internal: how routes name it, ``namespace/name``
    of Istio's Gateway that is made of it. allowed: the namespace whose routes may attach, ``*`` for any. hostname:
    as it is written, empty for any.
    """

    name: tuple[str, str]
    section: str
    port: int
    internal: str
    allowed: str
    hostname: str

    def refuses(self, ref: Mapping[str, Any], namespace: str, hostnames: Collection[str]) -> tuple[str, str]:
        """The reason and the message why a route of NAMESPACE for HOSTNAMES does not attach; empty when it does."""
        if ref.get("port") and ref["port"] != self.port:
            return "NoMatchingParent", f"port {ref['port']} not found"
        if ref.get("sectionName") and ref["sectionName"] != self.section:
            return "NoMatchingParent", f'sectionName "{ref["sectionName"]}" not found'
        offered = self.hostname or "*"
        if not any(covers(offered, host) or covers(host, offered) for host in hostnames or ("*",)):
            return "NoMatchingListenerHostname", f'no hostnames matched parent hostname "{self.hostname}"'
        if self.allowed not in ("*", namespace):
            words = f'but namespace "{namespace}" is not allowed by the parent'
            return "NotAllowedByListeners", f'hostnames matched parent hostname "{self.hostname}", {words}'
        return "", ""


class Attachment(msgspec.Struct, frozen=True):
    """A parentRef, and the parent that it is about.

    gateway: what a VirtualService calls it: ``mesh``, or a listener's. hosts: for which the parent takes the route.
    reason, message: why it does not, or empty.
    """

    ref: Mapping[str, Any]
    gateway: str
    hosts: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""

    @property
    def mesh(self) -> bool:
        """Whether the parent is a Service."""
        return self.gateway == MESH


def attachments(route: Obj, services: Collection[str], listeners: Collection[Listener]) -> Iterator[Attachment]:
    """Every attachment of ROUTE, and every one that failed; a Gateway that is not there has none.

    SERVICES: the hosts of all Services.
    """
    spec, namespace = route["spec"], route["metadata"]["namespace"]
    hostnames = spec.get("hostnames") or ()
    for ref in spec.get("parentRefs") or []:
        home = home_of(ref, namespace)
        if ref.get("kind", "Gateway") == "Service":
            host = fqdn(ref["name"], home)
            if host in services:
                yield Attachment(ref, MESH, (host,))
            else:
                words = f'parent service: "{ref["name"]}" not found'
                yield Attachment(ref, MESH, (), "NoMatchingParent", words)
            continue
        mine = [one for one in listeners if one.name == (home, ref["name"])]
        for one in mine:
            reason, message = one.refuses(ref, namespace, hostnames)
            hosts = () if reason else tuple(host for host in hostnames or ("*",) if _is_its_own(host, one, mine))
            yield Attachment(ref, one.internal, hosts, reason, message)


def home_of(ref: Mapping[str, Any], namespace: str) -> str:
    """The namespace of the parent of a route in NAMESPACE."""
    return str(ref.get("namespace") or namespace)


def _is_its_own(host: str, listener: Listener, siblings: Collection[Listener]) -> bool:
    """Whether a route's HOST belongs to LISTENER, not to a more specific one of its Gateway on the same port."""
    mine = listener.hostname
    if mine and not mine.startswith("*"):
        return True
    if mine and not (covers(mine, host) or covers(host, mine)):
        return False
    others = {one.hostname for one in siblings if one is not listener and one.port == listener.port} - {mine}
    return not any(len(other) >= len(mine) and covers(other, host) for other in others)

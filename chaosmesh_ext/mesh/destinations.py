"""Destinations: the host that is called, its port, and the labels of a subset of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.listing import everywhere
from chaosmesh_ext.mesh.owners import visible
from chaosmesh_ext.mesh.place import Destination
from chaosmesh_ext.model import Scope
from chaosmesh_ext.names import is_label

__all__ = ["destination", "subset"]

_HTTP: Final = ("http", "http2", "grpc", "grpc-web", "kubernetes.io/h2c", "kubernetes.io/ws")


def destination(client: Client, scope: Scope) -> Destination:
    """The host of SCOPE, and the port that is meant.

    Raises NotFound where it has no such host or port, and InvalidInput where the port is not HTTP, or not the only one.
    """
    host = scope.host
    parts = host.split(".")
    if len(parts) == 1 or host.endswith(".svc.cluster.local") or parts[2:] in ([], ["svc"]):
        name, namespace = parts[0], parts[1] if len(parts) > 1 else scope.namespace
        service = client.find("Service", namespace, name) if is_label(name) and is_label(namespace) else None
        if service is not None:
            return _service(scope, service)
    entries = [one for one in everywhere(client, "ServiceEntry", {scope.namespace}) if visible(one, scope.namespace)]
    for entry in entries:
        if any(covers(known, host) for known in entry["spec"].get("hosts", [])):
            return _chosen(scope, host, host, "", entry["spec"].get("ports", []), "number")
    if host == "*" or (parts[2:] and parts[2] != "svc" and all(part == "*" or is_label(part) for part in parts)):
        outside = sorted({one for entry in entries for one in entry["spec"].get("hosts", [])})
        raise NotFound(
            f"no ServiceEntry that the namespace {scope.namespace} sees declares {host}: there are "
            f"{', '.join(outside) or 'none'}; a host outside the mesh needs one, which names it as the destination does"
        )
    known = sorted(obj["metadata"]["name"] for obj in client.list("Service", scope.namespace))
    raise NotFound(
        f"no service {host} in namespace {scope.namespace}: there are {', '.join(known) or 'none'}; "
        "another namespace's is written like ratings.shop.svc.cluster.local"
    )


def _service(scope: Scope, service: Obj) -> Destination:
    meta = service["metadata"]
    host = fqdn(meta["name"], meta["namespace"])
    spec = service.get("spec", {})
    found = _chosen(scope, host, meta["name"], meta["namespace"], spec.get("ports", []), "port")
    target = next((port.get("targetPort") for port in spec.get("ports", []) if port["port"] == found.port), None)
    return msgspec.structs.replace(found, selector=spec.get("selector") or {}, target=target or 0)


def _chosen(scope: Scope, host: str, service: str, namespace: str, ports: list[Obj], key: str) -> Destination:
    numbers = tuple(int(port[key]) for port in ports)
    possible = {int(port[key]): spoken for port in ports if (spoken := _protocol(port)) in ("", *_HTTP)}
    listed = ", ".join(map(str, possible)) or "none"
    first = next(iter(possible), 0)
    if scope.port and scope.port not in numbers:
        raise NotFound(f"{service} has no port {scope.port}: its HTTP ports are {listed}")
    if scope.port and scope.port not in possible:
        raise InvalidInput(f"port {scope.port} of {service} is not HTTP, so no HTTP fault can be injected there")
    if not scope.port and len(possible) != 1:
        why = f"has several HTTP ports ({listed}): write {service}:{first}" if possible else "has no HTTP port"
        raise InvalidInput(f"{service} {why}")
    port = scope.port or first
    return Destination(host, service, namespace, port, numbers, protocol=possible[port])


def _protocol(port: Obj) -> str:
    """As Istio decides: appProtocol, else the port's name, else nothing: it looks at the bytes, so it may be HTTP."""
    word = str(port.get("appProtocol") or port.get("protocol" if "number" in port else "", "")).lower()
    if not word:
        word = str(port.get("name", "")).lower()
        head = word.split("-", 1)[0]
        declared = ("http", "http2", "grpc", "tcp", "udp", "tls", "https", "mongo", "mysql", "redis")
        if head not in declared:
            return "udp" if str(port.get("protocol", "TCP")).upper() == "UDP" else ""
        word = head
    return word


def subset(client: Client, scope: Scope, destination: Destination) -> Mapping[str, str]:
    """The labels of the scope's subset."""
    found: dict[str, Mapping[str, str]] = {}
    for rule in everywhere(client, "DestinationRule", {scope.namespace, destination.namespace} - {""}):
        own = rule["metadata"]["namespace"]
        host = rule.get("spec", {}).get("host", "")
        whole = host if "*" in host else fqdn(host, own)
        if visible(rule, scope.namespace) and covers(whole, destination.host):
            found.update((subset["name"], subset.get("labels", {})) for subset in rule["spec"].get("subsets", []))
    if scope.subset not in found:
        raise NotFound(
            f"no subset {scope.subset} of {destination.service}: its DestinationRules have "
            f"{', '.join(sorted(found)) or 'none'}"
        )
    return found[scope.subset]

"""ServiceEntry: hosts beside those of Kubernetes' Services, with endpoints of their own or found by DNS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Endpoint, Port, Service, is_http2
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["DNS", "STATIC", "conflicts", "localities", "services"]

STATIC, DNS = "STATIC", "DNS"

_TLS_MODE = "security.istio.io/tlsMode"


def services(entries: Iterable[Obj], known: Iterable[Service]) -> list[Service]:
    """The services that ENTRIES, the oldest first, declare; KNOWN are Kubernetes', whose hosts stay theirs."""
    taken = {(one.namespace, one.host) for one in known}
    out = []
    for obj in entries:
        for made in _services(obj):
            if (made.namespace, made.host) not in taken:
                taken.add((made.namespace, made.host))
                out.append(made)
    return out


def conflicts(entries: Iterable[Obj], known: Iterable[Service]) -> Iterator[tuple[Obj, str]]:
    """The ENTRIES with a host that another of their namespace has already, and what has no effect."""
    owners = {(one.namespace, one.host): f"Service {one.namespace}/{one.name}" for one in known if not one.resolution}
    for obj in entries:
        meta = obj["metadata"]
        for made in _services(obj):
            name = f"ServiceEntry {made.namespace}/{meta['name']}"
            owner = owners.setdefault((made.namespace, made.host), name)
            if owner != name:
                yield obj, f"has no effect on the host {made.host}: the older {owner} has it; give one of them another"


def localities(service: Service, port: Port, labels: Mapping[str, str], metadata: Mapping[str, Any]) -> list[Any]:
    """Envoy's endpoints of PORT of a SERVICE that an entry declares: those that have LABELS, all in one locality.

    metadata: of those that take mutual TLS.
    """
    chosen = [one for one in service.endpoints if selects(labels, one.labels)]
    if not chosen:
        return []
    found = []
    for one in chosen:
        number = dict(one.ports).get(port.number, port.target)
        made: dict[str, Any] = {
            "endpoint": {"address": {"socket_address": {"address": one.address, "port_value": number}}},
            "load_balancing_weight": one.weight,
        }
        if one.secured and not service.external:
            made["metadata"] = {"filter_metadata": dict(metadata)}
        found.append(made)
    return [{"lb_endpoints": found, "load_balancing_weight": sum(one.weight for one in chosen)}]


def _services(obj: Obj) -> Iterator[Service]:
    spec, namespace = obj["spec"], obj["metadata"]["namespace"]
    ports = tuple(
        Port(one["number"], one.get("targetPort") or one["number"], http2=is_http2(one["protocol"].lower()))
        for one in spec.get("ports", [])
    )
    named = {one["name"]: one["number"] for one in spec.get("ports", [])}
    resolution = spec["resolution"]
    for host in dict.fromkeys(host.lower() for host in spec["hosts"]):
        endpoints = tuple(_endpoint(one, named) for one in spec.get("endpoints", []))
        if not endpoints and resolution == DNS:
            endpoints = (Endpoint(host),)
        yield Service(
            name=host,
            namespace=namespace,
            host=host,
            selector={},
            ports=ports,
            resolution=resolution,
            external=spec.get("location", "MESH_EXTERNAL") == "MESH_EXTERNAL",
            exported=tuple(spec.get("exportTo") or ()),
            endpoints=endpoints,
        )


def _endpoint(entry: Mapping[str, Any], named: Mapping[str, int]) -> Endpoint:
    labels = entry.get("labels") or {}
    mode = labels.get(_TLS_MODE, "istio" if entry.get("serviceAccount") else "disabled")
    return Endpoint(
        address=entry["address"],
        ports=tuple((named[name], number) for name, number in (entry.get("ports") or {}).items()),
        labels=labels,
        weight=entry.get("weight") or 1,
        secured=mode == "istio",
    )

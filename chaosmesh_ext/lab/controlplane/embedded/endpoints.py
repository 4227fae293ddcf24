"""Endpoints: the ready pods behind each cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chaosmesh_ext.istio.hosts import cluster
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.lab.controlplane.embedded.destinationrules import rule, subsets
from chaosmesh_ext.lab.controlplane.embedded.mutual_tls import ENDPOINT_METADATA, ISTIO_MUTUAL, declared_mode
from chaosmesh_ext.lab.controlplane.embedded.peerauthentications import DISABLE, port_mode
from chaosmesh_ext.lab.controlplane.embedded.serviceentries import DNS, localities
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Port, Service, Snapshot, Workload
from chaosmesh_ext.lab.envoy.metrics import peer
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["endpoints"]


def endpoints(snapshot: Snapshot, pod: Workload) -> Iterator[dict[str, Any]]:
    """The ClusterLoadAssignment of every outbound cluster of POD, the empty ones too: Envoy waits for each."""
    for service in snapshot.destinations:
        if service.resolution == DNS:
            continue  # in the cluster itself
        members = [one for one in snapshot.workloads if one.ready and service.has(one)]
        found = rule(snapshot, pod.node.namespace, service, pod.node.labels)
        for port in service.ports:
            yield _assignment(snapshot, found, service, port, members)
            for name in subsets(found):
                yield _assignment(snapshot, found, service, port, members, name)


def _assignment(
    snapshot: Snapshot, found: Obj | None, service: Service, port: Port, members: list[Workload], name: str = ""
) -> dict[str, Any]:
    subset = subsets(found)[name] if name else {}
    declared = declared_mode(found["spec"], subset, port.number) if found else ""
    labels = subset.get("labels") or {}
    chosen = [
        _endpoint(one, target, secured=_secured(snapshot, one, target, declared))
        for one in members
        if selects(labels, one.node.labels) and (target := one.target(port)) is not None
    ]
    out: dict[str, Any] = {"cluster_name": cluster(service.host, port.number, name)}
    if service.resolution:
        out["endpoints"] = localities(service, port, labels, ENDPOINT_METADATA)
    elif chosen:
        out["endpoints"] = [{"lb_endpoints": chosen, "load_balancing_weight": len(chosen)}]
    return out


def _secured(snapshot: Snapshot, pod: Workload, port: int, declared: str) -> bool:
    """Whether callers may speak mutual TLS to PORT of POD; a DestinationRule's word goes before what the pod says."""
    if declared:
        return declared == ISTIO_MUTUAL
    return pod.mutual_tls and port_mode(snapshot, pod, port) != DISABLE


def _endpoint(pod: Workload, port: int, *, secured: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = {"istio": {"workload": peer(pod.node)}, **(ENDPOINT_METADATA if secured else {})}
    return {
        "endpoint": {"address": {"socket_address": {"address": pod.node.ip, "port_value": port}}},
        "metadata": {"filter_metadata": metadata},
        "load_balancing_weight": 1,
    }

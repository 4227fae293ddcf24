"""Endpoints: the ready pods behind each cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.istio.hosts import cluster
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.lab.controlplane.embedded.destinationrules import rule, subsets
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Port, Service, Snapshot, Workload
from chaosmesh_ext.lab.envoy.metrics import peer

__all__ = ["endpoints"]


def endpoints(snapshot: Snapshot, pod: Workload) -> Iterator[dict[str, Any]]:
    """The ClusterLoadAssignment of every outbound cluster of POD, the empty ones too: Envoy waits for each."""
    for service in snapshot.services:
        members = [one for one in snapshot.workloads if one.ready and service.has(one)]
        found = rule(snapshot, pod.node.namespace, service)
        for port in service.ports:
            yield _assignment(service, port, "", {}, members)
            for name, subset in subsets(found).items():
                yield _assignment(service, port, name, subset.get("labels") or {}, members)


def _assignment(
    service: Service, port: Port, subset: str, labels: Mapping[str, str], members: list[Workload]
) -> dict[str, Any]:
    chosen = [
        _endpoint(one, target)
        for one in members
        if selects(labels, one.node.labels) and (target := one.target(port)) is not None
    ]
    out: dict[str, Any] = {"cluster_name": cluster(service.host, port.number, subset)}
    if chosen:
        out["endpoints"] = [{"lb_endpoints": chosen, "load_balancing_weight": len(chosen)}]
    return out


def _endpoint(pod: Workload, port: int) -> dict[str, Any]:
    return {
        "endpoint": {"address": {"socket_address": {"address": pod.node.ip, "port_value": port}}},
        "metadata": {"filter_metadata": {"istio": {"workload": peer(pod.node)}}},
        "load_balancing_weight": 1,
    }

"""Which proxy a Pod's is."""

from __future__ import annotations

from typing import Any

from chaosmesh_ext.lab.envoy.bootstrap import NodeInfo

__all__ = ["APP", "OUTBOUND", "POD", "WORKLOAD", "is_gateway", "is_proxied", "node_of"]

OUTBOUND = "lab.chaosmesh-ext/outbound"
"""The annotation with the address of a Pod's proxy for its own application."""
APP = "lab.chaosmesh-ext/app"
"""The annotation with the address of a Pod's application."""
POD = "lab.chaosmesh-ext/pod"
"""The label by which an object is meant for one Pod alone: each has addresses of its own, also two of a Deployment."""
WORKLOAD = "lab.chaosmesh-ext/workload"
"""The annotation with the name of the workload that a Pod is of."""


def is_gateway(pod: dict[str, Any]) -> bool:
    """Whether POD is an ingress gateway."""
    annotations = pod["metadata"].get("annotations") or {}
    return bool(annotations.get("inject.istio.io/templates") == "gateway")


def is_proxied(pod: dict[str, Any]) -> bool:
    """Whether POD has an Envoy."""
    labels = pod["metadata"].get("labels") or {}
    return bool(labels.get("sidecar.istio.io/inject") != "false")


def node_of(pod: dict[str, Any]) -> NodeInfo | None:
    """The proxy of POD, or None while POD has no address."""
    meta, ip = pod["metadata"], (pod.get("status") or {}).get("podIP")
    if not ip:
        return None
    annotations = meta.get("annotations") or {}
    return NodeInfo(
        name=meta["name"],
        namespace=meta.get("namespace", "default"),
        ip=ip,
        admin=annotations.get(OUTBOUND, ip),
        workload=annotations.get(WORKLOAD, meta["name"]),
        labels=meta.get("labels") or {},
        account=(pod.get("spec") or {}).get("serviceAccountName") or "default",
        kind="router" if is_gateway(pod) else "sidecar",
    )

"""PeerAuthentication: which of a workload's ports take mutual TLS, plain text, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.lab.controlplane.embedded.snapshot import ROOT_NAMESPACE, Snapshot, Workload
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["DISABLE", "PERMISSIVE", "STRICT", "port_mode", "service_mode"]

DISABLE, PERMISSIVE, STRICT = "DISABLE", "PERMISSIVE", "STRICT"


def port_mode(snapshot: Snapshot, pod: Workload, port: int) -> str:
    """How PORT of POD's own takes connections: STRICT, PERMISSIVE or DISABLE.

    The workload's oldest object stands above the namespace's, that above the mesh's, and nothing means PERMISSIVE. An
    object that leaves the mode UNSET takes over what stands below.
    """
    own = _oldest(snapshot, pod.node.namespace, pod) if pod.node.namespace != ROOT_NAMESPACE else None
    of_ports = own["spec"].get("portLevelMtls") or {} if own else {}
    return (
        _mode(of_ports.get(str(port)))
        or (_mode(own["spec"].get("mtls")) if own else "")
        or service_mode(snapshot, pod.node.namespace)
    )


def service_mode(snapshot: Snapshot, namespace: str) -> str:
    """How callers take the services of NAMESPACE to be: they look at the namespace's and the mesh's objects alone."""
    for home in dict.fromkeys((namespace, ROOT_NAMESPACE)):
        found = _oldest(snapshot, home)
        if found is not None and (mode := _mode(found["spec"].get("mtls"))):
            return mode
    return PERMISSIVE


def _oldest(snapshot: Snapshot, namespace: str, pod: Workload | None = None) -> Obj | None:
    """The oldest object of NAMESPACE with a selector for POD, or without any selector where there is no POD."""
    for obj in snapshot.peer_authentications:
        selector = _selector(obj["spec"])
        for_all = pod is None and not selector
        for_it = pod is not None and selector and selects(selector, pod.node.labels)
        if obj["metadata"]["namespace"] == namespace and (for_all or for_it):
            return obj
    return None


def _mode(mtls: Mapping[str, Any] | None) -> str:
    mode = (mtls or {}).get("mode", "UNSET")
    return "" if mode == "UNSET" else str(mode)


def _selector(spec: Mapping[str, Any]) -> Mapping[str, str]:
    return (spec.get("selector") or {}).get("matchLabels") or {}

"""What the guard asks of a cluster that is a bare Kubernetes API: namespaces that allow faults, and callers' pods."""

from __future__ import annotations

from typing import Any

__all__ = ["as_lab", "caller", "namespace"]


def namespace(name: str = "default", **labels: str) -> dict[str, Any]:
    """A Namespace that allows faults, with more LABELS (``istio_io__rev`` is ``istio.io/rev``)."""
    more = {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()}
    meta = {"name": name, "labels": {"chaosmesh-ext/allow": "true", **more}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def as_lab(name: str = "test") -> list[dict[str, Any]]:
    """The Namespaces of a cluster that says it is the lab NAME, and allows faults in default."""
    meta = {"name": "kube-system", "labels": {"chaosmesh-ext/lab": name}}
    return [namespace(), {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}]


def caller(
    name: str, labels: dict[str, str], *, sidecar: bool = True, ready: bool = True, native: bool = False, **meta: Any
) -> dict[str, Any]:
    """A Pod that runs, with a sidecar (NATIVE: as an init container that stays) that is ready or not."""
    app = {"name": "app", "image": "app"}
    proxy = {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.27.1"}
    spec: dict[str, Any] = {"containers": [app]}
    told = {"name": "istio-proxy", "ready": ready, "restartCount": 0, "image": "", "imageID": ""}
    status: dict[str, Any] = {"phase": "Running"}
    if sidecar and native:
        spec["initContainers"] = [{**proxy, "restartPolicy": "Always"}]
        status["initContainerStatuses"] = [told]
    elif sidecar:
        spec["containers"] = [app, proxy]
        status["containerStatuses"] = [told]
    meta = {"name": name, "namespace": "default", "labels": labels, **meta}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}

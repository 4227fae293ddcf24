"""The Pod that stands for the lab's control plane in its API, where who wants to know of the proxies looks for it.

It is a mirror Pod: Kubernetes' sort for what a node runs by itself, and the API only shows.
"""

from __future__ import annotations

from typing import Final

from chaosmesh_ext.lab.kube.api import ISTIO_NAMESPACE, NODE, Kube, Obj

__all__ = ["DEBUG_PORT", "MIRROR", "is_mirror", "stand_in"]

DEBUG_PORT: Final = 15014
"""Where istiod tells about itself."""
MIRROR: Final = "kubernetes.io/config.mirror"
"""The annotation of a mirror Pod."""

_NAME: Final = f"istiod-{NODE}"
"""Mirror Pods bear their node's name behind their own."""


def is_mirror(pod: Obj) -> bool:
    """Whether POD only shows what runs without it: no kubelet starts it, and the mesh has no part in it."""
    return MIRROR in (pod["metadata"].get("annotations") or {})


async def stand_in(kube: Kube, control: str) -> None:
    """Let KUBE show the control plane, which tells about itself at `DEBUG_PORT` of the address CONTROL."""
    port = {"name": "http-monitoring", "containerPort": DEBUG_PORT}
    pod = await kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": _NAME,
                "namespace": ISTIO_NAMESPACE,
                "labels": {"app": "istiod", "istio": "pilot", "sidecar.istio.io/inject": "false"},
                "annotations": {MIRROR: "chaosmesh-ext-lab"},
            },
            "spec": {
                "nodeName": NODE,
                "hostNetwork": True,
                "containers": [{"name": "discovery", "image": "pilot", "ports": [port]}],
            },
        }
    )
    ready = [{"type": name, "status": "True"} for name in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
    ip = {"hostIP": control, "podIP": control, "podIPs": [{"ip": control}]}
    await kube.patch_status(pod, {"phase": "Running", "conditions": ready, **ip})

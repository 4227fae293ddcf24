"""The lab's Nodes: one for what the lab itself needs, and workers for the applications.

All are this machine. What tells them apart is which Pods they may have: cordon or drain a worker, and its Pods come
back on the other; the ingress gateway, at whose address the lab is called, has its place beside the control plane.
"""

from __future__ import annotations

from typing import Final

from chaosmesh_ext.lab.kube.api import NODE, Obj

__all__ = ["CONTROL_PLANE", "NODES", "WORKERS", "node", "ready"]

WORKERS: Final = ("lab-1", "lab-2")
"""The Nodes of the applications."""
NODES: Final = (NODE, *WORKERS)
"""Every Node that an API server of a lab has from its start, ready."""
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"
"""The label and the taint of `NODE`, as kubeadm names them."""


def node(name: str) -> Obj:
    """The Node NAME, without its status."""
    labels = {"kubernetes.io/hostname": name}
    spec: Obj = {}
    if name == NODE:
        labels[CONTROL_PLANE] = ""
        spec["taints"] = [{"key": CONTROL_PLANE, "effect": "NoSchedule"}]
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}


def ready(obj: Obj) -> bool:
    """Whether the kubelet of the Node OBJ has said that it is ready."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

"""The scale subresource: how many replicas, and nothing else."""

from __future__ import annotations

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.refusals import bad_request

__all__ = ["scale", "scaled"]

_KEPT = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale(obj: Obj) -> Obj:
    """The Scale of a Deployment or ReplicaSet."""
    selector = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: obj["metadata"][key] for key in _KEPT if key in obj["metadata"]},
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in selector.items()),
        },
    }


def scaled(obj: Obj, wanted: Obj) -> Obj:
    """OBJ with the replicas of the Scale WANTED, under WANTED's resourceVersion if it has one."""
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request(f"Scale: spec.replicas is {replicas!r}, not a number")
    said = wanted.get("metadata") or {}
    own = {key: said[key] for key in ("name", "resourceVersion", "uid") if said.get(key)}
    return {**obj, "metadata": {**obj["metadata"], **own}, "spec": {**obj["spec"], "replicas": replicas}}

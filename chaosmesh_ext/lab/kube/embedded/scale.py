"""The scale subresource: how many replicas, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.decoding import go_type
from chaosmesh_ext.lab.kube.embedded.refusals import Cause, Undecodable, bad_request, invalid, unprocessable

__all__ = ["rescaled", "scale", "scaled"]

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
    """OBJ with the replicas of the Scale WANTED, under WANTED's resourceVersion if it has one.

    Raises Refused: 400 for replicas that are no number, 422 below 0.
    """
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        why = f"json: cannot unmarshal {go_type(replicas)} into Go struct field ScaleSpec.spec.replicas of type int32"
        raise Undecodable("Scale", "v1", "Scale", why)
    if replicas < 0:
        causes = [Cause.invalid("spec.replicas", replicas, "must be greater than or equal to 0")]
        raise invalid("Scale", "autoscaling", obj["metadata"]["name"], causes)
    said = wanted.get("metadata") or {}
    own = {key: said[key] for key in ("name", "resourceVersion", "uid") if said.get(key)}
    return {**obj, "metadata": {**obj["metadata"], **own}, "spec": {**obj["spec"], "replicas": replicas}}


def rescaled(obj: Obj, patch: Callable[[Obj], Any]) -> Obj:
    """OBJ as PATCH wants its Scale; raises Refused as `scaled` does, 422 for what does not decode."""
    wanted = patch(scale(obj))
    if not isinstance(wanted, dict):
        raise bad_request("the patch makes the Scale something other than an object")
    try:
        return scaled(obj, wanted)
    except Undecodable as error:
        raise unprocessable(wanted, error.why) from None

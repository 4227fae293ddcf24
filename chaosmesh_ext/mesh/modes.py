"""How a pod is in the mesh: with a sidecar, in ambient mode, or not at all.

Labels and annotations are Istio's (istio.io/docs/reference/config/labels and …/annotations).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from chaosmesh_ext.mesh.client import Obj

__all__ = ["MODE_LABEL", "PROXY", "Caller", "Mode", "caller", "running", "workload_of"]

Mode = Literal["sidecar", "ambient", "none"]

MODE_LABEL: Final = "istio.io/dataplane-mode"
"""Of a Namespace or a Pod: ``ambient``, or ``none`` for a Pod that stays out."""
_REDIRECTION: Final = "ambient.istio.io/redirection"
PROXY: Final = "istio-proxy"
"""The sidecar's container."""


class Caller(msgspec.Struct, frozen=True):
    """A pod that may call. sidecar: whether it has one; ready: whether that is. ambient: ztunnel carries its calls."""

    name: str
    sidecar: bool
    ready: bool
    ambient: bool

    @property
    def mode(self) -> Mode:
        """In one word."""
        return "sidecar" if self.sidecar else "ambient" if self.ambient else "none"


def caller(pod: Obj, of_namespace: Mapping[str, str]) -> Caller:
    """POD, in a namespace with the labels OF_NAMESPACE."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    # a native sidecar is an init container that stays
    told = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    given = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    sidecar = PROXY in {one.get("name") for one in (*given, *told)}
    ready = any(one.get("name") == PROXY and one.get("ready") for one in told)
    mode = labels.get(MODE_LABEL)
    carried = notes.get(_REDIRECTION) == "enabled" or mode == "ambient"
    by_namespace = of_namespace.get(MODE_LABEL) == "ambient" and mode != "none"
    return Caller(meta["name"], sidecar, ready, not sidecar and (carried or by_namespace))


def running(pod: Obj) -> bool:
    """Whether POD runs, or is about to, and is not ending."""
    phase = (pod.get("status") or {}).get("phase")
    return "deletionTimestamp" not in pod["metadata"] and phase not in ("Succeeded", "Failed")


def workload_of(pod: Obj) -> str:
    """The name of what made POD: the Deployment above its ReplicaSet, another owner, or itself."""
    meta = pod["metadata"]
    owner = next((one for one in meta.get("ownerReferences") or () if one.get("controller")), None)
    if owner is None:
        return str(meta["name"])
    name, made = str(owner["name"]), (meta.get("labels") or {}).get("pod-template-hash", "")
    return name.removesuffix(f"-{made}") if owner.get("kind") == "ReplicaSet" and made else name

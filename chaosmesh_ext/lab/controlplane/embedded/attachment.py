"""Which of the policies that add up, AuthorizationPolicies and RequestAuthentications, are in force for a workload."""

from __future__ import annotations

from collections.abc import Iterable

from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.lab.controlplane.embedded.snapshot import ROOT_NAMESPACE, Workload
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["attached"]


def attached(policies: Iterable[Obj], pod: Workload) -> list[Obj]:
    """Those of POLICIES that are for POD: of the root namespace and of its own, with a selector for it or with none.

    The root namespace's come first; otherwise they keep their order.
    """
    mine = [
        one
        for one in policies
        if one["metadata"]["namespace"] in (ROOT_NAMESPACE, pod.node.namespace)
        and selects((one["spec"].get("selector") or {}).get("matchLabels") or {}, pod.node.labels)
    ]
    return sorted(mine, key=lambda one: one["metadata"]["namespace"] != ROOT_NAMESPACE)

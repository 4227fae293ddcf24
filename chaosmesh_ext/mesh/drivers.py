"""Drivers: tools that write an object again by themselves, and so would fight an overlay or undo it at once. Pure.

GitOps tools put their source's state back; Argo Rollouts and Flagger move the weights of the routes that they drive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["driver"]

Obj = dict[str, Any]

_MANAGERS: Final[Mapping[str, str]] = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "configsync": "Config Sync",
    "rollouts-controller": "Argo Rollouts",
    "flagger": "Flagger",
}
"""Field managers of server-side applies and updates, by which Kubernetes says who writes an object.

`argocd-controller` is Argo CD's ArgoCDSSAManager; Flux' controllers use their names.
"""

_ANNOTATIONS: Final[Mapping[str, str]] = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "configsync.gke.io/resource-id": "Config Sync",
}
_LABELS: Final[Mapping[str, str]] = {
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
"""Labels of nobody else. Argo CD's default, `app.kubernetes.io/instance`, is also every Helm chart's, and says nothing
by itself: Argo CD's annotation or field manager beside it does.
"""

_LEFT_ALONE: Final[Mapping[str, tuple[str, str, frozenset[str]]]] = {
    "kustomize.toolkit.fluxcd.io/reconcile": ("Flux", "kustomize", frozenset({"disabled"})),
    "kustomize.toolkit.fluxcd.io/ssa": ("Flux", "kustomize", frozenset({"Ignore", "IfNotPresent"})),
    "configmanagement.gke.io/managed": ("Config Sync", "configsync", frozenset({"disabled"})),
}
"""Annotations or labels, their values, by which a tool leaves an object as it is, though its marks are there still."""


_PLUGIN: Final = "argoproj-labs/gatewayAPI"
"""By which Argo Rollouts drives HTTPRoutes: its fields httpRoute, httpRoutes and namespace, a Rollout's own by default.
"""


def driver(obj: Obj, rollouts: Iterable[Obj] = ()) -> str:
    """What writes OBJ again by itself, with the mark that says so; an empty string where nothing is known to.

    ROLLOUTS: Argo's, of any namespace. A GitOps tool that only reports drift looks the same as one that mends it.
    """
    meta = obj["metadata"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    stays = {
        word
        for key, (_, word, values) in _LEFT_ALONE.items()
        if {str(labels.get(key)), str(annotations.get(key))} & values
    }
    for table, found, where in ((_ANNOTATIONS, annotations, "annotation"), (_LABELS, labels, "label")):
        for key, tool in table.items():
            if key in found and not any(word in key for word in stays):
                return f"{tool} ({where} {key})"
    for entry in meta.get("managedFields") or ():
        manager = str(entry.get("manager", ""))
        if manager in _MANAGERS and not any(word in manager for word in stays):
            return f"{_MANAGERS[manager]} (it writes it as {manager})"
    if any(str(ref.get("apiVersion", "")).startswith("flagger.app/") for ref in meta.get("ownerReferences") or ()):
        return "Flagger (its owner)"
    for rollout in rollouts:
        if (obj.get("kind", "VirtualService"), meta["namespace"], meta["name"]) in _driven(rollout):
            return f"Argo Rollouts (the Rollout {rollout['metadata']['namespace']}/{rollout['metadata']['name']})"
    return ""


def _driven(rollout: Obj) -> set[tuple[str, str, str]]:
    """Kinds, namespaces and names of what ROLLOUT drives; VirtualServices may be written name.namespace."""
    canary = ((rollout.get("spec") or {}).get("strategy") or {}).get("canary") or {}
    traffic = canary.get("trafficRouting") or {}
    istio = traffic.get("istio") or {}
    named = [*(istio.get("virtualServices") or ()), *filter(None, [istio.get("virtualService")])]
    own = rollout["metadata"]["namespace"]
    found = set()
    for one in named:
        name, _, rest = str(one.get("name", "")).partition(".")
        found.add(("VirtualService", rest.partition(".")[0] or own, name))
    plugin = (traffic.get("plugins") or {}).get(_PLUGIN) or {}
    routes = [plugin.get("httpRoute"), *(one.get("name") for one in plugin.get("httpRoutes") or ())]
    return found | {("HTTPRoute", str(plugin.get("namespace") or own), str(name)) for name in routes if name}

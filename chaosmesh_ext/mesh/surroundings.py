"""The surroundings of a fault: what is asked of the cluster before anything is written into it.

Labels and annotations are Istio's (istio.io/docs/reference/config/labels and …/annotations), Argo Rollouts' and
Flagger's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final

import msgspec

from chaosmesh_ext.errors import Forbidden, NotFound
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.modes import Caller, caller, running, workload_of
from chaosmesh_ext.mesh.transport import Kubeconfig

__all__ = ["ALLOW", "ISTIO_NAMESPACE", "LAB", "Caller", "ControlPlane", "Surroundings", "under_way"]

ALLOW: Final = "chaosmesh-ext/allow"
"""Label of a Namespace, ``"true"``: faults are allowed in it."""
LAB: Final = "chaosmesh-ext/lab"
"""Label of the Namespace kube-system of a lab: its name."""
ISTIO_NAMESPACE: Final = "istio-system"

_WAYPOINT: Final = "istio.io/use-waypoint"
_GATEWAY: Final = "gateway.networking.k8s.io/gateway-name"
"""Label of the pods of a Gateway, waypoints among them."""
_MANAGED: Final = "asm-managed"
"""How the revisions of Google's managed control planes begin."""


class ControlPlane(msgspec.Struct, frozen=True):
    """The istiods of the cluster, one a revision.

    versions: theirs, e.g. ``1.27.1``. ready: whether each has a pod that is. cluster: its name in a mesh of several
    clusters, or empty. serves_others: the proxies of other clusters get their configuration from here too.
    """

    versions: tuple[str, ...]
    revisions: tuple[str, ...]
    ready: bool = True
    cluster: str = ""
    serves_others: bool = False


class Surroundings:
    """Of one cluster. What does not change while a run lasts is asked once."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @cached_property
    def context(self) -> str:
        """The kubeconfig's context that is used; empty where there is no kubeconfig."""
        made_from = self.client.access.made_from
        if not isinstance(made_from, Kubeconfig):
            return ""
        from chaosmesh_ext.mesh.kubeconfig import context

        return context(made_from)

    @cached_property
    def lab(self) -> str:
        """The lab's name; empty for a real cluster, and where that may not be asked."""
        return str((self.labels("kube-system") or {}).get(LAB, ""))

    @cached_property
    def control_plane(self) -> ControlPlane | None:
        """The istiods that run in this cluster, or None where none does.

        Raises Forbidden where that may not be asked.
        """
        found = self.client.list("Deployment", ISTIO_NAMESPACE, labels="app=istiod")
        if not found:
            try:
                found = self.client.list("Deployment", labels="app=istiod")
            except Forbidden:
                return None
        return _control_plane(found) if found else None

    def labels(self, namespace: str) -> Mapping[str, str] | None:
        """The labels of NAMESPACE; None where they may not be read. A namespace that is not there has none."""
        try:
            found = self.client.find("Namespace", "", namespace)
        except Forbidden:
            return None
        return dict((found or {"metadata": {}})["metadata"].get("labels") or {})

    def managed(self, labels: Mapping[str, str]) -> str:
        """The managed revision by which a namespace with LABELS is served, or empty."""
        revision = str(labels.get("istio.io/rev", ""))
        return revision if revision.startswith(_MANAGED) else ""

    def callers(
        self, namespace: str, labels: Mapping[str, str] | None, of_namespace: Mapping[str, str]
    ) -> list[Caller]:
        """The pods in NAMESPACE that run, have LABELS (None: all but gateways), and are not ending.

        OF_NAMESPACE: its own labels.
        """
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        return [
            caller(pod, of_namespace)
            for pod in self.client.list("Pod", namespace, labels=selector)
            if running(pod) and (labels is not None or "istio" not in (pod["metadata"].get("labels") or {}))
        ]

    def modes(self, namespace: str) -> dict[str, str]:
        """How each workload of NAMESPACE that runs is in the mesh, gateways left out.

        ``sidecar``, ``ambient`` (no proxy sees requests), ``ambient with waypoint`` (that of a Service that selects
        its pods does), or ``none``; several, joined by ``and``, where its pods differ.
        """
        of_namespace = self.labels(namespace) or {}
        services = self.client.list("Service", namespace)
        found: dict[str, set[str]] = {}
        for pod in self.client.list("Pod", namespace):
            labels = pod["metadata"].get("labels") or {}
            if not running(pod) or "istio" in labels or _GATEWAY in labels:
                continue
            mode: str = caller(pod, of_namespace).mode
            if mode == "ambient" and any(
                self.waypoint(namespace, service["metadata"]["name"])
                for service in services
                if (selector := service["spec"].get("selector")) and selects(selector, labels)
            ):
                mode = "ambient with waypoint"
            found.setdefault(workload_of(pod), set()).add(mode)
        return {workload: " and ".join(sorted(modes)) for workload, modes in sorted(found.items())}

    def waypoint(self, namespace: str, service: str) -> str:
        """The waypoint of SERVICE as ``namespace/name``; empty where it has none, or one that is not there."""
        found = self.client.find("Service", namespace, service) if namespace else None
        for labels in ((found or {"metadata": {}})["metadata"].get("labels") or {}, self.labels(namespace) or {}):
            name = labels.get(_WAYPOINT)
            if name == "none":
                return ""
            if name:
                where = labels.get(f"{_WAYPOINT}-namespace", namespace)
                try:
                    gateway = self.client.find("Gateway", where, name)
                except Forbidden:
                    return f"{where}/{name}"
                known = gateway is not None and gateway["spec"].get("gatewayClassName") == "istio-waypoint"
                return f"{where}/{name}" if known else ""
        return ""

    def releases(self, namespaces: Iterable[str]) -> list[Obj]:
        """The Rollouts of Argo and the Canaries of Flagger in NAMESPACES, as far as they may be read."""
        found: list[Obj] = []
        for namespace in sorted(set(namespaces)):
            for kind in ("Rollout", "Canary"):
                try:
                    found += self.client.list(kind, namespace)
                except (Forbidden, NotFound):
                    continue
        return found


def under_way(release: Obj, names: Iterable[str], labels: Mapping[str, str]) -> str:
    """What RELEASE, a Rollout or a Canary, is doing with a service or workload of NAMES or pods with LABELS; or empty.

    While it measures a new version, a fault of ours would decide whether that goes out.
    """
    spec, status = release.get("spec") or {}, release.get("status") or {}
    phase = str(status.get("phase", ""))
    if release["kind"] == "Rollout":
        if phase not in ("Progressing", "Paused"):
            return ""
        canary = (spec.get("strategy") or {}).get("canary") or (spec.get("strategy") or {}).get("blueGreen") or {}
        pods = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        keys = ("stableService", "canaryService", "activeService", "previewService")
        own = {release["metadata"]["name"], *(canary.get(key) for key in keys)}
        if not own & set(names) and not (labels and selects(labels, pods)):
            return ""
        return f"the Rollout {release['metadata']['name']} of Argo Rollouts is {phase.lower()}"
    if phase not in ("Progressing", "Waiting", "WaitingPromotion", "Promoting", "Finalising"):
        return ""
    own = {
        release["metadata"]["name"],
        (spec.get("targetRef") or {}).get("name"),
        (spec.get("service") or {}).get("name"),
    }
    return f"the Canary {release['metadata']['name']} of Flagger is {phase.lower()}" if own & set(names) else ""


def _control_plane(deployments: list[Obj]) -> ControlPlane:
    environments = [_environment(obj) for obj in deployments]
    clusters = {env.get("CLUSTER_ID", "") for env in environments} - {"", "Kubernetes"}
    return ControlPlane(
        versions=tuple(_version(obj) for obj in deployments),
        revisions=tuple(str(_labels(obj).get("istio.io/rev", "default")) for obj in deployments),
        ready=all((obj.get("status") or {}).get("readyReplicas", 0) > 0 for obj in deployments),
        cluster=min(clusters, default=""),
        serves_others=any(env.get("EXTERNAL_ISTIOD", "").lower() == "true" for env in environments),
    )


def _version(deployment: Obj) -> str:
    """By the chart's label, else by the image's tag; empty where neither says."""
    image = str((_containers(deployment) or [{}])[0].get("image", ""))
    for text in (_labels(deployment).get("app.kubernetes.io/version", ""), image.rpartition(":")[2]):
        if found := re.match(r"v?(\d+\.\d+(?:\.\d+)?)", str(text)):
            return found[1]
    return ""


def _labels(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _containers(deployment: Obj) -> list[Obj]:
    template = (deployment.get("spec") or {}).get("template") or {}
    return [one for one in (template.get("spec") or {}).get("containers") or [] if isinstance(one, dict)]


def _environment(deployment: Obj) -> dict[str, str]:
    return {
        str(entry.get("name")): str(entry.get("value", ""))
        for container in _containers(deployment)
        for entry in container.get("env") or ()
    }

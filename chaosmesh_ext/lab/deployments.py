"""Deployments → ReplicaSets → Pods: the part of a controller manager that a lab needs."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import logging
import random

from chaosmesh_ext.lab.envoy import NodeInfo
from chaosmesh_ext.lab.envoy.node import POD, WORKLOAD, is_gateway, is_proxied
from chaosmesh_ext.lab.kube.api import Kube, Obj

__all__ = ["Deployments", "replica_set_name"]

_LOG = logging.getLogger(__name__)

_AGAIN_S = 1.0
"""Seconds after which a Deployment that could not be brought about is tried again."""

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own: no vowels, nothing that reads like another."""


def replica_set_name(deployment: Obj) -> tuple[str, str]:
    """The name of the Deployment's ReplicaSet, and the template's hash in it."""
    digest = hashlib.sha256(json.dumps(deployment["spec"]["template"], sort_keys=True).encode()).digest()
    suffix = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])
    return f"{deployment['metadata']['name']}-{suffix}", suffix


class Deployments:
    """Keeps as many Pods as each Deployment asks for, of its present template, and says so in its status."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._pending: dict[tuple[str, str], None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch; existing Deployments are taken up at once."""
        self._kube.subscribe(("Deployment", "Pod"), self._changed)
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop watching; Pods stay."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _changed(self, _event: str, obj: Obj) -> None:
        meta = obj["metadata"]
        name = meta["name"] if obj["kind"] == "Deployment" else _owner(obj)
        if name:
            self._want(meta["namespace"], name)

    def _want(self, namespace: str, name: str) -> None:
        self._pending[namespace, name] = None
        self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                namespace, name = next(iter(self._pending))
                del self._pending[namespace, name]
                try:
                    await self._reconcile(namespace, name)
                except Exception as error:
                    # one Deployment's trouble is not the others'
                    _LOG.exception("Deployment %s/%s", namespace, name)
                    await self._failed(namespace, name, error)

    async def _failed(self, namespace: str, name: str, error: Exception) -> None:
        """Say on the Deployment why its Pods are not as it asks, and try again."""
        asyncio.get_running_loop().call_later(_AGAIN_S, self._want, namespace, name)
        try:
            deployment = await self._kube.get("Deployment", namespace, name)
            if deployment is not None:
                await self._kube.record(deployment, "ReplicaSetCreateError", f"{type(error).__name__}: {error}")
        except Exception:
            _LOG.exception("no Event could be written about Deployment %s/%s", namespace, name)

    async def _reconcile(self, namespace: str, name: str) -> None:
        deployment = await self._kube.get("Deployment", namespace, name)
        pods = [pod for pod in await self._kube.list("Pod", namespace) if _owner(pod) == name and not _ending(pod)]
        if deployment is None:
            for pod in pods:
                await self._kube.delete("Pod", namespace, pod["metadata"]["name"])
            for replica_set in await self._kube.list("ReplicaSet", namespace):
                if _owner(replica_set) == name:
                    await self._kube.delete("ReplicaSet", namespace, replica_set["metadata"]["name"])
            return
        set_name, template_hash = replica_set_name(deployment)
        wanted = int(deployment["spec"].get("replicas", 1))
        replica_set = await self._replica_set(deployment, set_name, template_hash, wanted)
        current = [pod for pod in pods if _hash_of(pod) == template_hash]
        old = [pod for pod in pods if pod not in current]
        for _ in range(wanted - len(current)):
            await self._kube.create(_pod(deployment, replica_set, template_hash))
        surplus = sorted(current, key=_is_ready)[: max(0, len(current) - wanted)]
        if len([pod for pod in current if _is_ready(pod)]) >= wanted:
            surplus += old  # the new ones answer: the old ones may go
        for pod in surplus:
            await self._kube.delete("Pod", namespace, pod["metadata"]["name"])
        await self._report(deployment, wanted, template_hash)

    async def _replica_set(self, deployment: Obj, set_name: str, template_hash: str, wanted: int) -> Obj:
        namespace = deployment["metadata"]["namespace"]
        existing = await self._kube.get("ReplicaSet", namespace, set_name)
        if existing is not None and existing["spec"].get("replicas") == wanted:
            return existing
        template = copy.deepcopy(deployment["spec"]["template"])
        labels = {**template.get("metadata", {}).get("labels", {}), "pod-template-hash": template_hash}
        template.setdefault("metadata", {})["labels"] = labels
        return await self._kube.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": set_name,
                    "namespace": namespace,
                    "labels": labels,
                    "annotations": {_OWNER: deployment["metadata"]["name"], "deployment.kubernetes.io/revision": "1"},
                    "ownerReferences": [_reference(deployment, "apps/v1", "Deployment")],
                },
                "spec": {"replicas": wanted, "selector": {"matchLabels": labels}, "template": template},
            }
        )

    async def _report(self, deployment: Obj, wanted: int, template_hash: str) -> None:
        namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        pods = [pod for pod in await self._kube.list("Pod", namespace) if _owner(pod) == name and not _ending(pod)]
        ready = len([pod for pod in pods if _is_ready(pod)])
        updated = len([pod for pod in pods if _hash_of(pod) == template_hash])
        available = "True" if ready >= wanted else "False"
        status: Obj = {
            "observedGeneration": deployment["metadata"].get("generation", 1),
            "replicas": len(pods),
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, wanted - ready) or None,
            "conditions": [
                {
                    "type": "Available",
                    "status": available,
                    "reason": "MinimumReplicasAvailable" if available == "True" else "MinimumReplicasUnavailable",
                },
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ],
        }
        await self._kube.patch_status(deployment, status)
        replica_set = await self._kube.get("ReplicaSet", namespace, replica_set_name(deployment)[0])
        if replica_set is not None:
            counts = {"replicas": updated, "readyReplicas": ready, "availableReplicas": ready}
            await self._kube.patch_status(replica_set, counts)


_OWNER = "lab.chaosmesh-ext/deployment"


def _owner(obj: Obj) -> str:
    return str(obj["metadata"].get("annotations", {}).get(_OWNER, ""))


def _hash_of(pod: Obj) -> str:
    return str(pod["metadata"].get("labels", {}).get("pod-template-hash", ""))


def _ending(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _is_ready(pod: Obj) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _reference(owner: Obj, api_version: str, kind: str) -> Obj:
    meta = owner["metadata"]
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _pod(deployment: Obj, replica_set: Obj, template_hash: str) -> Obj:
    set_name = replica_set["metadata"]["name"]
    template = copy.deepcopy(deployment["spec"]["template"])
    meta = template.get("metadata", {})
    name = deployment["metadata"]["name"]
    suffix = "".join(random.choices(_ALPHABET, k=5))  # noqa: S311 a name, not a secret
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{set_name}-{suffix}",
            "generateName": f"{set_name}-",
            "namespace": deployment["metadata"]["namespace"],
            "labels": {**meta.get("labels", {}), "pod-template-hash": template_hash, POD: suffix},
            "annotations": {**meta.get("annotations", {}), _OWNER: name, WORKLOAD: name},
            "ownerReferences": [_reference(replica_set, "apps/v1", "ReplicaSet")],
        },
        "spec": _with_volume(template.get("spec", {}), f"kube-api-access-{suffix}", _ACCOUNT),
    }
    return _injected(pod, name)


_ACCOUNT: Obj = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
"""The volume that Kubernetes gives every Pod; clients that drain a Node look at volumes."""


def _with_volume(spec: Obj, name: str, source: Obj) -> Obj:
    return {**spec, "volumes": [*(spec.get("volumes") or []), {"name": name, **source}]}


def _injected(pod: Obj, workload: str) -> Obj:
    """POD as Istio's injector leaves it: with its canonical service, and its sidecar among the containers."""
    if not is_proxied(pod):
        return pod
    labels = pod["metadata"]["labels"]
    node = NodeInfo(name="", namespace="", ip="", admin="", workload=workload, labels=labels)
    labels.setdefault("service.istio.io/canonical-name", node.canonical)
    labels.setdefault("service.istio.io/canonical-revision", node.revision)
    containers = pod["spec"].get("containers", [])
    if is_gateway(pod) or any(one["name"] == "istio-proxy" for one in containers):
        return pod
    spec = {**pod["spec"], "containers": [*containers, {"name": "istio-proxy", "image": "envoy"}]}
    return {**pod, "spec": _with_volume(spec, "istio-envoy", {"emptyDir": {"medium": "Memory"}})}

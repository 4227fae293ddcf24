"""Pods → Nodes: the part of a kube-scheduler that a lab needs, and what becomes of a Node that comes or goes."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Coroutine
from typing import Any

from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.lab.kube.api import Kube, Obj
from chaosmesh_ext.lab.nodes import ready
from chaosmesh_ext.lab.stand_in import is_mirror

__all__ = ["Scheduler", "choose", "why_not"]

_LOG = logging.getLogger(__name__)

_AGAIN_S = 1.0
"""Seconds after which a Pod that could not be bound is tried again."""


def why_not(pod: Obj, node: Obj) -> str:
    """Why POD cannot be put on NODE, in a kube-scheduler's words; empty when it can.

    It goes by readiness, `unschedulable`, taints and the Pod's `nodeSelector`, and by nothing else.
    """
    spec = node.get("spec") or {}
    if spec.get("unschedulable"):
        return "node(s) were unschedulable"
    if not ready(node):
        return "node(s) were not ready"
    for taint in spec.get("taints") or []:
        if taint.get("effect") != "PreferNoSchedule" and not any(
            _tolerates(one, taint) for one in pod["spec"].get("tolerations") or []
        ):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    labels = node["metadata"].get("labels") or {}
    if not (pod["spec"].get("nodeSelector") or {}).items() <= labels.items():
        return "node(s) didn't match Pod's node affinity/selector"
    return ""


def _tolerates(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def choose(pod: Obj, nodes: Collection[Obj], pods: Collection[Obj], services: Collection[Obj]) -> str:
    """The name of the best of NODES, all of which POD may have; PODS are those that have a Node already.

    The one with the fewest Pods of the same owner; of those, with the fewest behind the same SERVICES; of those, with
    the fewest at all; of those, the first by name. A cluster's own scheduler weighs the first two against much else.
    """
    owners = {owner["uid"] for owner in pod["metadata"].get("ownerReferences") or []}
    selectors = [one["spec"]["selector"] for one in services if _chosen(one["spec"].get("selector"), pod)]

    def near(other: Obj) -> tuple[bool, bool]:
        same = other["metadata"].get("namespace") == pod["metadata"].get("namespace")
        siblings = any(owner["uid"] in owners for owner in other["metadata"].get("ownerReferences") or [])
        return siblings, same and any(_chosen(selector, other) for selector in selectors)

    own, behind, every = Counter[str](), Counter[str](), Counter[str]()
    for other in pods:
        name = other["spec"]["nodeName"]
        sibling, served = near(other)
        own[name] += sibling
        behind[name] += served
        every[name] += 1
    names: list[str] = sorted(node["metadata"]["name"] for node in nodes)
    return min(names, key=lambda name: (own[name], behind[name], every[name]))


def _chosen(selector: Obj | None, pod: Obj) -> bool:
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()  # type: ignore[union-attr]


class Scheduler:
    """Binds every Pod that has no Node; one that fits nowhere says so, and waits until a Node changes."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._nodes: dict[str, Obj] = {}
        self._bound: dict[str, Obj] = {}
        self._waiting: dict[str, Obj] = {}
        self._said: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin with the Pods that are there."""
        self._kube.subscribe(("Node",), self._node)
        self._kube.subscribe(("Pod",), self._pod)
        self._spawn(self._work())

    async def stop(self) -> None:
        """Bind no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _node(self, event: str, node: Obj) -> None:
        name = node["metadata"]["name"]
        if event == "DELETED":
            self._nodes.pop(name, None)
            self._spawn(self._forget(name))
            return
        self._nodes[name] = node
        if event == "ADDED" and not (node.get("status") or {}).get("conditions"):
            self._spawn(self._register(node))
        self._wake.set()

    def _pod(self, event: str, pod: Obj) -> None:
        uid = pod["metadata"]["uid"]
        if event == "DELETED" or "deletionTimestamp" in pod["metadata"]:
            for each in (self._bound, self._waiting, self._said):
                each.pop(uid, None)
        elif pod["spec"].get("nodeName"):
            self._waiting.pop(uid, None)
            self._bound[uid] = pod
        elif uid not in self._bound:  # else it is bound by now, and this is older news
            self._waiting[uid] = pod
            self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for uid, pod in list(self._waiting.items()):
                try:
                    await self._schedule(uid, pod)
                except Exception:
                    _LOG.exception("Pod %s could not be bound", pod["metadata"]["name"])
                    asyncio.get_running_loop().call_later(_AGAIN_S, self._wake.set)

    async def _schedule(self, uid: str, pod: Obj) -> None:
        reasons = {name: why_not(pod, node) for name, node in self._nodes.items()}
        fit = [self._nodes[name] for name, why in reasons.items() if not why]
        if not fit:
            await self._cannot(uid, pod, list(reasons.values()))
            return
        services = await self._kube.list("Service", pod["metadata"]["namespace"])
        bound = await self._kube.bind(pod, choose(pod, fit, self._bound.values(), services))
        if self._waiting.pop(uid, None) is not None and bound is not None:
            self._bound[uid] = bound  # the next one is to know, before the API server has told us

    async def _cannot(self, uid: str, pod: Obj, reasons: list[str]) -> None:
        counted = ", ".join(f"{count} {why}" for why, count in sorted(Counter(reasons).items()))
        message = f"0/{len(reasons)} nodes are available: {counted or 'there is none'}."
        if self._said.get(uid) == message:
            return
        self._said[uid] = message
        unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        if await self._kube.patch_status(pod, {"conditions": [unscheduled]}) is not None:
            await self._kube.record(pod, "FailedScheduling", message)

    async def _register(self, node: Obj) -> None:
        """What a kubelet does for its new Node: whoever creates one has it at once, on this machine."""
        others = [other["status"] for other in self._nodes.values() if ready(other)]
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the lab is running"}
        try:
            await self._kube.patch_status(node, others[0] if others else {"conditions": [condition]})
        except ChaosMeshError:
            _LOG.exception("Node %s could not be made ready", node["metadata"]["name"])

    async def _forget(self, name: str) -> None:
        """Delete the Pods of a Node that is gone, as Kubernetes' Pod collector does, only sooner.

        What the Node ran by itself stays: the lab's control plane does.
        """
        lost = [pod for pod in self._bound.values() if pod["spec"]["nodeName"] == name and not is_mirror(pod)]
        for pod in lost:
            meta = pod["metadata"]
            try:
                await self._kube.delete("Pod", meta["namespace"], meta["name"], grace=0, uid=meta["uid"])
            except ChaosMeshError:
                _LOG.exception("Pod %s of the lost Node %s could not be deleted", meta["name"], name)

"""What a cluster's controller manager does, as far as a lab needs it: namespaces get an account and an end, and what a
Deployment or ReplicaSet owned goes with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from chaosmesh_ext.errors import ApiError, ChaosMeshError, Conflict
from chaosmesh_ext.lab.kube.api import Kube, Obj
from chaosmesh_ext.lab.kube.apiserver.client import MERGE_PATCH, Client
from chaosmesh_ext.lab.kube.apiserver.resources import Resource, Resources

__all__ = ["Controllers"]

_log = logging.getLogger(__name__)

_DEPENDENT = {"Deployment": "ReplicaSet", "ReplicaSet": "Pod"}
_WAITING = ("foregroundDeletion", "orphan")
"""Finalizers by which an owner waits for its dependents' end, or for their release."""
_AGAIN_S = 0.02


class Controllers:
    """Watches through KUBE; what it cannot do is logged, and tried again when the object changes."""

    def __init__(self, kube: Kube, client: Client, resources: Resources) -> None:
        self._kube = kube
        self._client = client
        self._resources = resources
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[str] = set()

    def start(self) -> None:
        """Begin with what is there."""
        self._kube.subscribe(("Namespace",), self._namespace)
        self._kube.subscribe(tuple(_DEPENDENT), self._owner)

    async def stop(self) -> None:
        """Leave things as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _namespace(self, event: str, namespace: Obj) -> None:
        metadata = namespace["metadata"]
        if event == "DELETED":
            self._ending.discard(metadata["uid"])
        elif "deletionTimestamp" in metadata:
            if metadata["uid"] not in self._ending:
                self._ending.add(metadata["uid"])
                self._spawn(self._end(namespace))
        elif event == "ADDED":
            self._spawn(self._account(metadata["name"]))

    def _owner(self, event: str, owner: Obj) -> None:
        metadata = owner["metadata"]
        waiting = [word for word in metadata.get("finalizers", []) if word in _WAITING]
        if event == "DELETED":
            self._spawn(self._collect(owner))
        elif "deletionTimestamp" in metadata and waiting:
            self._spawn(self._collect(owner, waiting[0]))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._done(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _done(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ChaosMeshError as error:
            _log.warning("a controller gave up: %s", error)

    async def _account(self, namespace: str) -> None:
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": namespace},
        }
        try:
            await self._kube.create(account)
        except ApiError as error:
            if error.reason not in ("AlreadyExists", "NotFound", "Forbidden"):
                raise

    async def _end(self, namespace: Obj) -> None:
        """Delete all that is in NAMESPACE, then let go of it."""
        name = namespace["metadata"]["name"]
        resources = await self._resources.within_namespaces()
        while left := [one for one in resources if await self._deleted(one, name)]:
            resources = left
            await asyncio.sleep(_AGAIN_S)
        done = {**namespace, "spec": {"finalizers": []}}
        done["metadata"] = {key: value for key, value in namespace["metadata"].items() if key != "resourceVersion"}
        await self._client.ask("PUT", f"/api/v1/namespaces/{name}/finalize", done)

    async def _deleted(self, resource: Resource, namespace: str) -> bool:
        """Delete what NAMESPACE has of RESOURCE; returns whether there was something."""
        path = resource.path(namespace)
        found = await self._client.ask("GET", path, query={"limit": "1"})
        if found["items"]:
            await self._client.ask("DELETE", path)
        return bool(found["items"])

    async def _collect(self, owner: Obj, waiting: str = "") -> None:
        """Delete what OWNER owned, or release it; then let OWNER go on, if it was WAITING for that."""
        kind, metadata = owner["kind"], owner["metadata"]
        for dependent in await self._kube.list(_DEPENDENT[kind], metadata["namespace"]):
            owners = dependent["metadata"].get("ownerReferences", [])
            left = [one for one in owners if one["uid"] != metadata["uid"]]
            if len(left) == len(owners):
                continue
            if left or waiting == "orphan":
                await self._merge(dependent, {"ownerReferences": left})
            else:
                name, uid = dependent["metadata"]["name"], dependent["metadata"]["uid"]
                await self._kube.delete(_DEPENDENT[kind], metadata["namespace"], name, uid=uid)
        if waiting:
            await self._merge(owner, {"finalizers": [one for one in metadata["finalizers"] if one != waiting]})

    async def _merge(self, obj: Obj, metadata: Obj) -> None:
        """Merge METADATA into OBJ as it was read; one that changed meanwhile comes back by its own event."""
        resource = await self._resources.of(obj["kind"], obj["apiVersion"])
        path = resource.path(obj["metadata"]["namespace"], obj["metadata"]["name"])
        patch = {"metadata": {**metadata, "resourceVersion": obj["metadata"]["resourceVersion"]}}
        try:
            await self._client.ask("PATCH", path, patch, content_type=MERGE_PATCH)
        except Conflict:
            pass
        except ApiError as error:
            if error.status != 404:
                raise

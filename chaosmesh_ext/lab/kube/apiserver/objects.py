"""Reading and writing objects by their kind, as the lab's other parts ask for it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from chaosmesh_ext.errors import ApiError, Conflict, InvalidInput, Unprocessable
from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.apiserver.client import MERGE_PATCH, Client
from chaosmesh_ext.lab.kube.apiserver.resources import Resource, Resources

__all__ = ["Objects"]

_ATTEMPTS = 50
"""How often a write that was computed from an object is tried while others change it: each failure is their success."""


class Objects:
    """The half of a `Kube` that needs nothing but an API server to speak to."""

    def __init__(self) -> None:
        self._connection: tuple[Client, Resources] | None = None

    def _connect(self, client: Client) -> None:
        """Speak to CLIENT from now on."""
        self._connection = client, Resources(client)

    @property
    def _client(self) -> Client:
        return self._connected()[0]

    @property
    def _resources(self) -> Resources:
        return self._connected()[1]

    def _connected(self) -> tuple[Client, Resources]:
        if self._connection is None:
            raise RuntimeError("the API server has not been started")
        return self._connection

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object, or None."""
        resource = await self._resource(kind)
        return await self._if_there(resource, self._client.ask("GET", resource.path(namespace, name)))

    async def list(self, kind: str, namespace: str = "") -> list[Obj]:
        """All objects of KIND, of one NAMESPACE or of all."""
        resource = await self._resource(kind)
        return [resource.headed(obj) for obj in (await self._client.ask("GET", resource.path(namespace)))["items"]]

    async def create(self, obj: Obj) -> Obj:
        """Create OBJ with `metadata.name` or `generateName`, with its status if it has one."""
        resource, namespace = await self._of(obj)
        made = resource.headed(await self._client.ask("POST", resource.path(namespace), obj))
        if obj.get("status") and resource.status:
            return await self.patch_status(made, obj["status"]) or made
        return made

    async def apply(self, obj: Obj) -> Obj:
        """Create OBJ, or replace what it has (metadata labels and annotations, and everything but status).

        Labels, annotations, finalizers and ownerReferences that OBJ does not mention at all stay as they are.
        """
        try:
            return await self.create({key: value for key, value in obj.items() if key != "status"})
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise
        updated = await self.update(obj)
        return await self.apply(obj) if updated is None else updated

    async def update(self, obj: Obj) -> Obj | None:
        """Replace what OBJ has, as `apply` does; None when it, or the very one with its `metadata.uid`, is gone."""
        resource, namespace = await self._of(obj)
        path = resource.path(namespace, obj["metadata"]["name"])

        async def attempt() -> Obj | None:
            old = await self._if_there(resource, self._client.ask("GET", path))
            if old is None or obj["metadata"].get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
                return None
            new = {**obj, "metadata": _merged(old["metadata"], obj["metadata"])}
            new.setdefault("status", old.get("status"))
            return await self._if_there(resource, self._client.ask("PUT", path, new))

        return await _unless_outrun(attempt)

    async def patch_status(self, obj: Obj, status: Obj) -> Obj | None:
        """Merge STATUS into the status of OBJ (RFC 7396); None when that very object is gone."""
        resource, namespace = await self._of(obj)
        path = resource.path(namespace, obj["metadata"]["name"])
        subresource = f"{path}/status" if resource.status else path
        if not (uid := obj["metadata"].get("uid")):
            return await self._if_there(resource, self._merge(subresource, {"status": status}))

        async def attempt() -> Obj | None:
            # a status is merged into whatever has the name: its uid must be looked at first
            old = await self._if_there(resource, self._client.ask("GET", path))
            if old is None or old["metadata"]["uid"] != uid:
                return None
            patch = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "status": status}
            return await self._if_there(resource, self._merge(subresource, patch))

        return await _unless_outrun(attempt)

    async def annotate(self, obj: Obj, annotations: dict[str, str]) -> Obj | None:
        """Add ANNOTATIONS to OBJ, changing nothing else; None when that very object is gone."""
        resource, namespace = await self._of(obj)
        metadata: Obj = {"annotations": annotations}
        if uid := obj["metadata"].get("uid"):
            metadata["uid"] = uid
        path = resource.path(namespace, obj["metadata"]["name"])
        try:
            return await self._if_there(resource, self._merge(path, {"metadata": metadata}))
        except Unprocessable as error:
            if "metadata.uid: " in str(error):
                return None
            raise

    async def bind(self, pod: Obj, node: str) -> Obj | None:
        """Put POD on NODE, as a scheduler does; see `Kube.bind`."""
        resource, namespace = await self._of(pod)
        name, uid = pod["metadata"]["name"], pod["metadata"].get("uid", "")
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        refusal: Conflict | None = None
        try:
            await self._client.ask("POST", resource.path(namespace, name, "binding"), binding)
        except Conflict as error:
            refusal = error
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        found = await self.get("Pod", namespace, name)
        if found is None or (uid and found["metadata"]["uid"] != uid):
            return None
        if refusal and found["spec"].get("nodeName") != node:
            raise refusal
        return found

    async def delete(self, kind: str, namespace: str, name: str, *, grace: int | None = None, uid: str = "") -> None:
        """Delete it; see `Kube.delete`."""
        resource = await self._resource(kind)
        options: Obj = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._client.ask("DELETE", resource.path(namespace, name), options)
        except Conflict:
            if not uid:
                raise
        except ApiError as error:
            if error.status != 404:
                raise

    async def _merge(self, path: str, patch: Obj) -> Any:
        return await self._client.ask("PATCH", path, patch, content_type=MERGE_PATCH)

    @staticmethod
    async def _if_there(resource: Resource, asked: Awaitable[Any]) -> Obj | None:
        try:
            return resource.headed(await asked)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _resource(self, kind: str, api_version: str = "") -> Resource:
        return await self._resources.of(kind, api_version)

    async def _of(self, obj: Obj) -> tuple[Resource, str]:
        metadata = obj.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(obj.get("kind"), str) or not obj.get("apiVersion"):
            raise InvalidInput("an object needs apiVersion, kind and metadata: give it all three")
        resource = await self._resource(obj["kind"], str(obj["apiVersion"]))
        return resource, str(metadata.get("namespace") or "default") if resource.namespaced else ""


async def _unless_outrun(attempt: Callable[[], Awaitable[Obj | None]]) -> Obj | None:
    """What ATTEMPT returns, which is made again from the fresh object when another writer was first.

    Raises Conflict when others always are.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(Conflict):
            return await attempt()
    return await attempt()


def _merged(old: Obj, new: Obj) -> Obj:
    fields = ("labels", "annotations", "finalizers", "ownerReferences")
    return {**old, **{field: new[field] for field in fields if field in new}}

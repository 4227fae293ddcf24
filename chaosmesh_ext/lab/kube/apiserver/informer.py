"""What is there of one kind, kept up to date by a watch, and told to all who want to hear of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from chaosmesh_ext.errors import ApiError, ChaosMeshError
from chaosmesh_ext.lab.kube.api import Obj, Watcher
from chaosmesh_ext.lab.kube.apiserver.client import Client
from chaosmesh_ext.lab.kube.apiserver.resources import Resource

__all__ = ["Informer"]

_log = logging.getLogger(__name__)

_AGAIN_S = (0.05, 0.2, 1.0)
"""Seconds before each further attempt to reach a server that fails."""


class Informer:
    """Lists, then watches; reconnects where the watch ended, and lists again when the server has forgotten that place
    (410). Watchers hear of each object's changes in their order; what happened to it between two lists is one change.
    """

    def __init__(self, client: Client, resource: Callable[[], Awaitable[Resource]]) -> None:
        self._client = client
        self._find = resource
        self._objects: dict[tuple[str, str], Obj] = {}
        self._watchers: list[Watcher] = []

    def subscribe(self, watcher: Watcher) -> None:
        """Tell WATCHER of what is known already, then of every change."""
        for obj in list(self._objects.values()):
            _tell(watcher, "ADDED", obj)
        self._watchers.append(watcher)

    async def run(self) -> None:
        """Go on until cancelled."""
        failures = 0
        while True:
            try:
                resource = await self._find()
                version = await self._list(resource)
                failures = 0
                while True:
                    version = await self._watch(resource, version)
            except ApiError as error:
                failures = self._failed(failures, error) if error.status != 410 else 0
            except ChaosMeshError as error:
                failures = self._failed(failures, error)
            if failures:
                await asyncio.sleep(_AGAIN_S[min(failures, len(_AGAIN_S)) - 1])

    @staticmethod
    def _failed(failures: int, error: Exception) -> int:
        if not failures:
            _log.warning("a watch failed, and is tried again: %s", error)
        return failures + 1

    async def _list(self, resource: Resource) -> str:
        """Take over what is there; returns the version of the list."""
        answer = await self._client.ask("GET", resource.path())
        present = {_key(obj): resource.headed(obj) for obj in answer["items"]}
        for key, old in list(self._objects.items()):
            if key not in present or present[key]["metadata"]["uid"] != old["metadata"]["uid"]:
                self._take("DELETED", old)
        for obj in present.values():
            self._take("MODIFIED", obj)
        return str(answer["metadata"]["resourceVersion"])

    async def _watch(self, resource: Resource, version: str) -> str:
        """Take over every change since VERSION; returns the version that the watch ended at."""
        query = {"resourceVersion": version, "allowWatchBookmarks": "true"}
        async for event in self._client.events(resource.path(), query):
            obj = event["object"]
            if event["type"] == "ERROR":
                raise ApiError(str(obj.get("message", "")), status=obj.get("code", 0), reason=obj.get("reason", ""))
            version = str(obj["metadata"]["resourceVersion"])
            if event["type"] != "BOOKMARK":
                self._take(event["type"], resource.headed(obj))
        return version

    def _take(self, word: str, obj: Obj) -> None:
        """Remember OBJ and tell of it, unless it is known in this very version."""
        key = _key(obj)
        old = self._objects.get(key)
        if word == "DELETED":
            if self._objects.pop(key, None) is None:
                return
        else:
            if old is not None and old["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]:
                return
            word = "ADDED" if old is None else "MODIFIED"
            self._objects[key] = obj
        for watcher in list(self._watchers):
            _tell(watcher, word, obj)


def _key(obj: Obj) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _tell(watcher: Watcher, word: str, obj: Obj) -> None:
    try:
        watcher(word, obj)
    except Exception:
        # one who cannot bear to hear of it must not keep it from the others
        _log.exception("a subscriber failed on %s of %s", word, obj["kind"])

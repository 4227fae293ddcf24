"""A cluster as it was at one moment, for a plan of many faults: each question is asked once.

What is put into it is there for whoever looks at it, and nowhere else: so each fault of a plan is laid over what those
before it will have left.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaosmesh_ext.errors import ApiError, NotFound
from chaosmesh_ext.mesh.change import Change, Create
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.connection import Obj
from chaosmesh_ext.mesh.pointer import apply

__all__ = ["Snapshot"]


class Snapshot(Client):
    """What a CLIENT sees. It is for reading: nothing is written through it."""

    def __init__(self, client: Client) -> None:
        super().__init__(client.access)
        self._client = client
        self._told: dict[tuple[str, tuple[tuple[str, str], ...]], Obj | ApiError | NotFound] = {}
        self._put: dict[tuple[str, str, str], Obj] = {}

    def put(self, change: Change) -> None:
        """Let CHANGE have been made."""
        before = {} if isinstance(change, Create) else self.get(*change.target)
        self._put[change.target] = change.obj if isinstance(change, Create) else apply(before, change.compute(before))

    def get(self, kind: str, namespace: str, name: str) -> Obj:
        """As `Client.get`."""
        return self._put.get((kind, namespace, name)) or super().get(kind, namespace, name)

    def list(self, kind: str, namespace: str = "", *, labels: str = "") -> list[Obj]:
        """As `Client.list`; what was put into it is in no answer about LABELS."""
        found = super().list(kind, namespace, labels=labels)
        if labels:
            return found
        ours = {key: obj for key, obj in self._put.items() if key[0] == kind and namespace in ("", key[1])}
        theirs = [ours.pop((kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]), obj) for obj in found]
        return [*theirs, *ours.values()]

    def server_time(self) -> float:
        """As `Client.server_time`: now, not at that moment."""
        return self._client.server_time()

    def _call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Obj | None = None,
        content: str = "application/json",
    ) -> Obj:
        """What was answered the first time, refusals too."""
        if method != "GET":
            return self._client._call(method, path, what, query=query, body=body, content=content)
        key = path, tuple(query)
        if key not in self._told:
            try:
                self._told[key] = self._client._call(method, path, what, query=query)
            except (ApiError, NotFound) as error:
                self._told[key] = error
        answer = self._told[key]
        if isinstance(answer, Exception):
            raise answer
        return answer

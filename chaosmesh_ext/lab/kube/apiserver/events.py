"""Events: what happened to an object, for `kubectl describe`; the same again is counted, not repeated."""

from __future__ import annotations

import datetime
import secrets

from chaosmesh_ext.errors import ApiError
from chaosmesh_ext.lab.kube.api import CONTEXT, Obj
from chaosmesh_ext.lab.kube.apiserver.client import MERGE_PATCH, Client

__all__ = ["Events"]

_MESSAGE_LIMIT = 1024
"""Characters of an Event's message (Kubernetes' events.k8s.io validation)."""
_REMEMBERED = 1000
"""Events that are counted on; older ones are written anew."""


class Events:
    """Writes Events through CLIENT."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._written: dict[tuple[str, ...], tuple[str, int]] = {}

    async def record(self, about: Obj, reason: str, message: str, kind: str) -> None:
        """Write an Event about an object, or count it once more when the last one said the same."""
        metadata = about["metadata"]
        namespace = metadata.get("namespace") or "default"
        message = message[:_MESSAGE_LIMIT]
        key = (about["kind"], namespace, metadata["name"], metadata.get("uid", ""), reason, message, kind)
        path = f"/api/v1/namespaces/{namespace}/events"
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name, count = self._written.pop(key, ("", 0))
        if name:
            self._written[key] = name, count + 1
            again = {"count": count + 1, "lastTimestamp": now}
            try:
                await self._client.ask("PATCH", f"{path}/{name}", again, content_type=MERGE_PATCH)
            except ApiError as error:
                if error.status != 404:
                    raise
            else:
                return
        name = f"{metadata['name'][:230]}.{secrets.token_hex(8)}"
        self._written[key] = name, 1
        while len(self._written) > _REMEMBERED:
            del self._written[next(iter(self._written))]
        involved = {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata.get("namespace", ""),
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {field: value for field, value in involved.items() if value},
            "reason": reason,
            "message": message,
            "type": kind,
            "source": {"component": CONTEXT},
            "reportingComponent": CONTEXT,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
        }
        await self._client.ask("POST", path, event)

"""Events: what happened to an object, for `kubectl describe`; the same again is counted, not repeated."""

from __future__ import annotations

import secrets

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.clock import now
from chaosmesh_ext.lab.kube.embedded.kinds import named
from chaosmesh_ext.lab.kube.embedded.objects import Objects

__all__ = ["record"]

_COMPONENT = "chaosmesh-lab"
_EVENT = named("Event")
_MESSAGE_LIMIT = 1024
"""Characters of an Event's message (Kubernetes' events.k8s.io validation)."""


def record(objects: Objects, about: Obj, reason: str, message: str, type_: str) -> Obj:
    """Write an Event about an object, or count it once more when the last one said the same."""
    metadata = about["metadata"]
    namespace = metadata.get("namespace") or "default"
    involved = {
        "kind": about["kind"],
        "apiVersion": about["apiVersion"],
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
    }
    if metadata.get("namespace"):
        involved["namespace"] = namespace
    message = message[:_MESSAGE_LIMIT]
    for known in objects.store.list(_EVENT, namespace):
        same_object = {key: known["involvedObject"].get(key, "") for key in involved} == involved
        if same_object and (known["reason"], known["message"], known["type"]) == (reason, message, type_):
            again = {**known, "count": known.get("count", 1) + 1, "lastTimestamp": now()}
            return objects.replace(_EVENT, known, again)
    body = {
        "metadata": {"name": f"{metadata['name'][:230]}.{secrets.token_hex(8)}"},
        "involvedObject": {**involved, "resourceVersion": metadata.get("resourceVersion", "")},
        "reason": reason,
        "message": message,
        "type": type_,
        "source": {"component": _COMPONENT},
        "reportingComponent": _COMPONENT,
        "count": 1,
        "firstTimestamp": now(),
        "lastTimestamp": now(),
    }
    return objects.create(_EVENT, namespace, body)

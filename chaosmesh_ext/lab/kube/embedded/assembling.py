"""An object put together for the store: what of it is the server's alone, and what an update may touch."""

from __future__ import annotations

import uuid
from typing import Any

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.clock import now
from chaosmesh_ext.lab.kube.embedded.jsons import copied
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.refusals import bad_request

__all__ = [
    "assembled",
    "counted",
    "first_metadata",
    "next_metadata",
    "settle_namespace",
    "with_new_status",
    "with_status",
]

_OWNED_BY_SERVER = ("resourceVersion", "creationTimestamp", "managedFields", "selfLink")
_UNCHANGEABLE = ("uid", "deletionTimestamp", "deletionGracePeriodSeconds")
_FIXED_IN_STATUS = {"Deployment": "labels", "Pod": "ownerReferences"}
_LEFT_OUT_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences")


def settle_namespace(kind: Kind, namespace: str, metadata: Obj) -> None:
    """Say in METADATA that the object is in NAMESPACE, the request's; raises Refused (400) when they say another."""
    if (metadata.get("namespace") or namespace) != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if kind.namespaced:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)


def assembled(kind: Kind, metadata: Obj, body: Obj) -> Obj:
    """A copy of BODY in the order that people expect, in the version that is stored."""
    rest = {key: copied(value) for key, value in body.items() if key not in ("apiVersion", "kind", "metadata")}
    kept = {key: value for key, value in metadata.items() if value or key not in _LEFT_OUT_EMPTY}
    for field in ("labels", "annotations"):
        if field in kept:
            kept[field] = {key: value or "" for key, value in kept[field].items()}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": copied(kept), **rest}


def first_metadata(kind: Kind, said: Obj) -> Obj:
    """The metadata of a new object whose creator SAID some.

    A generation is the server's where it counts; a real one takes any for kinds that have none.
    """
    kept = {key: value for key, value in said.items() if key not in (*_OWNED_BY_SERVER, *_UNCHANGEABLE)}
    made = {"uid": str(uuid.uuid4()), "creationTimestamp": now(), **({"generation": 1} if kind.counted else {})}
    return {key: value for key, value in kept.items() if value is not None} | made


def next_metadata(old: Obj, new: Obj) -> Obj:
    """NEW's metadata, with what is the server's alone taken from OLD; what may not change is for validation to see."""
    before, after = old["metadata"], new["metadata"]
    owned = (*_OWNED_BY_SERVER, "generation")
    kept = {key: value for key, value in after.items() if key not in owned and value is not None}
    unchangeable = {key: before[key] for key in _UNCHANGEABLE if key in before}
    return {**unchangeable, **kept, **{key: before[key] for key in owned if key in before}}


def with_status(obj: Obj, status: Any) -> Obj:
    """OBJ with STATUS in the place of its own."""
    rest = {key: value for key, value in obj.items() if key != "status"}
    return rest if status is None else {**rest, "status": status}


def with_new_status(kind: Kind, old: Obj, new: Obj) -> Obj:
    """OLD with what a write to its status may change: of custom kinds that alone, of others their metadata too."""
    status = copied(new.get("status"))
    if kind.custom:
        return with_status(old, status)
    metadata = next_metadata(old, new)
    fixed = _FIXED_IN_STATUS.get(kind.name)
    if fixed:
        metadata[fixed] = old["metadata"].get(fixed)
    return with_status(assembled(kind, metadata, old), status)


def counted(kind: Kind, obj: Obj) -> Obj:
    """What `generation` counts the changes of."""
    if kind.custom:
        return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    if kind.name == "EndpointSlice":
        return {**obj, "metadata": obj["metadata"].get("labels")}
    return {"spec": obj.get("spec")}

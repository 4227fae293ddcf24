"""What must hold of an object's metadata before it is stored."""

from __future__ import annotations

from collections.abc import Sequence

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.names import NAMES, label_key, label_value
from chaosmesh_ext.lab.kube.embedded.refusals import Cause

__all__ = ["ANNOTATIONS_LIMIT", "new", "update"]

ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes of all keys and values of an object's annotations (Kubernetes' TotalAnnotationSizeLimitB)."""
_IMMUTABLE = "field is immutable"
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def new(kind: Kind, metadata: Obj) -> list[Cause]:
    """What is wrong with a new object's METADATA."""
    name = metadata.get("name", "")
    if not name:
        causes = [Cause.required("metadata.name", "name or generateName is required")]
    else:
        causes = [Cause.invalid("metadata.name", name, why) for why in NAMES[kind.names](name)]
    causes += _contents(metadata)
    finalizers = metadata.get("finalizers") or []
    causes += [Cause.invalid("metadata.finalizers", one, why) for one in finalizers for why in label_key(one)]
    return causes + _kubernetes_finalizers(kind, finalizers)


def update(kind: Kind, old: Obj, metadata: Obj) -> list[Cause]:
    """What is wrong with METADATA that are to take the place of OLD; said twice, as a real server's two checks do."""
    causes: list[Cause] = []
    finalizers = metadata.get("finalizers") or []
    if "deletionTimestamp" in old:
        extra = sorted(set(finalizers) - set(old.get("finalizers") or []))
        if extra:
            found = ", ".join(f'"{one}"' for one in extra)
            why = "no new finalizers can be added if the object is being deleted, found new finalizers []string"
            causes.append(Cause.forbidden("metadata.finalizers", f"{why}{{{found}}}"))
    causes += [
        Cause.invalid(f"metadata.{field}", metadata[field], _IMMUTABLE)
        for field in ("uid", "deletionTimestamp", "deletionGracePeriodSeconds")
        if metadata.get(field) is not None and metadata[field] != old.get(field)
    ]
    causes += _contents(metadata)
    return causes + causes + _kubernetes_finalizers(kind, finalizers)


def _kubernetes_finalizers(kind: Kind, finalizers: Sequence[str]) -> list[Cause]:
    if kind.custom:
        return []
    why = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        Cause.invalid(f"metadata.finalizers[{index}]", one, why)
        for index, one in enumerate(finalizers)
        if "/" not in one and one not in _STANDARD_FINALIZERS
    ]


def _contents(metadata: Obj) -> list[Cause]:
    causes: list[Cause] = []
    for key, value in (metadata.get("labels") or {}).items():
        causes += [Cause.invalid("metadata.labels", key, why) for why in label_key(key)]
        causes += [Cause.invalid("metadata.labels", value, why) for why in label_value(value, "bytes")]
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        causes += [Cause.invalid("metadata.annotations", key, why) for why in label_key(key.lower())]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        causes.append(Cause.too_long("metadata.annotations", ANNOTATIONS_LIMIT))
    for owner in metadata.get("ownerReferences") or []:
        causes += _owner(owner if isinstance(owner, dict) else {})
    return causes


def _owner(owner: Obj) -> list[Cause]:
    wanted = {"apiVersion": "version must not be empty", **dict.fromkeys(("kind", "name", "uid"), "must not be empty")}
    return [
        Cause.invalid(f"metadata.ownerReferences.{field}", owner.get(field) or "", why)
        for field, why in wanted.items()
        if not owner.get(field)
    ]

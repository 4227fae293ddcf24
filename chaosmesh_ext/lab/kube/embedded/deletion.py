"""An object's end: finalizers, what it owns, and the end of a whole Namespace."""

from __future__ import annotations

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.clock import now
from chaosmesh_ext.lab.kube.embedded.jsons import same
from chaosmesh_ext.lab.kube.embedded.kinds import Kind, named
from chaosmesh_ext.lab.kube.embedded.refusals import conflict, forbidden
from chaosmesh_ext.lab.kube.embedded.store import Store

__all__ = ["DeleteOptions", "Deleted", "delete", "remove"]

_IMMORTAL = ("default", "kube-system", "kube-public")
_NAMESPACE = named("Namespace")


class DeleteOptions(msgspec.Struct, frozen=True):
    """What a DELETE asks for: preconditions ("" is none), whether dependents stay (`orphan`), and only to try it.

    grace: seconds that a Pod on a node gets to end, None for what its spec says; 0 takes it away at once.
    """

    uid: str = ""
    resource_version: str = ""
    grace: int | None = None
    orphan: bool = False
    dry_run: bool = False


class Deleted(msgspec.Struct, frozen=True):
    """The object as it was last; `gone` is False while finalizers or a Pod's node hold it."""

    obj: Obj
    gone: bool


def delete(store: Store, kind: Kind, obj: Obj, options: DeleteOptions) -> Deleted:
    """Delete OBJ and, unless told otherwise, what it owns; a Namespace with all that is in it.

    Raises Refused: 403 for a namespace that stays, 409 when a precondition does not hold.
    """
    name = obj["metadata"]["name"]
    if kind is _NAMESPACE and name in _IMMORTAL:
        raise forbidden(kind, name, "this namespace may not be deleted")
    _check(kind, obj, options)
    marked = _marked(kind, obj, options.grace)
    held = bool(obj["metadata"].get("finalizers")) or marked["metadata"]["deletionGracePeriodSeconds"] > 0
    if options.dry_run:
        return Deleted(marked, gone=not held)
    if kind is _NAMESPACE:
        return _delete_namespace(store, marked)
    if (held or kind.name == "Pod") and not same(marked, obj):
        obj = store.put(kind, marked)
    if held:
        return Deleted(obj, gone=False)
    return Deleted(remove(store, kind, obj, orphan=options.orphan), gone=True)


def remove(store: Store, kind: Kind, obj: Obj, *, orphan: bool = False) -> Obj:
    """Take OBJ out of the store, and what it owns with it (orphan: that only forgets its owner)."""
    namespace = obj["metadata"].get("namespace", "")
    last = store.remove(kind, namespace, obj["metadata"]["name"])
    _collect(store, obj["metadata"]["uid"], orphan=orphan)
    parent = store.get(_NAMESPACE, "", namespace)
    if parent and "deletionTimestamp" in parent["metadata"]:
        _end_namespace(store, namespace)
    return last


def _marked(kind: Kind, obj: Obj, grace: int | None) -> Obj:
    """OBJ as it is between the request to delete it and its end; a Pod's GRACE can only become shorter."""
    metadata = obj["metadata"]
    seconds = _grace(obj, grace) if kind.name == "Pod" else 0
    if "deletionTimestamp" not in metadata:
        marks = {"deletionTimestamp": now(seconds), "deletionGracePeriodSeconds": seconds}
        if metadata.get("generation"):
            marks["generation"] = metadata["generation"] + 1
    elif seconds < metadata.get("deletionGracePeriodSeconds", 0):
        ends = min(metadata["deletionTimestamp"], now(seconds))
        marks = {"deletionTimestamp": ends, "deletionGracePeriodSeconds": seconds}
    else:
        return obj
    return {**obj, "metadata": {**metadata, **marks}}


def _grace(pod: Obj, asked: int | None) -> int:
    """The seconds that POD gets to end: none where no kubelet would end it."""
    over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if over or not pod["spec"].get("nodeName"):
        return 0
    seconds: int = pod["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked
    return 1 if seconds < 0 else seconds


def _collect(store: Store, uid: str, *, orphan: bool) -> None:
    """Kubernetes' garbage collector: what only the gone object owned goes too, or forgets it."""
    for kind, obj in store.all():
        owners = obj["metadata"].get("ownerReferences") or []
        left = [owner for owner in owners if owner.get("uid") != uid]
        if len(left) == len(owners) or not _present(store, kind, obj):
            continue
        if orphan or left:
            metadata = {**obj["metadata"], "ownerReferences": left}
            if not left:
                del metadata["ownerReferences"]
            store.put(kind, {**obj, "metadata": metadata})
        else:
            delete(store, kind, obj, DeleteOptions())


def _delete_namespace(store: Store, marked: Obj) -> Deleted:
    name = marked["metadata"]["name"]
    terminating = {**marked, "status": {**(marked.get("status") or {}), "phase": "Terminating"}}
    if not same(terminating, store.get(_NAMESPACE, "", name)):
        store.put(_NAMESPACE, {**terminating, "metadata": dict(terminating["metadata"])})
    for kind, obj in store.all():
        if kind.namespaced and obj["metadata"]["namespace"] == name and _present(store, kind, obj):
            delete(store, kind, obj, DeleteOptions())
    _end_namespace(store, name)
    left = store.get(_NAMESPACE, "", name)
    return Deleted(left or terminating, gone=left is None)


def _end_namespace(store: Store, name: str) -> None:
    """Remove a terminating Namespace once nothing is left in it."""
    if store.get(_NAMESPACE, "", name) is None:
        return
    if not any(kind.namespaced and obj["metadata"]["namespace"] == name for kind, obj in store.all()):
        store.remove(_NAMESPACE, "", name)


def _present(store: Store, kind: Kind, obj: Obj) -> bool:
    """Whether OBJ is still what the store has under its name."""
    return store.get(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) is obj


def _check(kind: Kind, obj: Obj, options: DeleteOptions) -> None:
    metadata = obj["metadata"]
    if options.uid and options.uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise conflict(kind, metadata["name"], why, by_kind=True)
    if options.resource_version and options.resource_version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion "
            f"in record ({metadata['resourceVersion']}). The object might have been modified"
        )
        raise conflict(kind, metadata["name"], why, by_kind=True)

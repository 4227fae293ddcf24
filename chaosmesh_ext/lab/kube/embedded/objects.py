"""An object's life: create, replace, patch, delete, with what Kubernetes keeps of it and refuses."""

from __future__ import annotations

import datetime
import secrets
import uuid
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded import validation
from chaosmesh_ext.lab.kube.embedded.defaults import fill, first_status
from chaosmesh_ext.lab.kube.embedded.jsons import copied, same
from chaosmesh_ext.lab.kube.embedded.kinds import Kind, by_kind
from chaosmesh_ext.lab.kube.embedded.refusals import (
    Refused,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    not_found,
    not_specified_on_update,
)
from chaosmesh_ext.lab.kube.embedded.store import Store

__all__ = ["DeleteOptions", "Deleted", "Objects", "now"]

_OWNED_BY_SERVER = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "selfLink",
)
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""What generated names end in: Kubernetes leaves out what could spell a word or be misread."""
_IMMORTAL = ("default", "kube-system", "kube-public")


def now() -> str:
    """The time as Kubernetes writes it, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class DeleteOptions(msgspec.Struct, frozen=True):
    """What a DELETE asks for: preconditions ("" is none), whether dependents stay (`orphan`), and only to try it."""

    uid: str = ""
    resource_version: str = ""
    orphan: bool = False
    dry_run: bool = False


class Deleted(msgspec.Struct, frozen=True):
    """The object as it was last; `gone` is False while finalizers hold it."""

    obj: Obj
    gone: bool


class Objects:
    """Kubernetes' rules for writing, over a store. Methods raise Refused; what they return must not be changed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._namespaces = _kind("Namespace")

    def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """The object (404 without)."""
        obj = self.store.get(kind, namespace, name)
        if obj is None:
            raise not_found(kind, name)
        return obj

    def create(self, kind: Kind, namespace: str, body: Obj, *, dry_run: bool = False, status: Obj | None = None) -> Obj:
        """Create BODY in NAMESPACE. status: the lab's own parts may give the first one."""
        metadata = dict(_checked_metadata(kind, body))
        _settle_namespace(kind, namespace, metadata)
        if metadata.pop("resourceVersion", ""):
            raise Refused(500, "", "resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(secrets.choice(_SUFFIX) for _ in range(5))
        kept = {key: value for key, value in metadata.items() if key not in _OWNED_BY_SERVER and value is not None}
        kept |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        if kind.counted:
            kept["generation"] = 1
        obj = _assembled(kind, kept, body)
        if kind.status:
            obj.pop("status", None)
            first = status if status is not None else first_status(kind)
            if first is not None:
                obj["status"] = copied(first)
        self._admit(kind, namespace, kept.get("name", ""))
        fill(kind, obj, None, self._cluster_ips)
        validation.check_new(kind, obj)
        if self.store.get(kind, namespace, kept["name"]) is not None:
            raise already_exists(kind, kept["name"])
        if dry_run:
            return obj
        self.store.put(kind, obj)
        if kind is self._namespaces:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            self.create(_kind("ServiceAccount"), kept["name"], account)
        return obj

    def update(
        self, kind: Kind, namespace: str, name: str, body: Obj, *, subresource: str = "", dry_run: bool = False
    ) -> tuple[Obj, bool]:
        """Replace the object, or its status, by BODY; the second value is whether it was created."""
        metadata = dict(_checked_metadata(kind, body))
        _settle_namespace(kind, namespace, metadata)
        if metadata.get("name", "") != name:
            raise bad_request(
                f"the name of the object ({metadata.get('name', '')}) does not match the name on the URL ({name})"
            )
        old = self.store.get(kind, namespace, name)
        if old is None:
            if not kind.upsert or subresource:
                raise not_found(kind, name)
            _check_uid(kind, metadata, "", namespace)
            fresh = {key: value for key, value in metadata.items() if key not in ("resourceVersion", "uid")}
            return self.create(kind, namespace, {**body, "metadata": fresh}, dry_run=dry_run), True
        _check_uid(kind, metadata, old["metadata"]["uid"], namespace)
        version = metadata.get("resourceVersion") or ""
        if version in ("", "0"):
            if not kind.unconditional:
                raise not_specified_on_update(kind, name)
        elif version != old["metadata"]["resourceVersion"]:
            raise conflict(kind, name)
        return self.replace(kind, old, {**body, "metadata": metadata}, subresource=subresource, dry_run=dry_run), False

    def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        apply: Callable[[Obj], Any],
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Obj:
        """Replace the object, or its status, by what APPLY makes of it; APPLY must not change what it is given."""
        patched = apply(self.get(kind, namespace, name))
        if not isinstance(patched, dict):
            raise bad_request(f"the patch makes {name!r} something other than an object")
        return self.update(kind, namespace, name, patched, subresource=subresource, dry_run=dry_run)[0]

    def replace(
        self, kind: Kind, old: Obj, new: Obj, *, subresource: str = "", dry_run: bool = False, strict: bool = True
    ) -> Obj:
        """Put NEW in the place of OLD; an equal one is no write. strict: fields that may not change are refused."""
        if subresource == "status":
            obj = _with_status(old, copied(new.get("status")))
        else:
            obj = _assembled(kind, _next_metadata(old, new), new)
            if kind.status:
                obj.pop("status", None)
                obj = _with_status(obj, old.get("status"))
            fill(kind, obj, old, self._cluster_ips)
            if strict:
                validation.check_update(kind, old, obj)
        if same(obj, old):
            return old
        metadata = obj["metadata"] = dict(obj["metadata"])
        if kind.counted and not same(_wanted(kind, obj), _wanted(kind, old)):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        if dry_run:
            return obj
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            return self._remove(kind, old, orphan=False)
        return self.store.put(kind, obj)

    def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions | None = None) -> Deleted:
        """Delete the object and, unless told otherwise, what it owns; a Namespace with all that is in it."""
        options = options or DeleteOptions()
        obj = self.get(kind, namespace, name)
        if kind is self._namespaces and name in _IMMORTAL:
            raise forbidden(kind, name, "this namespace may not be deleted")
        _check_preconditions(kind, obj, options)
        marked = self._marked(kind, obj)
        if options.dry_run:
            return Deleted(marked, gone=not marked["metadata"].get("finalizers"))
        if kind is self._namespaces:
            return self._delete_namespace(marked)
        if obj["metadata"].get("finalizers"):
            return Deleted(obj if same(marked, obj) else self.store.put(kind, marked), gone=False)
        return Deleted(_last(kind, self._remove(kind, obj, orphan=options.orphan), marked), gone=True)

    def _marked(self, kind: Kind, obj: Obj) -> Obj:
        """OBJ as it is between the request to delete it and its end."""
        if "deletionTimestamp" in obj["metadata"]:
            return obj
        grace = obj["spec"].get("terminationGracePeriodSeconds", 30) if kind.name == "Pod" else 0
        metadata = {**obj["metadata"], "deletionTimestamp": now(), "deletionGracePeriodSeconds": grace}
        return {**obj, "metadata": metadata}

    def _remove(self, kind: Kind, obj: Obj, *, orphan: bool) -> Obj:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        last = self.store.remove(kind, namespace, metadata["name"])
        self._collect(metadata["uid"], orphan=orphan)
        parent = self.store.get(self._namespaces, "", namespace)
        if parent and "deletionTimestamp" in parent["metadata"]:
            self._end_namespace(namespace)
        return last

    def _collect(self, uid: str, *, orphan: bool) -> None:
        """Kubernetes' garbage collector: what only the gone object owned goes too, or forgets it."""
        for kind, obj in self.store.all():
            owners = obj["metadata"].get("ownerReferences") or []
            left = [owner for owner in owners if owner.get("uid") != uid]
            if len(left) == len(owners) or self.store.get(kind, *_key(obj)) is not obj:
                continue
            if orphan or left:
                metadata = {**obj["metadata"], "ownerReferences": left}
                if not left:
                    del metadata["ownerReferences"]
                self.store.put(kind, {**obj, "metadata": metadata})
            else:
                self.delete(kind, *_key(obj))

    def _delete_namespace(self, marked: Obj) -> Deleted:
        name = marked["metadata"]["name"]
        terminating = _with_status(marked, {**marked.get("status", {}), "phase": "Terminating"})
        if not same(terminating, self.store.get(self._namespaces, "", name)):
            self.store.put(self._namespaces, {**terminating, "metadata": dict(terminating["metadata"])})
        for kind, obj in self.store.all():
            if kind.namespaced and obj["metadata"]["namespace"] == name and self.store.get(kind, *_key(obj)) is obj:
                self.delete(kind, *_key(obj))
        self._end_namespace(name)
        left = self.store.get(self._namespaces, "", name)
        return Deleted(left or terminating, gone=left is None)

    def _end_namespace(self, name: str) -> None:
        """Remove a terminating Namespace once nothing is left in it."""
        if self.store.get(self._namespaces, "", name) is None:
            return
        if any(kind.namespaced and obj["metadata"]["namespace"] == name for kind, obj in self.store.all()):
            return
        self.store.remove(self._namespaces, "", name)

    def _admit(self, kind: Kind, namespace: str, name: str) -> None:
        """The Namespace must be there, and stay."""
        if not kind.namespaced:
            return
        parent = self.store.get(self._namespaces, "", namespace)
        if parent is None:
            raise not_found(self._namespaces, namespace)
        if "deletionTimestamp" in parent["metadata"]:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(kind, name, why)

    def _cluster_ips(self) -> Collection[str]:
        return {obj["spec"].get("clusterIP", "") for obj in self.store.list(_kind("Service"))}


def _kind(name: str) -> Kind:
    kind = by_kind(name)
    if kind is None:  # pragma: no cover - the table holds what is named here
        raise LookupError(name)
    return kind


def _key(obj: Obj) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _checked_metadata(kind: Kind, body: Obj) -> Obj:
    validation.decoded_metadata(kind, body)
    metadata: Obj = body["metadata"]
    return metadata


def _settle_namespace(kind: Kind, namespace: str, metadata: Obj) -> None:
    if (metadata.get("namespace") or namespace) != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if kind.namespaced:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)


def _assembled(kind: Kind, metadata: Obj, body: Obj) -> Obj:
    """A copy of BODY in the order that people expect, in the version that is stored."""
    rest = {key: copied(value) for key, value in body.items() if key not in ("apiVersion", "kind", "metadata")}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": copied(metadata), **rest}


def _next_metadata(old: Obj, new: Obj) -> Obj:
    """NEW's metadata, with what is the server's alone taken from OLD."""
    before, after = old["metadata"], new["metadata"]
    kept = {key: value for key, value in after.items() if key not in _OWNED_BY_SERVER and value is not None}
    return {**kept, **{key: before[key] for key in ("resourceVersion", *_OWNED_BY_SERVER) if key in before}}


def _with_status(obj: Obj, status: Any) -> Obj:
    rest = {key: value for key, value in obj.items() if key != "status"}
    return rest if status is None else {**rest, "status": status}


def _wanted(kind: Kind, obj: Obj) -> Obj:
    """What `generation` counts the changes of."""
    if kind.custom:
        return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    return {"spec": obj.get("spec")}


def _last(kind: Kind, removed: Obj, marked: Obj) -> Obj:
    """What a DELETE answers: of a Pod, that it is on its way out."""
    if kind.name != "Pod":
        return removed
    version = removed["metadata"]["resourceVersion"]
    return {**removed, "metadata": {**marked["metadata"], "resourceVersion": version}}


def _check_uid(kind: Kind, metadata: Obj, found: str, namespace: str) -> None:
    asked = metadata.get("uid") or found
    if asked != found:
        key = "/".join(filter(None, ("/registry", kind.plural, namespace, metadata["name"])))
        why = (
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {asked}, UID in object meta: {found}"
        )
        raise conflict(kind, metadata["name"], why)


def _check_preconditions(kind: Kind, obj: Obj, options: DeleteOptions) -> None:
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

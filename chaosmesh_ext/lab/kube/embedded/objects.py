"""An object's life: create, replace, patch, delete, with what Kubernetes keeps of it and refuses."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from typing import Any

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded import validation
from chaosmesh_ext.lab.kube.embedded.assembling import (
    assembled,
    counted,
    first_metadata,
    next_metadata,
    settle_namespace,
    with_new_status,
    with_status,
)
from chaosmesh_ext.lab.kube.embedded.decoding import decoded
from chaosmesh_ext.lab.kube.embedded.defaults import fill, first_status
from chaosmesh_ext.lab.kube.embedded.deletion import Deleted, DeleteOptions, delete, remove
from chaosmesh_ext.lab.kube.embedded.jsons import copied, same
from chaosmesh_ext.lab.kube.embedded.kinds import Kind, named
from chaosmesh_ext.lab.kube.embedded.refusals import (
    Cause,
    Refused,
    Undecodable,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    no_number,
    not_found,
    not_specified_on_update,
    unprocessable,
)
from chaosmesh_ext.lab.kube.embedded.store import Store

__all__ = ["Objects"]

_NAMESPACE, _SERVICE, _ACCOUNT = named("Namespace"), named("Service"), named("ServiceAccount")
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""What generated names end in: Kubernetes leaves out what could spell a word or be misread."""


class Objects:
    """Kubernetes' rules for writing, over a store. Methods raise Refused; what they return must not be changed."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """The object (404 without)."""
        obj = self.store.get(kind, namespace, name)
        if obj is None:
            raise not_found(kind, name)
        return obj

    def create(self, kind: Kind, namespace: str, body: Obj, *, dry_run: bool = False, status: Obj | None = None) -> Obj:
        """Create BODY in NAMESPACE. status: the lab's own parts may give the first one."""
        metadata = dict(decoded(kind, body))
        settle_namespace(kind, namespace, metadata)
        if metadata.pop("resourceVersion", ""):
            raise Refused(500, "", "resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(secrets.choice(_SUFFIX) for _ in range(5))
        kept = first_metadata(kind, metadata)
        obj = assembled(kind, kept, body)
        if kind.status:
            obj.pop("status", None)
            first = status if status is not None else first_status(kind)
            if first is not None:
                obj["status"] = copied(first)
        self._admit(kind, namespace, kept.get("name", ""))
        fill(kind, obj, None, self._cluster_ips)
        validation.check_new(kind, obj, self._cluster_ips)
        there = self.store.get(kind, namespace, kept["name"])
        if there is not None:
            raise already_exists(kind, kept["name"], ending="deletionTimestamp" in there["metadata"])
        if dry_run:
            return obj
        self.store.put(kind, obj)
        if kind is _NAMESPACE:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            self.create(_ACCOUNT, kept["name"], account)
        return obj

    def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Obj,
        *,
        subresource: str = "",
        dry_run: bool = False,
        precondition: bool = True,
    ) -> tuple[Obj, bool]:
        """Replace the object, or its status, by BODY; the second value is whether it was created.

        precondition: BODY's uid says which object is meant; without, it may only not change.
        """
        metadata = dict(decoded(kind, body))
        settle_namespace(kind, namespace, metadata)
        if not metadata.get("name"):
            raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
        if metadata["name"] != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        old = self.store.get(kind, namespace, name)
        if old is None:
            if not kind.upsert or subresource:
                raise not_found(kind, name)
            _check_uid(kind, metadata, "", namespace)
            fresh = {key: value for key, value in metadata.items() if key not in ("resourceVersion", "uid")}
            return self.create(kind, namespace, {**body, "metadata": fresh}, dry_run=dry_run), True
        if precondition:
            _check_uid(kind, metadata, old["metadata"]["uid"], namespace)
        version = metadata.get("resourceVersion") or ""
        if version in ("", "0"):
            if not kind.unconditional:
                raise not_specified_on_update(kind, name)
        elif not version.isdecimal():
            raise no_number(version, "ParseUint", code=500)
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
        try:
            return self.update(
                kind, namespace, name, patched, subresource=subresource, dry_run=dry_run, precondition=False
            )[0]
        except Undecodable as error:
            raise unprocessable(patched, error.why) from None

    def replace(
        self, kind: Kind, old: Obj, new: Obj, *, subresource: str = "", dry_run: bool = False, strict: bool = True
    ) -> Obj:
        """Put NEW in the place of OLD; an equal one is no write. strict: fields that may not change are refused."""
        if subresource == "status":
            obj = with_new_status(kind, old, new)
        else:
            obj = assembled(kind, next_metadata(old, new), new)
            if kind.status:
                obj = with_status(obj, old.get("status"))
            fill(kind, obj, old, self._cluster_ips)
        if strict:
            validation.check_update(kind, old, obj)
        if same(obj, old):
            return old
        metadata = obj["metadata"] = dict(obj["metadata"])
        if kind.counted and not same(counted(kind, obj), counted(kind, old)):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        if dry_run:
            return obj
        if (
            kind is not _NAMESPACE
            and metadata.get("deletionGracePeriodSeconds") == 0
            and not metadata.get("finalizers")
        ):
            return remove(self.store, kind, old)
        return self.store.put(kind, obj)

    def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions | None = None) -> Deleted:
        """Delete the object; see `deletion.delete`."""
        return delete(self.store, kind, self.get(kind, namespace, name), options or DeleteOptions())

    def _admit(self, kind: Kind, namespace: str, name: str) -> None:
        """The Namespace must be there, and stay."""
        if not kind.namespaced:
            return
        parent = self.store.get(_NAMESPACE, "", namespace)
        if parent is None:
            raise not_found(_NAMESPACE, namespace)
        if "deletionTimestamp" in parent["metadata"]:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
            raise forbidden(kind, name, why, [cause])

    def _cluster_ips(self) -> Collection[str]:
        return {obj["spec"].get("clusterIP", "") for obj in self.store.list(_SERVICE)}


def _check_uid(kind: Kind, metadata: Obj, found: str, namespace: str) -> None:
    asked = metadata.get("uid") or found
    if asked != found:
        group = kind.group if kind.custom else ""
        key = "/".join(filter(None, ("/registry", group, kind.plural, namespace, metadata["name"])))
        why = (
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {asked}, UID in object meta: {found}"
        )
        raise conflict(kind, metadata["name"], why)

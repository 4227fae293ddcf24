"""The objects of one cluster: JSON objects in, JSON objects out, our errors.

Each write names what it expects to find (D2): a patch tests the resourceVersion it was computed from, a deletion the
uid. Whoever gets a Conflict computes again from the fresh object; nothing is written back from an old copy.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaosmesh_ext import errors
from chaosmesh_ext.mesh.connection import Connection, Obj
from chaosmesh_ext.mesh.kinds import KINDS, path
from chaosmesh_ext.mesh.pointer import Op

__all__ = ["Client", "Obj"]


class Client(Connection):
    """The objects of one cluster, as one account sees them. Safe to use from several threads."""

    def get(self, kind: str, namespace: str, name: str) -> Obj:
        """The object; raises NotFound."""
        return self._call("GET", path(kind, namespace, name), f"{kind} {namespace}/{name}")

    def find(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object, or None when it is not there."""
        try:
            return self.get(kind, namespace, name)
        except errors.NotFound:
            return None

    def list(self, kind: str, namespace: str = "", *, labels: str = "") -> list[Obj]:
        """All objects of KIND, of one NAMESPACE or of all; LABELS is a label selector.

        A kind that the cluster does not serve has no objects, for an account without permission too, to whom it would
        say Forbidden. Raises Unreachable where a kind that it serves is not found: somebody between us and the server
        may have said so, and nothing must be overlooked for that.
        """
        query = [("labelSelector", labels)] if labels else []
        what = f"{kind}s of {namespace or 'all namespaces'}"
        try:
            answer = self._call("GET", path(kind, namespace), what, query=query)
        except errors.Forbidden:
            if not self.serves(kind, afresh=True):
                return []
            raise
        except errors.NotFound as error:
            if not self.serves(kind):
                return []
            raise errors.Unreachable(
                f"the Kubernetes API at {self.host} serves {kind}s and does not find them ({error}): try again"
            ) from error
        items = answer.get("items") or []
        return [{"kind": kind, **item} for item in items]

    def create(self, obj: Obj) -> Obj:
        """Create OBJ; raises Conflict when its name is taken."""
        meta = obj["metadata"]
        what = f"{obj['kind']} {meta.get('namespace', '')}/{meta['name']}"
        return self._call("POST", path(obj["kind"], meta.get("namespace", "")), what, body=obj)

    def json_patch(
        self, kind: str, namespace: str, name: str, ops: Sequence[Op], *, version: str, dry_run: bool = False
    ) -> Obj:
        """Apply OPS to the object if its resourceVersion is still VERSION; raises Conflict when it is not.

        DRY_RUN: nothing is kept; the answer is what the object would be, less what the server does not know of it.
        API servers answer a failed test with 422, as they do a patch that makes no sense: the fresh object tells.
        """
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        what = f"{kind} {namespace}/{name}"
        content = "application/json-patch+json"
        try:
            query = [("dryRun", "All")] if dry_run else []
            return self._call(
                "PATCH", path(kind, namespace, name), what, query=query, body=[test, *ops], content=content
            )
        except errors.Unprocessable as error:
            if self.get(kind, namespace, name)["metadata"]["resourceVersion"] == version:
                raise
            raise errors.Conflict(f"{what} changed meanwhile", status=409, reason="Conflict") from error

    def replace(self, obj: Obj) -> Obj:
        """Write OBJ if its resourceVersion is still the newest; raises Conflict when it is not."""
        meta = obj["metadata"]
        if not meta.get("resourceVersion"):
            raise ValueError("an object without resourceVersion would overwrite what it never saw")
        where = path(obj["kind"], meta.get("namespace", ""), meta["name"])
        return self._call("PUT", where, f"{obj['kind']} {meta.get('namespace', '')}/{meta['name']}", body=obj)

    def delete(self, kind: str, namespace: str, name: str, *, uid: str, version: str = "") -> None:
        """Delete the object that has UID; one that is gone is no error.

        Raises Conflict for another of its name, and for one that is not at VERSION, where that is given.
        """
        expected = {"uid": uid} | ({"resourceVersion": version} if version else {})
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": expected}
        try:
            self._call("DELETE", path(kind, namespace, name), f"{kind} {namespace}/{name}", body=body)
        except errors.NotFound:
            # believed when it is confirmed: something between us and the server may have said so
            found = self.find(kind, namespace, name)
            if found is not None and found["metadata"].get("uid") == uid:
                self._call("DELETE", path(kind, namespace, name), f"{kind} {namespace}/{name}", body=body)

    def may(self, verb: str, kind: str, namespace: str, name: str = "") -> bool:
        """Whether the account may do VERB (get, list, create, patch …) with KIND in NAMESPACE; empty is all of them."""
        where = KINDS[kind]
        asked = {"verb": verb, "group": where.group, "resource": where.plural, "namespace": namespace, "name": name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
        }
        what = f"a SelfSubjectAccessReview of {verb} {kind}"
        answer = self._call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", what, body=review)
        return bool(answer.get("status", {}).get("allowed", False))

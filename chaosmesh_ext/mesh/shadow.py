"""A shadow of a cluster: reads are its own, writes stay here. What a run would do is seen without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from chaosmesh_ext.errors import Conflict, Forbidden, NotFound
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.pointer import Op, apply
from chaosmesh_ext.mesh.transport import Access
from chaosmesh_ext.mesh.writes import CARRIED_BY

__all__ = ["Shadow"]

Target = tuple[str, str, str]


class Shadow(Client):
    """A client whose writes nobody else sees. One that the account may not make, or of a kind that is not served, is
    refused as the cluster would refuse it; what its admission webhooks would say it cannot know.

    strict: whether permissions count; those for what carries no fault never do.
    written: each object that was written to, by kind, namespace and name: as it is now, or None when it is gone.
    before: the same as they were at first.
    """

    def __init__(self, real: Client) -> None:
        self._real = real
        self.strict = True
        self.written: dict[Target, Obj | None] = {}
        self.before: dict[Target, Obj | None] = {}

    @property
    def access(self) -> Access:
        """The cluster's."""
        return self._real.access

    def close(self) -> None:
        """Close the connections to the cluster."""
        self._real.close()

    def get(self, kind: str, namespace: str, name: str) -> Obj:
        """As `Client.get`."""
        target = (kind, namespace, name)
        if target not in self.written:
            return self._real.get(kind, namespace, name)
        found = self.written[target]
        if found is None:
            raise NotFound(f"GET {kind} {namespace}/{name}: it is not there")
        return deepcopy(found)

    def list(self, kind: str, namespace: str = "", *, labels: str = "") -> list[Obj]:
        """As `Client.list`; of label selectors, those that want a value (``a=b``) or any value (``a``)."""
        there = {
            (kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj
            for obj in self._real.list(kind, namespace, labels=labels)
        }
        parts = [part.partition("=") for part in labels.split(",") if part]
        wanted = {key: value for key, sign, value in parts if sign}
        present = {key for key, sign, _ in parts if not sign}
        for target, obj in self.written.items():
            if target[0] != kind or namespace not in ("", target[1]):
                continue
            there.pop(target, None)
            marks = obj["metadata"].get("labels") or {} if obj is not None else {}
            if obj is not None and selects(wanted, marks) and present <= marks.keys():
                there[target] = deepcopy(obj)
        return list(there.values())

    def create(self, obj: Obj) -> Obj:
        """As `Client.create`."""
        target = obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        if not self._real.serves(target[0]):
            raise NotFound(f"POST {_words(target)}: the cluster does not serve this kind")
        self._permitted("create", target)
        if self.find(*target) is not None:
            raise Conflict(f"POST {_words(target)}: it exists already", status=409, reason="AlreadyExists")
        meta = {**obj["metadata"], "uid": "not yet", "resourceVersion": "1"}
        return self._keep(target, {**obj, "metadata": meta})

    def json_patch(
        self, kind: str, namespace: str, name: str, ops: Sequence[Op], *, version: str, dry_run: bool = False
    ) -> Obj:
        """As `Client.json_patch`; a dry run is the cluster's, as long as the object is what it is there."""
        target = (kind, namespace, name)
        self._permitted("patch", target)
        obj = self._at(target, version)
        changed = apply(obj, ops)
        if dry_run and (target in self.written or not self.strict):
            return dict(changed)
        if dry_run:
            return self._real.json_patch(kind, namespace, name, ops, version=version, dry_run=True)
        return self._keep(target, {**changed, "metadata": {**changed["metadata"], "resourceVersion": f"{version}+"}})

    def replace(self, obj: Obj) -> Obj:
        """As `Client.replace`."""
        target = obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        version = obj["metadata"]["resourceVersion"]
        self._permitted("update", target)
        self._at(target, version)
        return self._keep(target, {**obj, "metadata": {**obj["metadata"], "resourceVersion": f"{version}+"}})

    def delete(self, kind: str, namespace: str, name: str, *, uid: str, version: str = "") -> None:
        """As `Client.delete`."""
        target = (kind, namespace, name)
        self._permitted("delete", target)
        obj = self.find(*target)
        if obj is None:
            return
        if obj["metadata"]["uid"] != uid or version not in ("", obj["metadata"]["resourceVersion"]):
            raise Conflict(f"DELETE {_words(target)}: it is another one", status=409, reason="Conflict")
        self._keep(target, None)

    def may(self, verb: str, kind: str, namespace: str, name: str = "") -> bool:
        """As `Client.may`."""
        return self._real.may(verb, kind, namespace, name)

    def server_time(self) -> float:
        """As `Client.server_time`."""
        return self._real.server_time()

    def version(self) -> Obj:
        """As `Client.version`."""
        return self._real.version()

    def _at(self, target: Target, version: str) -> Obj:
        obj = self.get(*target)
        if obj["metadata"]["resourceVersion"] != version:
            raise Conflict(f"{_words(target)} changed meanwhile", status=409, reason="Conflict")
        return obj

    def _permitted(self, verb: str, target: Target) -> None:
        kind, namespace, name = target
        if not self.strict or kind not in CARRIED_BY:
            return
        if not self._real.may(verb, kind, namespace, "" if verb == "create" else name):
            raise Forbidden(
                f"{verb} {_words(target)}: the account may not; ask for this permission (`kubectl auth can-i` shows "
                "what the account may do)",
                status=403,
                reason="Forbidden",
            )

    def _keep(self, target: Target, obj: Obj | None) -> Obj:
        if target not in self.before:
            self.before[target] = self.find(*target)
        self.written[target] = obj
        return deepcopy(obj) if obj is not None else {}


def _words(target: Target) -> str:
    kind, namespace, name = target
    return f"{kind} {namespace}/{name}"

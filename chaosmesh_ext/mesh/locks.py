"""Host locks: two runs must not fault the same calls, for nobody could tell whose fault was met.

A lock is a Lease whose name is a hash of the callers' namespace and the host, and whose holders are an annotation. Runs
that fault nothing but requests with an exact marker of their own may hold it together; else the younger run yields.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from chaosmesh_ext.errors import Conflict, Inconclusive, NotFound
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import LABEL
from chaosmesh_ext.mesh.pointer import Op, join
from chaosmesh_ext.mesh.witness import NOBODY, Witness

__all__ = [
    "HOLDERS",
    "Holder",
    "Locked",
    "beside",
    "holders",
    "host_of",
    "lock",
    "lock_name",
    "release",
    "runs_of",
]

HOLDERS: Final = "chaosmesh-ext/holders"
"""Annotation: the runs that hold the lock, as JSON."""
_BEFORE: Final = "chaosmesh-ext/held-before"
"""Annotation: the runs that held the lock together with others and have gone, the last ones, as JSON."""
_REMEMBERED: Final = 20
_HOST: Final = "chaosmesh-ext/host"
_PREFIX: Final = "chaosmesh-host-"
_ATTEMPTS: Final = 20


class Locked(Inconclusive):
    """Another run has a fault on that host."""


class Holder(msgspec.Struct, frozen=True):
    """A run that holds a lock. exact: it faults only requests that bear a marker of its own."""

    run: str
    exact: bool


def lock_name(namespace: str, host: str) -> str:
    """The name of the lock on HOST for callers in NAMESPACE.

    >>> lock_name("default", "details.default.svc.cluster.local")
    'chaosmesh-host-ece931dec85baa8c'
    """
    return _PREFIX + hashlib.sha256(f"{namespace}/{host}".encode()).hexdigest()[:16]


def holders(obj: Obj) -> tuple[Holder, ...]:
    """Who holds the lock OBJ; nobody where that cannot be read, for then nobody can release it either."""
    text = (obj["metadata"].get("annotations") or {}).get(HOLDERS, "")
    try:
        return msgspec.json.decode(text, type=tuple[Holder, ...])
    except msgspec.DecodeError:
        return ()


def runs_of(obj: Obj) -> set[str]:
    """The runs that hold the lock OBJ; where its holders cannot be read, the one that its label names."""
    held = {one.run for one in holders(obj)}
    label = (obj["metadata"].get("labels") or {}).get(LABEL, "")
    return held or {label} - {""}


def beside(client: Client, namespace: str, host: str, run: str) -> set[str]:
    """The other runs that have a fault on HOST for callers in NAMESPACE, or had one while RUN held the lock."""
    obj = client.find("Lease", namespace, lock_name(namespace, host))
    return {*runs_of(obj), *_gone(obj)} - {run} if obj else set()


def host_of(obj: Obj) -> str:
    """What the lock OBJ is on: the callers' namespace and the host, ``default/details.default.svc.cluster.local``."""
    meta = obj["metadata"]
    return str((meta.get("annotations") or {}).get(_HOST) or f"{meta['namespace']}/{meta['name']}")


def lock(client: Client, namespace: str, host: str, holder: Holder, *, witness: Witness = NOBODY) -> None:
    """Make HOLDER hold the lock on HOST for callers in NAMESPACE; to hold it already is no error.

    Raises Locked, naming the other run.
    """
    name = lock_name(namespace, host)
    for _ in range(_ATTEMPTS):
        obj = client.find("Lease", namespace, name)
        if obj is None:
            try:
                witness.create(client, _object(namespace, name, host, holder))
            except Conflict:
                continue
            return
        held = holders(obj)
        others = [one for one in held if one.run != holder.run]
        if others and not (holder.exact and all(one.exact for one in others)):
            other = others[0].run
            raise Locked(
                f"the run {other} has a fault on calls of {namespace} to {host}: wait for its end (`chaos mesh runs`), "
                f"or end it: chaos mesh recover --run {other}"
            )
        if holder in held:
            return
        try:
            _share(client, obj, [*others, holder], _gone(obj), witness)
        except (Conflict, NotFound):
            continue
        return
    raise Locked(f"the lock {namespace}/{name} on {host} changes all the time: many runs want it; try again later")


def release(client: Client, obj: Obj, run: str) -> None:
    """Take RUN out of the lock OBJ, and remove it when nobody is left."""
    namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
    for _ in range(_ATTEMPTS):
        left = [one for one in holders(obj) if one.run != run]
        try:
            if not left:
                client.delete(
                    "Lease", namespace, name, uid=obj["metadata"]["uid"], version=obj["metadata"]["resourceVersion"]
                )
                return
            _share(client, obj, left, (*_gone(obj), run), NOBODY)
        except NotFound:
            return
        except Conflict:
            fresh = client.find("Lease", namespace, name)
            if fresh is None or all(one.run != run for one in holders(fresh)):
                return
            obj = fresh
            continue
        return


def _gone(obj: Obj) -> tuple[str, ...]:
    """The runs that held the lock OBJ and have gone while others held it; nobody where that cannot be read."""
    text = (obj["metadata"].get("annotations") or {}).get(_BEFORE, "")
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.DecodeError:
        return ()


def _share(client: Client, obj: Obj, left: list[Holder], gone: tuple[str, ...], witness: Witness) -> None:
    """Make LEFT the holders of the lock OBJ, and GONE those that were; the label names the first of LEFT."""
    meta = obj["metadata"]
    notes = {**(meta.get("annotations") or {}), HOLDERS: _text(left)}
    if gone:
        notes[_BEFORE] = msgspec.json.encode(tuple(dict.fromkeys(gone))[-_REMEMBERED:]).decode()
    labels = {**(meta.get("labels") or {}), LABEL: left[0].run}
    ops: list[Op] = [
        {"op": "add", "path": join("metadata", "annotations"), "value": notes},
        {"op": "add", "path": join("metadata", "labels"), "value": labels},
    ]
    witness.json_patch(client, "Lease", meta["namespace"], meta["name"], ops, version=meta["resourceVersion"])


def _text(found: list[Holder]) -> str:
    return msgspec.json.encode(found).decode()


def _object(namespace: str, name: str, host: str, holder: Holder) -> Obj:
    notes: dict[str, Any] = {HOLDERS: _text([holder]), _HOST: f"{namespace}/{host}"}
    return {
        "apiVersion": KINDS["Lease"].api_version,
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace, "labels": {LABEL: holder.run}, "annotations": notes},
        "spec": {"holderIdentity": holder.run},
    }

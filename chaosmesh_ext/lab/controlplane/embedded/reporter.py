"""Tells an object's owner, on the object itself, that it was not taken and why; a route's, what became of it."""

from __future__ import annotations

import asyncio
import datetime
import logging

import msgspec

from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.status import stamped
from chaosmesh_ext.lab.kube.api import Kube, Obj

__all__ = ["Reporter"]

_LOG = logging.getLogger(__name__)


class _Verdict(msgspec.Struct, frozen=True):
    obj: Obj
    reason: str
    message: str


class _Parents(msgspec.Struct, frozen=True):
    obj: Obj
    parents: list[Obj]


class Reporter:
    """Writes the condition ``Reconciled`` and Events, one after the other and in the order of what happened.

    An object that was never in trouble gets neither: a write to its status would only be in its owner's way. But every
    HTTPRoute of the Gateway API has its parents told, as istiod does it.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._told: dict[tuple[str, str, str], str] = {}
        self._parents: dict[tuple[str, str, str], list[Obj]] = {}
        self._written: dict[tuple[str, str, str], list[Obj]] = {}
        self._queue: asyncio.Queue[_Verdict | _Parents] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop writing; a second call does nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def trouble(self, obj: Obj, reason: str, message: str) -> None:
        """OBJ is not in force as it is written, because of MESSAGE; told once until that changes."""
        key = _key(obj)
        if self._told.get(key) != message:
            self._told[key] = message
            self._queue.put_nowait(_Verdict(obj, reason, message))

    def fine(self, obj: Obj) -> None:
        """OBJ is in force as it is written."""
        if self._told.pop(_key(obj), None) is not None:
            self._queue.put_nowait(_Verdict(obj, "Reconciled", ""))

    def attached(self, obj: Obj, parents: list[Obj]) -> None:
        """OBJ, an HTTPRoute of the Gateway API, has PARENTS; told whenever they change."""
        key = _key(obj)
        if self._parents.get(key) != parents:
            self._parents[key] = parents
            self._queue.put_nowait(_Parents(obj, parents))

    def gone(self, obj: Obj) -> None:
        """OBJ is no more."""
        for told in (self._told, self._parents, self._written):
            told.pop(_key(obj), None)

    async def _work(self) -> None:
        while True:
            verdict = await self._queue.get()
            try:
                if isinstance(verdict, _Parents):
                    await self._write_parents(verdict)
                else:
                    await self._write(verdict)
            except Exception:
                # an object that cannot be told must not keep the others from hearing
                _LOG.exception("the verdict on %s could not be written", "/".join(_key(verdict.obj)))

    async def _write_parents(self, told: _Parents) -> None:
        key = _key(told.obj)
        parents = stamped(told.parents, self._written.get(key, []), _now())
        if await self._kube.patch_status(told.obj, {"parents": parents}) is not None:
            self._written[key] = parents

    async def _write(self, verdict: _Verdict) -> None:
        condition = {
            "type": "Reconciled",
            "status": "False" if verdict.message else "True",
            "reason": verdict.reason,
            "message": verdict.message,
            "lastTransitionTime": _now(),
        }
        written = await self._kube.patch_status(verdict.obj, {"conditions": [condition]})
        if written is not None and verdict.message:
            await self._kube.record(verdict.obj, verdict.reason, verdict.message)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _key(obj: Obj) -> tuple[str, str, str]:
    kind = f"{obj['kind']}.{obj.get('apiVersion', '').partition('/')[0]}"
    return kind, obj["metadata"]["namespace"], obj["metadata"]["name"]

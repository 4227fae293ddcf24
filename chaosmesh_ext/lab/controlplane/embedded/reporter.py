"""Tells an object's owner, on the object itself, that it was not taken and why."""

from __future__ import annotations

import asyncio
import datetime
import logging

import msgspec

from chaosmesh_ext.lab.kube.api import Kube, Obj

__all__ = ["Reporter"]

_LOG = logging.getLogger(__name__)


class _Verdict(msgspec.Struct, frozen=True):
    obj: Obj
    reason: str
    message: str


class Reporter:
    """Writes the condition ``Reconciled`` and Events, one after the other and in the order of what happened.

    An object that was never in trouble gets neither: a write to its status would only be in its owner's way.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._told: dict[tuple[str, str, str], str] = {}
        self._queue: asyncio.Queue[_Verdict] = asyncio.Queue()
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

    def gone(self, obj: Obj) -> None:
        """OBJ is no more."""
        self._told.pop(_key(obj), None)

    async def _work(self) -> None:
        while True:
            verdict = await self._queue.get()
            try:
                await self._write(verdict)
            except Exception:
                # an object that cannot be told must not keep the others from hearing
                _LOG.exception("the verdict on %s could not be written", "/".join(_key(verdict.obj)))

    async def _write(self, verdict: _Verdict) -> None:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {
            "type": "Reconciled",
            "status": "False" if verdict.message else "True",
            "reason": verdict.reason,
            "message": verdict.message,
            "lastTransitionTime": now,
        }
        written = await self._kube.patch_status(verdict.obj, {"conditions": [condition]})
        if written is not None and verdict.message:
            await self._kube.record(verdict.obj, verdict.reason, verdict.message)


def _key(obj: Obj) -> tuple[str, str, str]:
    return obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]
